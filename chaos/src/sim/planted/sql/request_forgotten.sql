CREATE TRIGGER planted AFTER INSERT ON request WHEN NEW.id % 3 = 0
BEGIN UPDATE request SET taken_us = NEW.at_us, outcome = 'refused' WHERE id = NEW.id; END;
