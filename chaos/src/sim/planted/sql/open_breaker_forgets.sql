UPDATE project SET breaker = json_set(breaker, '$.attempts', json('[]')) WHERE breaker_state = 'open';
