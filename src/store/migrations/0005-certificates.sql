-- oldest-program: 0.1.0
--
-- What is known of certificates: of each host's current one when its life began, who signed it and which CAs its agent
-- trusts, so that renewal and rotation know who is behind; which key a host without a guid in its certificate is bound
-- to; why something was revoked, and by whom; the zone that a token is for. An older program leaves the new columns as
-- they are, and asks hosts for a renewal at worst once too often.

ALTER TABLE host ADD COLUMN cert_not_before_s INTEGER NOT NULL DEFAULT 0; -- 0: not known
ALTER TABLE host ADD COLUMN cert_issuer TEXT; -- authority key identifier, hex; NULL: not known
ALTER TABLE host ADD COLUMN ca_known TEXT;    -- SHA-256 of the CA certificates that its agent confirmed; NULL: not known
ALTER TABLE host ADD COLUMN bound_to TEXT;    -- key of the certificate that a host bound by "san" showed; NULL: not known

ALTER TABLE certificate ADD COLUMN issuer TEXT; -- as host.cert_issuer

ALTER TABLE crl ADD COLUMN revoked_by TEXT;
ALTER TABLE crl ADD COLUMN reason TEXT;

ALTER TABLE join_token ADD COLUMN bound_zone TEXT; -- name of a zone; NULL: any
