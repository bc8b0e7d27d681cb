PRAGMA foreign_keys = OFF; DROP TRIGGER IF EXISTS project_no_delete;
DELETE FROM project WHERE state = 'completed' AND finalizer = 0;
