#include "provision_bench.h"

#include <string.h>

#include "check.h"

void keeper_init(struct keeper *k, struct engine_bench *e, struct node *at, const struct agent_script *as)
{
	*k = (struct keeper){.script = script_new(e, as), .at = at};
}

void keeper_deinit(struct keeper *k)
{
	k->key = key_free(k->key);
	k->pem = mem_free(k->pem);
	k->trusted = mem_free(k->trusted);
	cert_info_deinit(&k->cert);
}

void keeper_connect(struct keeper *k)
{
	script_dial(k->script, k->at);
	engine_run(k->script->bench, 300);
}

char *keeper_request(struct keeper *k, enum cert_role role, const char *id)
{
	struct csr_params p = {.common_name = k->script->as.guid, .role = role, .id = id};
	struct why why = WHY_NONE;
	char *csr = NULL;

	k->key = key_free(k->key);
	assert_int_equal(key_new(&k->key, KEY_EC_P256, &why), ERR_OK);
	p.key_pem = k->key;
	assert_int_equal(csr_new(&csr, &p, &why), ERR_OK);
	return csr;
}

struct key_answer {
	const char *csr;
	bool result;
};

static void fill_key(void *fields, const void *arg)
{
	struct msg_setup_keystore_answer *m = fields;
	const struct key_answer *a = arg;

	msg_set_bool(&m->result, a->result);
	if (a->csr)
		assert_int_equal(msg_set_text(&m->csr, a->csr), ERR_OK);
	if (!a->result)
		assert_int_equal(msg_set_text(&m->details, "no entropy left"), ERR_OK);
}

static void fill_cert(void *fields, const void *arg)
{
	struct msg_setup_certificate_answer *m = fields;
	const bool *result = arg;

	msg_set_bool(&m->result, *result);
	if (!*result)
		assert_int_equal(msg_set_text(&m->details, "no space left on device"), ERR_OK);
}

static void answer_key(struct keeper *k, const struct fake_message *m)
{
	bool has_uri = k->script->as.is_muster;
	CLEAN(mem_freep)
	char *own = k->csr ? mem_strdup(k->csr)
			   : keeper_request(k, has_uri ? CERT_ROLE_AGENT : CERT_ROLE_NONE,
					    has_uri ? k->script->as.guid : NULL);
	const struct key_answer a = {.csr = k->refuses_key ? NULL : own, .result = !k->refuses_key};

	script_answer_with(k->script, m, MSG_SETUP_KEYSTORE_ANSWER, fill_key, &a);
}

/* As an agent does: a certificate for another key than the newest is none. */
static bool take(struct keeper *k, const struct fake_message *message)
{
	const struct msg_setup_certificate *m = message->batch.elements[0].fields;
	struct why why = WHY_NONE;

	cert_info_deinit(&k->cert);
	mem_free(k->pem);
	mem_free(k->trusted);
	k->pem = mem_strdup(m->certificate);
	k->trusted = mem_strdup(m->caCertificates);
	assert_int_equal(cert_info_parse(&k->cert, k->pem, &why), ERR_OK);
	if (m->privateKey && m->privateKey[0]) {
		key_free(k->key);
		k->key = mem_strdup(m->privateKey);
	}
	/* No command speaks of a certificate that the store doesn't know: it can be found, and revoked. */
	assert_true(issued_for(k->script->bench, k->script->as.guid) > 0);
	return !k->refuses_cert && key_matches_cert(k->key, k->pem, &why) == ERR_OK;
}

void keeper_use(struct keeper *k)
{
	struct script *s = k->script;

	script_certificate(s, &k->cert);
	if (!s->as.is_muster && s->link) {
		script_hang_up(s);
		engine_run(s->bench, 50);
	}
	keeper_connect(k);
	if (s->as.is_muster && !list_is_empty(&s->old_links))
		script_hang_up_oldest(s);
}

bool keeper_step(struct keeper *k)
{
	const struct fake_message *key = script_got(k->script, MSG_SETUP_KEYSTORE, k->n_keys);
	const struct fake_message *cert = script_got(k->script, MSG_SETUP_CERTIFICATE, k->n_certs);
	bool yes;

	if (key && script_is_open(k->script)) {
		k->n_keys++;
		answer_key(k, key);
	}
	if (cert && script_is_open(k->script)) {
		k->n_certs++;
		yes = take(k, cert);
		if (!k->is_mute)
			script_answer_with(k->script, cert, MSG_SETUP_CERTIFICATE_ANSWER, fill_cert, &yes);
		if (yes && !k->never_uses)
			keeper_use(k);
	}
	return key || cert;
}

void keepers_run(struct keeper *k, size_t n, int64_t ms)
{
	int64_t step_ms = ms < 600000 ? 50 : 1000;

	for (int64_t done = 0; done < ms; done += step_ms) {
		engine_run(k->script->bench, step_ms);
		for (size_t i = 0; i < n; i++)
			keeper_step(&k[i]);
	}
}

/* ---- the API ---- */

static char *ask_1(struct engine_bench *e, struct node *on, const char *command, const char *name, const char *value)
{
	const struct api_param params[] = {{"command", command}, {name, value}};
	int status;
	char *text = engine_ask(e, on, params, 2, &status);

	if (status != 200)
		fail_msg("%s: %d %s", command, status, text);
	return text;
}

void provision_ask(struct engine_bench *e, struct node *on, const char *guid, char job[UUID_TEXT])
{
	struct host *h = host_of(on, guid);
	char *text, *at;

	check_there(h);
	text = ask_1(e, on, "provisionCertificate", "hostid", h->row.uuid);
	at = strstr(text, "\"jobid\":\"");
	check_there(at);
	memcpy(job, at + 9, UUID_TEXT - 1);
	job[UUID_TEXT - 1] = '\0';
	mem_free(text);
}

char *provision_job(struct engine_bench *e, struct node *on, const char *job)
{
	return ask_1(e, on, "queryAsyncJobResult", "jobid", job);
}

char *events_of(struct engine_bench *e, struct node *on, const char *type)
{
	return ask_1(e, on, "listEvents", "type", type);
}

size_t count_of(const char *text, const char *part)
{
	size_t n = 0;

	for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
		n++;
	return n;
}

/* ---- the store ---- */

struct certs {
	struct cert_row *rows;
	size_t n;
};

static enum err certs_run(struct store_tx *tx, void *arg, struct why *why)
{
	struct certs *c = arg;

	return store_cert_list(tx, &c->rows, &c->n);
}

size_t issued_for(struct engine_bench *e, const char *guid)
{
	struct certs c = {0};
	struct store *store = NULL;
	struct store_call call = {.run = certs_run, .arg = &c, .read_only = true};
	struct store_call *calls[] = {&call};
	struct why why = WHY_NONE;
	size_t n = 0;

	assert_int_equal(store_open(&store, e->store_name, &why), ERR_OK);
	assert_int_equal(store_run(store, calls, 1, &why), ERR_OK);
	assert_int_equal(call.result, ERR_OK);
	store_close(store);
	for (size_t i = 0; i < c.n; i++) {
		n += str_equal(c.rows[i].subject_id, guid);
		cert_row_deinit(&c.rows[i]);
	}
	mem_free(c.rows);
	return n;
}
