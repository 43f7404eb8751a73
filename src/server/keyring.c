#include "server/keyring.h"

#include <string.h>

#include "server/key_change.h"
#include "server/rotation.h"

#define TRY_AGAIN_MS 2000
#define TELL_AGAIN_MS 10000
#define SAY_AGAIN_MS 60000
#define NO_KEY "none"

struct keyring_reading {
	struct entry entry;
	struct cluster_key_record record;
};

struct keyring_telling {
	struct entry entry;
	char id[CLUSTER_KEY_ID_TEXT];
};

/* The key file is read once more, off the loop. */
struct keyring_trying {
	struct work work;
	struct server *server;
	uint8_t key[CLUSTER_KEY_SIZE];
	enum err result;
	struct why why;
};

const char *key_state_name(enum key_state k)
{
	switch (k) {
	case KEY_STATE_PRESENT:
		return "present";
	case KEY_STATE_MISSING:
		return "missing";
	case KEY_STATE_OUTDATED:
		return "outdated";
	case KEY_STATE_UNKNOWN:
		break;
	}
	return "unknown";
}

enum key_state keyring_state_of(const struct server *s, const char *key_id)
{
	const char *wanted = s->keyring.wanted.id;

	if (!key_id)
		return KEY_STATE_UNKNOWN;
	if (str_equal(key_id, NO_KEY))
		return KEY_STATE_MISSING;
	return !wanted[0] || str_equal(key_id, wanted) ? KEY_STATE_PRESENT : KEY_STATE_OUTDATED;
}

const char *keyring_id(struct server *s)
{
	if (!s->keyring.id[0] && s->p.cluster_key)
		cluster_key_id(s->keyring.id, s->p.cluster_key);
	return s->keyring.id[0] ? s->keyring.id : NO_KEY;
}

static void wipe(struct server *s)
{
	uint8_t *key = (uint8_t *)(uintptr_t)s->p.cluster_key;

	s->p.cluster_key = NULL;
	if (key)
		mem_wipe(key, CLUSTER_KEY_SIZE);
	mem_free(key);
}

static bool is_behind(struct server *s)
{
	return s->keyring.wanted.id[0] && !(s->p.cluster_key && str_equal(keyring_id(s), s->keyring.wanted.id));
}

/* ---- the file ---- */

static void take_key(struct server *s, const uint8_t key[CLUSTER_KEY_SIZE])
{
	uint8_t *copy = mem_zalloc(CLUSTER_KEY_SIZE);

	if (!copy)
		return; /* the next time */
	memcpy(copy, key, CLUSTER_KEY_SIZE);
	wipe(s);
	s->p.cluster_key = copy;
	cluster_key_id(s->keyring.id, key);
	s->keyring.said = (struct mono){0};
	log_info(s->log, "the new cluster key is here", KV_S("key", s->keyring.id));
	/* A server that couldn't issue can now. */
	if (s->ca && !s->ca->ops->can_issue(s->ca))
		s->rotation.unused = true;
	rotation_reload(s);
	tickets_forget_text(s);
	tickets_reload(s);
}

/* Loudly, and not every two seconds. */
static void say_behind(struct server *s, const struct keyring_trying *t, const char *its_id)
{
	struct mono now = world_now(s->world);
	bool first = !s->keyring.said.us;

	if (!first && mono_ms_between(s->keyring.said, now) < SAY_AGAIN_MS)
		return;
	s->keyring.said = now;
	log_error(
		s->log,
		"the cluster key was changed, and the file here has another one: copy the key file of a server that has it",
		KV_S("wanted", s->keyring.wanted.id), KV_S("here", its_id[0] ? its_id : NO_KEY),
		KV_S("reason", t->result        ? why_text(&t->why, t->result)
			       : t->why.text[0] ? t->why.text
						: "it is another key"));
	if (first)
		event_add(
			s, "ALERT.CLUSTER.KEY", "ERROR", 0,
			"management server %s does not have the new cluster key: it goes on with what it holds, and needs the "
			"key file of a server that has it",
			s->p.name);
}

static void tried(struct work *work)
{
	struct keyring_trying *t = container_of(work, struct keyring_trying, work);
	struct server *s = t->server;
	char id[CLUSTER_KEY_ID_TEXT] = "";

	s->keyring.trying = NULL;
	if (!t->result)
		cluster_key_id(id, t->key);
	if (!s->stopping && is_behind(s)) {
		if (str_equal(id, s->keyring.wanted.id))
			take_key(s, t->key);
		else
			say_behind(s, t, id);
	}
	mem_wipe(t->key, sizeof(t->key));
	mem_free(t);
	server_gone_if_idle(s);
}

static void try_run(struct work *work)
{
	struct keyring_trying *t = container_of(work, struct keyring_trying, work);

	t->result = t->server->p.read_cluster_key(t->server->p.user, t->key, &t->why);
}

static void try_again(struct server *s)
{
	struct keyring_trying *t;

	s->keyring.tried = world_now(s->world);
	if (!s->p.read_cluster_key || s->keyring.trying || !(t = mem_zalloc(sizeof(*t))))
		return;
	t->server = s;
	t->work = (struct work){.run = try_run, .done = tried, .cost_us = 200};
	s->keyring.trying = t;
	world_work(s->world, WORK_FILE, &t->work);
}

/* ---- what the store says ---- */

static enum err reading_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	return key_record_get(tx, &container_of(entry, struct keyring_reading, entry)->record);
}

static void take_record(struct server *s, const struct cluster_key_record *r)
{
	bool had = s->p.cluster_key != NULL;

	s->keyring.wanted = *r;
	if (!is_behind(s))
		return;
	(void)keyring_id(s); /* others are to see which one we had */
	wipe(s);
	if (had)
		log_warn(s->log, "the cluster key has been changed, the file is read again", KV_S("wanted", r->id));
	try_again(s);
}

static void reading_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct keyring_reading *r = container_of(entry, struct keyring_reading, entry);

	s->keyring.reading = false;
	s->keyring.stale |= result != ERR_OK;
	if (!result && !s->freed && !s->stopping && !str_equal(r->record.id, s->keyring.wanted.id))
		take_record(s, &r->record);
	mem_free(r);
}

void keyring_reload(struct server *s)
{
	struct keyring_reading *r;

	s->keyring.stale = true;
	if (s->keyring.reading || !(r = mem_zalloc(sizeof(*r))))
		return; /* a tick asks again */
	s->keyring.stale = false;
	s->keyring.reading = true;
	r->entry = (struct entry){.run = reading_run, .done = reading_done, .read_only = true};
	ledger_add(s, &r->entry);
}

/* ---- saying which key we have ---- */

static enum err telling_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	return store_server_key(tx, entry->server->msid, container_of(entry, struct keyring_telling, entry)->id);
}

static void telling_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct keyring_telling *t = container_of(entry, struct keyring_telling, entry);

	s->keyring.telling = false;
	if (result) {
		s->keyring.told_at = world_now(s->world);
	} else {
		str_copy(s->keyring.told, sizeof(s->keyring.told), t->id);
		s->keyring.told_at = (struct mono){0};
		if (!s->freed && !s->stopping)
			api_committed(s);
	}
	mem_free(t);
}

static void tell(struct server *s)
{
	const char *id = keyring_id(s);
	struct mono now = world_now(s->world);
	struct keyring_telling *t;

	if (s->keyring.telling || str_equal(s->keyring.told, id) ||
	    (s->keyring.told_at.us && mono_ms_between(s->keyring.told_at, now) < TELL_AGAIN_MS) ||
	    !(t = mem_zalloc(sizeof(*t))))
		return;
	t->entry = (struct entry){.run = telling_run, .done = telling_done};
	str_copy(t->id, sizeof(t->id), id);
	s->keyring.telling = true;
	ledger_add(s, &t->entry);
}

void keyring_tick(struct server *s)
{
	struct mono now = world_now(s->world);

	if (!s->running || s->stopping)
		return;
	if (s->keyring.stale)
		keyring_reload(s);
	if (is_behind(s) && mono_ms_between(s->keyring.tried, now) >= TRY_AGAIN_MS)
		try_again(s);
	tell(s);
}

bool keyring_is_busy(const struct server *s)
{
	return s->keyring.trying != NULL;
}

void keyring_deinit(struct server *s)
{
	if (s->keyring.trying)
		mem_wipe(s->keyring.trying->key, CLUSTER_KEY_SIZE);
	s->keyring.trying = mem_free(s->keyring.trying);
}
