-- oldest-program: 0.1.0
--
-- While the CA is changed: what each server trusts and whose certificate it shows, so that nobody is cut off by a step.

ALTER TABLE mshost ADD COLUMN ca_known TEXT;    -- SHA-256 of the CA certificates that it trusts; NULL: not known
ALTER TABLE mshost ADD COLUMN cert_issuer TEXT; -- authority key identifier of its own certificate; NULL: not known
