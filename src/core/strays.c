#include "core/strays.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define SWEEP_MS 1000 /* not more often: a full table must not make each failure dear */

struct stray {
	struct mono until; /* every failure moves it by each_ms; over when it is more than at_once of them ahead */
	uint64_t held;
	char network[];
};

void strays_init(struct strays *s, uint64_t hash_key, size_t room, int64_t at_once, int64_t each_ms)
{
	*s = (struct strays){.room = room, .at_once = at_once, .each_ms = each_ms};
	map_init_text(&s->by_network, hash_key);
}

void strays_deinit(struct strays *s)
{
	struct stray *x;
	size_t cursor = 0;

	while ((x = map_next(&s->by_network, &cursor)))
		mem_free(x);
	map_deinit(&s->by_network);
}

void stray_network(char out[STRAY_NETWORK_MAX], const char *address)
{
	struct in6_addr a;

	if (inet_pton(AF_INET6, address, &a) != 1) {
		str_copy(out, STRAY_NETWORK_MAX, address);
	} else if (IN6_IS_ADDR_V4MAPPED(&a)) {
		/* The same machine as without the prefix. */
		inet_ntop(AF_INET, &a.s6_addr[12], out, STRAY_NETWORK_MAX);
	} else {
		memset(&a.s6_addr[8], 0, 8);
		inet_ntop(AF_INET6, &a, out, STRAY_NETWORK_MAX);
	}
}

static void sweep(struct strays *s, struct mono now)
{
	struct stray *x;
	size_t cursor = 0;

	if (s->swept.us && mono_ms_between(s->swept, now) < SWEEP_MS)
		return;
	s->swept = now;
	while ((x = map_next(&s->by_network, &cursor))) {
		if (!mono_reached(now, x->until))
			continue;
		map_remove(&s->by_network, x->network);
		mem_free(x);
	}
}

/* NULL: there is no room, or no memory. */
static struct stray *find_or_make(struct strays *s, const char *network, struct mono now)
{
	struct stray *x = map_get(&s->by_network, network);
	size_t n = strlen(network) + 1;

	if (x)
		return x;
	if (s->by_network.n >= s->room)
		sweep(s, now);
	x = s->by_network.n < s->room ? mem_zalloc(sizeof(*x) + n) : NULL;
	if (!x)
		return NULL;
	memcpy(x->network, network, n);
	x->until = now;
	if (map_put(&s->by_network, x->network, x)) {
		mem_free(x);
		return NULL;
	}
	return x;
}

static bool is_over(const struct strays *s, struct mono until, struct mono now)
{
	return mono_before(now, until) && mono_ms_between(now, until) > (s->at_once - 1) * s->each_ms;
}

static void move(const struct strays *s, struct mono *until, struct mono now)
{
	if (mono_before(*until, now))
		*until = now;
	*until = mono_add_ms(*until, s->each_ms);
}

bool strays_is_over(const struct strays *s, const char *address, struct mono now)
{
	char network[STRAY_NETWORK_MAX];
	const struct stray *x;

	stray_network(network, address);
	x = map_get(&s->by_network, network);
	/* One of whom nothing is known is nobody's fault: only what is told of it is paced together with others. */
	return x && is_over(s, x->until, now);
}

void strays_failed(struct strays *s, const char *address, struct mono now)
{
	char network[STRAY_NETWORK_MAX];
	struct stray *x;

	stray_network(network, address);
	x = find_or_make(s, network, now);
	if (x)
		move(s, &x->until, now);
}

bool strays_may_tell(struct strays *s, const char *address, struct mono now, uint64_t *held)
{
	char network[STRAY_NETWORK_MAX];
	struct stray *x;
	struct mono *until;
	uint64_t *n;

	stray_network(network, address);
	x = find_or_make(s, network, now);
	until = x ? &x->until : &s->others;
	n = x ? &x->held : &s->others_held;
	if (is_over(s, *until, now)) {
		++*n;
		return false;
	}
	move(s, until, now);
	*held = *n;
	*n = 0;
	return true;
}
