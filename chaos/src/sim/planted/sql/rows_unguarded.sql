DROP TRIGGER project_legal;
DROP TRIGGER project_journaled;
