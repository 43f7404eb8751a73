/*
 * Certificates for tests: made once a process, through pki/cert.h.
 */
#pragma once

#include <stdint.h>

#include "net/tls.h"
#include "pki/cert.h"

#define TEST_WALL_S 1800000000 /* when the tests happen; machine clocks play no part */
#define DAY_S 86400

struct party {
	char *cert; /* PEM, owned */
	char *key;
};

/* A root, valid around TEST_WALL_S. */
struct party party_root(const char *name);
struct party party_root_of(enum key_kind kind, const char *name);
/* Signed by `ca`. */
struct party party_new(const struct party *ca, enum key_kind kind, enum cert_role role, const char *id);
struct party party_valid(const struct party *ca, enum cert_role role, const char *id, int64_t from_s, int64_t to_s);
void party_deinit(struct party *p);
/* SHA-256 over the DER, hex, as a token has it. */
void party_fingerprint(char out[FINGERPRINT_TEXT], const struct party *p);
