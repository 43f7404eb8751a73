/*
 * SetupKeyStore: makes a new key and asks for a certificate (agent-protocol 7.6). The key waits beside the one in use
 * until SetupCertificate brings its certificate; until then nothing changes.
 */
#include "agent/daemon.h"

#include <string.h>

#include "agent/identity.h"
#include "base/mem.h"
#include "pki/cert.h"

#define CSR_FILE "cloud.csr"
#define KEY_PASSPHRASE "keystore.passphrase"

struct making {
	struct work work;
	struct daemon *daemon;
	struct agent_command *command;
	enum key_kind kind;
	struct csr_params params;
	struct str_list ips;
	char name[256];
	char *guid; /* owned */
	/* out */
	char *key, *csr; /* owned */
	enum err result;
	struct why why;
};

static void making_free(struct making *m)
{
	key_free(m->key);
	mem_free(m->csr);
	mem_free(m->guid);
	str_list_deinit(&m->ips);
	mem_free(m);
}

static void making_dropped(struct work *w)
{
	making_free(container_of(w, struct making, work));
}

static void making_run(struct work *w)
{
	struct making *m = container_of(w, struct making, work);

	m->result = key_new(&m->key, m->kind, &m->why);
	m->params.key_pem = m->key;
	if (!m->result)
		m->result = csr_new(&m->csr, &m->params, &m->why);
}

/* Only where none is stored: a cloud.jks that is there already can be opened with the old one only. */
static enum err keep_passphrase(struct daemon *d, const char *passphrase, struct why *why)
{
	const struct agent_change change = {.key = KEY_PASSPHRASE, .value = passphrase};

	if (str_is_blank(passphrase) || agent_file_get(d->file, KEY_PASSPHRASE))
		return ERR_OK;
	return agent_file_change(d->file, &change, 1, why);
}

static enum err keep(struct making *m)
{
	struct daemon *d = m->daemon;
	const struct msg_setup_keystore *asked = m->command->element->fields;
	CLEAN(mem_freep) char *path = path_join(d->dir, CSR_FILE);
	enum err e = path ? keep_passphrase(d, asked->keystorePassword, &m->why) : ERR_NOMEM;

	if (!e)
		e = identity_keep_key(d->fs, d->dir, m->key, &m->why);
	return e ? e : file_replace(d->fs, path, 0600, m->csr, strlen(m->csr), &m->why);
}

static void answer(struct agent_command *c, enum err e, const struct why *why, const char *csr)
{
	struct batch b = {0};
	struct msg_setup_keystore_answer *a =
		answer_add(&b, MSG_SETUP_KEYSTORE_ANSWER, !e, e ? why_text(why, e) : NULL);

	if (!a || (csr && msg_set_text(&a->csr, csr) != ERR_OK)) {
		batch_deinit(&b);
		agent_answer_plain(c, false, err_text(ERR_NOMEM));
		return;
	}
	agent_answer(c, &b);
}

static void making_done(struct work *w)
{
	struct making *m = container_of(w, struct making, work);
	struct daemon *d = m->daemon;
	enum err e = m->result ? m->result : keep(m);

	if (e)
		log_warn(&d->log, "no new key for a certificate", KV_S("reason", why_text(&m->why, e)));
	else
		log_info(&d->log, "a new key waits for its certificate");
	answer(m->command, e, &m->why, e ? NULL : m->csr);
	making_free(m);
}

void do_setup_keystore(struct daemon *d, struct agent_command *c)
{
	const struct msg_setup_keystore *asked = c->element->fields;
	struct why why = WHY_NONE;
	struct agent_view view;
	struct making *m;

	if (asked->handleByAgent.has && !asked->handleByAgent.value) {
		why_set(&why, "there are no system VMs on this host");
		answer(c, ERR_UNSUPPORTED, &why, NULL);
		return;
	}
	m = mem_zalloc(sizeof(*m));
	if (!m || !(m->guid = mem_strdup(d->settings.guid)) || facts_addresses(&m->ips, &d->facts, &d->settings)) {
		if (m)
			making_free(m);
		answer(c, ERR_NOMEM, &why, NULL);
		return;
	}
	agent_look(d->agent, &view);
	m->daemon = d;
	m->command = c;
	/* CloudStack's tools make RSA keys, and its own agents could not read others. */
	m->kind = view.is_muster ? KEY_EC_P256 : KEY_RSA_2048;
	str_copy(m->name, sizeof(m->name), d->settings.name);
	m->params = (struct csr_params){
		.common_name = m->name,
		.role = view.is_muster ? CERT_ROLE_AGENT : CERT_ROLE_NONE,
		.id = view.is_muster ? m->guid : NULL,
		.ips = &m->ips,
	};
	m->work = (struct work){.run = making_run, .done = making_done, .dropped = making_dropped, .cost_us = 100000};
	world_work(d->world, WORK_CRYPTO, &m->work);
}
