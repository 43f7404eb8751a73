/*
 * What a heartbeat costs: links over TCP and TLS 1.3 on loopback that say nothing else, both ends in this process,
 * beside the floor of the bare system calls for as many bytes. CPU time, system included, for one heartbeat sent and
 * one received: what a server pays for each link and interval. Prints figures, asserts nothing.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/link.h"
#include "net/world_uv.h"

#define PAIRS 500
#define INTERVAL_MS 100
#define MEASURE_MS 5000
#define RECORD 28 /* bytes of a heartbeat on the wire: packet header, TLS 1.3 record of one byte */
#define ROUNDS 50
#define DAY_S 86400

static void must(enum err e, const struct why *why)
{
	if (e) {
		fprintf(stderr, "bench_heartbeat: %s\n", why_text(why, e));
		exit(1);
	}
}

static void must_sys(int rc, const char *what)
{
	if (rc < 0) {
		perror(what);
		exit(1);
	}
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* ---- the floor ---- */

static void pair_make(int ends[2], int listener, const struct sockaddr_in *at)
{
	ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must_sys(ends[0], "socket");
	must_sys(connect(ends[0], (const struct sockaddr *)at, sizeof(*at)), "connect");
	ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	must_sys(ends[1], "accept");
}

static double floor_us(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	static int ends[PAIRS][2];
	struct epoll_event events[64];
	char bytes[65536] = {0};
	double start;

	must_sys(bind(listener, (struct sockaddr *)&at, n), "bind");
	must_sys(getsockname(listener, (struct sockaddr *)&at, &n), "getsockname");
	must_sys(listen(listener, 16), "listen");
	for (size_t i = 0; i < PAIRS; i++) {
		pair_make(ends[i], listener, &at);
		for (size_t k = 0; k < 2; k++) {
			struct epoll_event e = {.events = EPOLLIN, .data.fd = ends[i][k]};

			must_sys(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[i][k], &e), "epoll_ctl");
		}
	}
	start = cpu_seconds();
	for (int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < 2 * PAIRS; i++)
			must_sys((int)write(ends[i / 2][i % 2], bytes, RECORD), "write");
		for (int got = 0; got < 2 * PAIRS;) {
			int ready = epoll_wait(epoll, events, 64, 1000);

			must_sys(ready, "epoll_wait");
			for (int i = 0; i < ready; i++)
				must_sys((int)read(events[i].data.fd, bytes, sizeof(bytes)), "read");
			got += ready;
		}
	}
	start = (cpu_seconds() - start) * 1e6 / (2.0 * PAIRS * ROUNDS);
	for (size_t i = 0; i < 2 * PAIRS; i++)
		close(ends[i / 2][i % 2]);
	close(epoll);
	close(listener);
	return start;
}

/* ---- links ---- */

struct bench {
	struct world *world;
	struct tls_creds *server_creds, *client_creds;
	struct link *links[2 * PAIRS];
	size_t n, n_up;
	struct timer timer;
	bool over;
};

static void on_up(struct link *l, void *user)
{
	struct bench *b = user;

	b->n_up++;
	link_set_heartbeat(l, INTERVAL_MS);
}

static void on_closed(struct link *l, void *user, enum err why, const char *sentence)
{
	fprintf(stderr, "bench_heartbeat: a link ended: %s\n", sentence);
	exit(1);
}

static const struct link_events events = {.up = on_up, .closed = on_closed};

static struct link_params params(struct bench *b, enum tls_profile profile, struct tls_creds *creds)
{
	return (struct link_params){
		.world = b->world,
		.tls = {.profile = profile,
			.creds = creds,
			.require_cert = true,
			.wall_s = world_wall_ms(b->world) / 1000},
		.handshake_ms = 60000,
		.offload = true,
		.events = &events,
		.user = b,
	};
}

static void on_accepted(void *user, struct stream *take_stream)
{
	struct bench *b = user;
	struct link_params p = params(b, TLS_SERVER, b->server_creds);

	must(link_accept(&b->links[b->n++], &p, take_stream), NULL);
}

static void on_timer(struct timer *t)
{
	container_of(t, struct bench, timer)->over = true;
}

static void run_for(struct bench *b, int64_t ms)
{
	b->over = false;
	timer_init(&b->timer, on_timer);
	timer_set_in(b->world, &b->timer, ms);
	while (!b->over)
		world_uv_turn(b->world);
}

static struct tls_creds *creds_new(struct bench *b, const char *ca, const char *ca_key, enum cert_role role,
				   uint8_t serial)
{
	int64_t now_s = world_wall_ms(b->world) / 1000;
	struct cert_params p = {
		.ca_cert_pem = ca,
		.ca_key_pem = ca_key,
		.common_name = "bench",
		.role = role,
		.id = "bench",
		.not_before_s = now_s - DAY_S,
		.not_after_s = now_s + DAY_S,
		.serial = {1, serial},
	};
	struct tls_creds *creds = NULL;
	struct why why = WHY_NONE;
	char *key = NULL, *cert = NULL;

	must(key_new(&key, KEY_EC_P256, &why), &why);
	p.key_pem = key;
	must(cert_new(&cert, &p, &why), &why);
	must(tls_creds_new(b->world, &creds, &(struct tls_material){.chain = cert, .key = key, .ca = ca}, &why), &why);
	mem_free(cert);
	key_free(key);
	return creds;
}

static void credentials(struct bench *b)
{
	int64_t now_s = world_wall_ms(b->world) / 1000;
	struct cert_params p = {.common_name = "root",
				.is_ca = true,
				.not_before_s = now_s - DAY_S,
				.not_after_s = now_s + DAY_S,
				.serial = {1}};
	struct why why = WHY_NONE;
	char *key = NULL, *cert = NULL;

	must(key_new(&key, KEY_EC_P256, &why), &why);
	p.key_pem = key;
	p.ca_key_pem = key;
	must(cert_new(&cert, &p, &why), &why);
	b->server_creds = creds_new(b, cert, key, CERT_ROLE_SERVER, 1);
	b->client_creds = creds_new(b, cert, key, CERT_ROLE_AGENT, 2);
	mem_free(cert);
	key_free(key);
}

static double heartbeat_us(void)
{
	static struct bench b;
	struct why why = WHY_NONE;
	struct listener *listener = NULL;
	struct listen_params listen_p = {.ip = "127.0.0.1", .backlog = PAIRS, .accepted = on_accepted, .user = &b};
	double start;

	must(world_uv_new(&b.world, &why), &why);
	credentials(&b);
	must(world_listen(b.world, &listener, &listen_p, &why), &why);
	for (size_t i = 0; i < PAIRS; i++) {
		struct link_params p = params(&b, TLS_CLIENT_MUSTER, b.client_creds);

		must(link_dial(&b.links[b.n++], &p, "127.0.0.1", listener_port(listener), NULL, &why), &why);
		while (b.n_up < 2 * (i + 1))
			world_uv_turn(b.world);
	}
	run_for(&b, 1000);
	start = cpu_seconds();
	run_for(&b, MEASURE_MS);
	start = cpu_seconds() - start;
	for (size_t i = 0; i < b.n; i++)
		link_close(b.links[i]);
	listener_free(listener);
	tls_creds_unref(b.server_creds);
	tls_creds_unref(b.client_creds);
	b.world = world_uv_free(b.world);
	return start * 1e6 / (2.0 * PAIRS * MEASURE_MS / INTERVAL_MS);
}

int main(void)
{
	double floor = floor_us(), cost = heartbeat_us();

	printf("%-34s %6.2f us\n", "floor: write, epoll, read", floor);
	printf("%-34s %6.2f us   %4.1f x the floor\n", "a heartbeat, sent and received", cost, cost / floor);
	printf("at 5 %% of a core that is %.0f links at an interval of 1 s\n", 50000 / cost);
	return 0;
}
