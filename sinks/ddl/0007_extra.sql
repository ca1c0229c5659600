-- Elements chosen by setting, by name as text.  Stores made since have the column from the first migration.
ALTER TABLE flows ADD COLUMN IF NOT EXISTS extra Map(LowCardinality(String), String) AFTER collector;
