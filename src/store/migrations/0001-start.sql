-- oldest-program: 0.1.0
--
-- The first schema. Times are Unix milliseconds (_ms) or seconds (_s), 0: never. States are spelled as the API shows
-- them. What changes often and what is big stand apart from `host`, so that a thousand claims or pings touch few pages.

CREATE TABLE migration (
	number         INTEGER PRIMARY KEY,
	name           TEXT NOT NULL,
	oldest_program TEXT NOT NULL, -- the oldest that still works with the schema after this migration
	applied_by     TEXT NOT NULL  -- the version of the program that did it
) STRICT;

CREATE TABLE change (
	seq  INTEGER PRIMARY KEY, -- the newest row is never deleted, so numbers are never used again
	kind INTEGER NOT NULL,
	id   INTEGER NOT NULL,
	"by" INTEGER NOT NULL
) STRICT;

-- ---- configuration ----

CREATE TABLE configuration (
	name     TEXT NOT NULL,
	scope    TEXT NOT NULL,
	scope_id INTEGER NOT NULL,
	value    TEXT NOT NULL,
	PRIMARY KEY (name, scope, scope_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE counter (
	name  TEXT PRIMARY KEY,
	value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counter (name, value) VALUES ('configuration.version', 0);

-- ---- zones, pods, clusters ----

CREATE TABLE data_center (
	id   INTEGER PRIMARY KEY AUTOINCREMENT,
	uuid TEXT NOT NULL UNIQUE,
	name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE host_pod_ref (
	id             INTEGER PRIMARY KEY AUTOINCREMENT,
	data_center_id INTEGER NOT NULL REFERENCES data_center (id),
	uuid           TEXT NOT NULL UNIQUE,
	name           TEXT NOT NULL,
	UNIQUE (data_center_id, name)
) STRICT;

CREATE TABLE cluster (
	id     INTEGER PRIMARY KEY AUTOINCREMENT,
	pod_id INTEGER NOT NULL REFERENCES host_pod_ref (id),
	uuid   TEXT NOT NULL UNIQUE,
	name   TEXT NOT NULL,
	UNIQUE (pod_id, name)
) STRICT;

-- Fixed, so that two stores made from the same events are alike.
INSERT INTO data_center (id, uuid, name) VALUES (1, '6d757374-6572-4000-8000-7a6f6e650001', 'default');
INSERT INTO host_pod_ref (id, data_center_id, uuid, name) VALUES (1, 1, '6d757374-6572-4000-8000-706f64000001', 'default');
INSERT INTO cluster (id, pod_id, uuid, name) VALUES (1, 1, '6d757374-6572-4000-8000-636c75730001', 'default');

-- ---- hosts ----

CREATE TABLE host (
	id               INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice
	uuid             TEXT NOT NULL UNIQUE,
	guid             TEXT NOT NULL,
	name             TEXT,
	type             TEXT,
	resource_name    TEXT,
	hypervisor       TEXT,
	version          TEXT,
	arch             TEXT,
	private_ip       TEXT,
	capabilities     TEXT,
	zone_id          INTEGER NOT NULL REFERENCES data_center (id),
	pod_id           INTEGER NOT NULL REFERENCES host_pod_ref (id),
	cluster_id       INTEGER NOT NULL REFERENCES cluster (id),
	slot             INTEGER NOT NULL,
	status           TEXT NOT NULL,
	resource_state   TEXT NOT NULL,
	owner            INTEGER NOT NULL,
	last_owner       INTEGER NOT NULL,
	epoch            INTEGER NOT NULL,
	boot             TEXT,
	link_number      INTEGER NOT NULL,
	ms_list          TEXT,
	ms_interval      INTEGER NOT NULL,
	is_muster        INTEGER NOT NULL,
	secured          INTEGER NOT NULL,
	bound_key        TEXT,
	allow_weaker     INTEGER NOT NULL,
	cert_serial      TEXT,
	cert_not_after_s INTEGER NOT NULL,
	created_ms       INTEGER NOT NULL,
	disconnected_ms  INTEGER NOT NULL,
	removed_ms       INTEGER NOT NULL
) STRICT;
-- A removed host keeps its row and gives its guid and its slot away.
CREATE UNIQUE INDEX host_guid ON host (guid) WHERE removed_ms = 0;
CREATE UNIQUE INDEX host_slot ON host (zone_id, slot) WHERE removed_ms = 0;

CREATE TABLE host_details (
	host_id INTEGER PRIMARY KEY REFERENCES host (id),
	details TEXT
) STRICT;

CREATE TABLE host_ping (
	host_id      INTEGER PRIMARY KEY REFERENCES host (id),
	last_ping_ms INTEGER NOT NULL
) STRICT;

-- Slots below the end of their zone that nobody has. Every slot up to the highest one is either here or taken.
CREATE TABLE slot_hole (
	zone_id INTEGER NOT NULL,
	slot    INTEGER NOT NULL,
	PRIMARY KEY (zone_id, slot)
) STRICT, WITHOUT ROWID;

-- ---- management servers ----

CREATE TABLE mshost (
	id             INTEGER PRIMARY KEY AUTOINCREMENT,
	msid           INTEGER NOT NULL UNIQUE,
	run_id         INTEGER NOT NULL,
	uuid           TEXT NOT NULL UNIQUE,
	name           TEXT,
	address        TEXT,
	port           INTEGER NOT NULL,
	state          TEXT NOT NULL,
	version        TEXT,
	last_update_ms INTEGER NOT NULL,
	started_ms     INTEGER NOT NULL,
	stopped_ms     INTEGER NOT NULL,
	removed_ms     INTEGER NOT NULL
) STRICT;

CREATE TABLE mshost_peer (
	owner INTEGER NOT NULL REFERENCES mshost (msid),
	peer  INTEGER NOT NULL REFERENCES mshost (msid),
	view  TEXT NOT NULL,
	at_ms INTEGER NOT NULL,
	PRIMARY KEY (owner, peer)
) STRICT, WITHOUT ROWID;

-- ---- CA, certificates, tokens ----

CREATE TABLE secret (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE certificate (
	id           INTEGER PRIMARY KEY,
	serial       TEXT NOT NULL UNIQUE,
	common_name  TEXT,
	role         TEXT,
	subject_id   TEXT,
	not_before_s INTEGER NOT NULL,
	not_after_s  INTEGER NOT NULL,
	revoked_ms   INTEGER NOT NULL,
	pem          TEXT
) STRICT;
CREATE INDEX certificate_subject ON certificate (role, subject_id);

CREATE TABLE crl (
	id          INTEGER PRIMARY KEY,
	serial      TEXT NOT NULL UNIQUE,
	common_name TEXT,
	revoked_ms  INTEGER NOT NULL
) STRICT;

CREATE TABLE join_token (
	number     INTEGER PRIMARY KEY,
	id         TEXT NOT NULL UNIQUE,
	hash       TEXT NOT NULL,
	role       TEXT NOT NULL,
	created_ms INTEGER NOT NULL,
	expires_ms INTEGER NOT NULL,
	uses_left  INTEGER NOT NULL,
	uses       INTEGER NOT NULL,
	revoked    INTEGER NOT NULL,
	bound_name TEXT,
	bound_guid TEXT,
	host_id    INTEGER NOT NULL
) STRICT;

-- ---- accounts, jobs, events ----

CREATE TABLE account (
	number     INTEGER PRIMARY KEY,
	name       TEXT NOT NULL UNIQUE,
	uuid       TEXT NOT NULL UNIQUE,
	role       TEXT NOT NULL,
	api_key    TEXT NOT NULL UNIQUE,
	secret_key TEXT NOT NULL,
	created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE async_job (
	id            INTEGER PRIMARY KEY AUTOINCREMENT,
	uuid          TEXT NOT NULL UNIQUE,
	command       TEXT NOT NULL,
	account       TEXT,
	msid          INTEGER NOT NULL,
	status        INTEGER NOT NULL,
	result_code   INTEGER NOT NULL,
	result        TEXT,
	instance_type TEXT,
	instance_id   TEXT,
	created_ms    INTEGER NOT NULL,
	completed_ms  INTEGER NOT NULL
) STRICT;
CREATE INDEX async_job_running ON async_job (msid) WHERE status = 0;

CREATE TABLE event (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	uuid        TEXT NOT NULL,
	type        TEXT NOT NULL,
	level       TEXT NOT NULL,
	description TEXT,
	account     TEXT,
	host_id     INTEGER NOT NULL,
	msid        INTEGER NOT NULL,
	created_ms  INTEGER NOT NULL
) STRICT;
