-- oldest-program: 0.1.0
--
-- Which cluster key each server has: when it is changed, an operator sees who still needs the new one.

ALTER TABLE mshost ADD COLUMN key_id TEXT; -- of the key, "none"; NULL: not known
