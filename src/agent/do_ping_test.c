/*
 * PingTest: can this host reach that one? One ICMP echo a second, three at most; the answer is awaited without
 * holding anybody up. It needs no program `ping`, and no privileges where the system allows echo sockets
 * (net.ipv4.ping_group_range).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/daemon.h"
#include "base/mem.h"

#define TRIES 3
#define TRY_MS 1000
#define LOOK_MS 20

/* ICMP and ICMPv6 echoes have the same eight bytes. */
struct echo_packet {
	uint8_t type, code;
	uint16_t sum, id, sequence;
	uint8_t payload[16];
};

struct ping {
	struct list in; /* daemon.pings */
	struct daemon *daemon;
	struct agent_command *command;
	struct timer timer;
	int fd;
	bool is_ipv6, is_raw;
	uint16_t id;
	uint8_t payload[16]; /* random: ours are told from others' by it */
	unsigned tries;
	struct mono next_try;
};

static void ping_free(struct ping *p)
{
	list_remove(&p->in);
	timer_stop(p->daemon->world, &p->timer);
	if (p->fd >= 0)
		close(p->fd);
	mem_free(p);
}

void pings_stop(struct daemon *d)
{
	list_for (p, &d->pings, struct ping, in)
		ping_free(p);
}

static void ping_end(struct ping *p, bool result, const char *details)
{
	struct agent_command *c = p->command;

	ping_free(p);
	agent_answer_plain(c, result, details);
}

static uint16_t checksum(const struct echo_packet *e)
{
	uint8_t p[sizeof(*e)];
	uint32_t sum = 0;

	memcpy(p, e, sizeof(p));
	for (size_t i = 0; i < sizeof(p); i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void ping_send(struct ping *p)
{
	struct echo_packet e = {
		.type = p->is_ipv6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO,
		.id = htons(p->id),
		.sequence = htons((uint16_t)++p->tries),
	};

	memcpy(e.payload, p->payload, sizeof(e.payload));
	/* The kernel sums up ICMPv6 itself. */
	if (!p->is_ipv6)
		e.sum = checksum(&e);
	p->next_try = mono_add_ms(world_now(p->daemon->world), TRY_MS);
	/* What can't be sent now may be at the next try; if not, the answer is that there was none. */
	if (send(p->fd, &e, sizeof(e), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_debug(&p->daemon->log, "ping not sent", KV_S("reason", strerror(errno)));
}

static bool is_our_answer(const struct ping *p, const uint8_t *data, size_t n)
{
	struct echo_packet e;
	size_t skip = 0;

	/* A raw socket gives the IPv4 header, too. */
	if (p->is_raw && !p->is_ipv6)
		skip = n ? (size_t)(data[0] & 15) * 4 : 0;
	if (n < skip + sizeof(e))
		return false;
	memcpy(&e, data + skip, sizeof(e));
	return e.type == (p->is_ipv6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY) &&
	       !memcmp(e.payload, p->payload, sizeof(e.payload));
}

static void ping_look(struct timer *t)
{
	struct ping *p = container_of(t, struct ping, timer);
	uint8_t data[512];
	ssize_t n;

	while ((n = recv(p->fd, data, sizeof(data), MSG_DONTWAIT)) >= 0) {
		if (is_our_answer(p, data, (size_t)n)) {
			ping_end(p, true, NULL);
			return;
		}
	}
	if (mono_reached(world_now(p->daemon->world), p->next_try)) {
		if (p->tries == TRIES) {
			ping_end(p, false, "it does not answer pings");
			return;
		}
		ping_send(p);
	}
	timer_set_in(p->daemon->world, t, LOOK_MS);
}

/* ERR_INVALID: no address. */
static enum err ping_open(struct ping *p, const char *ip, struct why *why)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	int protocol, flags = SOCK_CLOEXEC | SOCK_NONBLOCK;

	if (inet_pton(AF_INET6, ip, &v6.sin6_addr) == 1) {
		p->is_ipv6 = true;
	} else if (inet_pton(AF_INET, ip, &v4.sin_addr) != 1) {
		why_set(why, "\"%s\" is no address", ip);
		return ERR_INVALID;
	}
	protocol = p->is_ipv6 ? (int)IPPROTO_ICMPV6 : (int)IPPROTO_ICMP;
	p->fd = socket(p->is_ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | flags, protocol);
	if (p->fd < 0) {
		p->is_raw = true;
		p->fd = socket(p->is_ipv6 ? AF_INET6 : AF_INET, SOCK_RAW | flags, protocol);
	}
	if (p->fd < 0) {
		why_set(why, "this agent may not send pings: %s (see net.ipv4.ping_group_range)", strerror(errno));
		return ERR_IO;
	}
	if (p->is_ipv6 ? connect(p->fd, (struct sockaddr *)&v6, sizeof(v6))
		       : connect(p->fd, (struct sockaddr *)&v4, sizeof(v4))) {
		why_set(why, "no way to %s: %s", ip, strerror(errno));
		return ERR_UNREACHABLE;
	}
	return ERR_OK;
}

void do_ping_test(struct daemon *d, struct agent_command *c)
{
	const struct msg_ping_test *m = c->element->fields;
	struct why why = WHY_NONE;
	struct ping *p;
	enum err e;

	if (str_is_blank(m->_computingHostIp)) {
		agent_answer_plain(c, false, "there are no virtual routers on this host that could ping");
		return;
	}
	p = mem_zalloc(sizeof(*p));
	if (!p) {
		agent_answer_plain(c, false, err_text(ERR_NOMEM));
		return;
	}
	p->daemon = d;
	p->command = c;
	p->fd = -1;
	timer_init(&p->timer, ping_look);
	list_append(&d->pings, &p->in);
	world_entropy(d->world, p->payload, sizeof(p->payload));
	memcpy(&p->id, p->payload, sizeof(p->id));
	e = ping_open(p, m->_computingHostIp, &why);
	if (e) {
		ping_end(p, false, why_text(&why, e));
		return;
	}
	ping_send(p);
	timer_set_in(d->world, &p->timer, LOOK_MS);
}
