/*
 * Which function answers which command. The engine has answered those about the connection itself.
 */
#include "agent/daemon.h"

#include "base/mem.h"

static const struct {
	enum msg_type type;
	void (*run)(struct daemon *d, struct agent_command *c);
} rows[] = {
	{MSG_CHECK_HEALTH, do_check_health},
	{MSG_GET_HOST_STATS, do_get_host_stats},
	{MSG_PING_TEST, do_ping_test},
	{MSG_SET_HOST_PARAMS, do_set_host_params},
	{MSG_CHECK_NETWORK, do_check_network},
	{MSG_CLEANUP_RULES, do_cleanup_rules},
	{MSG_MODIFY_SSH_KEYS, do_modify_ssh_keys},
	{MSG_SETUP_KEYSTORE, do_setup_keystore},
	{MSG_SETUP_CERTIFICATE, do_setup_certificate},
	{MSG_EXPLAIN, do_explain},
};

void commands_run(struct daemon *d, struct agent_command *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].type == c->element->type) {
			rows[i].run(d, c);
			return;
		}
	}
	agent_answer_unsupported(c);
}

void *answer_add(struct batch *b, enum msg_type type, bool result, const char *details)
{
	void *fields = batch_add(b, type);
	msg_bool *to_result = NULL;
	msg_text *to_details = NULL;

	if (!fields)
		return NULL;
	switch (type) {
#define ANSWER(ENUM, name)                                                                                             \
	case MSG_##ENUM:                                                                                               \
		to_result = &((struct msg_##name *)fields)->result;                                                    \
		to_details = &((struct msg_##name *)fields)->details;                                                  \
		break;
		ANSWER(CHECK_HEALTH_ANSWER, check_health_answer)
		ANSWER(GET_HOST_STATS_ANSWER, get_host_stats_answer)
		ANSWER(CHECK_NETWORK_ANSWER, check_network_answer)
		ANSWER(SETUP_KEYSTORE_ANSWER, setup_keystore_answer)
		ANSWER(SETUP_CERTIFICATE_ANSWER, setup_certificate_answer)
		ANSWER(EXPLAIN_ANSWER, explain_answer)
#undef ANSWER
	default:
		return NULL;
	}
	msg_set_bool(to_result, result);
	return !details || msg_set_text(to_details, details) == ERR_OK ? fields : NULL;
}
