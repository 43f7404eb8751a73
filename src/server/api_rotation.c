/*
 * listCaRotation, advanceCaRotation, revertCaRotation: the root of the CA is changed, a phase at a time
 * (docs/certificates.md, "Rotation"); discardPreparedCa: the one that was prepared for it is not wanted. Who would be
 * cut off by a step is judged by what this server knows of hosts and servers; that the phase is still the one that was
 * judged, in the transaction that takes the step.
 */
#include "server/api.h"

#include <string.h>

#include "ca/succession.h"
#include "server/ca_next.h"
#include "server/key_change.h"
#include "server/rotation.h"

#define NAMED_MOST 100 /* hosts by name in one answer; all are counted */

/* ---- who is in the way ---- */

struct behind {
	size_t n_servers, n_hosts, n_all_servers, n_all_hosts;
	json_t *servers, *hosts; /* NULL: only counted */
};

static void add_party(json_t *to, const char *uuid, const char *name, const char *state, enum rotation_lag lag)
{
	json_t *o = json_object();

	api_put_text(o, "id", uuid);
	api_put_text(o, "name", name);
	api_put_text(o, "state", state);
	api_put_text(o, "why", rotation_lag_text(lag));
	json_array_append_new(to, o);
}

static void look_at_hosts(struct behind *b, struct server *s, const struct rotation_want *w, enum rotation_step step)
{
	size_t cursor = 0;
	struct host *h;

	while ((h = roster_next(s, &cursor))) {
		const struct rotation_party p = {.cert_issuer = h->row.cert_issuer, .ca_known = h->row.ca_known};
		enum rotation_lag lag;

		if (!rotation_concerns(s, &h->row))
			continue;
		b->n_all_hosts++;
		lag = rotation_lag_of(w, step, &p);
		if (lag == ROTATION_READY)
			continue;
		b->n_hosts++;
		if (b->hosts && b->n_hosts <= NAMED_MOST)
			add_party(b->hosts, h->row.uuid, h->row.name, host_status_name(h->row.status), lag);
	}
}

/* One that isn't running, whatever its state, reads what it needs before it starts. */
static void look_at_servers(struct behind *b, struct server *s, const struct rotation_want *w, enum rotation_step step)
{
	list_for (m, &s->servers, struct member_server, in_servers) {
		const struct rotation_party p = {.cert_issuer = m->row.cert_issuer, .ca_known = m->row.ca_known};
		enum rotation_lag lag;

		if (m->row.state == SERVER_DOWN || (m->row.msid != s->msid && m->down_since.us))
			continue;
		b->n_all_servers++;
		lag = rotation_lag_of(w, step, &p);
		if (lag == ROTATION_READY)
			continue;
		b->n_servers++;
		if (b->servers)
			add_party(b->servers, m->row.uuid, m->row.name, server_state_name(m->row.state), lag);
	}
}

static void look(struct behind *b, struct server *s, enum rotation_step step)
{
	const struct rotation_want w = rotation_want_of(s);

	look_at_servers(b, s, &w, step);
	look_at_hosts(b, s, &w, step);
}

/* ---- as the API shows it ---- */

static json_t *ca_object(const char *pem)
{
	struct cert_info c;
	json_t *o;

	if (!pem || cert_info_parse(&c, pem, NULL))
		return NULL;
	o = json_object();
	api_put_text(o, "subject", c.common_name);
	api_put_text(o, "issuer", c.issuer);
	api_put_text(o, "key", c.is_rsa ? "RSA" : c.is_ec ? "EC" : "other");
	api_put_number(o, "keybits", c.key_bits);
	api_put_text(o, "fingerprint", c.fingerprint);
	api_put_date(o, "notbefore", c.not_before_s * 1000);
	api_put_date(o, "notafter", c.not_after_s * 1000);
	cert_info_deinit(&c);
	return o;
}

static void put_step(json_t *o, const char *name, enum rotation_phase from, enum rotation_step step)
{
	enum rotation_phase to;

	if (rotation_to(from, step, &to))
		api_put_text(o, name, rotation_phase_name(to));
}

static json_t *rotation_object(struct server *s)
{
	struct behind b = {.servers = json_array(), .hosts = json_array()};
	json_t *o = json_object(), *other = ca_object(s->rotation.other_cert);
	json_t *prepared = ca_object(s->rotation.next_cert);

	look(&b, s, ROTATION_NEXT);
	api_put_text(o, "phase", rotation_phase_name(s->rotation.phase));
	if (s->rotation.text) {
		api_put_date(o, "since", s->rotation.since_ms);
		api_put_text(o, "by", s->rotation.by[0] ? s->rotation.by : NULL);
	}
	put_step(o, "next", s->rotation.phase, ROTATION_NEXT);
	put_step(o, "back", s->rotation.phase, ROTATION_BACK);
	json_object_set_new(o, "signs", ca_object(s->rotation.issuing_cert));
	if (other)
		json_object_set_new(o, "other", other);
	if (prepared)
		json_object_set_new(o, "prepared", prepared);
	if (other)
		api_put_flag(o, "otherwasprepared", s->rotation.prepared);
	api_put_flag(o, "othertrusted", rotation_trusts_both(s->rotation.phase));
	api_put_number(o, "servers", (int64_t)b.n_all_servers);
	api_put_number(o, "hosts", (int64_t)b.n_all_hosts);
	api_put_number(o, "serversbehind", (int64_t)b.n_servers);
	api_put_number(o, "hostsbehind", (int64_t)b.n_hosts);
	json_object_set_new(o, "serverlist", b.servers);
	json_object_set_new(o, "hostlist", b.hosts);
	api_put_flag(o, "frozen", freeze_is_on(s));
	api_put_flag(o, "compromised", s->rotation.compromised && s->rotation.phase != ROTATION_NONE);
	return o;
}

static bool is_ours(struct api_call *c)
{
	if (!c->server->ca->ops->is_slow)
		return true;
	api_fail(
		c, API_FAILED, CS_RUNTIME,
		"The CA is an external one: it is rotated where it is, and ca.plugin.exec.ca.file names both meanwhile");
	return false;
}

static void list_ca_rotation(struct api_call *c)
{
	if (is_ours(c))
		api_answer_object(c, "carotation", rotation_object(c->server));
}

/* ---- a step ---- */

struct stepping {
	enum rotation_step step;
	struct rotation_row from, to;
	char prepared[FINGERPRINT_TEXT];                    /* of the CA that it begins with; "": a new one is made */
	uint8_t cluster_key[CLUSTER_KEY_SIZE], entropy[64]; /* for a new CA */
	char dn[256];
	int64_t wall_s;
	struct ca_root_record made;
};

static void stepping_free(void *state)
{
	struct stepping *t = state;

	mem_wipe(t->cluster_key, sizeof(t->cluster_key));
	mem_wipe(t->entropy, sizeof(t->entropy));
	ca_root_record_deinit(&t->made);
	mem_free(t);
}

/* The two CAs change places; whichever signs, its key is beside it. */
static enum err swap(struct store_tx *tx)
{
	static const char *const pairs[][2] = {{CA_SECRET_CERT, CA_SECRET_OTHER_CERT},
					       {CA_SECRET_KEY, CA_SECRET_OTHER_KEY}};
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < ARRAY_SIZE(pairs); i++) {
		CLEAN(mem_freep) char *a = NULL, *b = NULL;

		e = store_secret_get(tx, pairs[i][0], &a);
		if (!e)
			e = store_secret_get(tx, pairs[i][1], &b);
		if (!e)
			e = store_secret_set(tx, pairs[i][0], b);
		if (!e)
			e = store_secret_set(tx, pairs[i][1], a);
	}
	return e;
}

/* So do their revocation lists, of which there may be none. */
static enum err swap_lists(struct store_tx *tx)
{
	CLEAN(mem_freep) char *a = NULL, *b = NULL;
	enum err e = store_secret_get(tx, CRL_SECRET, &a);

	if (!e || e == ERR_NOT_FOUND)
		e = store_secret_get(tx, CRL_SECRET_OTHER, &b);
	if (e == ERR_NOT_FOUND)
		e = ERR_OK;
	if (!e)
		e = b ? store_secret_set(tx, CRL_SECRET, b) : store_secret_remove(tx, CRL_SECRET);
	if (!e)
		e = a ? store_secret_set(tx, CRL_SECRET_OTHER, a) : store_secret_remove(tx, CRL_SECRET_OTHER);
	return e;
}

static enum err forget_other(struct store_tx *tx)
{
	static const char *const names[] = {CA_SECRET_OTHER_CERT, CA_SECRET_OTHER_KEY, CRL_SECRET_OTHER};
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < ARRAY_SIZE(names); i++)
		e = store_secret_remove(tx, names[i]);
	return e;
}

static enum err set_other(struct store_tx *tx, const struct ca_root_record *r)
{
	enum err e = store_secret_set(tx, CA_SECRET_OTHER_CERT, r->certificate);

	return e ? e : store_secret_set(tx, CA_SECRET_OTHER_KEY, r->sealed_key);
}

/* The prepared one has to be the one that was seen, and what was right with it when it was prepared has to be now. */
static enum err check_prepared(struct store_tx *tx, const struct ca_root_record *next, const struct stepping *t,
			       struct why *why)
{
	CLEAN(mem_freep) char *present = NULL;
	struct ca_provider *ca = NULL;
	enum err e = ca_root_open(&ca, next, t->cluster_key, why);

	if (!e && !str_equal(ca->ops->fingerprint(ca), t->prepared)) {
		why_set(why, "another CA has been prepared meanwhile: look again");
		e = ERR_CONFLICT;
	}
	ca_provider_free(ca);
	if (!e)
		e = store_secret_get(tx, CA_SECRET_CERT, &present);
	if (!e && (e = ca_may_follow(present, next->certificate, t->wall_s, why)))
		why_add(why, "the prepared CA can't be used");
	return e;
}

static enum err take_prepared(struct store_tx *tx, struct stepping *t, struct why *why)
{
	CLEAN(ca_root_record_deinit) struct ca_root_record next = {0};
	enum err e = ca_next_get(tx, &next);

	if (e == ERR_NOT_FOUND) {
		why_set(why, "the prepared CA has been dropped meanwhile: look again");
		return ERR_CONFLICT;
	}
	if (!e)
		e = check_prepared(tx, &next, t, why);
	if (!e)
		e = set_other(tx, &next);
	return e ? e : ca_next_remove(tx);
}

/* An EC key is made in a millisecond, so the store's thread may do it. */
static enum err make_other(struct store_tx *tx, struct stepping *t, struct why *why)
{
	CLEAN(ca_root_record_deinit) struct ca_root_record next = {0};
	enum err e = ca_next_get(tx, &next);

	if (e != ERR_NOT_FOUND) {
		why_set(why, "a CA has been prepared meanwhile: look again");
		return e ? e : ERR_CONFLICT;
	}
	e = ERR_OK;
	if (!t->made.certificate)
		e = ca_root_create(&t->made, t->dn, t->cluster_key, t->entropy, t->wall_s, why);
	return e ? e : set_other(tx, &t->made);
}

/* Whoever has prepared it needs not do so again. */
static enum err prepare_other(struct store_tx *tx)
{
	CLEAN(ca_root_record_deinit) struct ca_root_record r = {0};
	enum err e = store_secret_get(tx, CA_SECRET_OTHER_CERT, &r.certificate);

	if (!e)
		e = store_secret_get(tx, CA_SECRET_OTHER_KEY, &r.sealed_key);
	return e ? e : ca_next_set(tx, &r);
}

/* What a step does to the records. */
static enum err change(struct store_tx *tx, struct stepping *t, struct why *why)
{
	enum rotation_phase from = t->from.phase, to = t->to.phase;

	if (from == ROTATION_NONE)
		return t->prepared[0] ? take_prepared(tx, t, why) : make_other(tx, t, why);
	if (from == ROTATION_TRUST && to == ROTATION_NONE && t->from.prepared) {
		enum err e = prepare_other(tx);

		if (e)
			return e;
	}
	if (to == ROTATION_NONE)
		return forget_other(tx);
	if ((from == ROTATION_TRUST && to == ROTATION_ISSUE) || (from == ROTATION_ISSUE && to == ROTATION_TRUST)) {
		enum err e = swap(tx);

		return e ? e : swap_lists(tx);
	}
	return ERR_OK;
}

static enum err step_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct stepping *t = c->state;
	CLEAN(mem_freep) char *there = NULL;
	CLEAN(mem_freep) char *text = rotation_row_text(&t->to);
	struct rotation_row now;
	char key_id[CLUSTER_KEY_ID_TEXT];
	enum err e = store_secret_get(tx, CA_SECRET_ROTATION, &there);

	if (e && e != ERR_NOT_FOUND)
		return e;
	cluster_key_id(key_id, t->cluster_key);
	if ((e = key_record_check(tx, key_id, why)))
		return e;
	rotation_row_read(&now, there);
	if (now.phase != t->from.phase || now.since_ms != t->from.since_ms) {
		why_set(why, "somebody has taken a step meanwhile: the phase is %s now",
			rotation_phase_name(now.phase));
		return ERR_CONFLICT;
	}
	e = text ? change(tx, t, why) : ERR_NOMEM;
	return e ? e : store_secret_set(tx, CA_SECRET_ROTATION, text);
}

static enum err nothing_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	return ERR_OK;
}

static void shown(struct api_call *c, enum err result, const char *sentence)
{
	if (result)
		api_fail_err(c, result, sentence);
	else
		api_answer_object(c, "carotation", rotation_object(c->server));
}

static void step_then(struct api_call *c, enum err result, const char *sentence)
{
	struct stepping *t = c->state;

	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	event_add(c->server, "CA.ROTATE", "WARN", 0, "%s took the rotation of the CA from %s to %s%s", c->account,
		  rotation_phase_name(t->from.phase), rotation_phase_name(t->to.phase),
		  t->to.compromised ? ", because the old CA's key was stolen" : "");
	/* The CA is being read, because it has changed: this comes after that. */
	api_read(c, nothing_run, shown);
}

static bool has_key(struct api_call *c)
{
	struct server *s = c->server;

	if (s->p.cluster_key && s->ca->ops->can_issue(s->ca))
		return true;
	api_fail(c, API_FAILED, CS_RUNTIME, "%s can't take this step, ask another server: %s", s->p.name,
		 s->ca->ops->cannot);
	return false;
}

/* The caller says which phase he has seen: two who press the button at once take one step. */
static bool is_expected(struct api_call *c)
{
	const char *expected = api_text(c, "phase");

	if (!expected || str_equal(expected, rotation_phase_name(c->server->rotation.phase)))
		return true;
	api_fail(c, API_FAILED, CS_RUNTIME, "The phase is %s, not %s: nothing was done",
		 rotation_phase_name(c->server->rotation.phase), expected);
	return false;
}

/* And which CA is prepared: what begins is what he has seen. */
static bool is_expected_next(struct api_call *c, const char *prepared)
{
	const char *expected = api_text(c, "prepared");

	if (!expected || str_equal_nocase(expected, prepared[0] ? prepared : "none"))
		return true;
	api_fail(c, API_FAILED, CS_RUNTIME,
		 prepared[0] ? "Another CA is prepared by now: nothing was done"
			     : "The CA that was prepared isn't there any more: nothing was done");
	return false;
}

static void prepared_of(const struct server *s, char out[FINGERPRINT_TEXT])
{
	struct cert_info c;

	out[0] = '\0';
	if (s->rotation.phase != ROTATION_NONE || !s->rotation.next_cert ||
	    cert_info_parse(&c, s->rotation.next_cert, NULL))
		return;
	str_copy(out, FINGERPRINT_TEXT, c.fingerprint);
	cert_info_deinit(&c);
}

static bool key_is_the_same(const struct server *s)
{
	struct cert_info present = {0}, next = {0};
	bool same;

	if (s->rotation.phase != ROTATION_NONE)
		return str_equal(s->rotation.issuing_id, s->rotation.other_id);
	same = s->rotation.next_cert && cert_info_parse(&present, s->rotation.issuing_cert, NULL) == ERR_OK &&
	       cert_info_parse(&next, s->rotation.next_cert, NULL) == ERR_OK && str_equal(present.key_id, next.key_id);
	cert_info_deinit(&present);
	cert_info_deinit(&next);
	return same;
}

/* A CA that was renewed with its key is no remedy when that was stolen. */
static bool is_a_remedy(struct api_call *c)
{
	if (!api_flag(c, "compromised") || !key_is_the_same(c->server))
		return true;
	api_fail(
		c, API_BAD_PARAM, CS_VALUE,
		"The next CA has the key that was stolen: prepare one with another key (muster-server ca import --next)");
	return false;
}

static bool may_step(struct api_call *c, enum rotation_step step)
{
	struct server *s = c->server;
	struct behind b = {0};
	struct why why = WHY_NONE;
	enum err e;

	look(&b, s, step);
	e = rotation_may(s->rotation.phase, step, b.n_servers, b.n_hosts, api_flag(c, "force"), &why);
	if (e)
		api_fail_err(c, e, why.text);
	return !e;
}

static void step(struct api_call *c, enum rotation_step which)
{
	struct server *s = c->server;
	const char *dn = config_text(s, "ca.plugin.root.issuer.dn", 0);
	char prepared[FINGERPRINT_TEXT];
	struct stepping *t;

	prepared_of(s, prepared);
	if (!is_ours(c) || !is_expected(c) ||
	    (which == ROTATION_NEXT && (!is_expected_next(c, prepared) || !is_a_remedy(c))) || !has_key(c) ||
	    !may_step(c, which))
		return;
	t = mem_zalloc(sizeof(*t));
	if (!t) {
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	c->state = t;
	c->state_free = stepping_free;
	t->step = which;
	t->from = (struct rotation_row){
		.phase = s->rotation.phase, .since_ms = s->rotation.since_ms, .prepared = s->rotation.prepared};
	str_copy(t->prepared, sizeof(t->prepared), prepared);
	t->to.since_ms = world_wall_ms(s->world);
	(void)rotation_to(t->from.phase, which, &t->to.phase);
	t->to.prepared = t->to.phase != ROTATION_NONE && (prepared[0] || t->from.prepared);
	t->to.compromised = t->to.phase != ROTATION_NONE &&
			    (s->rotation.compromised || (which == ROTATION_NEXT && api_flag(c, "compromised")));
	str_copy(t->to.by, sizeof(t->to.by), c->account);
	str_copy(t->dn, sizeof(t->dn), str_starts(dn, "CN=") ? dn + 3 : dn);
	memcpy(t->cluster_key, s->p.cluster_key, sizeof(t->cluster_key));
	world_entropy(s->world, t->entropy, sizeof(t->entropy));
	t->wall_s = t->to.since_ms / 1000;
	api_write(c, step_run, step_then);
}

static void advance_ca_rotation(struct api_call *c)
{
	step(c, ROTATION_NEXT);
}

static void revert_ca_rotation(struct api_call *c)
{
	step(c, ROTATION_BACK);
}

/* ---- the prepared one is not wanted ---- */

static enum err discard_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	CLEAN(ca_root_record_deinit) struct ca_root_record there = {0};
	enum err e = ca_next_get(tx, &there);

	if (e == ERR_NOT_FOUND) {
		why_set(why, "no CA is prepared");
		return ERR_STATE;
	}
	/* One that is damaged goes as well. */
	return e && e != ERR_DAMAGED ? e : ca_next_remove(tx);
}

static void discard_then(struct api_call *c, enum err result, const char *sentence)
{
	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	event_add(c->server, "CA.DISCARD", "WARN", 0, "%s dropped the CA that was prepared for the next rotation",
		  c->account);
	api_read(c, nothing_run, shown);
}

static void discard_prepared_ca(struct api_call *c)
{
	if (is_ours(c))
		api_write(c, discard_run, discard_then);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec back_params[] = {
	{"phase", API_STRING, false, "The phase that it is in as far as you know: in another one nothing is done", ENTITY_NONE, 0, false},
	{"force", API_BOOLEAN, false, "Also if hosts or servers would be cut off", ENTITY_NONE, 0, false},
};
static const struct api_param_spec next_params[] = {
	{"phase", API_STRING, false, "The phase that it is in as far as you know: in another one nothing is done", ENTITY_NONE, 0, false},
	{"prepared", API_STRING, false, "Fingerprint of the CA that is prepared as far as you know, or none: with another one nothing is done", ENTITY_NONE, 0, false},
	{"force", API_BOOLEAN, false, "Also if hosts or servers would be cut off", ENTITY_NONE, 0, false},
	{"compromised", API_BOOLEAN, false, "The key of the old CA was stolen: certificates of it that were not issued here are refused from issue on", ENTITY_NONE, 0, false},
};
static const struct api_field fields[] = {
	{"phase", "string", "none, trust, issue or drop"},
	{"since", "date", "When that began"},
	{"by", "string", "Who took the last step"},
	{"next", "string", "The phase that the next step leads to"},
	{"back", "string", "The phase that the step back leads to"},
	{"signs", "responseobject", "The CA that signs: subject, issuer, key, keybits, fingerprint, notbefore, notafter"},
	{"other", "responseobject", "The other one, while there are two"},
	{"prepared", "responseobject", "The one that was prepared: the next rotation begins with it instead of making one"},
	{"otherwasprepared", "boolean", "While there are two: the new one is one that was prepared"},
	{"othertrusted", "boolean", "Is it trusted now?"},
	{"servers", "integer", "Servers that count, those not Down"},
	{"hosts", "integer", "Hosts that count, those with a certificate"},
	{"serversbehind", "integer", "Servers that the next step would cut off"},
	{"hostsbehind", "integer", "Hosts that the next step would cut off"},
	{"serverlist", "list", "Which servers: id, name, state, why"},
	{"hostlist", "list", "Which hosts, the first hundred: id, name, state, why"},
	{"frozen", "boolean", "Moves are frozen, and with them the renewal of certificates"},
	{"compromised", "boolean", "It was begun because the key of the old CA was stolen"},
};
static const struct api_route routes[] = {
	{.name = "listCaRotation", .handle = list_ca_rotation, .right = RIGHT_ADMIN, .is_read = true,
	 .description = "Shows how far the rotation of the CA's root is, and who is behind", ROUTE_FIELDS(fields)},
	{.name = "advanceCaRotation", .handle = advance_ca_rotation, .right = RIGHT_ADMIN,
	 .description = "Takes the next step of the rotation of the CA's root: begin, trust to issue, issue to drop, finish",
	 ROUTE_PARAMS(next_params), ROUTE_FIELDS(fields)},
	{.name = "discardPreparedCa", .handle = discard_prepared_ca, .right = RIGHT_ADMIN,
	 .description = "Drops the CA that was prepared for the next rotation, with its key", ROUTE_FIELDS(fields)},
	{.name = "revertCaRotation", .handle = revert_ca_rotation, .right = RIGHT_ADMIN,
	 .description = "Takes the last step of the rotation of the CA's root back", ROUTE_PARAMS(back_params), ROUTE_FIELDS(fields)},
};
/* clang-format on */
const struct api_routes api_rotation_routes = {routes, ARRAY_SIZE(routes)};
