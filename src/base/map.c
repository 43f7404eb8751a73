/*
 * Open addressing with linear probing. A removed entry leaves a grave, so that what was put behind it is still
 * found; graves go when the table is rebuilt. Rebuilding happens only in map_put: map_remove never moves anything,
 * which is what allows removing the current entry during a walk.
 *
 * The hash is SipHash-1-3: a peer that sends names but doesn't know the key can't make them collide.
 */
#include "base/map.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

#define SMALLEST_CAP 16

enum slot_state { SLOT_EMPTY, SLOT_GRAVE, SLOT_FULL };

struct map_slot {
	enum slot_state state;
	uint64_t hash;
	union {
		char *text; /* owned */
		uint64_t number;
	} key;
	void *value;
};

static uint64_t rotate_left(uint64_t v, unsigned by)
{
	return v << by | v >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate_left(v[1], 13) ^ v[0];
	v[3] = rotate_left(v[3], 16) ^ v[2];
	v[0] = rotate_left(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate_left(v[1], 17) ^ v[2];
	v[3] = rotate_left(v[3], 21) ^ v[0];
	v[2] = rotate_left(v[2], 32);
}

static uint64_t sip_hash(uint64_t key, const uint8_t *data, size_t n)
{
	/* SipHash wants 128 bits; the second half is the first one mixed, which keeps it as unknown as it was. */
	uint64_t key2 = (key ^ 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
	uint64_t v[4] = {key ^ 0x736f6d6570736575u, key2 ^ 0x646f72616e646f6du, key ^ 0x6c7967656e657261u,
			 key2 ^ 0x7465646279746573u};
	uint64_t last = (uint64_t)n << 56;

	for (; n >= 8; data += 8, n -= 8) {
		uint64_t word;

		memcpy(&word, data, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	for (size_t i = 0; i < n; i++)
		last |= (uint64_t)data[i] << (8 * i);
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* What is looked for; exactly one of the two is meant, by the map's kind. */
struct wanted {
	const char *text;
	uint64_t number;
	uint64_t hash;
};

static struct wanted want_text(const struct map *m, const char *key)
{
	assert(m->by_text);
	return (struct wanted){.text = key, .hash = sip_hash(m->key, (const uint8_t *)key, strlen(key))};
}

static struct wanted want_number(const struct map *m, uint64_t key)
{
	assert(!m->by_text);
	return (struct wanted){.number = key, .hash = sip_hash(m->key, (const uint8_t *)&key, sizeof(key))};
}

static bool is_wanted(const struct map *m, const struct map_slot *s, const struct wanted *w)
{
	if (s->state != SLOT_FULL || s->hash != w->hash)
		return false;
	return m->by_text ? strcmp(s->key.text, w->text) == 0 : s->key.number == w->number;
}

static struct map_slot *slot_find(const struct map *m, const struct wanted *w)
{
	if (!m->n)
		return NULL;
	/* Ends: the table is never full, see map_make_room(). */
	for (size_t i = w->hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		if (m->slots[i].state == SLOT_EMPTY)
			return NULL;
		if (is_wanted(m, &m->slots[i], w))
			return &m->slots[i];
	}
}

/* The first slot on the way of this hash where an entry can be put. */
static struct map_slot *slot_free(struct map_slot *slots, size_t cap, uint64_t hash)
{
	size_t i = hash & (cap - 1);

	while (slots[i].state == SLOT_FULL)
		i = (i + 1) & (cap - 1);
	return &slots[i];
}

static enum err map_rebuild(struct map *m, size_t cap)
{
	struct map_slot *slots = mem_zalloc_array(cap, sizeof(*slots));

	if (!slots)
		return ERR_NOMEM;
	for (size_t i = 0; i < m->cap; i++) {
		if (m->slots[i].state == SLOT_FULL)
			*slot_free(slots, cap, m->slots[i].hash) = m->slots[i];
	}
	mem_free(m->slots);
	m->slots = slots;
	m->cap = cap;
	m->used = m->n;
	return ERR_OK;
}

/* Room for one more: at most three quarters of the slots are in use, graves included. */
static enum err map_make_room(struct map *m)
{
	bool is_crowded = m->used + 1 > m->cap / 4 * 3;
	bool is_sparse = m->cap > SMALLEST_CAP && m->n < m->cap / 16;
	size_t cap = SMALLEST_CAP;
	enum err e;

	if (!is_crowded && !is_sparse)
		return ERR_OK;
	while (cap / 2 < m->n + 1)
		cap *= 2;
	e = map_rebuild(m, cap);
	/* Not getting smaller is no reason to refuse. */
	return is_crowded ? e : ERR_OK;
}

static void map_fill(struct map *m, const struct wanted *w, char *take_text, void *value)
{
	struct map_slot *s = slot_free(m->slots, m->cap, w->hash);

	if (s->state == SLOT_EMPTY)
		m->used++;
	*s = (struct map_slot){.state = SLOT_FULL, .hash = w->hash, .value = value};
	if (m->by_text)
		s->key.text = take_text;
	else
		s->key.number = w->number;
	m->n++;
}

static void *map_take(struct map *m, const struct wanted *w)
{
	struct map_slot *s = slot_find(m, w);
	void *value;

	if (!s)
		return NULL;
	value = s->value;
	if (m->by_text)
		mem_free(s->key.text);
	*s = (struct map_slot){.state = SLOT_GRAVE};
	m->n--;
	return value;
}

void map_init_text(struct map *m, uint64_t hash_key)
{
	*m = (struct map){.key = hash_key, .by_text = true};
}

void map_init_number(struct map *m, uint64_t hash_key)
{
	*m = (struct map){.key = hash_key};
}

void map_deinit(struct map *m)
{
	for (size_t i = 0; m->by_text && i < m->cap; i++) {
		if (m->slots[i].state == SLOT_FULL)
			mem_free(m->slots[i].key.text);
	}
	mem_free(m->slots);
	*m = (struct map){.key = m->key, .by_text = m->by_text};
}

enum err map_put(struct map *m, const char *key, void *value)
{
	struct wanted w = want_text(m, key);
	struct map_slot *s = slot_find(m, &w);
	char *text;
	enum err e;

	assert(value);
	if (s) {
		s->value = value;
		return ERR_OK;
	}
	e = map_make_room(m);
	if (e)
		return e;
	text = mem_strdup(key);
	if (!text)
		return ERR_NOMEM;
	map_fill(m, &w, text, value);
	return ERR_OK;
}

void *map_get(const struct map *m, const char *key)
{
	struct wanted w = want_text(m, key);
	struct map_slot *s = slot_find(m, &w);

	return s ? s->value : NULL;
}

void *map_remove(struct map *m, const char *key)
{
	struct wanted w = want_text(m, key);

	return map_take(m, &w);
}

enum err map_put_u64(struct map *m, uint64_t key, void *value)
{
	struct wanted w = want_number(m, key);
	struct map_slot *s = slot_find(m, &w);
	enum err e;

	assert(value);
	if (s) {
		s->value = value;
		return ERR_OK;
	}
	e = map_make_room(m);
	if (e)
		return e;
	map_fill(m, &w, NULL, value);
	return ERR_OK;
}

void *map_get_u64(const struct map *m, uint64_t key)
{
	struct wanted w = want_number(m, key);
	struct map_slot *s = slot_find(m, &w);

	return s ? s->value : NULL;
}

void *map_remove_u64(struct map *m, uint64_t key)
{
	struct wanted w = want_number(m, key);

	return map_take(m, &w);
}

void *map_next(const struct map *m, size_t *cursor)
{
	while (*cursor < m->cap) {
		const struct map_slot *s = &m->slots[(*cursor)++];

		if (s->state == SLOT_FULL)
			return s->value;
	}
	return NULL;
}
