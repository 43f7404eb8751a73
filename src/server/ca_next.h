/*
 * The prepared CA: the operator's own, put into the store beside running servers (`muster-server ca import --next`),
 * that the next rotation begins with instead of making one.
 */
#pragma once

#include "ca/root.h"
#include "store/store.h"

struct ca_next_wish {
	const struct ca_root_record *record; /* checked by itself (ca_root_import()) */
	const uint8_t *cluster_key;
	int64_t wall_s;
	bool replace; /* one that is prepared already */
	/* out */
	bool replaced;
};
/*
 * Prepares it, if it may follow the CA that signs now. ERR_REFUSED with a sentence: an external CA signs, there is no
 * CA yet, a rotation is under way, another one is prepared, this cluster key is not the cluster's.
 */
enum err ca_next_prepare(struct store_tx *tx, struct ca_next_wish *w, struct why *why) MUST_CHECK;

/* ERR_NOT_FOUND: none is prepared. */
enum err ca_next_get(struct store_tx *tx, struct ca_root_record *out) MUST_CHECK;
enum err ca_next_set(struct store_tx *tx, const struct ca_root_record *r) MUST_CHECK;
enum err ca_next_remove(struct store_tx *tx) MUST_CHECK;
