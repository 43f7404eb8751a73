/*
 * Who failed lately, by address: so that guessing costs little, and one noisy address can't hide another one's refusal.
 *
 * Each failure of an address moves a time ahead, and it is over its limit while that lies too far ahead: so many
 * failures at once, then one for each period that passes. Of IPv6 the network counts: whoever has one address there has
 * them all. Memory is bounded: so many addresses are remembered, those whose time has passed make room, and an address
 * for which there is none is judged together with all others that found none.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "base/mono.h"

#define STRAY_NETWORK_MAX 64

struct strays {
	struct map by_network; /* text -> struct stray */
	size_t room;           /* addresses remembered */
	int64_t at_once;       /* failures */
	int64_t each_ms;       /* then one in this time */
	struct mono others;    /* of all for which there was no room */
	uint64_t others_held;
	struct mono swept;
};

void strays_init(struct strays *s, uint64_t hash_key, size_t room, int64_t at_once, int64_t each_ms);
void strays_deinit(struct strays *s);
/* Has it failed so often that it has to wait? */
bool strays_is_over(const struct strays *s, const char *address, struct mono now);
/* It has failed (once more). */
void strays_failed(struct strays *s, const char *address, struct mono now);
/*
 * For what is told of an address, at this pace: true, and *held gets how much was not told since the last time; or
 * false, and this is one more of them.
 */
bool strays_may_tell(struct strays *s, const char *address, struct mono now, uint64_t *held);
/* What addresses are told apart by: the address itself, of IPv6 its /64. */
void stray_network(char out[STRAY_NETWORK_MAX], const char *address);
