/*
 * setListServer, pinHost, unpinHost: what they refuse and answer, that other servers and agents hear of it, and where
 * hosts are when zones change.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "engine_bench.h"
#include "server/api.h"

#define C_ENTRY "10.0.0.3"

static const struct agent_script h1 = {.guid = "h1",
				       .ip = "10.1.0.1",
				       .identity = ID_URI,
				       .is_muster = true,
				       .boot = "b1",
				       .list = B_IP "," A_IP "@static"};
static const struct agent_script java = {
	.guid = "java", .ip = "10.1.0.9", .identity = ID_SAN, .list = B_IP "," A_IP "@static"};

/* ---- asking ---- */

#define WORDS_MAX 6

/* "command name=value name=value", values without blanks; returns the answer, mem_free() it. */
static char *ask(struct engine_bench *e, struct node *on, const char *words, int *status)
{
	struct api_param params[WORDS_MAX] = {0};
	char copy[256];
	size_t n = 0;

	assert_true(str_copy(copy, sizeof(copy), words));
	for (char *rest = copy, *word; n < WORDS_MAX && (word = strtok_r(rest, " ", &rest)); n++) {
		char *equals = strchr(word, '=');

		if (equals)
			*equals = '\0';
		params[n] = (struct api_param){equals ? word : "command", equals ? equals + 1 : word};
	}
	return engine_ask(e, on, params, n, status);
}

/* The answer has to have the part. */
static void asked(struct engine_bench *e, struct node *on, const char *words, int status, const char *part)
{
	int got;
	char *text = ask(e, on, words, &got);

	if (got != status || !strstr(text, part))
		fail_msg("%s: %d %s, expected %d %s", words, got, text, status, part);
	mem_free(text);
}

static void asked_not(struct engine_bench *e, struct node *on, const char *words, const char *part)
{
	int got;
	char *text = ask(e, on, words, &got);

	if (got != 200 || strstr(text, part))
		fail_msg("%s: %d %s", words, got, text);
	mem_free(text);
}

/* Two servers, both in `host`; the second has a name. */
static void cluster_up(struct engine_bench *e, const char *algorithm)
{
	engine_up(e);
	e->server_name = "mb";
	node_add(e, &e->b, B_IP);
	engine_config(e, "host", B_IP "," A_IP);
	engine_config(e, "indirect.agent.lb.algorithm", algorithm);
	engine_run(e, 1500);
}

static struct script *agent_in(struct engine_bench *e, struct node *n, const char *guid, const char *zone)
{
	struct agent_script as = {.guid = guid, .ip = "10.1.0.1", .identity = ID_URI, .is_muster = true, .boot = guid};
	struct script *a;

	as.zone = zone;
	a = script_new(e, &as);
	script_dial(a, n);
	engine_run(e, 500);
	assert_non_null(host_of(n, guid));
	return a;
}

/* How its list should begin, as that server sees it. */
static void first_is(struct node *n, const char *guid, const char *entry)
{
	struct str_list list = {0};

	assert_int_equal(lists_for_host(n->server, &host_of(n, guid)->row, &list), ERR_OK);
	if (!list.n || strcmp(list.items[0], entry) != 0)
		fail_msg("%s begins with %s, not with %s", guid, list.n ? list.items[0] : "nothing", entry);
	str_list_deinit(&list);
}

static size_t n_first(struct node *n, const char *entry)
{
	struct host *h;
	size_t cursor = 0, found = 0;

	while ((h = roster_next(n->server, &cursor))) {
		struct str_list list = {0};

		assert_int_equal(lists_for_host(n->server, &h->row, &list), ERR_OK);
		found += list.n && strcmp(list.items[0], entry) == 0;
		str_list_deinit(&list);
	}
	return found;
}

/* ---- refusals ---- */

static void what_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *what, *words;
		int status;
		const char *part;
	} rows[] = {
		{"no server", "setListServer weight=2", 431, "Parameter server is missing"},
		{"nothing to set", "setListServer server=10.0.0.1", 431, "Nothing to set: give weight, zone or both"},
		{"a weight below 0", "setListServer server=10.0.0.1 weight=-1", 431,
		 "Parameter weight: -1 is not from 0 to 1000"},
		{"a weight above 1000", "setListServer server=10.0.0.1 weight=1001", 431, "1001 is not from 0 to 1000"},
		{"a weight that is no number", "setListServer server=10.0.0.1 weight=x", 431, "is not a whole number"},
		{"a server that nobody knows", "setListServer server=M9 weight=2", 431,
		 "M9 is neither a management server nor an entry of the lists"},
		{"an address that is no server", "setListServer server=10.0.0.7 weight=2", 431, "10.0.0.7 is neither"},
		{"a zone that is none", "setListServer server=10.0.0.1 zone=moon", 431, "there is no zone moon"},
		{"no host", "pinHost server=10.0.0.1", 431, "Parameter id is missing"},
		{"a host that is none", "pinHost id=h9 server=10.0.0.1", 431, "h9"},
		{"nothing to pin to", "pinHost id=h1", 431, "Parameter server is missing"},
		{"to a server that nobody knows", "pinHost id=h1 server=M9", 431, "M9 is neither"},
		{"to one that is in no list", "pinHost id=h1 server=mb", 431,
		 "mb is in no list: the setting host does not name it"},
		{"not pinned", "unpinHost id=h1", 530, "The host is not pinned: there is nothing to undo"},
	};
	struct engine_bench e;

	cluster_up(&e, "static");
	engine_config(&e, "host", A_IP "," C_ENTRY);
	engine_run(&e, 500);
	agent_in(&e, &e.a, "h1", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		asked(&e, &e.a, rows[i].words, rows[i].status, rows[i].part);
	asked_not(&e, &e.a, "listEvents", "LIST.SERVER.SET");
	asked_not(&e, &e.a, "listEvents", "HOST.PIN");
	engine_down(&e);
}

/* ---- weights and zones ---- */

static void a_server_is_named_in_many_ways(void **state)
{
	struct engine_bench e;
	char words[128];
	const struct member_server *b;

	cluster_up(&e, "static");
	b = roster_server(e.a.server, e.b.server->msid);
	assert_non_null(b);
	asked(&e, &e.a, "setListServer server=" B_IP " weight=2", 200, "\"name\":\"" B_IP "\",\"weight\":2");
	asked(&e, &e.a, "setListServer server=" B_IP ":8250 weight=3", 200, "\"name\":\"" B_IP "\",\"weight\":3");
	asked(&e, &e.a, "setListServer server=mb weight=4", 200, "\"name\":\"" B_IP "\",\"weight\":4");
	snprintf(words, sizeof(words), "setListServer server=%s weight=5", b->row.uuid);
	asked(&e, &e.a, words, 200, "\"name\":\"" B_IP "\",\"weight\":5");
	snprintf(words, sizeof(words), "setListServer server=%lld weight=6", (long long)b->row.msid);
	asked(&e, &e.a, words, 200, "\"name\":\"" B_IP "\",\"weight\":6");
	/* Its state comes along, and what it is good for. */
	asked(&e, &e.a, words, 200, "\"state\":\"Up\",\"inlist\":true,\"algorithm\":\"static\",\"moves\":0");
	engine_down(&e);
}

static void others_hear_of_it_at_once(void **state)
{
	struct engine_bench e;

	cluster_up(&e, "balanced");
	for (int i = 0; i < 8; i++) {
		char guid[8];

		snprintf(guid, sizeof(guid), "k%d", i);
		agent_in(&e, &e.a, guid, i < 2 ? "east" : NULL);
	}
	assert_int_equal(n_first(&e.a, A_IP), 4);
	/* A fourth of the hosts is to be on A: 2 go. */
	asked(&e, &e.a, "setListServer server=" B_IP " weight=3", 200, "\"algorithm\":\"balanced\",\"moves\":2");
	assert_int_equal(n_first(&e.a, A_IP), 2);
	assert_int_equal(n_first(&e.b, A_IP), 2);
	asked(&e, &e.b, "listPlacement", 200, "\"name\":\"" B_IP "\",\"weight\":3");
	asked(&e, &e.b, "listManagementServers", 200,
	      "\"musterentry\":\"" B_IP "\",\"musterweight\":3,\"musterresting\":false");
	asked(&e, &e.b, "listEvents", 200, "local set " B_IP " in the lists: weight 3, no zone; hosts that move: 2");
	/* The zone's hosts have its server first; by name, number, and gone again. */
	asked(&e, &e.a, "setListServer server=" A_IP " zone=east", 200, "\"weight\":1,\"zone\":\"east\"");
	first_is(&e.b, "k0", A_IP);
	first_is(&e.b, "k1", A_IP);
	asked(&e, &e.b, "listManagementServers", 200, "\"musterzone\":\"east\"");
	asked(&e, &e.a, "setListServer server=" A_IP " zone=none", 200, "\"weight\":1,\"resting\"");
	asked_not(&e, &e.b, "listManagementServers", "\"musterzone\"");
	asked(&e, &e.a, "setListServer server=" A_IP " zone=1 weight=0", 200, "\"weight\":0,\"zone\":\"");
	asked(&e, &e.a, "setListServer server=" A_IP " zone=", 200, "\"weight\":0,\"resting\"");
	/* A last resort. */
	assert_int_equal(n_first(&e.b, A_IP), 0);
	engine_down(&e);
}

/* What it makes anew is what the algorithm in force goes by. */
static void rerank_goes_by_the_algorithm(void **state)
{
	static const struct {
		const char *algorithm, *event;
	} rows[] = {
		{"balanced", "look for their preferred server; hosts placed anew: 0"},
		{"roundrobin", "look for their preferred server; slots changed: 1"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;

		cluster_up(&e, rows[i].algorithm);
		for (int k = 1; k <= 3; k++) {
			char guid[8];

			snprintf(guid, sizeof(guid), "k%d", k);
			agent_in(&e, &e.a, guid, NULL);
		}
		/* Its slot, 1, is what roundrobin gives k3 when hosts are counted anew. */
		engine_delete_host(&e, host_of(&e.a, "k2")->row.id);
		engine_run(&e, 500);
		asked(&e, &e.a, "rebalanceHosts rerank=true", 200, "\"success\":true");
		asked(&e, &e.a, "listEvents", 200, rows[i].event);
		engine_down(&e);
	}
}

static void what_is_said_of_a_server_in_no_list_holds_when_it_is_named(void **state)
{
	struct engine_bench e;

	cluster_up(&e, "balanced");
	engine_config(&e, "host", A_IP);
	engine_run(&e, 500);
	for (int i = 0; i < 8; i++) {
		char guid[8];

		snprintf(guid, sizeof(guid), "k%d", i);
		agent_in(&e, &e.a, guid, NULL);
	}
	asked(&e, &e.b, "setListServer server=mb weight=3", 200,
	      "\"inlist\":false,\"algorithm\":\"balanced\",\"moves\":0");
	/* It is shown with it all the same. */
	asked(&e, &e.b, "listManagementServers", 200, "\"musterweight\":3");
	/* Another spelling is another entry. */
	engine_config(&e, "host", A_IP "," B_IP ":8250");
	engine_run(&e, 500);
	assert_int_equal(n_first(&e.b, A_IP), 4);
	engine_config(&e, "host", A_IP "," B_IP);
	engine_run(&e, 500);
	assert_int_equal(n_first(&e.b, A_IP), 2);
	assert_int_equal(n_first(&e.a, A_IP), 2);
	engine_down(&e);
}

/* ---- pins ---- */

/* What its agent has confirmed begins so, and is what it should have. */
static void has_first(struct node *n, const char *guid, const char *entry)
{
	const struct host *h = host_of(n, guid);
	char begin[64];

	snprintf(begin, sizeof(begin), "%s,", entry);
	if (!h->session || !str_starts(h->session->reported, begin) ||
	    !lists_is_current(n->server, &h->row, h->session->reported))
		fail_msg("%s has %s, not %s first", guid, h->session ? h->session->reported : "no link", entry);
}

static void a_pin_holds_under_every_algorithm(void **state)
{
	static const struct {
		const char *algorithm;
	} rows[] = {{"static"}, {"roundrobin"}, {"shuffle"}, {"balanced"}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		struct script *muster, *cloudstack;

		cluster_up(&e, rows[i].algorithm);
		muster = script_new(&e, &h1);
		cloudstack = script_new(&e, &java);
		script_dial(muster, &e.a);
		script_dial(cloudstack, &e.a);
		engine_run(&e, 500);
		asked(&e, &e.b, "pinHost id=h1 server=mb", 200, "\"musterpin\":\"" B_IP "\"");
		first_is(&e.a, "h1", B_IP);
		asked(&e, &e.b, "pinHost id=h1 server=" A_IP, 200, "\"musterpin\":\"" A_IP "\"");
		asked(&e, &e.b, "pinHost id=java server=" A_IP, 200, "\"musterpin\":\"" A_IP "\"");
		engine_run(&e, 2000);
		has_first(&e.a, "h1", A_IP);
		has_first(&e.a, "java", A_IP);
		first_is(&e.a, "h1", A_IP);
		first_is(&e.b, "java", A_IP);
		asked(&e, &e.a, "listHosts name=h1", 200, "\"musterpin\":\"" A_IP "\"");
		asked(&e, &e.a, "listPlacement", 200, "\"pin\":\"" A_IP "\"");
		asked(&e, &e.a, "listEvents", 200, "local pinned host h1 to " A_IP);
		/* Again: as it is. To another one: it says what was. */
		asked(&e, &e.a, "pinHost id=h1 server=" A_IP, 200, "\"was\":\"" A_IP "\",\"moves\":0");
		asked(&e, &e.a, "pinHost id=h1 server=" B_IP, 200, "\"was\":\"" A_IP "\",\"moves\":1");
		engine_run(&e, 2000);
		has_first(&e.a, "h1", B_IP);
		asked(&e, &e.a, "unpinHost id=h1", 200, "\"unpinhost\":{");
		asked(&e, &e.a, "listEvents", 200, "local unpinned host h1, which was pinned to " B_IP);
		asked_not(&e, &e.b, "listHosts name=h1", "musterpin");
		asked(&e, &e.b, "unpinHost id=h1", 530, "The host is not pinned");
		engine_down(&e);
	}
}

static void a_pin_ends_with_its_server(void **state)
{
	struct engine_bench e;

	cluster_up(&e, "roundrobin");
	agent_in(&e, &e.a, "k1", NULL);
	agent_in(&e, &e.a, "k2", NULL);
	asked(&e, &e.a, "pinHost id=k1 server=" A_IP, 200, "\"moves\":1");
	asked(&e, &e.a, "pinHost id=k2 server=" A_IP, 200, "\"moves\":0");
	asked_not(&e, &e.a, "updateConfiguration name=host value=" A_IP "," B_IP, "musterpinsdropped");
	asked(&e, &e.a, "updateConfiguration name=host value=" B_IP, 200, "\"musterpinsdropped\":2");
	asked(&e, &e.a, "listEvents", 200, "2 pins of hosts ended with the servers");
	asked_not(&e, &e.a, "updateConfiguration name=host value=" A_IP "," B_IP, "musterpinsdropped");
	asked_not(&e, &e.b, "listHosts", "musterpin\"");
	engine_down(&e);
}

/* ---- the zone of a host ---- */

/* Balanced 1: it comes with the startup. */
static void a_host_that_comes_back_in_another_zone_is_placed_anew(void **state)
{
	struct engine_bench e;
	struct script *a;
	int64_t id;

	cluster_up(&e, "balanced");
	agent_in(&e, &e.a, "k0", "east");
	a = agent_in(&e, &e.a, "k1", "west");
	asked(&e, &e.a, "setListServer server=" A_IP " zone=east", 200, "\"zone\":\"east\"");
	asked(&e, &e.a, "setListServer server=" B_IP " zone=west", 200, "\"zone\":\"west\"");
	first_is(&e.a, "k0", A_IP);
	first_is(&e.a, "k1", B_IP);
	id = host_of(&e.a, "k1")->row.id;

	script_hang_up(a);
	engine_run(&e, 500);
	a->as.zone = "east";
	script_dial(a, &e.a);
	engine_run(&e, 1000);
	assert_int_equal(host_of(&e.a, "k1")->row.id, id);
	first_is(&e.a, "k1", A_IP);
	first_is(&e.b, "k1", A_IP);
	/* And it has been told. */
	assert_string_equal(host_of(&e.a, "k1")->session->reported, A_IP "," B_IP "@balanced");
	engine_down(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_makes_no_sense_is_refused),
		cmocka_unit_test(a_server_is_named_in_many_ways),
		cmocka_unit_test(others_hear_of_it_at_once),
		cmocka_unit_test(rerank_goes_by_the_algorithm),
		cmocka_unit_test(what_is_said_of_a_server_in_no_list_holds_when_it_is_named),
		cmocka_unit_test(a_pin_holds_under_every_algorithm),
		cmocka_unit_test(a_pin_ends_with_its_server),
		cmocka_unit_test(a_host_that_comes_back_in_another_zone_is_placed_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
