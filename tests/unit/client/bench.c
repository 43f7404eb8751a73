#include "bench.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"

/* ---- the host program ---- */

static enum err host_startup(void *user, struct msg_startup_routing *out)
{
	struct bench *b = user;

	b->n_startups++;
	msg_set_i64(&out->cpus, 4);
	return msg_set_text(&out->cpuArch, "x86_64");
}

static void host_command(void *user, struct agent_command *c)
{
	struct bench *b = user;

	b->n_given++;
	b->last_type = c->element->type;
	if (b->frees_agent) {
		b->agent = agent_free(b->agent);
		return;
	}
	if (b->answers) {
		agent_answer_plain(c, true, NULL);
		return;
	}
	assert_true(b->n_commands < MOST_COMMANDS);
	b->commands[b->n_commands++] = c;
}

static void host_changed(void *user)
{
	struct bench *b = user;

	b->n_changed++;
	if (b->frees_on_change)
		b->agent = agent_free(b->agent);
}

static void host_creds_judged(void *user, bool new_stays, const char *sentence)
{
	struct bench *b = user;

	b->n_judged++;
	b->new_stays = new_stays;
	str_copy(b->judged_sentence, sizeof(b->judged_sentence), sentence);
}

static void host_stopped(void *user, enum err why, const char *sentence)
{
	struct bench *b = user;

	b->n_stopped++;
	b->stop_error = why;
	snprintf(b->stop_sentence, sizeof(b->stop_sentence), "%s", sentence);
}

static const struct agent_host host = {
	.startup = host_startup,
	.command = host_command,
	.changed = host_changed,
	.creds_judged = host_creds_judged,
	.stopped = host_stopped,
};

/* ---- the bench ---- */

static void agent_make(struct bench *b)
{
	struct why why = WHY_NONE;

	assert_int_equal(agent_file_open(&b->file, b->world->fs, BENCH_FILE, &why), ERR_OK);
	b->params.file = b->file;
	if (agent_new(&b->agent, &b->params, &why) != ERR_OK)
		fail_msg("%s", why.text);
}

void bench_setup(struct bench *b, const char *host_list, const char *more)
{
	char text[2048];

	*b = (struct bench){0};
	b->f = fake_world_new(42);
	b->world = fake_world_of(b->f);
	b->creds = fake_creds(b->f);
	snprintf(text, sizeof(text), "# agent\nguid=g-1\nhost=%s\n%s", host_list, more ? more : "");
	fake_file_put(b->f, BENCH_FILE, text);
	agent_params_init(&b->params);
	b->params.world = b->world;
	b->params.creds = b->creds;
	b->params.guid = "g-1";
	b->params.resource_name = "LibvirtComputingResource";
	b->params.name = "kvm1";
	b->params.zone = "1";
	b->params.pod = "1";
	b->params.cluster = "1";
	b->params.version = "1.0";
	b->params.host = &host;
	b->params.host_user = b;
	agent_make(b);
}

void bench_start(struct bench *b)
{
	assert_int_equal(agent_start(b->agent), ERR_OK);
}

void bench_remake(struct bench *b)
{
	agent_free(b->agent);
	agent_file_free(b->file);
	b->n_commands = 0;
	agent_make(b);
}

void bench_up(struct bench *b, const char *host_list, const char *more)
{
	bench_setup(b, host_list, more);
	b->m1 = fake_server_new(b->f, M1, FAKE_MUSTER);
	b->m2 = fake_server_new(b->f, M2, FAKE_MUSTER);
	b->m3 = fake_server_new(b->f, M3, FAKE_MUSTER);
	bench_start(b);
	bench_run(b, 100);
	assert_int_equal(bench_look(b).state, AGENT_UP);
}

void bench_teardown(struct bench *b)
{
	agent_free(b->agent);
	agent_file_free(b->file);
	tls_creds_unref(b->creds);
	if (b->m1)
		fake_server_free(b->m1);
	if (b->m2)
		fake_server_free(b->m2);
	if (b->m3)
		fake_server_free(b->m3);
	fake_world_free(b->f);
}

void bench_run(struct bench *b, int64_t ms)
{
	fake_world_run(b->f, ms);
}

struct agent_view bench_look(const struct bench *b)
{
	struct agent_view v;

	agent_look(b->agent, &v);
	return v;
}

const char *bench_connected(const struct bench *b)
{
	const char *entry = bench_look(b).connected;

	return entry ? entry : "";
}

void bench_answer(struct bench *b, bool result)
{
	struct agent_command *c = b->commands[0];

	assert_true(b->n_commands > 0);
	memmove(&b->commands[0], &b->commands[1], --b->n_commands * sizeof(b->commands[0]));
	agent_answer_plain(c, result, result ? NULL : "did not work");
}

const char *bench_get(struct bench *b, const char *key)
{
	static char value[1024]; /* of the last call */
	struct props *p;
	const char *text = fake_file_get(b->f, BENCH_FILE);
	const char *found;

	assert_int_equal(props_parse(&p, text, strlen(text), NULL), ERR_OK);
	found = props_get(p, key);
	if (found)
		snprintf(value, sizeof(value), "%s", found);
	props_free(p);
	return found ? value : NULL;
}

void bench_list(struct fake_server *s, const char *servers, const char *algorithm)
{
	assert_int_equal(str_list_split(&s->list, servers, ','), ERR_OK);
	s->algorithm = algorithm;
}

/* ---- commands ---- */

static void set_texts(msg_texts *to, const char *list)
{
	if (!list)
		return;
	to->has = true;
	assert_int_equal(str_list_split(&to->list, list, ','), ERR_OK);
}

void fill_list(void *fields, void *user)
{
	const struct list_fill *l = user;
	struct msg_setup_ms_list *m = fields;

	set_texts(&m->msList, l->servers);
	set_texts(&m->avoidMsList, l->avoid ? l->avoid : "");
	if (l->algorithm)
		assert_int_equal(msg_set_text(&m->lbAlgorithm, l->algorithm), ERR_OK);
	msg_set_i64(&m->lbCheckInterval, l->interval);
	msg_set_bool(&m->triggerHostLb, l->trigger);
}

int64_t bench_send_list(struct fake_server *s, const struct list_fill *l)
{
	return fake_server_ask(s, MSG_SETUP_MS_LIST, fill_list, (void *)(uintptr_t)l);
}

static void fill_migrate(void *fields, void *user)
{
	set_texts(&((struct msg_migrate *)fields)->avoidMsList, user);
}

int64_t bench_migrate(struct fake_server *s, const char *avoid)
{
	return fake_server_ask(s, MSG_MIGRATE, fill_migrate, (void *)(uintptr_t)avoid);
}

bool bench_answer_result(const struct fake_server *s, int64_t seq)
{
	const struct fake_message *m = fake_server_answer(s, seq);

	assert_non_null(m);
	return element_result(&m->batch.elements[0]);
}

const char *bench_answer_details(const struct fake_server *s, int64_t seq)
{
	const struct fake_message *m = fake_server_answer(s, seq);

	assert_non_null(m);
	return element_details(&m->batch.elements[0]);
}
