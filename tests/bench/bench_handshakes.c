/*
 * TLS handshakes a second on one core, both ends in memory: full and resumed ones through net/tls.h, beside the floor
 * of GnuTLS alone, which verifies nobody. Prints figures, asserts nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <gnutls/gnutls.h>

#include "base/mem.h"
#include "net/tls_gnutls.h"
#include "pki/cert.h"

#define WALL_S 1800000000
#define YEAR_S 31536000
#define SECONDS 2.0

struct party {
	char *cert, *key;
};

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* of ours alone: the machine may be busy */
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "bench_handshakes: %s\n", what);
		exit(1);
	}
}

static struct party party_make(const struct party *ca, enum cert_role role, const char *name, uint8_t serial)
{
	struct party p = {0};
	struct cert_params c = {.common_name = name,
				.is_ca = !ca,
				.role = role,
				.id = ca ? name : NULL,
				.not_before_s = WALL_S - YEAR_S,
				.not_after_s = WALL_S + YEAR_S,
				.serial = {1, serial}};

	must(key_new(&p.key, KEY_EC_P256, NULL) == ERR_OK, "key");
	c.key_pem = p.key;
	c.ca_cert_pem = ca ? ca->cert : NULL;
	c.ca_key_pem = ca ? ca->key : p.key;
	must(cert_new(&p.cert, &c, NULL) == ERR_OK, "certificate");
	return p;
}

/* ---- through net/tls.h ---- */

static struct tls_creds *creds_make(const struct party *p, const struct party *ca, const struct tls_ticket_keys *keys)
{
	struct tls_material m = {.chain = p->cert, .key = p->key, .ca = ca->cert, .tickets = keys};
	struct tls_creds *c = NULL;

	must(tls_gnutls_creds_new(&c, &m, NULL) == ERR_OK, "credentials");
	return c;
}

static enum tls_outcome step(struct tls *t, enum tls_outcome before, struct buf *in, struct buf *out)
{
	struct why why = WHY_NONE;
	enum err e;
	enum tls_outcome o = before == TLS_WANT ? tls_handshake(t, in, out, &e, &why) : before;

	must(o != TLS_FAILED, why.text);
	return o;
}

/* One handshake and, as the servers do, one ticket. `ticket` NULL: it isn't taken. */
static void handshake(struct tls_creds *server, struct tls_creds *client, const struct buf *resume, struct buf *ticket)
{
	struct tls *s = NULL, *c = NULL;
	struct buf to_server = {0}, to_client = {0}, records = {0}, plain = {0};
	enum tls_outcome so = TLS_WANT, co = TLS_WANT;

	must(tls_new(&s,
		     &(struct tls_params){
			     .profile = TLS_SERVER, .creds = server, .require_cert = true, .wall_s = WALL_S},
		     NULL) == ERR_OK,
	     "session");
	must(tls_new(&c,
		     &(struct tls_params){.profile = TLS_CLIENT_MUSTER,
					  .creds = client,
					  .wall_s = WALL_S,
					  .resume = {.data = resume->data, .len = resume->len}},
		     NULL) == ERR_OK,
	     "session");
	while (so == TLS_WANT || co == TLS_WANT) {
		co = step(c, co, &to_client, &to_server);
		so = step(s, so, &to_server, &to_client);
	}
	must(tls_peer(s)->resumed == (resume->len > 0), "not as expected");
	must(tls_ticket_put(s, &records) == ERR_OK, "ticket");
	if (ticket) {
		must(tls_open(c, (struct bytes){.data = records.data, .len = records.len}, &plain, NULL) == ERR_OK,
		     "ticket");
		must(tls_ticket_take(c, ticket), "no ticket");
	}
	tls_free(s);
	tls_free(c);
	buf_deinit(&to_server);
	buf_deinit(&to_client);
	buf_deinit(&records);
	buf_deinit(&plain);
}

/* ---- GnuTLS alone ---- */

struct raw {
	gnutls_session_t session;
	struct buf *in, *out;
};

static ssize_t raw_pull(gnutls_transport_ptr_t p, void *data, size_t n)
{
	struct raw *r = p;

	if (r->in->len == 0) {
		gnutls_transport_set_errno(r->session, EAGAIN);
		return -1;
	}
	if (n > r->in->len)
		n = r->in->len;
	memcpy(data, r->in->data, n);
	buf_consume(r->in, n);
	return (ssize_t)n;
}

static ssize_t raw_push(gnutls_transport_ptr_t p, const void *data, size_t n)
{
	must(buf_put(((struct raw *)p)->out, data, n) == ERR_OK, "memory");
	return (ssize_t)n;
}

static gnutls_certificate_credentials_t raw_creds(const struct party *p)
{
	gnutls_datum_t cert = {(unsigned char *)p->cert, (unsigned)strlen(p->cert)};
	gnutls_datum_t key = {(unsigned char *)p->key, (unsigned)strlen(p->key)};
	gnutls_certificate_credentials_t c;

	must(gnutls_certificate_allocate_credentials(&c) == 0, "credentials");
	must(gnutls_certificate_set_x509_key_mem(c, &cert, &key, GNUTLS_X509_FMT_PEM) == 0, "key");
	return c;
}

static void raw_begin(struct raw *r, unsigned kind, gnutls_priority_t priority, gnutls_certificate_credentials_t c)
{
	must(gnutls_init(&r->session,
			 kind | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS | GNUTLS_KEY_SHARE_TOP) == 0,
	     "session");
	gnutls_priority_set(r->session, priority);
	gnutls_credentials_set(r->session, GNUTLS_CRD_CERTIFICATE, c);
	gnutls_transport_set_ptr(r->session, r);
	gnutls_transport_set_pull_function(r->session, raw_pull);
	gnutls_transport_set_push_function(r->session, raw_push);
}

static void raw_handshake(gnutls_priority_t priority, gnutls_certificate_credentials_t server,
			  gnutls_certificate_credentials_t client)
{
	struct buf a = {0}, b = {0};
	struct raw s = {.in = &a, .out = &b}, c = {.in = &b, .out = &a};
	int so = GNUTLS_E_AGAIN, co = GNUTLS_E_AGAIN;

	raw_begin(&s, GNUTLS_SERVER, priority, server);
	raw_begin(&c, GNUTLS_CLIENT, priority, client);
	gnutls_certificate_server_set_request(s.session, GNUTLS_CERT_REQUIRE);
	while (so || co) {
		if (co)
			co = gnutls_handshake(c.session);
		if (so)
			so = gnutls_handshake(s.session);
		must((!so || !gnutls_error_is_fatal(so)) && (!co || !gnutls_error_is_fatal(co)), "handshake");
	}
	gnutls_deinit(s.session);
	gnutls_deinit(c.session);
	buf_deinit(&a);
	buf_deinit(&b);
}

static void print(const char *what, double each, double floor_s)
{
	printf("%-34s %8.0f /s   %6.0f us both ends   %5.2f x the floor\n", what, 1 / each, each * 1e6, each / floor_s);
}

int main(void)
{
	struct party ca = party_make(NULL, CERT_ROLE_NONE, "bench", 1);
	struct party server = party_make(&ca, CERT_ROLE_SERVER, "ms", 2),
		     agent = party_make(&ca, CERT_ROLE_AGENT, "host", 3);
	struct tls_ticket_keys keys = {.n = 2, .keys = {{1}, {2}}}, older = {.n = 2, .keys = {{9}, {1}}};
	struct tls_creds *s = creds_make(&server, &ca, &keys), *s2 = creds_make(&server, &ca, &older);
	struct tls_creds *bare = creds_make(&server, &ca, NULL), *c = creds_make(&agent, &ca, NULL);
	gnutls_certificate_credentials_t raw_server = raw_creds(&server), raw_client = raw_creds(&agent);
	struct buf ticket = {0}, none = {0};
	gnutls_priority_t priority;
	double start, each, floor_s;
	int n;

	must(gnutls_priority_init(&priority, "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-X25519", NULL) == 0,
	     "priority");
	handshake(s, c, &none, &ticket);
#define MEASURE(call)                                                                                                  \
	for (n = 0, start = seconds(); (each = seconds() - start) < SECONDS; n++)                                      \
		call;                                                                                                  \
	each /= n
	MEASURE(raw_handshake(priority, raw_server, raw_client));
	floor_s = each;
	print("floor: GnuTLS, nobody verified", each, floor_s);
	MEASURE(handshake(bare, c, &none, NULL));
	print("full", each, floor_s);
	MEASURE(handshake(s, c, &none, NULL));
	print("full, and a ticket is given", each, floor_s);
	MEASURE(handshake(s, c, &ticket, NULL));
	print("resumed, and a ticket is given", each, floor_s);
	MEASURE(handshake(s2, c, &ticket, NULL));
	print("resumed under the last key", each, floor_s);

	buf_deinit(&ticket);
	gnutls_priority_deinit(priority);
	gnutls_certificate_free_credentials(raw_server);
	gnutls_certificate_free_credentials(raw_client);
	tls_creds_unref(s);
	tls_creds_unref(s2);
	tls_creds_unref(bare);
	tls_creds_unref(c);
	for (int i = 0; i < 3; i++) {
		struct party *p = i == 0 ? &ca : i == 1 ? &server : &agent;

		mem_free(p->cert);
		key_free(p->key);
	}
	return 0;
}
