/*
 * CheckHealth: is this host alive? It is, or it could not answer. With a health script the answer is the script's,
 * run for this question; while it says nothing either way, the host counts as alive.
 */
#include "agent/daemon.h"

#include "base/mem.h"

#define ALIVE "resource is alive"

struct check {
	struct health_waiter waiter;
	struct agent_command *command;
};

static void answer(struct agent_command *c, bool result, const char *details)
{
	struct batch b = {0};

	if (!answer_add(&b, MSG_CHECK_HEALTH_ANSWER, result, details)) {
		batch_deinit(&b);
		agent_answer_plain(c, false, err_text(ERR_NOMEM));
		return;
	}
	agent_answer(c, &b);
}

static void check_done(struct health_waiter *w, enum health_result result, const char *sentence)
{
	struct check *k = container_of(w, struct check, waiter);
	struct agent_command *c = k->command;

	mem_free(k);
	answer(c, result != HEALTH_BAD, result == HEALTH_GOOD ? ALIVE : sentence);
}

void do_check_health(struct daemon *d, struct agent_command *c)
{
	struct check *k;

	if (!d->health) {
		answer(c, true, ALIVE);
		return;
	}
	k = mem_zalloc(sizeof(*k));
	if (!k) {
		agent_answer_plain(c, false, err_text(ERR_NOMEM));
		return;
	}
	k->command = c;
	k->waiter.done = check_done;
	list_init(&k->waiter.queued);
	health_ask(d->health, &k->waiter);
}
