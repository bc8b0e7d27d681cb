DROP TRIGGER IF EXISTS request_once;
UPDATE request SET taken_us = NULL, outcome = NULL;
