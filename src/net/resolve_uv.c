/*
 * Names to addresses: getaddrinfo() on a lane of its own, a bounded number at a time.
 *
 * It can't be interrupted, so a request that was cancelled is only forgotten: its job goes on alone and its result is
 * dropped. A literal takes the same way without asking anybody.
 */
#include <assert.h>
#include <netdb.h>
#include <string.h>

#include "base/mem.h"
#include "net/uv_private.h"

/* More at once means that something asks in a circle. */
#define MAX_RESOLVING 4096

struct resolve_job {
	struct work work;
	struct uv_world *world;
	struct resolve *request; /* NULL: cancelled. The loop's */
	char *name;
	struct str_list addresses;
	enum err result;
};

static void job_free(struct resolve_job *j)
{
	mem_free(j->name);
	str_list_deinit(&j->addresses);
	mem_free(j);
}

static enum err add_address(struct str_list *out, const struct addrinfo *a)
{
	struct sockaddr_storage address = {0};
	char ip[IP_TEXT];
	uint16_t port;

	if (a->ai_addrlen > sizeof(address))
		return ERR_OK;
	memcpy(&address, a->ai_addr, a->ai_addrlen);
	address_text(&address, ip, &port);
	if (ip[0] == '\0' || str_list_has(out, ip))
		return ERR_OK;
	return str_list_add(out, ip);
}

static void job_run(struct work *work)
{
	struct resolve_job *j = container_of(work, struct resolve_job, work);
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct addrinfo *found = NULL;
	struct sockaddr_storage literal;

	if (address_parse(&literal, j->name, 0)) {
		j->result = str_list_add(&j->addresses, j->name);
		return;
	}
	if (getaddrinfo(j->name, NULL, &hints, &found)) {
		j->result = ERR_NO_NAME;
		return;
	}
	for (const struct addrinfo *a = found; a && j->result == ERR_OK; a = a->ai_next)
		j->result = add_address(&j->addresses, a);
	freeaddrinfo(found);
	if (j->result == ERR_OK && j->addresses.n == 0)
		j->result = ERR_NO_NAME;
}

static void job_done(struct work *work)
{
	struct resolve_job *j = container_of(work, struct resolve_job, work);
	struct resolve *r = j->request;

	j->world->n_resolving--;
	if (r) {
		r->impl = NULL;
		r->result = j->result;
		str_list_move(&r->addresses, &j->addresses);
	}
	job_free(j);
	if (r)
		r->done(r);
}

static void job_dropped(struct work *work)
{
	job_free(container_of(work, struct resolve_job, work));
}

enum err uv_resolve(struct world *world, struct resolve *r)
{
	struct uv_world *w = uv_world_of(world);
	struct sockaddr_storage literal;
	struct resolve_job *j;
	enum err e;

	assert(!r->impl && r->done);
	if (w->n_resolving >= MAX_RESOLVING)
		return ERR_FULL;
	j = mem_zalloc(sizeof(*j));
	if (!j)
		return ERR_NOMEM;
	j->work = (struct work){.run = job_run, .done = job_done, .dropped = job_dropped, .world = world};
	list_init(&j->work.queued);
	j->world = w;
	j->request = r;
	j->name = mem_strdup(r->name);
	if (!j->name) {
		job_free(j);
		return ERR_NOMEM;
	}
	if (address_parse(&literal, j->name, 0)) {
		job_run(&j->work);
		work_finished(w, &j->work);
	} else {
		e = lane_put(w->lanes[LANE_NAMES], &j->work);
		if (e != ERR_OK) {
			job_free(j);
			return e;
		}
	}
	w->n_resolving++;
	r->impl = j;
	return ERR_OK;
}

void uv_resolve_cancel(struct world *w, struct resolve *r)
{
	struct resolve_job *j = r->impl;

	if (j)
		j->request = NULL;
	r->impl = NULL;
}
