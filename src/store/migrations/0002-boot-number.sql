-- oldest-program: 0.1.0
--
-- Which start of the agent's process the newest link that was ever claimed belongs to, so that late claims of an older
-- start are told from new ones. 0: not known. A program that doesn't know it leaves it as it was, which lets an older
-- start in as before.

ALTER TABLE host ADD COLUMN boot_number INTEGER NOT NULL DEFAULT 0;
