/*
 * The floor: TLS handshakes as muster does them - TLS 1.3, P-256, certificates of both sides verified - with client
 * and server in one thread and no socket between them, on as many threads as there are for it. No server on this
 * machine takes links faster than that while the agents live on it too.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "bench/bench.h"
#include "net/tls.h"
#include "net/world_uv.h"

#define MEASURE_US 1000000
#define DAY_S 86400
#define STEPS_MAX 20

/* A throwaway CA with one server and one agent. */
struct party {
	struct tls_creds *server, *client;
	int64_t wall_s;
};

struct runner {
	struct work work;
	const struct party *party;
	struct world *world;
	size_t *n_running;
	struct samples samples;
	int64_t began, ended; /* its first handshake, its last */
	enum err result;
	struct why why;
};

/* ---- the party ---- */

struct pair {
	char *key, *cert; /* PEM, owned */
};

static void pair_deinit(struct pair *p)
{
	key_free(p->key);
	mem_free(p->cert);
}

static enum err pair_make(struct pair *out, struct world *w, const struct pair *ca, enum cert_role role,
			  struct why *why)
{
	int64_t now = world_wall_ms(w) / 1000;
	struct cert_params p = {
		.common_name = "floor",
		.role = role,
		.id = role == CERT_ROLE_NONE ? NULL : "floor",
		.is_ca = !ca,
		.not_before_s = now - DAY_S,
		.not_after_s = now + DAY_S,
	};
	enum err e = key_new(&out->key, KEY_EC_P256, why);

	p.key_pem = out->key;
	if (ca) {
		p.ca_cert_pem = ca->cert;
		p.ca_key_pem = ca->key;
	}
	world_entropy(w, p.serial, sizeof(p.serial));
	return e ? e : cert_new(&out->cert, &p, why);
}

static void party_deinit(struct party *p)
{
	if (p->server)
		tls_creds_unref(p->server);
	if (p->client)
		tls_creds_unref(p->client);
}

static enum err party_init(struct party *p, struct world *w, struct why *why)
{
	CLEAN(pair_deinit) struct pair ca = {0};
	CLEAN(pair_deinit) struct pair server = {0};
	CLEAN(pair_deinit) struct pair client = {0};
	enum err e = pair_make(&ca, w, NULL, CERT_ROLE_NONE, why);

	p->wall_s = world_wall_ms(w) / 1000;
	if (!e)
		e = pair_make(&server, w, &ca, CERT_ROLE_SERVER, why);
	if (!e)
		e = pair_make(&client, w, &ca, CERT_ROLE_AGENT, why);
	if (!e)
		e = tls_creds_new(w, &p->server,
				  &(struct tls_material){.chain = server.cert, .key = server.key, .ca = ca.cert}, why);
	if (e)
		return e;
	return tls_creds_new(w, &p->client,
			     &(struct tls_material){.chain = client.cert, .key = client.key, .ca = ca.cert}, why);
}

/* ---- one handshake ---- */

static enum err shake(struct tls *client, struct tls *server, struct why *why)
{
	CLEAN(buf_deinit) struct buf to_server = {0};
	CLEAN(buf_deinit) struct buf to_client = {0};
	enum tls_outcome c = TLS_WANT, s = TLS_WANT;
	enum err e = ERR_OK;

	for (int i = 0; i < STEPS_MAX && (c != TLS_DONE || s != TLS_DONE); i++) {
		if (c == TLS_WANT)
			c = tls_handshake(client, &to_client, &to_server, &e, why);
		if (s == TLS_WANT && c != TLS_FAILED)
			s = tls_handshake(server, &to_server, &to_client, &e, why);
		if (c == TLS_FAILED || s == TLS_FAILED)
			return e;
	}
	return c == TLS_DONE && s == TLS_DONE ? ERR_OK : ERR_TLS;
}

static enum err shake_once(const struct party *p, struct why *why)
{
	const struct tls_params to = {.profile = TLS_CLIENT_MUSTER, .creds = p->client, .wall_s = p->wall_s};
	const struct tls_params at = {
		.profile = TLS_SERVER, .creds = p->server, .require_cert = true, .wall_s = p->wall_s};
	struct tls *client = NULL, *server = NULL;
	enum err e = tls_new(&client, &to, why);

	if (!e)
		e = tls_new(&server, &at, why);
	if (!e)
		e = shake(client, server, why);
	tls_free(client);
	tls_free(server);
	return e;
}

/* ---- as fast as it goes ---- */

static void runner_run(struct work *w)
{
	struct runner *r = container_of(w, struct runner, work);
	int64_t now = now_us(), end = now + MEASURE_US;

	r->began = now;
	while (!r->result && now < end) {
		int64_t began = now;

		r->result = shake_once(r->party, &r->why);
		now = now_us();
		if (!r->result)
			r->result = samples_add(&r->samples, now - began);
	}
	r->ended = now;
}

static void runner_done(struct work *w)
{
	struct runner *r = container_of(w, struct runner, work);

	if (--*r->n_running == 0)
		world_uv_stop(r->world);
}

/* From the first begin to the last end: threads don't start at one moment, and the last handshake takes longer. */
static int64_t measured_us(const struct runner *runners, size_t n)
{
	int64_t began = INT64_MAX, ended = 0;

	for (size_t i = 0; i < n; i++) {
		began = runners[i].began < began ? runners[i].began : began;
		ended = runners[i].ended > ended ? runners[i].ended : ended;
	}
	return ended > began ? ended - began : 1;
}

static enum err run(struct samples *all, int64_t *took_us, struct world *w, const struct party *p, size_t n,
		    struct why *why)
{
	CLEAN(mem_freep) struct runner *runners = mem_zalloc_array(n, sizeof(*runners));
	size_t n_running = n;
	enum err e = ERR_OK;

	if (!runners)
		return ERR_NOMEM;
	for (size_t i = 0; i < n; i++) {
		runners[i] = (struct runner){.party = p, .world = w, .n_running = &n_running};
		runners[i].work = (struct work){.run = runner_run, .done = runner_done};
		world_work(w, WORK_CRYPTO, &runners[i].work);
	}
	world_uv_run(w);
	*took_us = measured_us(runners, n);
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; !e && k < runners[i].samples.n; k++)
			e = samples_add(all, runners[i].samples.us[k]);
		if (!e && runners[i].result) {
			e = runners[i].result;
			*why = runners[i].why;
		}
		samples_deinit(&runners[i].samples);
	}
	return e;
}

enum err floor_measure(json_t **out, struct world *w, struct why *why)
{
	CLEAN(party_deinit) struct party party = {0};
	CLEAN(samples_deinit) struct samples one = {0};
	CLEAN(samples_deinit) struct samples all = {0};
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = cores > 0 ? (size_t)cores : 1;
	int64_t took_us = 1; /* of the last run */
	enum err e = party_init(&party, w, why);

	if (!e)
		e = run(&one, &took_us, w, &party, 1, why);
	if (!e)
		e = run(&all, &took_us, w, &party, n, why);
	if (e)
		return e;
	*out = json_pack("{s:I,s:o,s:f}", "threads", (json_int_t)n, "handshake_alone", samples_json(&one),
			 "handshakes_per_s", (double)all.n * 1e6 / (double)took_us);
	return *out ? ERR_OK : ERR_NOMEM;
}
