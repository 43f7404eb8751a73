/*
 * What bench_storm.py puts on a server, one kind a process, so that none measures another's work:
 *
 *   ping        one agent that is there: its ping's round trip, every 5 ms
 *   handshakes  good clients: from the dial until TLS is complete; --at-once so many at a time, or one every --every-ms
 *   hostile     --n connections, a third each: silent, one byte a second of a hello, garbage; whoever is closed comes
 *               again after 5 s
 *   floor       TLS handshakes between two sessions in memory, one thread; and the round trip of a byte over loopback
 *
 * All write one line of JSON when they end: after --seconds, or after --n handshakes. `hostile` writes "there" once all
 * have been connected, and ends with its input.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "net/link.h"
#include "net/world_uv.h"
#include "wire/message.h"

#define PORT 8250
#define PING_MS 5
#define AGAIN_MS 5000

static struct options {
	const char *server, *cert, *key, *ca, *guid;
	const char *source; /* the first two numbers, "127.3": the rest is spread */
	int64_t n, at_once, every_ms, seconds;
} o = {.n = 1000, .at_once = 0, .every_ms = 20, .seconds = 10};

static struct world *world;
static struct tls_creds *creds;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "storm_load: %s: %s\n", what, why);
	exit(1);
}

static void must(enum err e, const struct why *why, const char *what)
{
	if (e)
		die(what, why ? why_text(why, e) : err_text(e));
}

/* Thread clocks of the loop are read once a turn; what is measured here is not. */
static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- samples ---- */

static int64_t *samples;
static size_t n_samples, cap_samples;

static void sample(int64_t us)
{
	if (n_samples == cap_samples) {
		cap_samples = cap_samples ? 2 * cap_samples : 4096;
		samples = realloc(samples, cap_samples * sizeof(*samples));
		if (!samples)
			die("samples", "out of memory");
	}
	samples[n_samples++] = us;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static double quantile_ms(double q)
{
	size_t i = (size_t)(q * (double)n_samples);

	return n_samples ? (double)samples[i < n_samples ? i : n_samples - 1] / 1000 : 0;
}

static void report(size_t n_failed, double seconds)
{
	qsort(samples, n_samples, sizeof(*samples), by_value);
	printf("{\"n\":%zu,\"failed\":%zu,\"seconds\":%.2f,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f}\n",
	       n_samples, n_failed, seconds, quantile_ms(0.5), quantile_ms(0.9), quantile_ms(0.99), quantile_ms(1));
	fflush(stdout);
}

static char *file_text(const char *path)
{
	struct buf b = {0};
	struct why why = WHY_NONE;

	must(file_read(&fs_posix, path, 1 << 20, &b, &why), &why, path);
	return buf_take_str(&b);
}

static void world_up(void)
{
	struct why why = WHY_NONE;

	must(world_uv_new(&world, &why), &why, "world");
	if (!o.cert)
		return;
	must(tls_creds_new(
		     world, &creds,
		     &(struct tls_material){.chain = file_text(o.cert), .key = file_text(o.key), .ca = file_text(o.ca)},
		     &why),
	     &why, "credentials");
}

/* 250 addresses, so that no limit by address is met. */
static void source_ip(char *ip, size_t size, int64_t number)
{
	snprintf(ip, size, "%s.%d.%d", o.source, (int)(number / 25 % 10) + 1, (int)(number % 25) + 1);
}

static struct link_params params(const struct link_events *events, void *user)
{
	return (struct link_params){
		.world = world,
		.tls = {.profile = TLS_CLIENT_MUSTER, .creds = creds, .wall_s = world_wall_ms(world) / 1000},
		.connect_ms = 60000,
		.handshake_ms = 60000,
		.offload = true,
		.message_limit = LINK_MESSAGE_LIMIT,
		.events = events,
		.user = user,
	};
}

static struct timer stop_timer;

static void on_stop(struct timer *t)
{
	world_uv_stop(world);
}

static void stop_in(int64_t ms)
{
	timer_init(&stop_timer, on_stop);
	timer_set_in(world, &stop_timer, ms);
}

/* ---- ping ---- */

static struct agent {
	struct link *link;
	struct timer next;
	int64_t seq, sent_us, asked;
	bool is_up;
} agent;

static void agent_send(struct header *h, struct batch *b)
{
	struct buf body = {0};

	must(batch_encode(b, &body), NULL, "encode");
	must(link_send(agent.link, h, (const char *)body.data, body.len), NULL, "send");
	buf_deinit(&body);
	batch_deinit(b);
}

static struct header request(void)
{
	return (struct header){.flags = FLAG_REQUEST | FLAG_STOP_ON_ERROR,
			       .seq = ++agent.seq,
			       .mgmt_id = -1,
			       .agent_id = -1,
			       .via = -1};
}

static void agent_up(struct link *l, void *user)
{
	struct header h = request();
	struct batch b = {0};
	struct msg_startup_routing *m = batch_add(&b, MSG_STARTUP_ROUTING);
	char guid[200];

	snprintf(guid, sizeof(guid), "%s-Storm", o.guid);
	if (!m || msg_set_text(&m->startup.guid, guid) || msg_set_text(&m->startup.resourceName, "Storm") ||
	    msg_set_text(&m->startup.name, "established") || msg_set_text(&m->startup.musterBoot, "storm"))
		die("startup", "out of memory");
	msg_set_i64(&m->startup.musterLink, 1);
	link_set_heartbeat(l, 1000);
	agent_send(&h, &b);
}

static void ping(struct timer *t)
{
	struct header h = request();
	struct batch b = {0};

	if (!batch_add(&b, MSG_PING))
		die("ping", "out of memory");
	agent.asked = h.seq;
	agent.sent_us = now_us();
	agent_send(&h, &b);
}

static void answer(const struct header *asked, enum msg_type type)
{
	struct header h = header_answer(asked);
	struct batch b = {0};
	void *fields = batch_add(&b, type);

	if (!fields)
		die("answer", "out of memory");
	if (type == MSG_READY_ANSWER)
		msg_set_bool(&((struct msg_ready_answer *)fields)->result, true);
	else
		msg_set_bool(&((struct msg_setup_ms_list_answer *)fields)->result, true);
	agent_send(&h, &b);
}

static void agent_message(struct link *l, void *user, const struct header *h, const char *body, size_t n)
{
	struct batch b = {0};
	enum msg_type type;

	must(batch_decode(&b, body, n, NULL), NULL, "decode");
	type = b.n ? b.elements[0].type : MSG_UNKNOWN;
	batch_deinit(&b);
	if (h->flags & FLAG_REQUEST) {
		if (type == MSG_READY)
			answer(h, MSG_READY_ANSWER);
		else if (type == MSG_SETUP_MS_LIST)
			answer(h, MSG_SETUP_MS_LIST_ANSWER);
		if (type == MSG_READY && !agent.is_up) {
			agent.is_up = true;
			puts("there");
			fflush(stdout);
			stop_in(o.seconds * 1000);
			timer_set_in(world, &agent.next, PING_MS);
		}
	} else if (h->seq == agent.asked) {
		sample(now_us() - agent.sent_us);
		timer_set_in(world, &agent.next, PING_MS);
	}
}

static void agent_closed(struct link *l, void *user, enum err why, const char *sentence)
{
	die("the established agent has lost its link", sentence);
}

static int run_ping(void)
{
	static const struct link_events events = {.up = agent_up, .message = agent_message, .closed = agent_closed};
	struct link_params p = params(&events, NULL);
	struct why why = WHY_NONE;
	int64_t start = now_us();

	timer_init(&agent.next, ping);
	must(link_dial(&agent.link, &p, o.server, PORT, NULL, &why), &why, "dial");
	world_uv_run(world);
	report(0, (double)(now_us() - start) / 1e6);
	return 0;
}

/* ---- handshakes ---- */

struct client {
	struct link *link;
	int64_t begun_us;
	struct later again;
};

static struct storm {
	int64_t n_begun, n_done, n_failed;
	struct timer next;
	char problem[200];
} storm;

static void client_start(struct client *c);

static void client_done(struct client *c)
{
	storm.n_done++;
	if (storm.n_done + storm.n_failed >= o.n)
		world_uv_stop(world);
	else if (o.at_once && storm.n_begun < o.n)
		world_later(world, &c->again);
	else if (!o.at_once)
		mem_free(c);
}

static void client_up(struct link *l, void *user)
{
	struct client *c = user;

	sample(now_us() - c->begun_us);
	link_close(l);
	client_done(c);
}

static void client_message(struct link *l, void *user, const struct header *h, const char *body, size_t n)
{
}

static void client_closed(struct link *l, void *user, enum err why, const char *sentence)
{
	struct client *c = user;

	snprintf(storm.problem, sizeof(storm.problem), "%s", sentence);
	storm.n_failed++;
	storm.n_done--;
	client_done(c);
}

static void client_again(struct later *l)
{
	client_start(container_of(l, struct client, again));
}

static void client_start(struct client *c)
{
	static const struct link_events events = {.up = client_up, .message = client_message, .closed = client_closed};
	struct link_params p = params(&events, c);
	struct why why = WHY_NONE;
	char ip[64];

	list_init(&c->again.queued);
	c->again.call = client_again;
	source_ip(ip, sizeof(ip), storm.n_begun++);
	c->begun_us = now_us();
	must(link_dial(&c->link, &p, o.server, PORT, ip, &why), &why, "dial");
}

static struct client *client_new(void)
{
	struct client *c = mem_zalloc(sizeof(*c));

	if (!c)
		die("client", "out of memory");
	client_start(c);
	return c;
}

static void paced(struct timer *t)
{
	if (storm.n_begun >= o.n)
		return;
	client_new();
	timer_set_in(world, t, o.every_ms);
}

static int run_handshakes(void)
{
	int64_t start = now_us();

	timer_init(&storm.next, paced);
	if (o.at_once)
		for (int64_t i = 0; i < o.at_once && i < o.n; i++)
			client_new();
	else
		timer_set_in(world, &storm.next, 0);
	world_uv_run(world);
	if (storm.n_failed)
		fprintf(stderr, "storm_load: %" PRId64 " failed, the last: %s\n", storm.n_failed, storm.problem);
	report((size_t)storm.n_failed, (double)(now_us() - start) / 1e6);
	return 0;
}

/* ---- hostile ---- */

struct rude {
	struct stream *stream;
	struct timer timer;
	int64_t number;
	size_t at;
	bool was_there;
};

static int64_t n_there, n_closed;

static const uint8_t half_hello[512] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3};

static void rude_start(struct rude *r);

static void rude_tick(struct timer *t)
{
	struct rude *r = container_of(t, struct rude, timer);

	if (!r->stream) {
		rude_start(r);
		return;
	}
	if (stream_write(r->stream, &half_hello[r->at++ % sizeof(half_hello)], 1) == ERR_OK)
		timer_set_in(world, &r->timer, 1000);
}

static void rude_connected(void *user)
{
	struct rude *r = user;

	if (!r->was_there && ++n_there == o.n) {
		puts("there");
		fflush(stdout);
	}
	r->was_there = true;
	r->at = 0;
	if (r->number % 3 == 1)
		timer_set_in(world, &r->timer, 1000);
	else if (r->number % 3 == 2 && stream_write(r->stream, "GET / HTTP/1.0\r\n\r\n", 18) != ERR_OK)
		return; /* ended() follows */
}

static void rude_data(void *user, const uint8_t *p, size_t n)
{
}

static void rude_ended(void *user, enum err why, const char *sentence)
{
	struct rude *r = user;

	r->stream = NULL;
	n_closed++;
	timer_set_in(world, &r->timer, AGAIN_MS);
}

static void rude_start(struct rude *r)
{
	static const struct stream_events events = {
		.connected = rude_connected, .data = rude_data, .ended = rude_ended};
	struct why why = WHY_NONE;
	char ip[64];

	source_ip(ip, sizeof(ip), r->number);
	if (stream_connect(world, &r->stream, o.server, PORT, ip, &events, r, &why) != ERR_OK)
		timer_set_in(world, &r->timer, AGAIN_MS);
}

static struct timer begin_timer;
static struct rude *rudes;
static int64_t n_begun;

/* A thousand each second: the load itself must not be the measurement. */
static void begin_some(struct timer *t)
{
	for (int i = 0; i < 20 && n_begun < o.n; i++, n_begun++) {
		rudes[n_begun].number = n_begun;
		timer_init(&rudes[n_begun].timer, rude_tick);
		rude_start(&rudes[n_begun]);
	}
	if (n_begun < o.n)
		timer_set_in(world, t, 20);
}

static struct timer input_timer;

static void look_at_input(struct timer *t)
{
	struct pollfd p = {.fd = 0, .events = POLLIN};
	char c;

	if (poll(&p, 1, 0) > 0 && read(0, &c, 1) <= 0)
		world_uv_stop(world);
	timer_set_in(world, t, 100);
}

static int run_hostile(void)
{
	int64_t start = now_us();

	rudes = mem_zalloc_array((size_t)o.n, sizeof(*rudes));
	if (!rudes)
		die("hostile", "out of memory");
	timer_init(&begin_timer, begin_some);
	timer_init(&input_timer, look_at_input);
	timer_set_in(world, &begin_timer, 0);
	timer_set_in(world, &input_timer, 100);
	world_uv_run(world);
	printf("{\"there\":%" PRId64 ",\"closed\":%" PRId64 ",\"seconds\":%.2f}\n", n_there, n_closed,
	       (double)(now_us() - start) / 1e6);
	return 0;
}

/* ---- floor ---- */

static void in_memory(void)
{
	struct tls_params s = {.profile = TLS_SERVER, .creds = creds, .wall_s = world_wall_ms(world) / 1000};
	struct tls_params c = {.profile = TLS_CLIENT_JOIN, .creds = creds, .wall_s = s.wall_s, .pin = "00"};
	struct tls *server, *client;
	struct buf to_server = {0}, to_client = {0};
	struct why why = WHY_NONE;
	enum err e = ERR_OK;

	/* The client knows no such CA and fails at the end, when all signatures are made and checked. */
	must(tls_new(&server, &s, &why), &why, "session");
	must(tls_new(&client, &c, &why), &why, "session");
	tls_handshake(client, &to_client, &to_server, &e, &why);
	tls_handshake(server, &to_server, &to_client, &e, &why);
	tls_handshake(client, &to_client, &to_server, &e, &why);
	tls_free(server);
	tls_free(client);
	buf_deinit(&to_server);
	buf_deinit(&to_client);
}

static void echo_over_loopback(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0), out = socket(AF_INET, SOCK_STREAM, 0), in;
	char c = 'x';

	if (bind(listener, (struct sockaddr *)&a, n) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&a, &n) || connect(out, (struct sockaddr *)&a, n))
		die("floor", "no loopback");
	in = accept(listener, NULL, NULL);
	if (fork() == 0) {
		close(out); /* or it would never see the end */
		while (read(in, &c, 1) == 1 && write(in, &c, 1) == 1)
			continue;
		_exit(0);
	}
	close(in);
	for (int i = 0; i < 2000; i++) {
		int64_t start = now_us();

		if (write(out, &c, 1) != 1 || read(out, &c, 1) != 1)
			die("floor", "no echo");
		sample(now_us() - start);
	}
	close(out);
}

static int run_floor(void)
{
	int64_t start = now_us();
	const int n = 300;

	for (int i = 0; i < n; i++)
		in_memory();
	printf("{\"handshake_ms\":%.3f}\n", (double)(now_us() - start) / 1000 / n);
	start = now_us();
	fflush(stdout);
	echo_over_loopback();
	report(0, (double)(now_us() - start) / 1e6);
	return 0;
}

/* ---- main ---- */

static int64_t number(const char *text)
{
	int64_t n;

	if (!str_to_i64(text, &n) || n < 0)
		die("not a number", text);
	return n;
}

static void read_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"server", 1, NULL, 's'},  {"source", 1, NULL, 'f'},  {"cert", 1, NULL, 'c'},
		{"key", 1, NULL, 'k'},     {"ca", 1, NULL, 'a'},      {"guid", 1, NULL, 'g'},
		{"n", 1, NULL, 'n'},       {"at-once", 1, NULL, 'o'}, {"every-ms", 1, NULL, 'e'},
		{"seconds", 1, NULL, 't'}, {NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 's':
			o.server = optarg;
			break;
		case 'f':
			o.source = optarg;
			break;
		case 'c':
			o.cert = optarg;
			break;
		case 'k':
			o.key = optarg;
			break;
		case 'a':
			o.ca = optarg;
			break;
		case 'g':
			o.guid = optarg;
			break;
		case 'n':
			o.n = number(optarg);
			break;
		case 'o':
			o.at_once = number(optarg);
			break;
		case 'e':
			o.every_ms = number(optarg);
			break;
		case 't':
			o.seconds = number(optarg);
			break;
		default:
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} kinds[] = {
		{"ping", run_ping}, {"handshakes", run_handshakes}, {"hostile", run_hostile}, {"floor", run_floor}};
	struct rlimit files;

	read_options(argc, argv);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	world_up();
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (optind < argc && str_equal(argv[optind], kinds[i].name))
			return kinds[i].run();
	fprintf(stderr, "usage: storm_load ping|handshakes|hostile|floor --server IP ...\n");
	return 2;
}
