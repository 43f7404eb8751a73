/*
 * Whatever a trusted server sends to an agent that is up: what the agent says stays well formed, and what it writes
 * into its file is something that it can start from again.
 *
 * The input is a row of messages: a byte of what to do (below), two bytes of length, that many bytes of body.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/agent.h"
#include "fake_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#define FLAGS 0x07   /* REQUEST, STOP_ON_ERROR, IN_SEQUENCE of the header */
#define ANSWER 0x08  /* the host program answers its oldest command first */
#define HANG_UP 0x10 /* the servers close all links first */
#define WAIT 0x20    /* some seconds pass afterwards */
#define COPY 0x40    /* the same sequence number as before */

#define PATH "/agent.properties"
#define MOST_COMMANDS 64

struct run {
	struct fake_world *f;
	struct fake_server *servers[3];
	struct agent_file *file;
	struct tls_creds *creds;
	struct agent *agent;
	struct agent_command *commands[MOST_COMMANDS];
	size_t n_commands;
	int64_t seq;
};

static enum err on_startup(void *user, struct msg_startup_routing *out)
{
	return ERR_OK;
}

static void on_command(void *user, struct agent_command *c)
{
	struct run *r = user;

	if (r->n_commands < MOST_COMMANDS)
		r->commands[r->n_commands++] = c;
	else
		agent_answer_unsupported(c);
}

static void on_stopped(void *user, enum err why, const char *sentence)
{
	MUST(why != ERR_OK && sentence[0]);
}

static const struct agent_host host = {.startup = on_startup, .command = on_command, .stopped = on_stopped};

static void agent_make(struct run *r)
{
	struct agent_params p;

	MUST(agent_file_open(&r->file, fake_world_of(r->f)->fs, PATH, NULL) == ERR_OK);
	agent_params_init(&p);
	p.world = fake_world_of(r->f);
	p.file = r->file;
	p.creds = r->creds;
	p.guid = "g";
	p.resource_name = "R";
	p.commands_max = 16;
	p.host = &host;
	p.host_user = r;
	MUST(agent_new(&r->agent, &p, NULL) == ERR_OK);
}

static void agent_drop(struct run *r)
{
	r->agent = agent_free(r->agent);
	r->file = agent_file_free(r->file);
	r->n_commands = 0;
}

static void run_begin(struct run *r)
{
	static const char *const ips[] = {"10.0.0.1", "10.0.0.2", "10.0.0.3"};

	*r = (struct run){.f = fake_world_new(1), .seq = 1};
	r->creds = fake_creds(r->f);
	for (size_t i = 0; i < ARRAY_SIZE(ips); i++) {
		r->servers[i] = fake_server_new(r->f, ips[i], FAKE_MUSTER);
		r->servers[i]->heartbeat_ms = 1000;
	}
	fake_file_put(r->f, PATH, "host=10.0.0.1,10.0.0.2,10.0.0.3@static\n");
	agent_make(r);
	MUST(agent_start(r->agent) == ERR_OK);
	fake_world_run(r->f, 50);
}

static void run_end(struct run *r)
{
	struct agent_view v;

	agent_look(r->agent, &v);
	MUST(v.list->n > 0 && v.interval_s >= 0);
	agent_drop(r);
	agent_make(r);
	agent_drop(r);
	for (size_t i = 0; i < ARRAY_SIZE(r->servers); i++)
		fake_server_free(r->servers[i]);
	tls_creds_unref(r->creds);
	fake_world_free(r->f);
}

static void answer_oldest(struct run *r)
{
	struct agent_command *c = r->commands[0];

	if (!r->n_commands)
		return;
	memmove(&r->commands[0], &r->commands[1], --r->n_commands * sizeof(r->commands[0]));
	agent_answer_plain(c, r->n_commands % 2, "done");
}

/* To whichever server the agent is on. */
static void send_body(struct run *r, uint8_t what, const uint8_t *body, size_t n)
{
	char *text = mem_strndup((const char *)body, n);
	struct header h = {
		.flags = (uint16_t)((what & FLAGS) | (what & FLAG_REQUEST ? FLAG_FROM_SERVER : 0)),
		.seq = what & COPY ? r->seq : ++r->seq,
		.mgmt_id = 5,
		.agent_id = 7,
		.via = 7,
	};

	MUST(text);
	for (size_t i = 0; i < ARRAY_SIZE(r->servers); i++) {
		if (r->servers[i]->link && link_state(r->servers[i]->link) == LINK_UP)
			fake_server_send(r->servers[i], &h, text);
	}
	mem_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = {.data = data, .len = size};
	struct run r;
	uint8_t what;
	uint16_t n;

	run_begin(&r);
	for (int rounds = 0; rounds < 64 && bytes_get_u8(&in, &what) && bytes_get_u16(&in, &n); rounds++) {
		struct bytes body = {.data = in.data, .len = n < in.len ? n : in.len};

		MUST(bytes_get(&in, body.len, &body));
		if (what & ANSWER)
			answer_oldest(&r);
		for (size_t i = 0; i < ARRAY_SIZE(r.servers) && what & HANG_UP; i++)
			fake_server_hang_up(r.servers[i]);
		send_body(&r, what, body.data, body.len);
		fake_world_run(r.f, what & WAIT ? 3000 : 5);
	}
	run_end(&r);
	return 0;
}
