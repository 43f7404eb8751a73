-- oldest-program: 0.1.0
--
-- Drains: what was asked of a management server that prepares for maintenance, and how far it is. One row a server, the
-- last one asked for; the server that is drained writes its report, so that any server can show it.

CREATE TABLE mshost_drain (
	msid        INTEGER PRIMARY KEY REFERENCES mshost (msid),
	per_s       INTEGER NOT NULL, -- agents asked per second, 0: the default
	timeout_ms  INTEGER NOT NULL, -- 0: the setting management.server.maintenance.timeout
	forced      INTEGER NOT NULL,
	algorithm   TEXT,
	asked_by    TEXT,
	asked_ms    INTEGER NOT NULL,
	report      TEXT,             -- JSON object; none until the server has begun
	reported_ms INTEGER NOT NULL
) STRICT;
