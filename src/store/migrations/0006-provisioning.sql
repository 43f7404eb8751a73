-- oldest-program: 0.1.0
--
-- When an operator was told last that a host's certificate nears its end: once a day, whichever server says it.

ALTER TABLE host ADD COLUMN cert_alerted_ms INTEGER NOT NULL DEFAULT 0; -- 0: never
