/*
 * The root provider: a CA of the cluster's own, made once and kept in the store with its key sealed under the
 * cluster key, which stays outside the store (decision 6).
 */
#pragma once

#include "base/fs.h"
#include "ca/provider.h"

#define CLUSTER_KEY_SIZE 32

/* What the store keeps of a CA. */
struct ca_root_record {
	char *certificate; /* PEM, with its chain */
	char *sealed_key;  /* base64url of seal_bytes() over the PEM key, context "muster ca key" */
};
void ca_root_record_deinit(struct ca_root_record *r);

/* Makes a new CA: EC P-256, 30 years, subject `dn_common_name`. Slow: off the loop. */
enum err ca_root_create(struct ca_root_record *out, const char *dn_common_name,
			const uint8_t cluster_key[CLUSTER_KEY_SIZE], const uint8_t entropy[64], int64_t wall_s,
			struct why *why) MUST_CHECK;
/* The operator's own CA, a root or an intermediate. Texts are PEM and borrowed. */
struct ca_import {
	const char *certificate; /* the signing one first; what follows counts as `chain` */
	const char *key;
	const char *chain; /* NULL: nothing above it */
	const uint8_t *cluster_key;
	const uint8_t *entropy; /* 64 bytes */
	int64_t wall_s;
};
/* Checks it, signs something with it and checks that too. ERR_NOT_FOUND: a certificate up to the root is missing. */
enum err ca_root_import(struct ca_root_record *out, const struct ca_import *m, struct why *why) MUST_CHECK;
/* cluster_key NULL: opens for verifying only, can_issue() is false. A key that doesn't fit: ERR_UNTRUSTED, with what to
 * do. */
enum err ca_root_open(struct ca_provider **out, const struct ca_root_record *r, const uint8_t *cluster_key,
		      struct why *why) MUST_CHECK;

/* The cluster key file: one line of base64url, mode 0600. */
enum err cluster_key_read(uint8_t out[CLUSTER_KEY_SIZE], const struct fs *fs, const char *path, struct why *why)
	MUST_CHECK;
enum err cluster_key_create(uint8_t out[CLUSTER_KEY_SIZE], const struct fs *fs, const char *path,
			    const uint8_t random[32], struct why *why) MUST_CHECK;
