ALTER TABLE note ADD COLUMN more TEXT;
UPDATE note SET more = 'later still';
