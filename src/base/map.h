/*
 * Hash maps from strings or 64-bit numbers to pointers. The map owns its keys, never its values.
 * Hashing is keyed, so that a peer can't choose colliding names.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct map_slot;

struct map {
	struct map_slot *slots;
	size_t n;
	size_t cap;
	size_t used; /* with graves */
	uint64_t key;
	bool by_text;
};

void map_init_text(struct map *m, uint64_t hash_key);
void map_init_number(struct map *m, uint64_t hash_key);
void map_deinit(struct map *m);

enum err map_put(struct map *m, const char *key, void *value) MUST_CHECK; /* replaces */
void *map_get(const struct map *m, const char *key);                      /* NULL: none */
void *map_remove(struct map *m, const char *key);                         /* what was there */

enum err map_put_u64(struct map *m, uint64_t key, void *value) MUST_CHECK;
void *map_get_u64(const struct map *m, uint64_t key);
void *map_remove_u64(struct map *m, uint64_t key);

/* Walks in no particular order; start with *cursor = 0. The map must not be changed meanwhile, but removing the current
 * is fine. */
void *map_next(const struct map *m, size_t *cursor);
