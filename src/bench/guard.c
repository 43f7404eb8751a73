/*
 * The world's door outwards. A fleet of thousands pointed at the wrong address is an attack: what is dialled has to be
 * on this machine, whatever the lists say that servers hand out. And what is dialled is counted, by server, and what
 * the agents say: what is as short as a heartbeat is one, for every other message is longer.
 *
 * It puts a copy of the world's table of operations in front of the world; nothing else there changes.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "bench/bench.h"

#define HEARTBEAT_BYTES 64

struct target {
	char name[IP_TEXT + 8];
	struct rate dials;
};

struct traffic {
	uint64_t bytes, heartbeats;
};

struct guard {
	struct world_ops ops; /* what the world has now */
	const struct world_ops *inner;
	struct map targets; /* name -> struct target, owned */
	bool anywhere;
	bool is_apart; /* in a network that leads nowhere */
	struct traffic said;
};

static struct target *target_get(struct guard *g, const char *ip, uint16_t port)
{
	char name[IP_TEXT + 8];
	struct target *t;

	snprintf(name, sizeof(name), strchr(ip, ':') ? "[%s]:%u" : "%s:%u", ip, port);
	t = map_get(&g->targets, name);
	if (t)
		return t;
	t = mem_zalloc(sizeof(*t));
	if (!t)
		return NULL;
	str_copy(t->name, sizeof(t->name), name);
	if (map_put(&g->targets, name, t) == ERR_OK)
		return t;
	return mem_free(t);
}

/* ---- what may be dialled ---- */

static bool is_in(uint32_t address, uint32_t net, unsigned bits)
{
	return (address ^ net) >> (32 - bits) == 0;
}

static bool is_loopback(const char *ip)
{
	struct in_addr four;

	if (inet_pton(AF_INET, ip, &four) == 1)
		return is_in(ntohl(four.s_addr), 0x7f000000, 8);
	return strcmp(ip, "::1") == 0;
}

static bool is_private(const char *ip)
{
	struct in_addr four;
	struct in6_addr six;
	uint32_t a;

	if (inet_pton(AF_INET, ip, &four) == 1) {
		a = ntohl(four.s_addr);
		return is_in(a, 0x0a000000, 8) || is_in(a, 0xac100000, 12) || is_in(a, 0xc0a80000, 16);
	}
	return inet_pton(AF_INET6, ip, &six) == 1 && (six.s6_addr[0] & 0xfe) == 0xfc;
}

enum err guard_check(const struct guard *g, const char *ip, struct why *why)
{
	if (g->anywhere || is_loopback(ip) || (g->is_apart && is_private(ip)))
		return ERR_OK;
	why_set(why, "%s is not on this machine (--anywhere allows it)", ip);
	return ERR_REFUSED;
}

/* ---- what the agents say ---- */

static void count(struct traffic *t, size_t n)
{
	t->bytes += n;
	t->heartbeats += n <= HEARTBEAT_BYTES;
}

static enum err op_write(struct stream *s, const void *data, size_t n)
{
	struct guard *g = container_of(s->world->ops, struct guard, ops);

	count(&g->said, n);
	return g->inner->stream_write(s, data, n);
}

static enum err op_connect(struct world *w, struct stream **out, const char *ip, uint16_t port, const char *source_ip,
			   const struct stream_events *events, void *user, struct why *why)
{
	struct guard *g = container_of(w->ops, struct guard, ops);
	struct target *t;
	enum err e = guard_check(g, ip, why);

	if (e)
		return e;
	t = target_get(g, ip, port);
	e = t ? rate_add(&t->dials, now_us()) : ERR_NOMEM;
	return e ? e : g->inner->connect(w, out, ip, port, source_ip, events, user, why);
}

/* ---- made and freed ---- */

/*
 * Without a default route nothing leaves the networks that are plugged in: so it is in a namespace made for tests.
 * (What the namespace of process 1 is would be a better question, but not everybody may ask it.)
 */
static bool network_is_apart(void)
{
	FILE *f = fopen("/proc/self/net/route", "re");
	char line[256];
	unsigned to = 0, mask = 0;
	bool has_way_out = false;

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		/* The first line has the names of the columns. */
		if (sscanf(line, "%*s %x %*x %*x %*u %*u %*u %x", &to, &mask) == 2 && !to && !mask)
			has_way_out = true;
	}
	fclose(f);
	return !has_way_out;
}

enum err guard_new(struct guard **out, struct world *w, bool anywhere)
{
	struct guard *g = mem_zalloc(sizeof(*g));

	if (!g)
		return ERR_NOMEM;
	map_init_text(&g->targets, 0);
	g->anywhere = anywhere;
	g->is_apart = network_is_apart();
	g->inner = w->ops;
	g->ops = *w->ops;
	g->ops.connect = op_connect;
	g->ops.stream_write = op_write;
	w->ops = &g->ops;
	*out = g;
	return ERR_OK;
}

struct guard *guard_free(struct guard *g)
{
	size_t cursor = 0;

	if (!g)
		return NULL;
	for (struct target *t = map_next(&g->targets, &cursor); t; t = map_next(&g->targets, &cursor)) {
		rate_deinit(&t->dials);
		mem_free(t);
	}
	map_deinit(&g->targets);
	return mem_free(g);
}

json_t *guard_json(const struct guard *g)
{
	json_t *all = json_object();
	size_t cursor = 0;

	for (const struct target *t = map_next(&g->targets, &cursor); t; t = map_next(&g->targets, &cursor))
		json_object_set_new(all, t->name,
				    json_pack("{s:I,s:I}", "dials", (json_int_t)t->dials.total, "peak_dials_per_s",
					      (json_int_t)t->dials.peak));
	return all;
}

json_t *guard_traffic_json(const struct guard *g)
{
	return json_pack("{s:I,s:I}", "bytes_said", (json_int_t)g->said.bytes, "heartbeats_said",
			 (json_int_t)g->said.heartbeats);
}
