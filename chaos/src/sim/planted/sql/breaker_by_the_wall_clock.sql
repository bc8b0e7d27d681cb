UPDATE project SET breaker = json_set(breaker,
'$.attempts', json((SELECT json_group_array(value - ?1) FROM json_each(breaker, '$.attempts') WHERE value >= ?1)),
'$.retry_at', max(0, json_extract(breaker, '$.retry_at') - ?1));
