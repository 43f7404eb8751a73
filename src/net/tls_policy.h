/*
 * What a TLS connection may be made of: the one place where it is written. docs/protocol.md, "TLS", has the same
 * numbers.
 *
 *  1. TLS 1.3 and 1.2, nothing older. 1.3 only where our ALPN is agreed on; everybody else gets 1.2, as the reference's
 *     peers need it. A muster peer that can do 1.3 never gets less.
 *  2. Keys are agreed on by ephemeral ECDH: X25519, P-256, P-384, P-521, in this order. No RSA key transport, no finite
 *     fields, no pre-shared keys but tickets, nothing anonymous.
 *  3. AES-256-GCM, AES-128-GCM, ChaCha20-Poly1305. So no CBC, NULL, export, RC4 or 3DES suites.
 *  4. Signatures of handshakes by ECDSA, Ed25519 or RSA (PSS and PKCS 1) with SHA-256 or more. The reference's peers
 * can do all but Ed25519.
 *  5. A server shows its ECDSA certificate to whoever can verify that, else its RSA certificate. Whoever can verify
 * neither is refused. The server's order counts, not the client's.
 *  6. Certificates: signed with SHA-256 or more, RSA keys of 2048 bits at least, EC keys of 224.
 *  7. Renegotiation is not done: a handshake record after the handshake ends the connection. TLS 1.3's KeyUpdate is
 * taken.
 *  8. No compression, no early data, no tickets in TLS 1.2; of a TLS 1.3 session the server gives one ticket, in a
 * packet.
 *  9. %COMPAT for one kind of client only, an agent that takes its server for CloudStack's: that one presents its CA
 *     certificate, whose key usage allows no handshake.
 */
#pragma once

/* Parsed once for each set of credentials and shared: a session of its own would hold kilobytes. */
enum tls_policy { TLS_ONLY_12, TLS_ONLY_12_COMPAT, TLS_ONLY_13, TLS_13_AND_12, N_TLS_POLICIES };

/* As GnuTLS reads it. Independent of the library's defaults and of a system's policy. */
const char *tls_policy_text(enum tls_policy p);

/* 6, as a flag for verifying chains. */
#define TLS_POLICY_CERT_FLAGS GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM)
