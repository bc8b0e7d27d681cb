SELECT (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM pragma_table_info('note'));
