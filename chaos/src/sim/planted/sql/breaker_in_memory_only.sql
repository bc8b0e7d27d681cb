UPDATE project SET breaker_state = 'closed',
breaker = json_set(breaker, '$.state', 'closed', '$.attempts', json('[]'), '$.retry_at', NULL);
