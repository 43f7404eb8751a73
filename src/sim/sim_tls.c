/*
 * TLS of the simulated world: the round trips, the messages' sizes and what can
 * go wrong, without the arithmetic.
 *
 *              TLS 1.3                                   TLS 1.2
 *   client                 server             client                 server
 *     hello  ------------->                     hello  ------------->
 *            <------------- flight                     <------------- flight
 *     answer ------------->  done               answer ------------->
 *     done                                             <------------- finished,
 * done done
 *
 * With a session ticket (TLS 1.3) the flight and the answer are short, because
 * they carry no certificates: the ticket names the agent's, and the client
 * remembers the server's. A ticket is good for whoever has its key.
 *
 * The policy is that of net/tls.h: the server decides by the hello. Records
 * look like TLS records; a sealed one has a number and a checksum, so that a
 * byte lost, doubled or out of place is found.
 *
 * Certificates are real PEM texts (a server's, made by the real CA code), which
 * are verified for real, but only once each, or one line
 *
 *   sim-certificate role=agent id=GUID serial=7f not-after=1893456000
 *
 * which every set of credentials with any CA trusts. The CA text "sim-ca"
 * trusts every certificate. What goes over the wire is a number for the text,
 * because keys are not made from the seed and a text's length must not matter.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_gnutls.h"
#include "sim/private.h"
#include "wire/frame.h"

#define LINE "sim-certificate "
#define CA_ALL "sim-ca"
#define RECORD 5
#define TAG 16
#define T_HANDSHAKE 22
#define T_DATA 23
#define HELLO_SIZE 320
#define FLIGHT_SIZE 1600
#define ANSWER_SIZE 1100
#define FINISHED_SIZE 60
#define RESUMED_SIZE 250
#define TICKET_SIZE 650
#define TICKET_TEXT 64

/* ---- texts: each certificate or CA once ---- */

struct verdict {
	enum err e;
	char text[160];
};

struct text {
	uint32_t id;
	char *pem;
	bool is_line;
	bool parsed;
	enum err error; /* of parsing */
	struct cert_info info;
};

struct texts {
	struct map by_text;
	struct map by_id;
	struct map verdicts; /* certificate << 32 | CA -> struct verdict */
	uint32_t n;
};

struct texts *texts_new(void)
{
	struct texts *t = mem_zalloc(sizeof(*t));

	if (!t)
		return NULL;
	map_init_text(&t->by_text, 1);
	map_init_number(&t->by_id, 1);
	map_init_number(&t->verdicts, 1);
	return t;
}

struct texts *texts_free(struct texts *t)
{
	struct verdict *v;
	struct text *x;
	size_t cursor = 0;

	if (!t)
		return NULL;
	while ((x = map_next(&t->by_id, &cursor))) {
		cert_info_deinit(&x->info);
		mem_free(x->pem);
		mem_free(x);
	}
	cursor = 0;
	while ((v = map_next(&t->verdicts, &cursor)))
		mem_free(v);
	map_deinit(&t->by_text);
	map_deinit(&t->by_id);
	map_deinit(&t->verdicts);
	return mem_free(t);
}

static struct text *text_get(struct texts *t, const char *pem)
{
	struct text *x = map_get(&t->by_text, pem);

	if (x)
		return x;
	x = mem_zalloc(sizeof(*x));
	if (!x || !(x->pem = mem_strdup(pem)))
		abort();
	x->id = ++t->n;
	x->is_line = str_starts(pem, LINE);
	if (map_put(&t->by_text, pem, x) || map_put_u64(&t->by_id, x->id, x))
		abort();
	return x;
}

/* "key=" in a line: what follows up to a blank. */
static bool word(const char *line, const char *key, char *out, size_t size)
{
	const char *at = strstr(line, key);
	size_t n;

	if (!at)
		return false;
	at += strlen(key);
	n = strcspn(at, " \n");
	if (n >= size)
		return false;
	memcpy(out, at, n);
	out[n] = '\0';
	return true;
}

static enum err line_parse(struct cert_info *c, const char *line)
{
	char role[16] = "", number[32] = "";

	if (!word(line, " role=", role, sizeof(role)) || !word(line, " id=", c->id, sizeof(c->id)) ||
	    !word(line, " serial=", c->serial, sizeof(c->serial)))
		return ERR_INVALID;
	c->role = str_equal(role, "server") ? CERT_ROLE_SERVER : CERT_ROLE_AGENT;
	c->has_eku = true;
	c->eku_client = true;
	c->eku_server = c->role == CERT_ROLE_SERVER;
	c->not_after_s = INT64_MAX / 4;
	if (word(line, " not-after=", number, sizeof(number)) && !str_to_i64(number, &c->not_after_s))
		return ERR_INVALID;
	str_copy(c->common_name, sizeof(c->common_name), c->id);
	str_copy(c->issuer, sizeof(c->issuer), "CN=sim");
	sha256_hex(c->fingerprint, line, strlen(line));
	sha256_hex(c->key_id, c->id, strlen(c->id));
	return ERR_OK;
}

static enum err text_info(struct text *x, struct why *why)
{
	if (!x->parsed) {
		x->parsed = true;
		x->error = x->is_line ? line_parse(&x->info, x->pem) : cert_info_parse(&x->info, x->pem, why);
	}
	return x->error;
}

static enum err info_copy(struct cert_info *to, const struct cert_info *from)
{
	enum err e;

	cert_info_deinit(to);
	*to = *from;
	to->ips = (struct str_list){0};
	to->dns = (struct str_list){0};
	e = str_list_copy(&to->ips, &from->ips);
	return e ? e : str_list_copy(&to->dns, &from->dns);
}

/*
 * Does it lead to that CA? Its own dates are judged each time, by judge_chain(): here it is looked at once, at a time
 * when it is valid.
 */
static enum err judge(struct texts *t, struct text *cert, struct text *ca, struct why *why)
{
	uint64_t key = (uint64_t)cert->id << 32 | (ca ? ca->id : 0);
	struct verdict *v = map_get_u64(&t->verdicts, key);
	struct why said = WHY_NONE;

	if (!v) {
		v = mem_zalloc(sizeof(*v));
		if (!v || map_put_u64(&t->verdicts, key, v))
			abort();
		if (!ca) {
			v->e = ERR_UNTRUSTED;
			str_copy(v->text, sizeof(v->text), "there is no CA to verify the certificate with");
		} else if (!cert->is_line && !str_starts(ca->pem, CA_ALL)) {
			v->e = cert_verify(cert->pem, ca->pem, cert->info.not_after_s - 1, &said);
			str_copy(v->text, sizeof(v->text), said.text);
		}
	}
	if (v->e)
		why_set(why, "%s", v->text);
	return v->e;
}

/* ---- credentials ---- */

struct creds {
	struct tls_creds base;
	struct sim_node *node;
	struct sim *sim;
	struct text *cert; /* NULL: none */
	struct text *ca;
	uint64_t tickets[TLS_TICKET_KEYS]; /* what tells the keys apart; 0: none */
};

struct session {
	struct tls tls;
	struct creds *creds;
	struct tls_params params;
	struct tls_peer peer;
	enum { S_START, S_HELLO_SENT, S_FLIGHT_SENT, S_ANSWER_SENT, S_DONE, S_STALLED } step;
	bool is_13;
	bool asks;               /* the server asks for a certificate */
	uint64_t sent, received; /* records */
	unsigned shown;          /* the peer's certificate, or the one of the ticket */
	char *pin;               /* owned; of whoever joins: the fingerprint of the CA that it has been told */
	bool gives_ticket;       /* server */
	bool has_ticket;         /* client: one has come */
	bool sent_cert;          /* client */
	char ticket[TICKET_TEXT], resume[TICKET_TEXT];
};

static struct session *session_of(const struct tls *t)
{
	return container_of((struct tls *)(uintptr_t)t, struct session, tls);
}

static void creds_free(struct tls_creds *base)
{
	struct creds *c = container_of(base, struct creds, base);

	mem_free(c);
}

static enum err session_new(struct tls_creds *base, struct tls **out, const struct tls_params *p, struct why *why);

static const struct tls_creds_ops creds_ops = {.session_new = session_new, .free = creds_free};

enum err sim_creds_new(struct world *w, struct tls_creds **out, const struct tls_material *m, struct why *why)
{
	struct sim *s = node_of(w)->sim;
	struct creds *c;

	if (s->p.real_tls)
		return tls_gnutls_creds_new(out, m, why);
	c = mem_zalloc(sizeof(*c));
	if (!c)
		return ERR_NOMEM;
	c->base.ops = &creds_ops;
	c->base.refs = 1;
	c->sim = s;
	c->node = node_of(w);
	if (!str_is_blank(m->chain))
		c->cert = text_get(s->texts, m->chain);
	if (!str_is_blank(m->ca))
		c->ca = text_get(s->texts, m->ca);
	for (unsigned i = 0; m->tickets && i < m->tickets->n; i++)
		memcpy(&c->tickets[i], m->tickets->keys[i], sizeof(c->tickets[i]));
	if (c->cert && text_info(c->cert, why)) {
		creds_free(&c->base);
		return ERR_INVALID;
	}
	c->base.own_role = c->cert ? c->cert->info.role : CERT_ROLE_NONE;
	*out = &c->base;
	return ERR_OK;
}

static const struct tls_ops session_ops;

static enum err session_new(struct tls_creds *base, struct tls **out, const struct tls_params *p, struct why *why)
{
	struct session *s;

	if (p->profile == TLS_CLIENT_JOIN && str_is_blank(p->pin)) {
		why_set(why, "joining needs the fingerprint of the CA");
		return ERR_INVALID;
	}
	s = mem_zalloc(sizeof(*s));
	if (!s)
		return ERR_NOMEM;
	tls_creds_ref(base);
	s->tls.ops = &session_ops;
	s->creds = container_of(base, struct creds, base);
	s->params = *p;
	s->params.creds = NULL;
	s->params.resume = (struct bytes){0};
	if (p->profile == TLS_CLIENT_MUSTER && p->resume.len > 0 && p->resume.len < sizeof(s->resume))
		memcpy(s->resume, p->resume.data, p->resume.len);
	s->params.pin = NULL;
	s->pin = mem_strdup(p->pin);
	*out = &s->tls;
	return ERR_OK;
}

static void op_free(struct tls *t)
{
	struct session *s = session_of(t);

	tls_creds_unref(&s->creds->base);
	cert_info_deinit(&s->peer.cert);
	mem_free(s->pin);
	mem_free(s);
}

/* ---- handshake messages: a text padded to the size of the real one ---- */

static enum err put_message(struct buf *out, const char *text, size_t size)
{
	enum err e = buf_put_u8(out, T_HANDSHAKE);
	size_t n = strlen(text);

	assert(n < size);
	if (!e)
		e = buf_put_u16(out, 0x0303);
	if (!e)
		e = buf_put_u16(out, (uint16_t)size);
	if (!e)
		e = buf_put_str(out, text);
	for (; n < size && !e; n++)
		e = buf_put_u8(out, 0);
	return e;
}

enum taken { TAKEN, TAKE_MORE, TAKE_BAD };

static enum taken take_message(struct buf *in, char *text, size_t room)
{
	struct bytes b = {.data = in->data, .len = in->len}, body;
	uint16_t version, n;
	uint8_t type;

	if (!bytes_get_u8(&b, &type))
		return TAKE_MORE;
	if (type != T_HANDSHAKE)
		return TAKE_BAD;
	if (!bytes_get_u16(&b, &version) || !bytes_get_u16(&b, &n) || !bytes_get(&b, n, &body))
		return TAKE_MORE;
	if (n == 0 || memchr(body.data, 0, n) == NULL)
		return TAKE_BAD;
	str_copy(text, room, (const char *)body.data);
	buf_consume(in, RECORD + (size_t)n);
	return TAKEN;
}

static enum tls_outcome fail(enum err *error, struct why *why, enum err e, const char *sentence)
{
	*error = e;
	if (sentence)
		why_set(why, "%s", sentence);
	return TLS_FAILED;
}

static bool is_server(const struct session *s)
{
	return s->params.profile == TLS_SERVER;
}

/* ---- judging ---- */

static enum err judge_chain(struct session *s, struct text *cert, int64_t grace_s, struct why *why)
{
	enum err e = judge(s->creds->sim->texts, cert, s->creds->ca, why);

	if (!e && grace_s != INT64_MAX && s->params.wall_s < cert->info.not_before_s) {
		why_set(why, "the certificate is not valid yet");
		e = ERR_EXPIRED;
	}
	if (!e && grace_s != INT64_MAX && s->params.wall_s > cert->info.not_after_s + grace_s) {
		why_set(why, "the certificate has expired");
		e = ERR_EXPIRED;
	}
	return e;
}

static enum err judge_client(struct session *s, struct text *cert, struct why *why)
{
	struct why problem = WHY_NONE;
	enum err e = judge_chain(s, cert, s->params.require_cert ? s->params.expired_grace_s : INT64_MAX, &problem);

	s->peer.chain_ok = !e;
	if (!e)
		return ERR_OK;
	str_copy(s->peer.chain_problem, sizeof(s->peer.chain_problem), why_text(&problem, e));
	if (!s->params.require_cert)
		return ERR_OK;
	why_set(why, "%s", why_text(&problem, e));
	return e;
}

/* The CA that was named is in the chain that is shown, and leads to it. */
static enum err judge_pin(struct session *s, struct text *cert, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list chain = {0};
	bool is_in = cert->is_line; /* it has no CA */
	enum err e = is_in ? ERR_OK : cert_split(&chain, cert->pem, why);

	for (size_t i = 0; !e && !is_in && i < chain.n; i++) {
		struct cert_info ca = {0};

		e = cert_info_parse(&ca, chain.items[i], why);
		is_in = !e && str_equal_nocase(ca.fingerprint, s->pin) &&
			cert_verify(cert->pem, chain.items[i], cert->info.not_after_s - 1, NULL) == ERR_OK;
		cert_info_deinit(&ca);
	}
	if (!e && !is_in) {
		why_set(why, "the server's CA is not the one whose fingerprint was given");
		e = ERR_UNTRUSTED;
	}
	return e;
}

static enum err judge_server(struct session *s, struct text *cert, struct why *why)
{
	enum err e;

	if (s->params.trust_all) {
		str_copy(s->peer.chain_problem, sizeof(s->peer.chain_problem), "not verified: there is no CA here");
		return ERR_OK;
	}
	e = s->params.profile == TLS_CLIENT_JOIN ? judge_pin(s, cert, why) : judge_chain(s, cert, 0, why);
	if (e)
		return e;
	s->peer.chain_ok = true;
	if ((s->params.profile == TLS_CLIENT_JOIN || s->params.profile == TLS_CLIENT_MUSTER) &&
	    (s->peer.cert.role != CERT_ROLE_SERVER || !s->peer.cert.eku_server)) {
		why_set(why, "the certificate is not for a server");
		return ERR_UNTRUSTED;
	}
	return ERR_OK;
}

static enum err judge_peer(struct session *s, unsigned id, struct why *why)
{
	struct text *cert = id ? map_get_u64(&s->creds->sim->texts->by_id, id) : NULL;
	enum err e;

	if (!cert && is_server(s)) {
		str_copy(s->peer.chain_problem, sizeof(s->peer.chain_problem), "no client certificate was presented");
		if (!s->params.require_cert || !s->asks)
			return ERR_OK;
		why_set(why, "no client certificate was presented");
		return ERR_UNTRUSTED;
	}
	if (!cert) {
		why_set(why, "no server certificate was presented");
		return ERR_UNTRUSTED;
	}
	e = text_info(cert, why);
	if (!e)
		e = info_copy(&s->peer.cert, &cert->info);
	if (e)
		return e == ERR_NOMEM ? e : ERR_UNTRUSTED;
	s->peer.has_cert = true;
	s->shown = id;
	return is_server(s) ? judge_client(s, cert, why) : judge_server(s, cert, why);
}

/* ---- the steps ---- */

static enum tls_outcome done(struct session *s)
{
	s->step = S_DONE;
	str_copy(s->peer.version, sizeof(s->peer.version), s->is_13 ? "TLS1.3" : "TLS1.2");
	str_copy(s->peer.cipher, sizeof(s->peer.cipher), "SIM");
	return TLS_DONE;
}

static enum tls_outcome client_hello(struct session *s, struct buf *out, enum err *error)
{
	static const struct {
		int versions;
		const char *alpn;
	} rows[] = {
		[TLS_CLIENT_MUSTER] = {13, ALPN_MUSTER},
		[TLS_CLIENT_UNKNOWN] = {12, ALPN_MUSTER},
		[TLS_CLIENT_COMPAT] = {12, "-"},
		[TLS_CLIENT_JOIN] = {13, ALPN_JOIN},
	};
	char text[HELLO_SIZE];

	snprintf(text, sizeof(text), "hello %d %s %s", rows[s->params.profile].versions, rows[s->params.profile].alpn,
		 s->resume);
	s->step = S_HELLO_SENT;
	*error = put_message(out, text, HELLO_SIZE);
	return *error ? TLS_FAILED : TLS_WANT;
}

/* "KEY AGENT SERVER": whose it is and who made it. */
static bool ticket_read(const char *text, uint64_t *key, unsigned *agent, unsigned *server)
{
	unsigned long long k;

	if (sscanf(text, "%llx %u %u", &k, agent, server) != 3)
		return false;
	*key = k;
	return true;
}

/* Is the ticket in the hello good here? Then its owner is judged as if the certificate had come. */
static enum err server_resumes(struct session *s, const char *hello, struct why *why)
{
	unsigned agent, server, i;
	char ticket[TICKET_TEXT] = "";
	uint64_t key;
	enum err e;

	s->gives_ticket = s->is_13 && str_equal(s->peer.alpn, ALPN_MUSTER) && s->creds->tickets[0];
	if (!s->gives_ticket || sscanf(hello, "hello %*d %*s %63[^\n]", ticket) != 1 ||
	    !ticket_read(ticket, &key, &agent, &server) || !key)
		return ERR_OK;
	for (i = 0; i < TLS_TICKET_KEYS && s->creds->tickets[i] != key; i++)
		;
	if (i == TLS_TICKET_KEYS)
		return ERR_OK;
	s->gives_ticket = i == 0;
	e = judge_peer(s, agent, why);
	if (!e && !s->peer.chain_ok) {
		why_set(why, "%s", s->peer.chain_problem);
		e = ERR_UNTRUSTED;
	}
	s->peer.resumed = !e;
	return e;
}

static enum tls_outcome server_flight(struct session *s, const char *hello, struct buf *out, enum err *error,
				      struct why *why)
{
	char alpn[32] = "", text[128];
	int version = 0;

	if (sscanf(hello, "hello %d %31s", &version, alpn) != 2)
		return fail(error, why, ERR_TLS, "TLS handshake: no hello");
	if (str_equal(alpn, ALPN_MUSTER) || str_equal(alpn, ALPN_JOIN))
		str_copy(s->peer.alpn, sizeof(s->peer.alpn), alpn);
	s->is_13 = version == 13;
	s->asks = !str_equal(s->peer.alpn, ALPN_JOIN);
	if (!s->creds->cert)
		return fail(error, why, ERR_TLS, "TLS handshake: there is no certificate to show");
	*error = server_resumes(s, hello, why);
	if (*error)
		return TLS_FAILED;
	snprintf(text, sizeof(text), "flight %d %s %u %d", version, s->peer.alpn[0] ? s->peer.alpn : "-",
		 s->peer.resumed ? 0 : s->creds->cert->id, s->asks && !s->peer.resumed);
	s->step = S_FLIGHT_SENT;
	*error = put_message(out, text, s->peer.resumed ? RESUMED_SIZE : FLIGHT_SIZE);
	return *error ? TLS_FAILED : TLS_WANT;
}

static enum tls_outcome client_answer(struct session *s, const char *flight, struct buf *out, enum err *error,
				      struct why *why)
{
	const char *need = s->params.profile == TLS_CLIENT_MUSTER ? ALPN_MUSTER
			   : s->params.profile == TLS_CLIENT_JOIN ? ALPN_JOIN
								  : NULL;
	char alpn[32] = "", text[64];
	unsigned id = 0, agent;
	int version = 0, asks = 0;
	uint64_t key;

	if (sscanf(flight, "flight %d %31s %u %d", &version, alpn, &id, &asks) != 4)
		return fail(error, why, ERR_TLS, "TLS handshake: unexpected message");
	if (!str_equal(alpn, "-"))
		str_copy(s->peer.alpn, sizeof(s->peer.alpn), alpn);
	s->is_13 = version == 13;
	s->peer.resumed = id == 0 && ticket_read(s->resume, &key, &agent, &id);
	*error = judge_peer(s, id, why);
	if (*error)
		return TLS_FAILED;
	if (need && !str_equal(s->peer.alpn, need)) {
		why_set(why, "the server does not speak %s", need);
		return fail(error, why, ERR_TLS, NULL);
	}
	snprintf(text, sizeof(text), "answer %u", asks && s->creds->cert ? s->creds->cert->id : 0);
	s->step = S_ANSWER_SENT;
	s->sent_cert = asks;
	*error = put_message(out, text, s->peer.resumed ? FINISHED_SIZE : ANSWER_SIZE);
	if (*error)
		return TLS_FAILED;
	return s->is_13 ? done(s) : TLS_WANT;
}

static enum tls_outcome server_finish(struct session *s, const char *answer, struct buf *out, enum err *error,
				      struct why *why)
{
	unsigned id = 0;

	if (sscanf(answer, "answer %u", &id) != 1)
		return fail(error, why, ERR_TLS, "TLS handshake: unexpected message");
	if (!s->peer.resumed)
		*error = judge_peer(s, id, why);
	if (!*error && !s->is_13)
		*error = put_message(out, "finished", FINISHED_SIZE);
	return *error ? TLS_FAILED : done(s);
}

static enum tls_outcome go_wrong(struct session *s, struct buf *out, enum err *error, struct why *why)
{
	switch (rng_below(&s->creds->sim->rng, 3)) {
	case 0:
		return fail(error, why, ERR_TLS, "TLS handshake: made to fail");
	case 1:
		s->step = S_STALLED;
		return TLS_WANT;
	default: /* half a message, and then nothing */
		s->step = S_STALLED;
		*error = buf_put_u8(out, T_HANDSHAKE);
		return *error ? TLS_FAILED : TLS_WANT;
	}
}

static enum tls_outcome op_handshake(struct tls *t, struct buf *in, struct buf *out, enum err *error, struct why *why)
{
	struct session *s = session_of(t);
	char text[HELLO_SIZE];

	*error = ERR_OK;
	if (s->step == S_STALLED)
		return TLS_WANT;
	if (sim_draw(s->creds->sim, s->creds->sim->network.tls_bad_ppm))
		return go_wrong(s, out, error, why);
	if (!is_server(s) && s->step == S_START)
		return client_hello(s, out, error);
	switch (take_message(in, text, sizeof(text))) {
	case TAKE_MORE:
		return TLS_WANT;
	case TAKE_BAD:
		return fail(error, why, ERR_TLS, "TLS handshake: not a handshake message (is it TLS at all?)");
	case TAKEN:
		break;
	}
	if (is_server(s))
		return s->step == S_START ? server_flight(s, text, out, error, why)
					  : server_finish(s, text, out, error, why);
	if (s->step == S_HELLO_SENT)
		return client_answer(s, text, out, error, why);
	if (!str_equal(text, "finished"))
		return fail(error, why, ERR_TLS, "TLS handshake: unexpected message");
	return done(s);
}

/* ---- records ---- */

static uint64_t checksum(uint64_t number, const uint8_t *p, size_t n)
{
	uint64_t h = number * 0x9e3779b97f4a7c15u ^ n, v;

	for (; n >= sizeof(v); p += sizeof(v), n -= sizeof(v)) {
		memcpy(&v, p, sizeof(v));
		h = (h ^ v) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	while (n-- > 0)
		h = (h ^ *p++) * 0x100000001b3u;
	return h;
}

static enum err seal(struct session *s, uint8_t type, const void *plain, size_t n, struct buf *out)
{
	enum err e = buf_put_u8(out, type);

	if (!e)
		e = buf_put_u16(out, 0x0303);
	if (!e)
		e = buf_put_u16(out, (uint16_t)(n + TAG));
	if (!e)
		e = buf_put(out, plain, n);
	if (!e)
		e = buf_put_u64(out, s->sent);
	if (!e)
		e = buf_put_u64(out, checksum(s->sent, plain, n));
	s->sent++;
	return e;
}

static enum err op_seal(struct tls *t, const void *plain, size_t n, struct buf *out)
{
	struct session *s = session_of(t);

	assert(n > 0 && n <= FRAME_PLAIN_MAX && s->step == S_DONE);
	return seal(s, T_DATA, plain, n, out);
}

static enum err op_ticket_put(struct tls *t, struct buf *out)
{
	struct session *s = session_of(t);
	char text[TICKET_SIZE] = "";

	assert(s->step == S_DONE);
	if (!s->gives_ticket || !s->peer.has_cert || !s->peer.chain_ok || s->peer.cert.role == CERT_ROLE_SERVER)
		return ERR_OK;
	s->gives_ticket = false;
	snprintf(text, sizeof(text), "%llx %u %u", (unsigned long long)s->creds->tickets[0], s->shown,
		 s->creds->cert->id);
	return seal(s, T_HANDSHAKE, text, sizeof(text), out);
}

static bool op_ticket_take(struct tls *t, struct buf *out)
{
	struct session *s = session_of(t);
	bool has = s->has_ticket;

	s->has_ticket = false;
	return has && buf_put_str(out, s->ticket) == ERR_OK;
}

static bool takes(const struct session *s, uint8_t type)
{
	return type == T_DATA || (type == T_HANDSHAKE && s->params.profile == TLS_CLIENT_MUSTER);
}

static enum err op_open(struct tls *t, struct bytes records, struct buf *plain, struct why *why)
{
	struct session *s = session_of(t);

	while (records.len > 0) {
		struct bytes body, data;
		uint16_t version, n;
		uint64_t number = 0, sum = 0;
		uint8_t type;
		enum err e;

		if (!bytes_get_u8(&records, &type) || !bytes_get_u16(&records, &version) ||
		    !bytes_get_u16(&records, &n) || n < TAG || !bytes_get(&records, n, &body) || !takes(s, type)) {
			why_set(why, "a TLS record is cut off or not data");
			return ERR_TLS;
		}
		if (!bytes_get(&body, (size_t)n - TAG, &data) || !bytes_get_u64(&body, &number) ||
		    !bytes_get_u64(&body, &sum) || number != s->received ||
		    sum != checksum(number, data.data, data.len)) {
			why_set(why, "TLS record: wrong number or checksum");
			/* Never a peer's fault here: the stream or the framing is broken. */
			sim_fail(s->creds->sim, "%s opened TLS record %llu where %llu was due", s->creds->node->name,
				 (unsigned long long)number, (unsigned long long)s->received);
			return ERR_TLS;
		}
		s->received++;
		if (type == T_HANDSHAKE) {
			s->has_ticket = str_copy(s->ticket, sizeof(s->ticket), (const char *)data.data);
			continue;
		}
		e = buf_put(plain, data.data, data.len);
		if (e)
			return e;
	}
	return ERR_OK;
}

static bool op_cert_in_question(const struct tls *t)
{
	const struct session *s = session_of(t);

	return s->sent_cert;
}

static const struct tls_peer *op_peer(const struct tls *t)
{
	return &session_of(t)->peer;
}

static const struct tls_ops session_ops = {
	.handshake = op_handshake,
	.seal = op_seal,
	.open = op_open,
	.peer = op_peer,
	.cert_in_question = op_cert_in_question,
	.ticket_put = op_ticket_put,
	.ticket_take = op_ticket_take,
	.free = op_free,
};
