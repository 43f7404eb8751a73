/* Joining: the first server that proves the fingerprint gets the request, everybody else gets nothing. */
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "client/join.h"
#include "fake_world.h"

struct fixture {
	struct fake_world *f;
	struct fake_server *s1, *s2;
	struct join *join;
	int n_done;
	enum err result;
	char sentence[256];
	int64_t host_id;
	bool frees;
};

static void on_done(void *user, enum err result, const char *sentence, const struct msg_join_answer *answer)
{
	struct fixture *x = user;

	x->n_done++;
	x->result = result;
	str_copy(x->sentence, sizeof(x->sentence), sentence);
	x->host_id = answer ? answer->hostId.value : -1;
	if (x->frees)
		x->join = join_free(x->join);
}

static void begin(struct fixture *x, const char *fingerprint, int64_t timeout_ms)
{
	struct join_params p = {
		.servers = "10.0.0.1:8250,10.0.0.2", .fingerprint = fingerprint, .timeout_ms = timeout_ms};
	struct batch b = {0};
	struct msg_join *m = batch_add(&b, MSG_JOIN);
	struct why why = WHY_NONE;

	x->f = fake_world_new(3);
	p.world = fake_world_of(x->f);
	assert_int_equal(msg_set_text(&m->tokenSecret, "s3cret"), ERR_OK);
	assert_int_equal(join_start(&x->join, &p, m, on_done, x, &why), ERR_OK);
	batch_deinit(&b);
}

static void end(struct fixture *x)
{
	join_free(x->join);
	if (x->s1)
		fake_server_free(x->s1);
	if (x->s2)
		fake_server_free(x->s2);
	fake_world_free(x->f);
}

static void answer(struct fixture *x, struct fake_server *s, const char *body)
{
	struct header h;

	fake_world_run(x->f, 20);
	assert_int_equal(s->n_messages, 1);
	assert_string_equal(((const struct msg_join *)s->messages[0].batch.elements[0].fields)->tokenSecret, "s3cret");
	h = header_answer(&s->messages[0].header);
	fake_server_send(s, &h, body);
	fake_world_run(x->f, 20);
}

static void the_first_that_answers_is_asked(void **state)
{
	struct fixture x = {.frees = true};

	begin(&x, "right", 0);
	x.s2 = fake_server_new(x.f, "10.0.0.2", FAKE_MUSTER);
	answer(&x, x.s2, "[{\"muster.JoinAnswer\":{\"result\":true,\"hostId\":12}}]");
	assert_int_equal(x.n_done, 1);
	assert_int_equal(x.result, ERR_OK);
	assert_int_equal(x.host_id, 12);
	assert_int_equal(x.s2->n_open, 0);
	end(&x);
}

static void a_no_is_final(void **state)
{
	struct fixture x = {0};

	begin(&x, "right", 0);
	x.s1 = fake_server_new(x.f, "10.0.0.1", FAKE_MUSTER);
	x.s2 = fake_server_new(x.f, "10.0.0.2", FAKE_MUSTER);
	answer(&x, x.s1,
	       "[{\"muster.JoinAnswer\":{\"result\":false,\"error\":\"expired\",\"details\":\"the token is old\"}}]");
	assert_int_equal(x.result, ERR_EXPIRED);
	assert_string_equal(x.sentence, "the token is old");
	assert_int_equal(x.s2->n_messages, 0);
	end(&x);
}

static void a_busy_server_is_not_the_end(void **state)
{
	struct fixture x = {0};

	begin(&x, "right", 0);
	x.s1 = fake_server_new(x.f, "10.0.0.1", FAKE_MUSTER);
	x.s2 = fake_server_new(x.f, "10.0.0.2", FAKE_MUSTER);
	answer(&x, x.s1, "[{\"muster.JoinAnswer\":{\"result\":false,\"error\":\"busy\"}}]");
	answer(&x, x.s2, "[{\"muster.JoinAnswer\":{\"result\":true,\"hostId\":3}}]");
	assert_int_equal(x.host_id, 3);
	end(&x);
}

static void the_wrong_ca_gets_no_byte(void **state)
{
	struct fixture x = {0};

	begin(&x, "wrong", 0);
	x.s1 = fake_server_new(x.f, "10.0.0.1", FAKE_MUSTER);
	fake_world_run(x.f, 100);
	assert_int_equal(x.n_done, 1);
	assert_int_equal(x.result, ERR_UNTRUSTED); /* not that the second can't be reached */
	assert_int_equal(x.s1->n_messages, 0);
	end(&x);
}

static void silence_ends(void **state)
{
	struct fixture x = {0};

	begin(&x, "right", 5000);
	x.s1 = fake_server_new(x.f, "10.0.0.1", FAKE_MUSTER);
	fake_world_run(x.f, 4900);
	assert_int_equal(x.n_done, 0);
	fake_world_run(x.f, 200);
	assert_int_equal(x.result, ERR_TIMEOUT);
	fake_world_run(x.f, 60000);
	assert_int_equal(x.n_done, 1);
	end(&x);
}

static void it_can_be_freed_any_time(void **state)
{
	for (int64_t ms = 0; ms < 12; ms++) {
		struct fixture x = {0};

		begin(&x, "right", 0);
		x.s1 = fake_server_new(x.f, "10.0.0.1", FAKE_MUSTER);
		fake_world_run(x.f, ms);
		x.join = join_free(x.join);
		fake_world_run(x.f, 60000);
		assert_int_equal(x.n_done, 0);
		end(&x);
	}
}

static void bad_parameters_are_refused(void **state)
{
	static const struct join_params rows[] = {
		{.servers = "", .fingerprint = "right"},
		{.servers = "a,[::1", .fingerprint = "right"},
		{.servers = "a", .fingerprint = ""},
	};
	struct fake_world *f = fake_world_new(1);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct join_params p = rows[i];
		struct msg_join m = {0};
		struct why why = WHY_NONE;
		struct join *j;

		p.world = fake_world_of(f);
		assert_int_equal(join_start(&j, &p, &m, on_done, NULL, &why), ERR_INVALID);
		assert_true(why.text[0]);
	}
	fake_world_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_that_answers_is_asked),
		cmocka_unit_test(a_no_is_final),
		cmocka_unit_test(a_busy_server_is_not_the_end),
		cmocka_unit_test(the_wrong_ca_gets_no_byte),
		cmocka_unit_test(silence_ends),
		cmocka_unit_test(it_can_be_freed_any_time),
		cmocka_unit_test(bad_parameters_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
