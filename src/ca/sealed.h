/*
 * What lies in the store sealed under the cluster key, and its way under another one (docs/certificates.md, "The
 * cluster key is changed"). Here so that who seals and who changes the key can't disagree.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ca/root.h"

/* Of which secret is it? What binds a sealed value to its place. */
#define SEALED_CA_KEY "muster ca key"
#define SEALED_TICKET_KEYS "muster ticket keys"
#define SEALED_JOB "muster job %s" /* its uuid */

#define CLUSTER_KEY_ID_TEXT 17

/* Names a key without telling anything of it: 16 hex digits. */
void cluster_key_id(char out[CLUSTER_KEY_ID_TEXT], const uint8_t key[CLUSTER_KEY_SIZE]);

/*
 * The same value, sealed under `to`; both as base64url. ERR_UNTRUSTED: not sealed under `from`, or not for this
 * context; ERR_DAMAGED: no such text.
 */
enum err sealed_again(char **out, const char *sealed, const char *context, const uint8_t from[CLUSTER_KEY_SIZE],
		      const uint8_t to[CLUSTER_KEY_SIZE], const uint8_t nonce[12], struct why *why) MUST_CHECK;

/* What the store says of the key that is in force, under the name CLUSTER_KEY_RECORD. Nothing in it is secret. */
#define CLUSTER_KEY_RECORD "cluster.key"
struct cluster_key_record {
	char id[CLUSTER_KEY_ID_TEXT]; /* "": the key was never changed, any that opens what is there is the one */
	int64_t since_ms;
};
/* Whatever can't be read counts as never changed. */
void cluster_key_record_read(struct cluster_key_record *out, const char *text);
/* New text; NULL: out of memory. */
char *cluster_key_record_text(const struct cluster_key_record *r);
