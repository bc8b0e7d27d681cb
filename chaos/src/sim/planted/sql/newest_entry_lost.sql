PRAGMA foreign_keys = OFF; DROP TRIGGER IF EXISTS event_no_delete;
DELETE FROM event WHERE seq = (SELECT max(seq) FROM event);
