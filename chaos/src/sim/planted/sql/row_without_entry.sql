CREATE TRIGGER planted AFTER UPDATE OF state ON role WHEN NEW.state = 'done'
BEGIN UPDATE role SET state = 'working' WHERE project_id = NEW.project_id AND name = NEW.name; END;
DROP TRIGGER role_legal;
