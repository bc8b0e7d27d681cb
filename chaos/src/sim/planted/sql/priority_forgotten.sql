CREATE TRIGGER planted AFTER INSERT ON project
BEGIN UPDATE project SET priority = 0, spec = json_set(spec, '$.priority', 0) WHERE id = NEW.id; END;
