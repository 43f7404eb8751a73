/*
 * TLS sessions on GnuTLS, without a socket.
 *
 * GnuTLS pulls from `in` and pushes to `out`, both set only for the length of one call. It takes no byte more than
 * the record it reads, so what the other side sent behind its last handshake message is still in the caller's buffer
 * when the handshake is done: it belongs to the framed stream. Without a place to push to, nothing can leave: after
 * the handshake only tls_seal() gives one.
 *
 * A server doesn't know whom it talks to until it has read the hello, so protocol versions, ALPN, credentials and
 * the certificate request are set from a hook that reads the hello first. GnuTLS verifies nobody by itself; what a
 * peer presents is judged in judge_peer(), and a handshake in which that did not happen is a failed one.
 *
 * Handshake messages taken after the handshake are TLS 1.3's KeyUpdate (GnuTLS sends it in front of the data when a key
 * has sealed 2^24 records, inside the same packet, and a link between servers gets there) and, by a muster client, the
 * tickets.
 *
 * A resumed handshake carries no certificate, so GnuTLS asks nobody to verify one; but it keeps the one from when the
 * ticket was made. What both ends had verified then holds as long as they trust the same CAs (tickets are bound to
 * them); what time changes judge_resumed() judges now, before our answer leaves: whoever doesn't pass is cut off in the
 * handshake, comes again without a ticket, and hears there what is wrong with him.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "net/tls_private.h"
#include "wire/frame.h"

#define RECORD_HEADER 5
#define RECORD_APPLICATION_DATA 23
#define EXTENSION_ALPN 16
#define EXTENSION_PRE_SHARED_KEY 41
#define EXTENSION_SUPPORTED_VERSIONS 43
#define VERSION_13 0x0304
#define TICKETS_MAX 64        /* a server sends one a link */
#define TICKET_CHAIN_MAX 8192 /* certificates of the peer in a ticket, which has to fit into a packet */
/* One is usual; 32 with records of 512 bytes. A packet of empty ones would keep us busy with nothing. */
#define RECORDS_PER_PACKET 64

struct session {
	struct tls tls;
	struct creds *creds; /* referenced */
	gnutls_session_t gnutls;
	struct tls_params params; /* `pin` owned, `creds` not used */
	char *pin;
	struct tls_peer peer;
	bool judged;        /* judge_peer() has passed what the peer presented */
	bool surprise;      /* a handshake message that we don't take was read after the handshake */
	bool has_hello;     /* server: decide_by_hello() has decided */
	bool gives_ticket;  /* server: enabled for this session, with the newest key */
	bool has_ticket;    /* client: one has come that nobody has taken yet */
	bool sent_cert;     /* client: our certificate message is in what was pushed */
	bool other_alert;   /* one has come that is not said of certificates */
	unsigned n_tickets; /* client: that have come */
	/* Valid during one call: */
	struct bytes in;
	struct buf *out; /* NULL: nothing may be sent */
	enum err error;
	struct why *why;
};

static struct session *session_of(const struct tls *t)
{
	return container_of(t, struct session, tls);
}

/* ---- the transport: two buffers ---- */

static ssize_t pull(gnutls_transport_ptr_t p, void *data, size_t n)
{
	struct session *s = p;
	struct bytes view;

	if (s->in.len == 0) {
		gnutls_transport_set_errno(s->gnutls, EAGAIN);
		return -1;
	}
	if (n > s->in.len)
		n = s->in.len;
	if (!bytes_get(&s->in, n, &view))
		return -1;
	memcpy(data, view.data, n);
	return (ssize_t)n;
}

/* GnuTLS asks so when it would rather not wait. */
static int pull_timeout(gnutls_transport_ptr_t p, unsigned ms)
{
	struct session *s = p;

	return s->in.len > 0;
}

static ssize_t push(gnutls_transport_ptr_t p, const void *data, size_t n)
{
	struct session *s = p;

	if (!s->out || buf_put(s->out, data, n) != ERR_OK) {
		gnutls_transport_set_errno(s->gnutls, EIO);
		return -1;
	}
	return (ssize_t)n;
}

/* ---- judging the peer ---- */

static bool is_server(const struct session *s)
{
	return s->params.profile == TLS_SERVER;
}

static bool is_joining(const struct session *s)
{
	return str_equal(s->peer.alpn, ALPN_JOIN);
}

static enum err need_server_role(struct session *s)
{
	if (s->peer.cert.role == CERT_ROLE_SERVER && s->peer.cert.eku_server)
		return ERR_OK;
	why_set(s->why, "the certificate is not for a server");
	return ERR_UNTRUSTED;
}

static enum err judge_chain(struct session *s, const struct presented *p, int64_t grace_s, struct why *why)
{
	return (s->peer.resumed ? trust_judge_again : trust_judge)(&s->creds->trust, p, s->params.wall_s, grace_s,
								   &s->peer.is_ca_itself, why);
}

static enum err judge_client(struct session *s, const struct presented *p)
{
	struct why problem = WHY_NONE;
	/*
	 * Who is let in without a certificate must not get in because his own is bad: what is wrong with ours but its
	 * signatures is not "no certificate", and whoever judges the peer later has to see it.
	 */
	int64_t grace_s = s->params.require_cert ? s->params.expired_grace_s : TRUST_ANY_DATE;
	enum err e = judge_chain(s, p, grace_s, &problem);

	s->peer.chain_ok = e == ERR_OK;
	if (e == ERR_OK)
		return ERR_OK;
	str_copy(s->peer.chain_problem, sizeof(s->peer.chain_problem), why_text(&problem, e));
	if (!s->params.require_cert && e != ERR_NOMEM)
		return ERR_OK;
	why_set(s->why, "%s", why_text(&problem, e));
	return e;
}

static enum err judge_server(struct session *s, const struct presented *p)
{
	enum err e;

	if (s->params.trust_all) {
		str_copy(s->peer.chain_problem, sizeof(s->peer.chain_problem), "not verified: there is no CA here");
		return ERR_OK;
	}
	if (s->params.profile == TLS_CLIENT_JOIN)
		e = trust_judge_pinned(p, s->pin, s->params.wall_s, s->why);
	else
		e = judge_chain(s, p, 0, s->why);
	if (e != ERR_OK)
		return e;
	s->peer.chain_ok = true;
	/* An agent must not be able to pose as a server; CloudStack's servers can't be told apart so. */
	if (s->params.profile == TLS_CLIENT_JOIN || s->params.profile == TLS_CLIENT_MUSTER)
		return need_server_role(s);
	return ERR_OK;
}

static enum err judge_presented(struct session *s, const gnutls_datum_t *ders, unsigned n)
{
	struct presented p;
	enum err e;

	s->peer.has_cert = true;
	/* A second handshake message with certificates is not possible, but must not leak if it were. */
	cert_info_deinit(&s->peer.cert);
	e = cert_info_parse_der(&s->peer.cert, ders[0].data, ders[0].size, s->why);
	if (e != ERR_OK) {
		s->peer.has_cert = false;
		return e == ERR_NOMEM ? e : ERR_UNTRUSTED;
	}
	e = presented_init(&p, ders, n, s->why);
	if (e != ERR_OK)
		return e;
	e = is_server(s) ? judge_client(s, &p) : judge_server(s, &p);
	presented_deinit(&p);
	return e;
}

/* Called by GnuTLS when the peer's certificate message has come. */
static int judge_peer(gnutls_session_t g)
{
	struct session *s = gnutls_session_get_ptr(g);
	const gnutls_datum_t *ders;
	unsigned n = 0;

	ders = gnutls_certificate_get_peers(g, &n);
	if (!ders || n == 0)
		return is_server(s) ? 0 : GNUTLS_E_CERTIFICATE_ERROR; /* finish() says what is missing */
	if (n > CHAIN_MAX) {
		why_set(s->why, "%u certificates were presented", n);
		s->error = ERR_TOO_BIG;
		return GNUTLS_E_CERTIFICATE_ERROR;
	}
	s->error = judge_presented(s, ders, n);
	s->judged = s->error == ERR_OK;
	return s->judged ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

/* Nothing to do in a full handshake: there judge_peer() is called. */
static enum err judge_resumed(struct session *s, bool is_over)
{
	const gnutls_datum_t *ders;
	unsigned n = 0;
	enum err e;

	if (s->judged || !gnutls_session_is_resumed(s->gnutls))
		return ERR_OK;
	s->peer.resumed = true;
	ders = gnutls_certificate_get_peers(s->gnutls, &n);
	/* We have asked for another hello: the ticket counts with that one. */
	if (!ders && is_server(s) && !is_over)
		return ERR_OK;
	if (!ders || n == 0 || n > CHAIN_MAX) {
		why_set(s->why, "a session ticket without a certificate");
		return ERR_UNTRUSTED;
	}
	e = judge_presented(s, ders, n);
	/* Where certificates aren't required the full handshake decides what somebody without a good one is. */
	if (e == ERR_OK && is_server(s) && !s->peer.chain_ok) {
		why_set(s->why, "%s", s->peer.chain_problem);
		e = ERR_UNTRUSTED;
	}
	s->judged = e == ERR_OK;
	return e;
}

/* ---- the server reads the hello first ---- */

struct hello {
	bool muster, join, tls13;
	struct bytes psk; /* the extension, in the message; empty: none */
};

static bool names_alpn(struct bytes name, const char *alpn)
{
	return name.len == strlen(alpn) && memcmp(name.data, alpn, name.len) == 0;
}

static bool names_version(struct bytes in, uint16_t wanted)
{
	uint16_t version;
	uint8_t n;

	if (!bytes_get_u8(&in, &n))
		return false;
	while (bytes_get_u16(&in, &version)) {
		if (version == wanted)
			return true;
	}
	return false;
}

/* Called for each extension of the hello. A broken one is not ours to complain about: GnuTLS parses it again. */
static int read_extension(void *ctx, unsigned type, const unsigned char *data, unsigned n)
{
	struct bytes in = {.data = data, .len = n}, name;
	struct hello *h = ctx;
	uint16_t total;
	uint8_t len;

	if (type == EXTENSION_SUPPORTED_VERSIONS)
		h->tls13 |= names_version(in, VERSION_13);
	if (type == EXTENSION_PRE_SHARED_KEY)
		h->psk = in;
	if (type != EXTENSION_ALPN || !bytes_get_u16(&in, &total))
		return 0;
	while (bytes_get_u8(&in, &len) && bytes_get(&in, len, &name)) {
		h->muster |= names_alpn(name, ALPN_MUSTER);
		h->join |= names_alpn(name, ALPN_JOIN);
	}
	return 0;
}

static int select_alpn(gnutls_session_t g, const char *alpn)
{
	gnutls_datum_t name = text_datum(alpn);

	return gnutls_alpn_set_protocols(g, &name, 1, 0);
}

/*
 * TLS 1.3 alone: there a ticket's key opens no traffic of the session that is resumed, because keys are agreed on anew.
 * (A client that offers TLS 1.3 gets it.)
 */
static int allow_tickets(struct session *s, const struct hello *h)
{
	const struct tls_ticket_keys *keys = &s->creds->tickets;
	gnutls_datum_t key = {.size = TLS_TICKET_KEY_SIZE};
	unsigned chosen;

	if (keys->n == 0 || !h->muster || !h->tls13)
		return 0;
	chosen = ticket_key_choose(keys, h->psk, (int64_t)time(NULL)); /* as GnuTLS takes it */
	/* With an older key one would be made that dies with that key. */
	s->gives_ticket = chosen == 0;
	key.data = (unsigned char *)(uintptr_t)keys->keys[chosen];
	gnutls_db_set_cache_expiration(s->gnutls, TICKET_LIFE_S);
	return gnutls_session_ticket_enable_server(s->gnutls, &key);
}

static int decide_by_hello(gnutls_session_t g, unsigned type, unsigned when, unsigned incoming,
			   const gnutls_datum_t *message)
{
	struct session *s = gnutls_session_get_ptr(g);
	struct hello h = {0};
	int status;

	/*
	 * A second hello, when the first had no key share that we take, repeats the first one but for that share, and
	 * tickets can't be enabled twice.
	 */
	if (!incoming || s->has_hello)
		return 0;
	s->has_hello = true;
	status = gnutls_ext_raw_parse(&h, read_extension, message, GNUTLS_EXT_RAW_FLAG_TLS_CLIENT_HELLO);
	/* A hello without any extension is TLS 1.2's right. */
	if (status < 0 && status != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return status;
	if (!h.muster && !h.join)
		return gnutls_priority_set(g, s->creds->priorities[TLS_ONLY_12]);

	status = gnutls_priority_set(g, s->creds->priorities[TLS_13_AND_12]);
	if (status >= 0)
		status = select_alpn(g, h.muster ? ALPN_MUSTER : ALPN_JOIN);
	if (status >= 0)
		status = allow_tickets(s, &h);
	if (status >= 0 && !h.muster) {
		gnutls_certificate_server_set_request(g, GNUTLS_CERT_IGNORE);
		status = gnutls_credentials_set(g, GNUTLS_CRD_CERTIFICATE, s->creds->whole);
	}
	return status;
}

/* After the handshake: which handshake messages still come. */
static int note_late_message(gnutls_session_t g, unsigned type, unsigned when, unsigned incoming,
			     const gnutls_datum_t *message)
{
	struct session *s = gnutls_session_get_ptr(g);

	if (!incoming || type == GNUTLS_HANDSHAKE_KEY_UPDATE)
		return 0;
	if (type == GNUTLS_HANDSHAKE_NEW_SESSION_TICKET && s->params.profile == TLS_CLIENT_MUSTER &&
	    s->n_tickets < TICKETS_MAX) {
		s->n_tickets++;
		s->has_ticket = true;
	} else {
		s->surprise = true;
	}
	return 0;
}

/* Client: an empty one is an answer too, where none of ours is of a CA that the server asks for. */
static int note_own_cert(gnutls_session_t g, unsigned type, unsigned when, unsigned incoming,
			 const gnutls_datum_t *message)
{
	struct session *s = gnutls_session_get_ptr(g);

	s->sent_cert |= !incoming;
	return 0;
}

/* ---- sessions ---- */

static int prepare_server(struct session *s)
{
	int status = gnutls_priority_set(s->gnutls, s->creds->priorities[TLS_13_AND_12]);

	if (status >= 0)
		status = gnutls_credentials_set(s->gnutls, GNUTLS_CRD_CERTIFICATE, s->creds->own);
	gnutls_certificate_server_set_request(s->gnutls,
					      s->params.require_cert ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_REQUEST);
	/*
	 * No names of CAs in the request: a client whose certificate another CA signed would then present none, and we
	 * could only say that one is missing.
	 */
	gnutls_certificate_send_x509_rdn_sequence(s->gnutls, 1);
	gnutls_handshake_set_hook_function(s->gnutls, GNUTLS_HANDSHAKE_CLIENT_HELLO, GNUTLS_HOOK_PRE, decide_by_hello);
	return status;
}

/* What tls_ticket_take() gave: whom we trusted then, and GnuTLS's data. */
static void resume_from(struct session *s, struct bytes in)
{
	struct bytes id;

	if (bytes_get(&in, TRUST_ID_SIZE, &id) && memcmp(id.data, s->creds->trust_id, TRUST_ID_SIZE) == 0 && in.len > 0)
		(void)gnutls_session_set_data(s->gnutls, in.data, in.len);
}

static int prepare_client(struct session *s)
{
	static const struct {
		enum tls_policy priority;
		const char *alpn;
	} rows[] = {
		[TLS_CLIENT_MUSTER] = {.priority = TLS_ONLY_13, .alpn = ALPN_MUSTER},
		[TLS_CLIENT_UNKNOWN] = {.priority = TLS_ONLY_12, .alpn = ALPN_MUSTER},
		[TLS_CLIENT_COMPAT] = {.priority = TLS_ONLY_12_COMPAT},
		[TLS_CLIENT_JOIN] = {.priority = TLS_ONLY_13, .alpn = ALPN_JOIN},
	};
	enum tls_profile profile = s->params.profile;
	int status = gnutls_priority_set(s->gnutls, s->creds->priorities[rows[profile].priority]);

	if (status >= 0 && rows[profile].alpn)
		status = select_alpn(s->gnutls, rows[profile].alpn);
	gnutls_handshake_set_hook_function(s->gnutls, GNUTLS_HANDSHAKE_CERTIFICATE_PKT, GNUTLS_HOOK_POST,
					   note_own_cert);
	if (status >= 0)
		status = gnutls_credentials_set(s->gnutls, GNUTLS_CRD_CERTIFICATE,
						profile == TLS_CLIENT_JOIN ? s->creds->none : s->creds->client);
	/* What can't be used is not used: a full handshake is always possible. */
	if (status >= 0 && profile == TLS_CLIENT_MUSTER)
		resume_from(s, s->params.resume);
	return status;
}

static int prepare(struct session *s)
{
	/* An automatic ticket would leave unframed (docs/protocol.md "TLS"); a server enables them by the hello. */
	const unsigned flags = GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_AUTO_SEND_TICKET | GNUTLS_KEY_SHARE_TOP |
			       (s->params.profile == TLS_CLIENT_MUSTER ? 0 : GNUTLS_NO_TICKETS);
	int status = gnutls_init(&s->gnutls, flags | (is_server(s) ? GNUTLS_SERVER : GNUTLS_CLIENT));

	if (status < 0) {
		s->gnutls = NULL;
		return status;
	}
	gnutls_session_set_ptr(s->gnutls, s);
	gnutls_transport_set_ptr(s->gnutls, s);
	gnutls_transport_set_pull_function(s->gnutls, pull);
	gnutls_transport_set_pull_timeout_function(s->gnutls, pull_timeout);
	gnutls_transport_set_push_function(s->gnutls, push);
	gnutls_handshake_set_timeout(s->gnutls, GNUTLS_INDEFINITE_TIMEOUT); /* whoever drives it has a timer */
	gnutls_session_set_verify_function(s->gnutls, judge_peer);
	return is_server(s) ? prepare_server(s) : prepare_client(s);
}

static void op_free(struct tls *t)
{
	struct session *s = session_of(t);

	if (s->gnutls)
		gnutls_deinit(s->gnutls);
	tls_creds_unref(&s->creds->base);
	cert_info_deinit(&s->peer.cert);
	mem_free(s->pin);
	mem_free(s);
}

static const struct tls_ops session_ops;

enum err tls_session_new(struct tls_creds *base, struct tls **out, const struct tls_params *p, struct why *why)
{
	struct session *s;
	int status;

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
	s->params.pin = NULL;
	s->params.creds = NULL;
	if (p->pin && !(s->pin = mem_strdup(p->pin))) {
		op_free(&s->tls);
		return ERR_NOMEM;
	}
	status = prepare(s);
	s->params.resume = (struct bytes){0}; /* the caller's */
	if (status < 0) {
		why_set(why, "TLS session: %s", gnutls_strerror(status));
		op_free(&s->tls);
		return status == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_TLS;
	}
	*out = &s->tls;
	return ERR_OK;
}

/* ---- the handshake ---- */

static void learn_alpn(struct session *s)
{
	gnutls_datum_t name;

	if (gnutls_alpn_get_selected_protocol(s->gnutls, &name) < 0 || name.size >= sizeof(s->peer.alpn))
		return;
	memcpy(s->peer.alpn, name.data, name.size);
	s->peer.alpn[name.size] = '\0';
}

static void learn_peer(struct session *s)
{
	const char *version = gnutls_protocol_get_name(gnutls_protocol_get_version(s->gnutls));
	const char *cipher = gnutls_ciphersuite_get(s->gnutls);

	learn_alpn(s);
	str_copy(s->peer.version, sizeof(s->peer.version), version ? version : "?");
	str_copy(s->peer.cipher, sizeof(s->peer.cipher), cipher ? cipher : "?");
}

static enum err finish_server(struct session *s)
{
	if (is_joining(s) || s->judged)
		return ERR_OK;
	if (s->params.require_cert) {
		why_set(s->why, "no client certificate was presented");
		return ERR_UNTRUSTED;
	}
	str_copy(s->peer.chain_problem, sizeof(s->peer.chain_problem), "no client certificate was presented");
	return ERR_OK;
}

static enum err finish_client(struct session *s)
{
	const char *alpn = s->params.profile == TLS_CLIENT_MUSTER ? ALPN_MUSTER
			   : s->params.profile == TLS_CLIENT_JOIN ? ALPN_JOIN
								  : NULL;

	/* Not reached without a verdict; if it ever were, nobody would have been verified. */
	if (!s->judged) {
		why_set(s->why, "the server's certificate was not verified");
		return ERR_UNTRUSTED;
	}
	if (alpn && !str_equal(s->peer.alpn, alpn)) {
		why_set(s->why, "the server does not speak %s", alpn);
		return ERR_TLS;
	}
	return ERR_OK;
}

static enum tls_outcome finish(struct session *s, enum err *error)
{
	learn_peer(s);
	*error = is_server(s) ? finish_server(s) : finish_client(s);
	gnutls_handshake_set_hook_function(s->gnutls, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_PRE, note_late_message);
	return *error == ERR_OK ? TLS_DONE : TLS_FAILED;
}

/* Those that are said of certificates: most peers that judge them have a word of their own for it, some do not. */
static bool is_about_cert(gnutls_alert_description_t a)
{
	switch (a) {
	case GNUTLS_A_HANDSHAKE_FAILURE:
	case GNUTLS_A_BAD_CERTIFICATE:
	case GNUTLS_A_UNSUPPORTED_CERTIFICATE:
	case GNUTLS_A_CERTIFICATE_REVOKED:
	case GNUTLS_A_CERTIFICATE_EXPIRED:
	case GNUTLS_A_CERTIFICATE_UNKNOWN:
	case GNUTLS_A_UNKNOWN_CA:
	case GNUTLS_A_ACCESS_DENIED:
	case GNUTLS_A_DECRYPT_ERROR:
	case GNUTLS_A_INSUFFICIENT_SECURITY:
	case GNUTLS_A_CERTIFICATE_REQUIRED:
		return true;
	default:
		return false;
	}
}

static enum err why_failed(struct session *s, int status)
{
	/* What judge_peer() said is the reason for what GnuTLS says. */
	if (s->error != ERR_OK)
		return s->error;
	switch (status) {
	case GNUTLS_E_MEMORY_ERROR:
		return ERR_NOMEM;
	case GNUTLS_E_NO_CERTIFICATE_FOUND:
	case GNUTLS_E_CERTIFICATE_REQUIRED:
		why_set(s->why, "no %s certificate was presented", is_server(s) ? "client" : "server");
		return ERR_UNTRUSTED;
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
	case GNUTLS_E_WARNING_ALERT_RECEIVED:
		why_set(s->why, "the other side says: %s", gnutls_alert_get_name(gnutls_alert_get(s->gnutls)));
		s->other_alert = !is_about_cert(gnutls_alert_get(s->gnutls));
		return ERR_TLS;
	case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
		why_set(s->why,
			"TLS handshake: no TLS version in common: it has to be 1.2, or 1.3 between muster peers");
		return ERR_TLS;
	case GNUTLS_E_NO_CIPHER_SUITES:
	case GNUTLS_E_UNKNOWN_CIPHER_SUITE:
	case GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM:
	case GNUTLS_E_NO_COMMON_KEY_SHARE:
	case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
		why_set(s->why, "TLS handshake: no TLS version, cipher suite, curve or signature in common%s",
			is_server(s) && !s->creds->has_rsa ? " (this server has no RSA certificate)" : "");
		return ERR_TLS;
	case GNUTLS_E_UNEXPECTED_PACKET:
	case GNUTLS_E_UNEXPECTED_PACKET_LENGTH:
		why_set(s->why, "TLS handshake: %s (is it TLS at all?)", gnutls_strerror(status));
		return ERR_TLS;
	default:
		why_set(s->why, "TLS handshake: %s", gnutls_strerror(status));
		return ERR_TLS;
	}
}

static void call_begins(struct session *s, struct bytes in, struct buf *out, struct why *why)
{
	s->in = in;
	s->out = out;
	s->why = why;
	s->error = ERR_OK;
}

static void call_ends(struct session *s)
{
	s->in = (struct bytes){0};
	s->out = NULL;
	s->why = NULL;
}

static enum tls_outcome op_handshake(struct tls *t, struct buf *in, struct buf *out, enum err *error, struct why *why)
{
	struct session *s = session_of(t);
	enum tls_outcome outcome;
	int status;

	*error = ERR_OK;
	call_begins(s, (struct bytes){.data = in->data, .len = in->len}, out, why);
	do
		status = gnutls_handshake(s->gnutls);
	while (status < 0 && !gnutls_error_is_fatal(status) && s->in.len > 0);
	buf_consume(in, in->len - s->in.len);

	/* In the server's first step already, so that nothing of an answer leaves to whom we don't let in. */
	if (status == GNUTLS_E_SUCCESS || !gnutls_error_is_fatal(status))
		*error = judge_resumed(s, status == GNUTLS_E_SUCCESS);
	if (*error != ERR_OK) {
		outcome = TLS_FAILED;
	} else if (status == GNUTLS_E_SUCCESS) {
		outcome = finish(s, error);
	} else if (!gnutls_error_is_fatal(status)) {
		outcome = TLS_WANT;
	} else {
		*error = why_failed(s, status);
		outcome = TLS_FAILED;
	}
	call_ends(s);
	return outcome;
}

/* ---- records ---- */

static enum err op_seal(struct tls *t, const void *plain, size_t n, struct buf *out)
{
	struct session *s = session_of(t);
	const uint8_t *p = plain;
	enum err e = ERR_OK;

	assert(n > 0 && n <= FRAME_PLAIN_MAX);
	call_begins(s, (struct bytes){0}, out, NULL);
	/* One record, unless the peer has asked for smaller ones in its hello. */
	while (n > 0 && e == ERR_OK) {
		ssize_t sealed = gnutls_record_send(s->gnutls, p, n);

		if (sealed <= 0) {
			e = sealed == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_TLS;
		} else {
			p += sealed;
			n -= (size_t)sealed;
		}
	}
	call_ends(s);
	return e;
}

/* Cuts the next record off. */
static enum err next_record(struct bytes *records, struct bytes *out, struct why *why)
{
	struct bytes rest = *records;
	uint16_t version, n;
	uint8_t type;

	if (!bytes_get_u8(&rest, &type) || !bytes_get_u16(&rest, &version) || !bytes_get_u16(&rest, &n)) {
		why_set(why, "a TLS record is cut off");
		return ERR_TLS;
	}
	if (type != RECORD_APPLICATION_DATA) {
		why_set(why, "a TLS record of type %u, not data (%s)", type,
			type == 21   ? "an alert"
			: type == 22 ? "a handshake message"
				     : "unknown");
		return ERR_TLS;
	}
	if (!bytes_get(records, (size_t)RECORD_HEADER + n, out)) {
		why_set(why, "a TLS record is cut off");
		return ERR_TLS;
	}
	return ERR_OK;
}

static enum err no_data(struct session *s, ssize_t status, struct why *why)
{
	/*
	 * Nothing in the record. In TLS 1.2 it was empty data; in TLS 1.3 it may have been something else, and of that
	 * only a KeyUpdate is taken.
	 */
	if (status == GNUTLS_E_AGAIN && !s->surprise)
		return ERR_OK;
	if (status == GNUTLS_E_AGAIN)
		why_set(why, "a TLS handshake message after the handshake");
	else if (status == 0)
		why_set(why, "the other side ended TLS inside the stream");
	else if (status == GNUTLS_E_FATAL_ALERT_RECEIVED || status == GNUTLS_E_WARNING_ALERT_RECEIVED)
		why_set(why, "the other side says: %s", gnutls_alert_get_name(gnutls_alert_get(s->gnutls)));
	else
		why_set(why, "TLS record: %s", gnutls_strerror((int)status));
	return status == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_TLS;
}

static enum err open_record(struct session *s, struct bytes record, struct buf *plain, struct why *why)
{
	enum err e = buf_reserve(plain, record.len);
	ssize_t n;

	if (e != ERR_OK)
		return e;
	call_begins(s, record, NULL, why);
	n = gnutls_record_recv(s->gnutls, plain->data + plain->len, record.len);
	if (n > 0)
		plain->len += (size_t)n;
	else
		e = no_data(s, n, why);
	/* Plaintext is never longer than its record, so there is nothing left over. */
	if (e == ERR_OK && (s->in.len > 0 || gnutls_record_check_pending(s->gnutls) > 0)) {
		why_set(why, "TLS record: not all of it was taken");
		e = ERR_TLS;
	}
	call_ends(s);
	return e;
}

static enum err op_open(struct tls *t, struct bytes records, struct buf *plain, struct why *why)
{
	struct session *s = session_of(t);
	enum err e = ERR_OK;

	for (int n = 0; records.len > 0 && e == ERR_OK; n++) {
		struct bytes record;

		if (n == RECORDS_PER_PACKET) {
			why_set(why, "a packet of more than %d TLS records", RECORDS_PER_PACKET);
			return ERR_TLS;
		}
		e = next_record(&records, &record, why);
		if (e == ERR_OK)
			e = open_record(s, record, plain, why);
	}
	return e;
}

/* ---- tickets ---- */

static size_t presented_size(const struct session *s)
{
	unsigned n = 0;
	const gnutls_datum_t *ders = gnutls_certificate_get_peers(s->gnutls, &n);
	size_t size = 0;

	for (unsigned i = 0; ders && i < n; i++)
		size += ders[i].size;
	return size;
}

static enum err op_ticket_put(struct tls *t, struct buf *out)
{
	struct session *s = session_of(t);
	int status;

	/* A server that dials another has no use for one. */
	if (!s->gives_ticket || !s->judged || !s->peer.chain_ok || s->peer.cert.role == CERT_ROLE_SERVER)
		return ERR_OK;
	if (presented_size(s) > TICKET_CHAIN_MAX)
		return ERR_OK;
	s->gives_ticket = false;
	call_begins(s, (struct bytes){0}, out, NULL);
	status = gnutls_session_ticket_send(s->gnutls, 1, 0);
	call_ends(s);
	if (status >= 0)
		return ERR_OK;
	return status == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_TLS;
}

static bool op_ticket_take(struct tls *t, struct buf *out)
{
	struct session *s = session_of(t);
	gnutls_datum_t data = {0};
	bool taken;

	if (!s->has_ticket)
		return false;
	s->has_ticket = false;
	if (gnutls_session_get_data2(s->gnutls, &data) < 0)
		return false;
	/* Memory first: of half a ticket nothing is left in `out`, and no copy by growing. */
	taken = data.size <= TLS_TICKET_MAX - TRUST_ID_SIZE && buf_reserve(out, TRUST_ID_SIZE + data.size) == ERR_OK &&
		buf_put(out, s->creds->trust_id, TRUST_ID_SIZE) == ERR_OK &&
		buf_put(out, data.data, data.size) == ERR_OK;
	gnutls_memset(data.data, 0, data.size);
	gnutls_free(data.data);
	return taken;
}

static bool op_cert_in_question(const struct tls *t)
{
	const struct session *s = session_of(t);

	return s->sent_cert && !s->other_alert;
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
