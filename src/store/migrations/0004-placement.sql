-- oldest-program: 0.1.0
--
-- Placement: the entries that lists are made of, with what an operator has said about them, and for each host the first
-- entries of its list under the algorithm balanced (docs/placement.md, "Balanced" 13).

-- The entries of the setting `host`, or of the registered servers. An entry that isn't in use is kept for its weight
-- and zone. Numbers are never given twice, so those of hosts that are still to be rewritten mean nobody else.
CREATE TABLE list_server (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	entry   TEXT NOT NULL UNIQUE,
	weight  INTEGER NOT NULL,
	zone    TEXT,             -- name of a zone, none: NULL
	resting INTEGER NOT NULL, -- 1: counts as weight 0 while it is restarted
	in_use  INTEGER NOT NULL
) STRICT;

-- While balanced is in force: one row a host. Numbers are those of list_server, 0: no entry.
CREATE TABLE placement_host (
	host_id       INTEGER PRIMARY KEY REFERENCES host (id),
	placed_first  INTEGER NOT NULL,
	placed_second INTEGER NOT NULL,
	placed_third  INTEGER NOT NULL,
	placed_away   INTEGER NOT NULL
) STRICT;

-- The entry that a host must have first, 0: any.
ALTER TABLE host ADD COLUMN pin INTEGER NOT NULL DEFAULT 0;

-- Grows with each change of what stands above; never goes back, so that a copy in memory knows whether it is current.
INSERT INTO counter (name, value) VALUES ('placement.version', 0);
