#include "agent/explain.h"

#include "agent_help.h"

#include <pthread.h>
#include <time.h>

#include "agent/door.h"
#include "agent/lock.h"
#include "net/world_uv.h"

#define S(n) ((struct mono){.us = (n)*INT64_C(1000000)})

static struct str_list list_of(const char *text)
{
	struct str_list l = {0};

	assert_int_equal(str_list_split(&l, text, ','), ERR_OK);
	return l;
}

/* What the engine would say of an agent that is on its second choice. */
struct scene {
	struct str_list list, avoid, params;
	struct agent_view view;
	struct candidate candidates[3];
	enum failback_verdict gates[3];
	struct explain_question q;
};

static void scene_make(struct scene *s)
{
	*s = (struct scene){
		.list = list_of("10.0.0.2,m3,10.0.0.1"),
		.avoid = list_of("10.0.0.1"),
		.params = list_of("migratewait=5"),
		.view = {.state = AGENT_UP,
			 .host_id = 2,
			 .host_uuid = "u",
			 .connected = "m3",
			 .connected_ip = "10.0.0.3",
			 .preferred = "10.0.0.2",
			 .algorithm = "roundrobin",
			 .interval_s = 60,
			 .is_muster = true,
			 .links = 4,
			 .commands = 1,
			 .next_check = S(1040),
			 .since = S(1000 - 11520),
			 .failback = FAILBACK_TOO_YOUNG,
			 .failback_again = S(1018),
			 .damped_until = S(1250),
			 .told = "the servers",
			 .move = "preferred server",
			 .word = {.is_known = true, .is_up = true, .uptime_ms = 2000, .said_at = S(990)},
			 .uptime_needed_ms = 30000,
			 .heartbeats_needed = 3,
			 .server_agents = 10000,
			 .heartbeat_ms = 1000,
			 .boot_number = 7},
		.candidates = {{.entry = "10.0.0.2",
				.verdict = CHOICE_BACKING_OFF,
				.last_error = ERR_UNREACHABLE,
				.sentence = "connection refused",
				.backoff = {.failures = 3, .retry_at = S(1008)}},
			       {.entry = "m3", .verdict = CHOICE_CONNECTED},
			       {.entry = "10.0.0.1", .verdict = CHOICE_AVOIDED}},
	};
	s->gates[0] = FAILBACK_TOO_YOUNG;
	s->view.gates = s->gates;
	s->view.n_gates = 1;
	s->view.list = &s->list;
	s->view.avoid = &s->avoid;
	s->q = (struct explain_question){.name = "H2",
					 .guid = "g-2",
					 .version = "1.0",
					 .view = &s->view,
					 .candidates = s->candidates,
					 .n_candidates = 3,
					 .now = S(1000),
					 .port = 8250,
					 .health = "good",
					 .params = &s->params,
					 .has_certificate = true};
}

static void scene_deinit(struct scene *s)
{
	str_list_deinit(&s->list);
	str_list_deinit(&s->avoid);
	str_list_deinit(&s->params);
}

static void the_line_has_everything(void **state)
{
	CLEAN(scene_deinit) struct scene s;
	CLEAN(buf_deinit) struct buf out = {0};

	scene_make(&s);
	assert_int_equal(explain_json(&out, &s.q), ERR_OK);
	assert_string_equal(
		buf_str(&out),
		"{\"name\":\"H2\",\"guid\":\"g-2\",\"version\":\"1.0\",\"host_id\":2,\"host_uuid\":\"u\",\"state\":\"up\","
		"\"state_for_s\":11520,\"connected\":\"m3\",\"connected_ip\":\"10.0.0.3\",\"muster\":true,\"preferred\":"
		"\"10.0.0.2\",\"on_preferred\":false,\"failback\":{\"verdict\":\"too young\",\"why\":\"the preferred "
		"server has not been up for long enough\",\"uptime_s\":12,\"uptime_needed_s\":30,\"heartbeats\":0,"
		"\"heartbeats_needed\":3,\"again_in_s\":18,\"damped_for_s\":250,\"told\":\"the servers\",\"word\":{\"up\":true,\"accepting\":"
		"false,\"said_s_ago\":10}},\"move\":{\"for\":\"preferred server\",\"to\":null},\"first_dial\":null,\"certificate\":true,\"list\":[\"10.0.0.2\",\"m3\",\"10.0.0.1\"],"
		"\"algorithm\":\"roundrobin\",\"avoid\":[\"10.0.0.1\"],\"candidates\":[{\"server\":\"10.0.0.2\",\"verdict\":"
		"\"backing off\",\"why\":\"the last attempt failed, it is tried again after a pause\",\"failures\":3,"
		"\"last_error\":\"not reachable\",\"said\":\"connection refused\",\"retry_in_s\":8,\"put_off\":false,\"gate\":\"too young\"},{\"server\":\"m3\",\"verdict\":\"connected\",\"why\":"
		"\"the agent is on this server\",\"failures\":0,\"last_error\":null,\"said\":null,\"retry_in_s\":null,\"put_off\":false,\"gate\":null},{\"server\":"
		"\"10.0.0.1\",\"verdict\":\"avoided\",\"why\":\"the servers say that it should not be used now, it is tried last\","
		"\"failures\":0,\"last_error\":null,\"said\":null,\"retry_in_s\":null,\"put_off\":false,\"gate\":null}],\"check_interval_s\":60,\"check_interval_is_own\":"
		"false,\"looks_once\":false,\"next_check_in_s\":40,\"on_fallback\":false,\"links\":4,\"boot\":7,\"server_agents\":10000,\"heartbeat_ms\":1000,\"commands\":1,\"health\":\"good\","
		"\"host_params\":[\"migratewait=5\"],\"identity\":null,\"better\":null}");
}

static void people_read_sentences(void **state)
{
	CLEAN(scene_deinit) struct scene s;
	CLEAN(buf_deinit) struct buf json = {0};
	CLEAN(buf_deinit) struct buf out = {0};

	scene_make(&s);
	assert_int_equal(explain_json(&json, &s.q), ERR_OK);
	assert_int_equal(explain_text(&out, buf_str(&json), NULL), ERR_OK);
	assert_string_equal(
		buf_str(&out),
		"H2 (guid g-2, host 2) is up, for 3 h 12 min\n"
		"\n"
		"connected to   m3 (10.0.0.3)\n"
		"preferred      10.0.0.2, it is not there because: too young, up for 12 s of 30 s\n"
		"next look      in 40 s; every 60 s, as the servers say\n"
		"under way      another link, for: preferred server\n"
		"list           10.0.0.2, m3, 10.0.0.1 (roundrobin)\n"
		"to avoid       10.0.0.1\n"
		"health         good\n"
		"links          4 so far; 1 command in progress\n"
		"\n"
		"SERVER    VERDICT       WHY\n"
		"10.0.0.2  backing off   the last attempt failed, it is tried again after a pause; failed 3 times; last time: not "
		"reachable (connection refused); again in 8 s\n"
		"m3        connected     the agent is on this server\n"
		"10.0.0.1  avoided       the servers say that it should not be used now, it is tried last\n");
}

static void the_certificate_is_shown(void **state)
{
	static const struct {
		const char *what;
		enum cert_trial_use trial;
		const char *trial_said, *given_up;
		int64_t left_s;
		const char *text;
	} rows[] = {
		{"in use", CERT_TRIAL_NONE, NULL, NULL, 312 * 86400,
		 "certificate    for host g-2, expires in 312 days\n               serial 4f1c, issued by CN=ca\nlinks "},
		{"about to expire", CERT_TRIAL_NONE, NULL, NULL, 3 * 86400, "for host g-2, EXPIRES SOON, in 3 days\n"},
		{"expired", CERT_TRIAL_NONE, NULL, NULL, -3 * 86400, "for host g-2, EXPIRED 3 days ago\n"},
		{"new", CERT_TRIAL_NEW, NULL, NULL, 300 * 86400, "CN=ca\n               renewed, not yet used\nlinks "},
		{"the old one's turn", CERT_TRIAL_OLD, "the other side says: no", NULL, 300 * 86400,
		 "renewed, not taken: the old one is tried; last time: the other side says: no\n"},
		{"given up", CERT_TRIAL_NONE, NULL, "refused\033[31m", 300 * 86400,
		 "the last renewal was given up, the old one stays: refused?[31m\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(scene_deinit) struct scene s;
		CLEAN(buf_deinit) struct buf json = {0};
		CLEAN(buf_deinit) struct buf out = {0};
		struct cert_info info = {.serial = "4f1c", .role = CERT_ROLE_AGENT, .id = "g-2", .issuer = "CN=ca"};

		scene_make(&s);
		info.not_before_s = 2000000000 - 365 * 86400;
		info.not_after_s = 2000000000 + rows[i].left_s;
		s.q.certificate = &info;
		s.q.wall_s = 2000000000;
		s.q.given_up = rows[i].given_up;
		s.view.trial = rows[i].trial;
		s.view.trial_said = rows[i].trial_said;
		assert_int_equal(explain_json(&json, &s.q), ERR_OK);
		assert_int_equal(explain_text(&out, buf_str(&json), NULL), ERR_OK);
		if (!strstr(buf_str(&out), rows[i].text))
			fail_msg("%s: %s", rows[i].what, buf_str(&out));
	}
}

/* What else the gate says, and how a server is shown that asked to come back. */
static void verdicts_are_said_in_words(void **state)
{
	static const struct {
		const char *what;
		enum failback_verdict verdict;
		const char *text;
	} rows[] = {
		{"too young, without a word", FAILBACK_TOO_YOUNG,
		 "because: too young, the preferred server has not been up for long enough\n"},
		{"proving", FAILBACK_PROVING, "because: proving, 2 of 3 heartbeats seen\n"},
		{"put off", FAILBACK_PUT_OFF,
		 "because: put off, the last attempt failed or the preferred server named a time, it is tried again then; "
		 "for 18 s\n"},
		{"damped", FAILBACK_DAMPED, "the agent waits before the next; for 18 s\n"},
		{"off", FAILBACK_OFF, "because: off, the check interval is 0: the agent stays where it is"},
		{"frozen", FAILBACK_FROZEN,
		 "because: frozen, moves are frozen (muster freeze): the agent stays where it is"},
		{"not up", FAILBACK_NOT_UP, "because: not up, the preferred server's state is not Up\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(scene_deinit) struct scene s;
		CLEAN(buf_deinit) struct buf json = {0};
		CLEAN(buf_deinit) struct buf out = {0};

		scene_make(&s);
		s.view.failback = rows[i].verdict;
		s.view.heartbeats = 2;
		s.view.word.is_known = false;
		s.candidates[0].is_put_off = true;
		s.candidates[0].backoff.failures = 0;
		s.candidates[0].last_error = ERR_BUSY;
		s.candidates[0].sentence = "too many come at once";
		check_row(&rows[i], explain_json(&json, &s.q) == ERR_OK);
		check_row(&rows[i], explain_text(&out, buf_str(&json), NULL) == ERR_OK);
		check_row(&rows[i], strstr(buf_str(&out), rows[i].text));
		check_row(&rows[i], strstr(buf_str(&out), "asked to come back in 8 s: too many come at once\n"));
		/* When that time is over it was no failure either. */
		s.q.now = S(1009);
		buf_clear(&json);
		buf_clear(&out);
		check_row(&rows[i], explain_json(&json, &s.q) == ERR_OK);
		check_row(&rows[i], explain_text(&out, buf_str(&json), NULL) == ERR_OK);
		check_row(&rows[i], !strstr(buf_str(&out), "asked to come back"));
	}
}

/* The preferred server is away, and another one stands before this one. */
static void the_better_server_is_shown(void **state)
{
	static const struct {
		const char *what;
		enum failback_verdict verdict;
		const char *text;
	} rows[] = {
		{"it is there", FAILBACK_OPEN,
		 "better         m3: open, it stands before the server in use and is up: the agent goes there with its next "
		 "look\nnext look "},
		{"it is young", FAILBACK_TOO_YOUNG,
		 "better         m3: too young, it has not been up for long enough\n"},
		{"it is on its way", FAILBACK_PROVING,
		 "better         m3: proving, a link to it is open and has to see "},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(scene_deinit) struct scene s;
		CLEAN(buf_deinit) struct buf json = {0};
		CLEAN(buf_deinit) struct buf out = {0};

		scene_make(&s);
		s.view.connected = "10.0.0.1";
		s.view.failback = s.gates[0] = FAILBACK_NOT_UP;
		s.gates[1] = rows[i].verdict;
		s.view.n_gates = 2;
		s.view.better = "m3";
		s.view.better_again = S(1020);
		check_row(&rows[i], explain_json(&json, &s.q) == ERR_OK);
		check_row(&rows[i], strstr(buf_str(&json), "\"better\":{\"server\":\"m3\",\"verdict\":\""));
		check_row(&rows[i], strstr(buf_str(&json), "\"again_in_s\":20}}"));
		check_row(&rows[i], explain_text(&out, buf_str(&json), NULL) == ERR_OK);
		if (!strstr(buf_str(&out), rows[i].text))
			fail_msg("%s: %s", rows[i].what, buf_str(&out));
	}
}

static void the_wait_before_the_first_dial_is_shown(void **state)
{
	CLEAN(scene_deinit) struct scene s;
	CLEAN(buf_deinit) struct buf json = {0};
	CLEAN(buf_deinit) struct buf out = {0};

	scene_make(&s);
	s.view.connected = NULL;
	s.view.state = AGENT_SEEKING;
	s.view.first_dial_at = mono_add_ms(S(1000), 700);
	s.view.first_dial_wait_ms = 1234;
	s.view.first_dial_most_ms = 1980;
	s.view.first_dial_agents = 10000;
	assert_int_equal(explain_json(&json, &s.q), ERR_OK);
	assert_int_equal(explain_text(&out, buf_str(&json), NULL), ERR_OK);
	assert_non_null(strstr(buf_str(&out),
			       "connected to   no server; waiting 1.2 s of at most 1.9 s because its server "
			       "had 10000 agents\n"));
	assert_non_null(strstr(buf_str(&out), "preferred      10.0.0.2\n"));
}

static void an_agent_without_anything(void **state)
{
	const struct str_list none = {0};
	const struct agent_view view = {.state = AGENT_SEEKING,
					.host_id = -1,
					.list = &none,
					.avoid = &none,
					.next_check = MONO_NEVER,
					.since = S(1),
					.on_fallback = true,
					.interval_is_own = true};
	const struct explain_question q = {.view = &view, .now = S(3)};
	CLEAN(buf_deinit) struct buf json = {0};
	CLEAN(buf_deinit) struct buf out = {0};

	assert_int_equal(explain_json(&json, &q), ERR_OK);
	assert_int_equal(explain_text(&out, buf_str(&json), NULL), ERR_OK);
	assert_string_equal(buf_str(&out),
			    "this agent (guid ?) is seeking, for 2 s\n"
			    "\n"
			    "connected to   no server; older lists are tried too\n"
			    "preferred      none\n"
			    "next look      none planned; switched off in agent.properties\n"
			    "list           none\n"
			    "to avoid       none\n"
			    "certificate    NONE: every server is trusted; muster-agent join TOKEN gets one\n"
			    "links          0 so far; 0 commands in progress\n"
			    "\n"
			    "SERVER  VERDICT       WHY\n");
}

static void what_a_peer_chose_does_not_paint_the_terminal(void **state)
{
	CLEAN(buf_deinit) struct buf out = {0};

	assert_int_equal(
		explain_text(
			&out,
			"{\"name\":\"a\\u001b[2Jb\",\"list\":[\"x\\ny\"],\"candidates\":[{\"server\":\"\\u0007\"}]}",
			NULL),
		ERR_OK);
	assert_null(strchr(buf_str(&out), '\033'));
	assert_null(strchr(buf_str(&out), '\a'));
	assert_non_null(strstr(buf_str(&out), "a?[2Jb"));
	assert_non_null(strstr(buf_str(&out), "x?y"));
}

static void other_answers_are_refused(void **state)
{
	static const char *const texts[] = {"", "[]", "{", "hello", "{\"a\":1,\"a\":2}"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		CLEAN(buf_deinit) struct buf out = {0};
		struct why why = WHY_NONE;

		assert_int_equal(explain_text(&out, texts[i], &why), ERR_MALFORMED);
		assert_non_null(strstr(why.text, "not understood"));
	}
}

/* ---- the socket ---- */

struct asking {
	struct world *world;
	char *path;
	char *line;
	enum err result;
	bool done;
};

static enum err say_long(void *user, struct buf *out)
{
	size_t *n = user;
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < *n; i++)
		e = buf_put_u8(out, 'x');
	return e;
}

static void *ask(void *user)
{
	struct asking *a = user;

	a->result = door_ask(&a->line, a->path, 10000, NULL);
	__atomic_store_n(&a->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void tick(struct timer *t)
{
}

static void whoever_connects_gets_the_line(void **state)
{
	static const size_t sizes[] = {0, 10, 100000};
	CLEAN(folder_freep) char *dir = folder_new();
	struct asking a = {.path = path_join(dir, "s")};
	struct world *w;
	struct door *d;
	struct timer t;
	size_t n;

	assert_int_equal(world_uv_new(&w, NULL), ERR_OK);
	/* What a killed agent left behind is taken over. */
	folder_put(dir, "s", "", 0600);
	assert_int_equal(door_open(&d, w, a.path, say_long, &n, NULL), ERR_OK);
	assert_int_equal(folder_mode(dir, "s"), 0600);
	timer_init(&t, tick);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		pthread_t thread;

		n = sizes[i];
		a.done = false;
		assert_int_equal(pthread_create(&thread, NULL, ask, &a), 0);
		while (!__atomic_load_n(&a.done, __ATOMIC_ACQUIRE)) {
			timer_set_in(w, &t, 5);
			world_uv_turn(w);
		}
		pthread_join(thread, NULL);
		assert_int_equal(a.result, ERR_OK);
		assert_int_equal(strlen(a.line), n);
		a.line = mem_free(a.line);
	}
	timer_stop(w, &t);
	assert_null(door_close(d));
	world_uv_free(w);
	assert_int_equal(door_ask(&a.line, a.path, 1000, NULL), ERR_NOT_FOUND);
	assert_false(fs_posix.exists(&fs_posix, a.path));
	mem_free(a.path);
}

static void a_path_that_is_too_long_is_said(void **state)
{
	char path[200];
	char *line;
	struct why why = WHY_NONE;

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(door_ask(&line, path, 1000, &why), ERR_TOO_BIG);
	assert_non_null(strstr(why.text, "set muster.socket"));
}

static void one_agent_in_a_folder(void **state)
{
	CLEAN(folder_freep) char *dir = folder_new();
	struct why why = WHY_NONE;
	char pid[32];
	int first = -1, second = -1;

	assert_int_equal(lock_take(&first, dir, &why), ERR_OK);
	assert_int_equal(lock_take(&second, dir, &why), ERR_BUSY);
	snprintf(pid, sizeof(pid), "process %d", (int)getpid());
	assert_non_null(strstr(why.text, pid));
	lock_release(first);
	assert_int_equal(lock_take(&second, dir, &why), ERR_OK);
	lock_release(second);
	assert_int_equal(lock_take(&second, "/nonexistent", &why), ERR_NOT_FOUND);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_line_has_everything),
		cmocka_unit_test(people_read_sentences),
		cmocka_unit_test(the_certificate_is_shown),
		cmocka_unit_test(verdicts_are_said_in_words),
		cmocka_unit_test(the_better_server_is_shown),
		cmocka_unit_test(the_wait_before_the_first_dial_is_shown),
		cmocka_unit_test(an_agent_without_anything),
		cmocka_unit_test(what_a_peer_chose_does_not_paint_the_terminal),
		cmocka_unit_test(other_answers_are_refused),
		cmocka_unit_test(whoever_connects_gets_the_line),
		cmocka_unit_test(a_path_that_is_too_long_is_said),
		cmocka_unit_test(one_agent_in_a_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
