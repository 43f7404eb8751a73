/*
 * The simulated world by itself: links over its streams and TLS, its files and
 * its deaths.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/link.h"
#include "sim/sim.h"

#define SECOND 1000000LL

/* ---- two machines and a link between them ---- */

struct side {
	struct sim_node *node;
	struct tls_creds *creds;
	struct listener *listener;
	struct link *link;
	unsigned ups, messages, closes;
	size_t bytes;
	enum err why;
	char sentence[128];
	bool echo;
};

struct pair {
	struct sim *sim;
	struct side server, client;
};

static void on_up(struct link *l, void *user)
{
	struct side *d = user;

	d->ups++;
}

static void on_message(struct link *l, void *user, const struct header *h, const char *body, size_t n)
{
	struct side *d = user;

	d->messages++;
	d->bytes += n;
	if (d->echo) {
		struct header copy = {.seq = h->seq};

		assert_int_equal(link_send(l, &copy, body, n), ERR_OK);
	}
}

static void on_closed(struct link *l, void *user, enum err why, const char *sentence)
{
	struct side *d = user;

	d->closes++;
	d->why = why;
	d->link = NULL;
	strncpy(d->sentence, sentence, sizeof(d->sentence) - 1);
}

static const struct link_events events = {.up = on_up, .message = on_message, .closed = on_closed};

static void accepted(void *user, struct stream *take_s)
{
	struct side *d = user;
	struct link_params p = {
		.world = take_s->world,
		.tls = {.profile = TLS_SERVER, .creds = d->creds, .require_cert = true, .wall_s = 1},
		.offload = true,
		.message_limit = LINK_MESSAGE_LIMIT,
		.events = &events,
		.user = d,
	};

	assert_int_equal(link_accept(&d->link, &p, take_s), ERR_OK);
}

static void died(void *user, enum sim_death how)
{
	struct side *d = user;

	d->listener = listener_free(d->listener);
	d->link = link_close(d->link);
	d->creds = tls_creds_unref(d->creds);
}

static void side_start(struct sim *s, struct side *d, const char *name, const char *ip, const char *cert)
{
	struct sim_node_params p = {.name = name, .ip = ip, .crypto_threads = 2, .died = died, .user = d};
	struct tls_material m = {.chain = cert, .key = "-", .ca = "sim-ca"};
	struct world *w;

	if (!d->node)
		assert_int_equal(sim_node_new(s, &d->node, &p), ERR_OK);
	w = sim_node_start(d->node);
	assert_int_equal(tls_creds_new(w, &d->creds, &m, NULL), ERR_OK);
}

static void server_listen(struct pair *p)
{
	struct listen_params l = {.ip = "", .port = 8250, .accepted = accepted, .user = &p->server};

	sim_enter(p->server.node);
	assert_int_equal(world_listen(sim_node_world(p->server.node), &p->server.listener, &l, NULL), ERR_OK);
	sim_leave(p->server.node);
}

static void client_dial(struct pair *p, enum tls_profile profile, const char *to)
{
	struct link_params l = {
		.world = sim_node_world(p->client.node),
		.tls = {.profile = profile, .creds = p->client.creds, .wall_s = 1},
		.message_limit = LINK_MESSAGE_LIMIT,
		.events = &events,
		.user = &p->client,
	};

	sim_enter(p->client.node);
	assert_int_equal(link_dial(&p->client.link, &l, to, 8250, NULL, NULL), ERR_OK);
	sim_leave(p->client.node);
}

static void pair_start(struct pair *p, uint64_t seed)
{
	struct sim_params s = {.seed = seed};

	*p = (struct pair){0};
	assert_int_equal(sim_new(&p->sim, &s), ERR_OK);
	side_start(p->sim, &p->server, "server", "10.0.0.1", "sim-certificate role=server id=s1 serial=1");
	side_start(p->sim, &p->client, "client", "10.0.0.2", "sim-certificate role=agent id=c1 serial=2");
	server_listen(p);
}

static void pair_end(struct pair *p)
{
	assert_null(sim_failure(p->sim));
	sim_node_kill(p->server.node, SIM_KILLED);
	sim_node_kill(p->client.node, SIM_KILLED);
	sim_free(p->sim);
}

static void send_bytes(struct side *d, size_t n)
{
	struct header h = {.seq = 1};
	char *body = mem_zalloc(n + 1);

	memset(body, 'x', n);
	sim_enter(d->node);
	assert_int_equal(link_send(d->link, &h, body, n), ERR_OK);
	sim_leave(d->node);
	mem_free(body);
}

/* ---- tests ---- */

static void links_talk(void **state)
{
	static const enum tls_profile profiles[] = {TLS_CLIENT_MUSTER, TLS_CLIENT_UNKNOWN, TLS_CLIENT_COMPAT};

	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++) {
		struct pair p;

		pair_start(&p, i);
		p.server.echo = true;
		sim_network(p.sim)->loss_ppm = 50000;
		sim_network(p.sim)->split_ppm = 500000;
		client_dial(&p, profiles[i], i ? "server" : "10.0.0.1");
		sim_run(p.sim, 8 * SECOND);
		assert_int_equal(p.client.ups, 1);
		assert_int_equal(p.server.ups, 1);
		assert_string_equal(link_peer(p.client.link)->cert.id, "s1");
		assert_string_equal(link_peer(p.server.link)->cert.id, "c1");
		assert_int_equal(link_is_muster(p.server.link), i < 2);
		for (int n = 0; n < 20; n++)
			send_bytes(&p.client, 100000);
		sim_run(p.sim, 60 * SECOND);
		assert_int_equal(p.client.messages, 20);
		assert_int_equal(p.client.bytes, 2000000);
		pair_end(&p);
	}
}

static void a_stopped_reader_holds_bytes_back_and_gets_them_later(void **state)
{
	struct pair p;

	pair_start(&p, 5);
	client_dial(&p, TLS_CLIENT_MUSTER, "10.0.0.1");
	sim_run(p.sim, SECOND);
	sim_node_freeze(p.server.node, true);
	for (int i = 0; i < 30; i++)
		send_bytes(&p.client, 1000000);
	sim_run(p.sim, 3 * SECOND);
	assert_true(link_queued(p.client.link) < 32u * 1024 * 1024);
	assert_int_equal(p.server.messages, 0);
	sim_node_freeze(p.server.node, false);
	sim_run(p.sim, 10 * SECOND);
	assert_int_equal(p.server.messages, 30);
	assert_int_equal(link_queued(p.client.link), 0);
	pair_end(&p);
}

static void ends_are_noticed(void **state)
{
	enum { KILL, POWER, POWER_SHORT, CUT, ONE_WAY, REFUSED, NO_NAME, NO_ROUTE, N };
	static const struct {
		const char *what;
		enum err why;
		int64_t after_us, before_us;
	} rows[N] = {
		[KILL] = {"a kill at once", ERR_CLOSED, 0, SECOND / 100},
		[POWER] = {"a power loss by silence", ERR_TIMEOUT, 3 * SECOND, 6 * SECOND},
		[POWER_SHORT] = {"a machine that is back, by its reset", ERR_CLOSED, 2 * SECOND, 4 * SECOND},
		[CUT] = {"a cut by silence", ERR_TIMEOUT, 3 * SECOND, 6 * SECOND},
		[ONE_WAY] = {"a cut one way too", ERR_TIMEOUT, 3 * SECOND, 6 * SECOND},
		[REFUSED] = {"a refused port", ERR_UNREACHABLE, 0, SECOND},
		[NO_NAME] = {"a name that nobody has", ERR_NO_NAME, 0, SECOND},
		[NO_ROUTE] = {"an address that nobody has", ERR_UNREACHABLE, SECOND, 6 * SECOND},
	};

	for (int i = 0; i < N; i++) {
		struct pair p;
		int64_t begun;

		print_message("%s\n", rows[i].what);
		pair_start(&p, 11);
		if (i < REFUSED) {
			client_dial(&p, TLS_CLIENT_MUSTER, "10.0.0.1");
			sim_run(p.sim, SECOND);
			assert_int_equal(p.client.ups, 1);
		}
		begun = sim_now_us(p.sim);
		if (i == KILL)
			sim_node_kill(p.server.node, SIM_KILLED);
		if (i == POWER || i == POWER_SHORT)
			sim_node_kill(p.server.node, SIM_POWER_LOST);
		if (i == CUT || i == ONE_WAY)
			sim_cut(p.sim, p.server.node, p.client.node, true);
		if (i == CUT)
			sim_cut(p.sim, p.client.node, p.server.node, true);
		if (i == POWER_SHORT) {
			sim_run(p.sim, begun + 2 * SECOND);
			side_start(p.sim, &p.server, "server", "", "sim-certificate role=server id=s serial=1");
		}
		if (i == REFUSED) {
			sim_node_kill(p.server.node, SIM_KILLED);
			client_dial(&p, TLS_CLIENT_MUSTER, "10.0.0.1");
		}
		if (i == NO_NAME)
			client_dial(&p, TLS_CLIENT_MUSTER, "nobody");
		if (i == NO_ROUTE)
			client_dial(&p, TLS_CLIENT_MUSTER, "10.9.9.9");
		while (!p.client.closes && sim_step(p.sim, begun + 100 * SECOND))
			;
		assert_int_equal(p.client.closes, 1);
		assert_int_equal(p.client.why, rows[i].why);
		assert_true(sim_now_us(p.sim) - begun >= rows[i].after_us);
		assert_true(sim_now_us(p.sim) - begun <= rows[i].before_us);
		sim_heal(p.sim);
		sim_run(p.sim, begun + 200 * SECOND);
		assert_int_equal(sim_connections(p.sim), 0);
		pair_end(&p);
	}
}

/* Whatever the step at which it dies: the old content or the new one. */
static void a_replaced_file_is_old_or_new(void **state)
{
	unsigned olds = 0, news = 0;

	for (uint64_t seed = 0; seed < 40; seed++) {
		for (int64_t at = 0; at < 8; at++) {
			struct sim_params sp = {.seed = seed};
			struct sim_node_params np = {.name = "a", .ip = "10.0.0.1"};
			struct buf text = {0};
			struct sim_node *n;
			struct world *w;
			struct sim *s;
			enum err e;

			assert_int_equal(sim_new(&s, &sp), ERR_OK);
			assert_int_equal(sim_node_new(s, &n, &np), ERR_OK);
			assert_int_equal(sim_file_put(n, "/etc/x", "the old content"), ERR_OK);
			w = sim_node_start(n);
			sim_disk_dies_at(n, at, seed % 2 ? SIM_POWER_LOST : SIM_KILLED);
			e = file_replace(w->fs, "/etc/x", 0600, "the new content, longer", 23, NULL);
			sim_run(s, SECOND);
			assert_int_equal(sim_file_get(n, "/etc/x", &text), ERR_OK);
			if (str_equal(buf_str(&text), "the new content, longer"))
				news++;
			else if (str_equal(buf_str(&text), "the old content"))
				olds++;
			else
				fail_msg("seed %llu, step %lld: %s", (unsigned long long)seed, (long long)at,
					 buf_str(&text));
			if (e == ERR_OK)
				assert_string_equal(buf_str(&text), "the new content, longer");
			buf_deinit(&text);
			sim_node_kill(n, SIM_POWER_LOST);
			sim_free(s);
		}
	}
	assert_true(olds > 50 && news > 50);
}

static uint64_t hash_of(uint64_t seed)
{
	struct pair p;
	uint64_t hash;

	pair_start(&p, seed);
	p.server.echo = true;
	sim_network(p.sim)->loss_ppm = 100000;
	client_dial(&p, TLS_CLIENT_UNKNOWN, "server");
	sim_run(p.sim, 8 * SECOND);
	send_bytes(&p.client, 1000);
	sim_run(p.sim, 20 * SECOND);
	hash = sim_hash(p.sim);
	pair_end(&p);
	return hash;
}

static void the_same_seed_gives_the_same_history(void **state)
{
	assert_true(hash_of(1) == hash_of(1));
	assert_true(hash_of(1) != hash_of(2));
}

static void a_handshake_that_goes_wrong_ends(void **state)
{
	for (uint64_t seed = 0; seed < 30; seed++) {
		struct pair p;

		pair_start(&p, seed);
		sim_network(p.sim)->tls_bad_ppm = 400000;
		client_dial(&p, TLS_CLIENT_UNKNOWN, "server");
		sim_run(p.sim, 30 * SECOND);
		assert_true((p.client.ups && p.client.link) || p.client.closes == 1);
		p.client.link = link_close(p.client.link);
		sim_run(p.sim, 60 * SECOND);
		assert_null(p.server.link);
		assert_int_equal(sim_connections(p.sim), 0);
		pair_end(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(links_talk),
		cmocka_unit_test(a_stopped_reader_holds_bytes_back_and_gets_them_later),
		cmocka_unit_test(ends_are_noticed),
		cmocka_unit_test(a_replaced_file_is_old_or_new),
		cmocka_unit_test(the_same_seed_gives_the_same_history),
		cmocka_unit_test(a_handshake_that_goes_wrong_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
