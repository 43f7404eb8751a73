#include "net/dial.h"

#include <arpa/inet.h>

#include "base/mem.h"

struct dial {
	struct world *world;
	char *host;
	char *source_ip; /* NULL: any */
	uint16_t port;
	struct resolve resolve;
	struct str_list addresses;
	size_t next;           /* address to try */
	struct stream *stream; /* owned; while it connects */
	enum err error;        /* of the last attempt */
	struct why why;
	struct later failed; /* reports `error` at the end of the turn */
	void (*done)(void *user, struct stream *take_stream, enum err e, const char *sentence);
	void *user;
};

struct dial *dial_free(struct dial *d)
{
	if (!d)
		return NULL;
	if (d->resolve.impl)
		world_resolve_cancel(d->world, &d->resolve);
	world_later_cancel(&d->failed);
	stream_close(d->stream);
	str_list_deinit(&d->resolve.addresses);
	str_list_deinit(&d->addresses);
	mem_free(d->host);
	mem_free(d->source_ip);
	return mem_free(d);
}

static void report_failure(struct later *l)
{
	struct dial *d = container_of(l, struct dial, failed);

	d->done(d->user, NULL, d->error, why_text(&d->why, d->error));
}

static const struct stream_events stream_events;

/* Tries the addresses that are left; when none is, the dial has failed for the reason of the last. */
static void try_next(struct dial *d)
{
	while (d->next < d->addresses.n) {
		const char *ip = d->addresses.items[d->next++];

		d->why = WHY_NONE;
		d->error = stream_connect(d->world, &d->stream, ip, d->port, d->source_ip, &stream_events, d, &d->why);
		if (d->error == ERR_OK)
			return;
	}
	if (d->error == ERR_OK)
		d->error = ERR_NO_NAME;
	world_later(d->world, &d->failed);
}

static void on_connected(void *user)
{
	struct dial *d = user;
	struct stream *s = STEAL(d->stream);

	d->done(d->user, s, ERR_OK, NULL);
}

static void on_ended(void *user, enum err why, const char *sentence)
{
	struct dial *d = user;

	d->stream = NULL;
	d->error = why;
	why_set(&d->why, "%s", sentence);
	try_next(d);
}

static const struct stream_events stream_events = {.connected = on_connected, .ended = on_ended};

static void on_resolved(struct resolve *r)
{
	struct dial *d = container_of(r, struct dial, resolve);

	if (r->result != ERR_OK) {
		d->error = r->result;
		why_set(&d->why, "%s does not resolve", d->host);
	}
	str_list_move(&d->addresses, &r->addresses);
	try_next(d);
}

static bool is_literal(const char *host)
{
	struct in6_addr six;
	struct in_addr four;

	return inet_pton(AF_INET, host, &four) == 1 || inet_pton(AF_INET6, host, &six) == 1;
}

static enum err begin(struct dial *d)
{
	enum err e;

	if (!is_literal(d->host)) {
		d->resolve.name = d->host;
		d->resolve.done = on_resolved;
		return world_resolve(d->world, &d->resolve);
	}
	e = str_list_add(&d->addresses, d->host);
	if (e == ERR_OK)
		try_next(d);
	return e;
}

enum err dial_start(struct dial **out, const struct dial_params *p)
{
	struct dial *d = mem_zalloc(sizeof(*d));
	enum err e = ERR_NOMEM;

	if (!d)
		return ERR_NOMEM;
	d->world = p->world;
	d->port = p->port;
	d->done = p->done;
	d->user = p->user;
	list_init(&d->failed.queued);
	d->failed.call = report_failure;
	d->host = mem_strdup(p->host);
	d->source_ip = mem_strdup(p->source_ip);
	if (d->host && (d->source_ip || !p->source_ip))
		e = begin(d);
	if (e != ERR_OK) {
		dial_free(d);
		return e;
	}
	*out = d;
	return ERR_OK;
}

enum err dial_error(const struct dial *d, const char **sentence)
{
	*sentence = why_text(&d->why, d->error);
	return d->error;
}
