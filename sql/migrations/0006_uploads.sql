ALTER TABLE video ADD COLUMN duration double precision;
