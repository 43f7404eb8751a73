-- oldest-program: 0.1.0
--
-- A token that gives a host a new certificate says whether the old ones stay good; a host that joined with a token for
-- one zone stays in that zone. An older program revokes nothing when such a host joins again, and lets it say its zone.

ALTER TABLE join_token ADD COLUMN keeps_certificates INTEGER NOT NULL DEFAULT 0;

ALTER TABLE host ADD COLUMN bound_zone INTEGER NOT NULL DEFAULT 0; -- id of a zone; 0: where its agent says
