/*
 * Wrong use, help, doors: exit codes and sentences.
 */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "check.h"
#include "muster_run.h"

struct row {
	const char *words;
	int exit_code;
	const char *out; /* what stdout contains; NULL: nothing */
	const char *err;
};

static void check_rows(const struct row *rows, size_t n, const struct run *how)
{
	for (size_t i = 0; i < n; i++) {
		struct ran r;
		const char *out, *err;

		muster_run(&r, how, rows[i].words);
		out = buf_str(&r.out);
		err = buf_str(&r.err);
		if (r.exit_code != rows[i].exit_code || !(rows[i].out ? !!strstr(out, rows[i].out) : !*out) ||
		    !(rows[i].err ? !!strstr(err, rows[i].err) : !*err))
			fail_msg("muster %s: exit code %d\nstdout: %s\nstderr: %s", rows[i].words, r.exit_code, out,
				 err);
		/* An error is one sentence. */
		if (rows[i].err && (!strchr(err, '\n') || strchr(err, '\n')[1]))
			fail_msg("muster %s: more than one line: %s", rows[i].words, err);
		ran_deinit(&r);
	}
}

static void wrong_use_is_exit_code_2(void **state)
{
	static const struct row rows[] = {
		{"", 2, NULL, "muster: it wants a command"},
		{"stat", 2, NULL, "muster: there is no command \"stat\"; see muster -h"},
		{"--bad status", 2, NULL, "there is no option --bad"},
		{"status --bad", 2, NULL, "muster status: there is no option --bad; see muster status -h"},
		{"status now", 2, NULL, "\"now\" is one word too many"},
		{"status --socket", 2, NULL, "--socket wants a value"},
		{"status --json=yes", 2, NULL, "--json takes no value"},
		{"host", 2, NULL, "muster host: say what to do"},
		{"host paint", 2, NULL, "muster host: there is no command \"paint\""},
		{"host rm", 2, NULL, "something is missing: muster host rm HOST"},
		{"config set host", 2, NULL, "what should host be?"},
		{"token create --lifetime soon", 2, NULL, "not a duration"},
		{"token create --uses 0", 2, NULL, "not between 1 and"},
		{"demo --servers 1", 2, NULL, "--servers 1 is not between 2 and 16"},
		{"demo --algorithm fair", 2, NULL, "there is no algorithm \"fair\""},
		{"api listHosts a=1 foo", 2, NULL, "is not key=value"},
		{"api page=1", 2, NULL, "the command comes before"},
		{"status --socket a --url http://b", 2, NULL, "--socket and --url are two doors"},
		{"status --url http://127.0.0.1:1", 2, NULL,
		 "give --api-key-file FILE, or set MUSTER_API_KEY and MUSTER_SECRET_KEY"},
	};

	check_rows(rows, ARRAY_SIZE(rows), &(struct run){0});
}

static void doors_say_what_was_tried(void **state)
{
	static const char *const no_url[] = {"MUSTER_API_KEY=a", "MUSTER_SECRET_KEY=b", NULL};
	static const char *const by_environment[] = {"MUSTER_SOCKET=/no/such/muster.sock", NULL};
	static const struct row plain[] = {
		{"status --socket /no/such.sock", 1, NULL,
		 "muster status: no management server answers on the socket /no/such.sock (No such file or directory); start "
		 "muster-server, or name its socket with --socket or a server with --url"},
		{"status --url http://127.0.0.1:1 --api-key-file no/file", 1, NULL,
		 "the key file no/file can't be read"},
	};
	static const struct row with_keys[] = {
		{"status --url http://127.0.0.1:1", 1, NULL,
		 "no management server answers at http://127.0.0.1:1/client/api"},
	};
	static const struct row socket[] = {
		{"status", 1, NULL, "on the socket /no/such/muster.sock"},
		{"status --socket /no/other", 1, NULL, "on the socket /no/other"},
	};

	check_rows(plain, ARRAY_SIZE(plain), &(struct run){0});
	check_rows(with_keys, ARRAY_SIZE(with_keys), &(struct run){.environment = no_url});
	check_rows(socket, ARRAY_SIZE(socket), &(struct run){.environment = by_environment});
}

static void help_is_everywhere(void **state)
{
	static const char *const commands[] = {
		"status",       "hosts",          "servers",
		"explain",      "config",         "config list",
		"config get",   "config set",     "config reset",
		"plan",         "rebalance",      "drain",
		"undrain",      "host",           "host add",
		"host rm",      "host reconnect", "host check",
		"host stats",   "host rejoin",    "host allow-weaker",
		"server",       "server token",   "server rm",
		"token",        "token create",   "token list",
		"token revoke", "account",        "account create",
		"account list", "account rm",     "events",
		"api",          "demo",           "version",
		"cert",         "cert list",      "cert show",
		"cert issue",   "cert renew",     "cert revoke",
		"ca",           "ca show",        "ca crl",
	};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		CLEAN(mem_freep) char *first = mem_printf("%s -h", commands[i]);
		CLEAN(mem_freep) char *second = mem_printf("help %s", commands[i]);
		CLEAN(mem_freep) char *usage = mem_printf("usage: muster %s", commands[i]);
		struct ran a, b;

		muster_run(&a, NULL, first);
		muster_run(&b, NULL, second);
		if (a.exit_code || b.exit_code || !str_starts(buf_str(&a.out), usage) ||
		    !str_equal(buf_str(&a.out), buf_str(&b.out)))
			fail_msg("muster %s: exit codes %d and %d: %s", first, a.exit_code, b.exit_code,
				 buf_str(&a.out));
		ran_deinit(&a);
		ran_deinit(&b);
	}
}

static void help_is_golden(void **state)
{
	static const char *const rows[][2] = {{"-h", "help"},
					      {"help", "help"},
					      {"host --help", "help_host"},
					      {"plan -h", "help_plan"},
					      {"demo -h", "help_demo"}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ran r;

		muster_run(&r, NULL, rows[i][0]);
		assert_int_equal(r.exit_code, 0);
		golden_check(rows[i][1], &r.out);
		ran_deinit(&r);
	}
}

static void version_is_told(void **state)
{
	static const struct row rows[] = {
		{"version", 0, "muster " MUSTER_VERSION "\n", NULL},
		{"--version", 0, "muster " MUSTER_VERSION "\n", NULL},
		{"version --json", 0, "\"version\": \"" MUSTER_VERSION "\"", NULL},
	};

	check_rows(rows, ARRAY_SIZE(rows), &(struct run){0});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_use_is_exit_code_2), cmocka_unit_test(doors_say_what_was_tried),
		cmocka_unit_test(help_is_everywhere),       cmocka_unit_test(help_is_golden),
		cmocka_unit_test(version_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
