CREATE TABLE note (project_id INTEGER PRIMARY KEY REFERENCES project (id), note TEXT NOT NULL);
INSERT INTO note SELECT id, 'later' FROM project;
