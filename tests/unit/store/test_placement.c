/*
 * The placement in the store: it follows from hosts, entries and what operators say, in the same transaction; two
 * servers that write in turn, and one that starts afresh, go on from the same.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "core/balanced.h"
#include "core/server_list.h"
#include "store_test.h"

#define ALGORITHM "indirect.agent.lb.algorithm"

/* ---- what stands there, as text ---- */

struct shown {
	struct list_server_row *rows;
	size_t n_rows;
	int64_t version;
	struct host_place *places;
	size_t n_places;
};

static enum err show_run(struct store_tx *tx, void *arg, struct why *why)
{
	struct shown *s = arg;

	ok(store_list_server_list(tx, &s->rows, &s->n_rows, &s->version));
	ok(store_placement_list(tx, &s->places, &s->n_places));
	return ERR_OK;
}

static void shown_deinit(struct shown *s)
{
	for (size_t i = 0; i < s->n_rows; i++)
		list_server_row_deinit(&s->rows[i]);
	mem_free(s->rows);
	mem_free(s->places);
	*s = (struct shown){0};
}

static struct shown show(struct store *s)
{
	struct shown out = {0};

	ok(run_one_reading(s, show_run, &out, NULL));
	return out;
}

static const char *entry_of(const struct shown *s, int64_t id)
{
	for (size_t i = 0; i < s->n_rows; i++) {
		if (s->rows[i].id == id)
			return s->rows[i].entry;
	}
	return id ? "?" : "-";
}

/* "M1 M2*3/zone ..." of those in use, then how many hosts prefer each. */
static void entries_are(struct store *st, const char *expected)
{
	struct shown s = show(st);
	char text[400] = "";

	for (size_t i = 0; i < s.n_rows; i++) {
		const struct list_server_row *r = &s.rows[i];
		size_t n = 0, at = strlen(text);

		for (size_t k = 0; k < s.n_places; k++)
			n += s.places[k].placed_first == r->id;
		snprintf(text + at, sizeof(text) - at, "%s%s%s", at ? " " : "", r->in_use ? "" : "!", r->entry);
		at = strlen(text);
		if (r->weight != 1 || r->resting)
			snprintf(text + at, sizeof(text) - at, "*%lld%s", (long long)r->weight, r->resting ? "r" : "");
		at = strlen(text);
		if (r->zone)
			snprintf(text + at, sizeof(text) - at, "/%s", r->zone);
		at = strlen(text);
		if (s.n_places)
			snprintf(text + at, sizeof(text) - at, "=%zu", n);
	}
	assert_string_equal(text, expected);
	shown_deinit(&s);
}

static int64_t first_of(struct store *st, int64_t host, char *out, size_t size)
{
	struct shown s = show(st);
	int64_t id = 0;

	for (size_t i = 0; i < s.n_places; i++) {
		if (s.places[i].host_id == host)
			id = s.places[i].placed_first;
	}
	str_copy(out, size, entry_of(&s, id));
	shown_deinit(&s);
	return id;
}

static void prefers(struct store *st, int64_t host, const char *entry)
{
	char text[64];

	(void)first_of(st, host, text, sizeof(text));
	assert_string_equal(text, entry);
}

/* ---- steps ---- */

struct setting {
	const char *name, *value;
};

static enum err set_run(struct store_tx *tx, void *arg, struct why *why)
{
	const struct setting *s = arg;
	bool changed;

	return store_config_set(tx, s->name, CONFIG_GLOBAL, 0, s->value, &changed);
}

static void set(struct store *s, const char *name, const char *value)
{
	struct setting what = {name, value};

	run_ok(s, set_run, &what);
}

struct coming {
	const char *guid, *zone;
	int64_t id; /* out */
	bool fails; /* after it was made */
};

static enum err come_run(struct store_tx *tx, void *arg, struct why *why)
{
	struct coming *c = arg;
	struct host_row row = host_like(c->guid);
	enum err e = ERR_OK;

	if (c->zone) {
		ok(store_place_find_or_make(tx, PLACE_ZONE, 0, c->zone, some_uuid(), &row.zone_id));
		ok(store_place_find_or_make(tx, PLACE_POD, row.zone_id, "p", some_uuid(), &row.pod_id));
		ok(store_place_find_or_make(tx, PLACE_CLUSTER, row.pod_id, "c", some_uuid(), &row.cluster_id));
	}
	e = store_host_create(tx, &row);
	c->id = row.id;
	return e ? e : c->fails ? ERR_REFUSED : ERR_OK;
}

static int64_t come(struct store *s, const char *guid, const char *zone)
{
	struct coming c = {.guid = guid, .zone = zone};

	run_ok(s, come_run, &c);
	return c.id;
}

static void come_many(struct store *s, int n)
{
	for (int i = 1; i <= n; i++) {
		char guid[16];

		snprintf(guid, sizeof(guid), "h%d", i);
		(void)come(s, guid, NULL);
	}
}

static enum err go_run(struct store_tx *tx, void *arg, struct why *why)
{
	size_t moved;

	return store_host_remove(tx, *(int64_t *)arg, 3, &moved);
}

struct said {
	const char *entry, *zone;
	int64_t weight;
	int64_t host;
	size_t moves; /* out */
};

static enum err say_run(struct store_tx *tx, void *arg, struct why *why)
{
	struct said *s = arg;

	return store_list_server_set(tx, s->entry, s->weight, s->zone, &s->moves);
}

static enum err rest_run(struct store_tx *tx, void *arg, struct why *why)
{
	struct said *s = arg;

	return store_list_server_rest(tx, s->entry, &s->moves);
}

static enum err pin_run(struct store_tx *tx, void *arg, struct why *why)
{
	struct said *s = arg;

	return store_host_pin(tx, s->host, s->entry, &s->moves);
}

static size_t say(struct store *st, const char *entry, int64_t weight, const char *zone)
{
	struct said s = {.entry = entry, .weight = weight, .zone = zone};

	run_ok(st, say_run, &s);
	return s.moves;
}

static size_t rest(struct store *st, const char *entry)
{
	struct said s = {.entry = entry};

	run_ok(st, rest_run, &s);
	return s.moves;
}

static size_t pin(struct store *st, int64_t host, const char *entry)
{
	struct said s = {.entry = entry, .host = host};

	run_ok(st, pin_run, &s);
	return s.moves;
}

static struct store *three(void)
{
	struct store *s = open_memory();

	set(s, "host", "M1,M2,M3");
	set(s, ALGORITHM, "balanced");
	return s;
}

/* ---- what follows from what ---- */

static void the_placement_follows_the_setting(void **state)
{
	struct store *s = open_memory();

	come_many(s, 12);
	set(s, "host", "M1,M2,M3");
	entries_are(s, "M1 M2 M3");
	set(s, ALGORITHM, "roundrobin");
	entries_are(s, "M1 M2 M3");
	set(s, ALGORITHM, "balanced");
	entries_are(s, "M1=4 M2=4 M3=4");
	set(s, "host", "M1,M2,M3,M4");
	entries_are(s, "M1=3 M2=3 M3=3 M4=3");
	set(s, "host", "M1,M4");
	entries_are(s, "M1=6 M4=6");
	/* Another spelling of the same server is no other server. */
	set(s, "host", "m1:8250,M4");
	entries_are(s, "m1:8250=6 M4=6");
	set(s, ALGORITHM, NULL);
	entries_are(s, "m1:8250 M4");
	store_close(s);
}

static enum err lists_run(struct store_tx *tx, void *arg, struct why *why)
{
	static const char *const rotated[] = {"M1,M2,M3@roundrobin", "M2,M3,M1@roundrobin", "M3,M1,M2@roundrobin"};

	for (int64_t id = 1; id <= 12; id++)
		ok(store_host_list_confirmed(tx, id, rotated[id % 3], 0));
	return ERR_OK;
}

/* Agents that are spread evenly needn't move because the algorithm changes. */
static void another_algorithm_moves_nobody(void **state)
{
	struct store *s = open_memory();

	come_many(s, 12);
	set(s, "host", "M1,M2,M3");
	run_ok(s, lists_run, NULL);
	set(s, ALGORITHM, "balanced");
	for (int64_t id = 1; id <= 12; id++)
		prefers(s, id, id % 3 == 0 ? "M1" : id % 3 == 1 ? "M2" : "M3");
	store_close(s);
}

static enum err register_run(struct store_tx *tx, void *arg, struct why *why)
{
	int64_t msid = *(int64_t *)arg;
	struct server_row row = {.msid = msid, .run_id = 1, .port = msid == MS_C ? 9000 : 8250};
	char name[24], address[48];

	snprintf(name, sizeof(name), "S%lld", (long long)msid);
	snprintf(address, sizeof(address), "10.0.%lld.%lld", (long long)msid / 256, (long long)msid % 256);
	row.name = name;
	row.address = address;
	row.version = name;
	str_copy(row.uuid, sizeof(row.uuid), some_uuid());
	return store_server_register(tx, &row);
}

static enum err unregister_run(struct store_tx *tx, void *arg, struct why *why)
{
	enum server_state to;

	ok(store_server_event(tx, *(int64_t *)arg, SERVER_EVENT_STOP, &to));
	return store_server_remove(tx, *(int64_t *)arg);
}

static void without_a_setting_the_registered_servers_count(void **state)
{
	static int64_t msids[] = {MS_B, MS_C};
	struct store *s = open_memory();

	set(s, ALGORITHM, "balanced");
	come_many(s, 4);
	entries_are(s, "");
	run_ok(s, register_run, &msids[0]);
	entries_are(s, "10.0.0.102=4");
	run_ok(s, register_run, &msids[1]);
	entries_are(s, "10.0.0.102=2 10.0.0.103:9000=2");
	run_ok(s, unregister_run, &msids[0]);
	entries_are(s, "10.0.0.103:9000=4");
	set(s, "host", "M1,M2");
	entries_are(s, "M1=2 M2=2");
	set(s, "host", NULL);
	entries_are(s, "10.0.0.103:9000=4");
	store_close(s);
}

static void hosts_come_and_go(void **state)
{
	struct store *s = three();
	int64_t id = 5;

	come_many(s, 9);
	entries_are(s, "M1=3 M2=3 M3=3");
	run_ok(s, go_run, &id);
	id = 6;
	run_ok(s, go_run, &id);
	(void)come(s, "new", NULL);
	(void)come(s, "newer", NULL);
	entries_are(s, "M1=3 M2=3 M3=3");
	store_close(s);
}

static void operators_are_heard(void **state)
{
	struct store *s = three();

	come_many(s, 12);
	assert_int_equal(say(s, "M3", 2, NULL), 2);
	entries_are(s, "M1=3 M2=3 M3*2=6");
	assert_int_equal(say(s, "M3", 0, NULL), 6);
	entries_are(s, "M1=6 M2=6 M3*0=0");
	assert_int_equal(say(s, "M3", 1, "default"), 12);
	/* All are in the zone of M3. */
	entries_are(s, "M1=0 M2=0 M3/default=12");
	assert_int_equal(say(s, "M1", -1, "default"), 6);
	assert_int_equal(say(s, "M2", -1, "default"), 4);
	entries_are(s, "M1/default=4 M2/default=4 M3/default=4");
	/* What is said of an entry stays when it is out of use. */
	set(s, "host", "M1,M2");
	entries_are(s, "M1/default=6 M2/default=6 !M3/default=0");
	assert_int_equal(say(s, "M3", 3, ""), 0);
	entries_are(s, "M1/default=6 M2/default=6 !M3*3=0");
	set(s, "host", "M1,M2,M3");
	entries_are(s, "M1/default=6 M2/default=6 M3*3=0");
	store_close(s);
}

/* Decision 31: N / M, then each server's hosts to the one before it, at last N / M to the last one. */
static void servers_rest_in_turn(void **state)
{
	struct store *s = three();

	come_many(s, 12);
	assert_int_equal(rest(s, "M1"), 4);
	entries_are(s, "M1*1r=0 M2=6 M3=6");
	assert_int_equal(rest(s, "M1"), 0);
	assert_int_equal(rest(s, "M2"), 6);
	entries_are(s, "M1=6 M2*1r=0 M3=6");
	assert_int_equal(rest(s, "M3"), 6);
	entries_are(s, "M1=6 M2=6 M3*1r=0");
	assert_int_equal(rest(s, NULL), 4);
	entries_are(s, "M1=4 M2=4 M3=4");
	store_close(s);
}

static void pins_hold(void **state)
{
	struct store *s = three();
	int64_t id;

	come_many(s, 12);
	for (id = 1; id <= 5; id++)
		(void)pin(s, id, "M2");
	entries_are(s, "M1=3 M2=5 M3=4"); /* who has the odd one depends on the ids */
	for (id = 1; id <= 5; id++)
		prefers(s, id, "M2");
	(void)pin(s, 1, NULL);
	set(s, "host", "M1,M2,M3,M4");
	for (id = 2; id <= 5; id++)
		prefers(s, id, "M2");
	/* A pin goes with its server. */
	set(s, "host", "M1,M3");
	set(s, "host", "M1,M2,M3");
	entries_are(s, "M1=4 M3=4 M2=4");
	store_close(s);
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *what;
		tx_body *body;
		struct said said;
		enum err expected;
		const char *words;
	} rows[] = {
		{"too heavy", say_run, {.entry = "M1", .weight = 1001}, ERR_INVALID, "from 0 to 1000"},
		{"lighter than nothing", say_run, {.entry = "M1", .weight = -2}, ERR_INVALID, "from 0 to 1000"},
		{"no such zone", say_run, {.entry = "M1", .weight = -1, .zone = "z"}, ERR_NOT_FOUND, "no zone z"},
		{"rest: no entry", rest_run, {.entry = "M9"}, ERR_NOT_FOUND, "M9 is in no list"},
		{"pin: no entry", pin_run, {.entry = "M9", .host = 1}, ERR_NOT_FOUND, "M9 is in no list"},
		{"pin: no host", pin_run, {.entry = "M1", .host = 99}, ERR_NOT_FOUND, "host 99 does not exist"},
	};
	struct store *s = three();

	come_many(s, 6);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct said said = rows[i].said;
		struct why why;

		check_row(&rows[i], run_one(s, rows[i].body, &said, &why) == rows[i].expected);
		check_row(&rows[i], strstr(why_text(&why, ERR_OK), rows[i].words));
	}
	entries_are(s, "M1=2 M2=2 M3=2");
	store_close(s);
}

/* ---- what goes wrong ---- */

static void an_undone_call_leaves_no_trace(void **state)
{
	struct store *s = three();
	struct coming c = {.guid = "undone", .fails = true};

	come_many(s, 4);
	err_is(run_one(s, come_run, &c, NULL), ERR_REFUSED);
	(void)come(s, "there", NULL);
	entries_are(s, "M1=2 M2=2 M3=1");
	store_close(s);
}

/* What was stored by a program that knew no placements, or damaged, is designed anew, with as few moves as possible. */
static void what_does_not_fit_is_designed_anew(void **state)
{
	static const char *const damage[] = {
		"DELETE FROM placement_host WHERE host_id = 3",
		"UPDATE placement_host SET placed_first = 999 WHERE host_id = 3",
		"UPDATE placement_host SET placed_second = placed_first WHERE host_id = 3",
	};
	const char *path;

	for (size_t i = 0; i < ARRAY_SIZE(damage); i++) {
		struct store *s;

		folder_make();
		path = folder_path("db");
		s = open_ok(path);
		set(s, "host", "M1,M2,M3");
		set(s, ALGORITHM, "balanced");
		come_many(s, 9);
		store_close(s);
		raw_exec(path, damage[i]);
		s = open_ok(path);
		(void)come(s, "one more", NULL);
		(void)come(s, "and more", NULL);
		(void)come(s, "and one", NULL);
		entries_are(s, "M1=4 M2=4 M3=4");
		store_close(s);
		folder_remove();
	}
}

/* ---- two programs on one store ---- */

struct pair {
	struct store *a, *b;
};

static struct pair pair_open(void)
{
	const char *path;
	struct pair p;

	folder_make();
	path = folder_path("db");
	p.a = open_ok(path);
	p.b = open_ok(path);
	return p;
}

static void pair_close(struct pair *p)
{
	store_close(p->a);
	store_close(p->b);
	folder_remove();
}

/* Entries keep their numbers when they are spelled differently, also for somebody who knew them by the old spelling. */
static void others_learn_of_another_spelling(void **state)
{
	static int64_t msid = MS_B;
	struct pair p = pair_open();
	int64_t before[13];
	char text[64];

	set(p.a, "host", "M1,M2,M3");
	set(p.a, ALGORITHM, "balanced");
	come_many(p.b, 12);
	for (int64_t id = 1; id <= 12; id++)
		before[id] = first_of(p.a, id, text, sizeof(text));
	set(p.a, "host", "m1,M2,M3:8250");
	run_ok(p.b, register_run, &msid); /* looks at the entries */
	entries_are(p.a, "m1=4 M2=4 M3:8250=4");
	for (int64_t id = 1; id <= 12; id++)
		assert_int_equal(first_of(p.a, id, text, sizeof(text)), before[id]);
	pair_close(&p);
}

static enum err set_undone_run(struct store_tx *tx, void *arg, struct why *why)
{
	enum err e = set_run(tx, arg, why);

	return e ? e : ERR_REFUSED;
}

static void an_undone_setting_leaves_no_trace(void **state)
{
	struct setting undone[] = {{"host", "m1,M2,M3:8250"}, {ALGORITHM, "static"}};

	for (size_t i = 0; i < ARRAY_SIZE(undone); i++) {
		struct pair p = pair_open();

		set(p.a, "host", "M1,M2,M3");
		set(p.a, ALGORITHM, "balanced");
		come_many(p.a, 4);
		err_is(run_one(p.a, set_undone_run, &undone[i], NULL), ERR_REFUSED);
		(void)come(p.b, "fifth", NULL);
		(void)come(p.a, "sixth", NULL);
		entries_are(p.b, "M1=2 M2=2 M3=2");
		pair_close(&p);
	}
}

/* While another algorithm is in force, servers come and go without a word in the placement. */
static void a_copy_from_before_another_algorithm_is_old(void **state)
{
	struct pair p = pair_open();
	int64_t id;

	set(p.a, "host", "M1,M2,M3");
	set(p.a, ALGORITHM, "balanced");
	id = come(p.b, "first", NULL);
	run_ok(p.b, go_run, &id);
	set(p.a, ALGORITHM, "static");
	set(p.a, "host", "M1,M2,M3,M4");
	(void)say(p.a, "M1", 2, NULL);
	set(p.a, ALGORITHM, "balanced");
	come_many(p.b, 5);
	entries_are(p.a, "M1*2=2 M2=1 M3=1 M4=1");
	pair_close(&p);
}

/* Who was here before what is refused today was refused: entries stay as they are, and servers start. */
static void a_setting_that_makes_no_list_changes_nothing(void **state)
{
	static int64_t msid = MS_B;
	const char *path;
	struct store *s;

	folder_make();
	path = folder_path("db");
	s = open_ok(path);
	set(s, "host", "M1,M2");
	set(s, ALGORITHM, "balanced");
	come_many(s, 4);
	raw_exec(path, "UPDATE configuration SET value = 'M1,,M2' WHERE name = 'host'");
	run_ok(s, register_run, &msid);
	(void)come(s, "one more", NULL);
	(void)come(s, "and more", NULL);
	entries_are(s, "M1=3 M2=3");
	store_close(s);
	folder_remove();
}

static void a_list_has_room_for_so_many(void **state)
{
	struct store *s = open_memory();
	struct shown shown;
	size_t n = 0;

	for (int64_t msid = 1; msid <= SERVER_LIST_MAX + 3; msid++)
		run_ok(s, register_run, &msid);
	set(s, ALGORITHM, "balanced");
	come_many(s, 2);
	shown = show(s);
	for (size_t i = 0; i < shown.n_rows; i++)
		n += shown.rows[i].in_use;
	assert_int_equal(n, SERVER_LIST_MAX);
	assert_int_equal(shown.n_places, 2);
	shown_deinit(&shown);
	store_close(s);
}

/* A copy that doesn't know a host that is there is an old one, and no reason to refuse anything. */
static void a_host_that_the_copy_does_not_know(void **state)
{
	static const char *const hidden =
		"UPDATE host SET removed_ms = 1 WHERE id = 3; DELETE FROM placement_host WHERE host_id = 3";
	static const char *const shown = "UPDATE host SET removed_ms = 0 WHERE id = 3";
	const char *path;
	struct store *s;
	int64_t id = 3;

	folder_make();
	path = folder_path("db");
	s = open_ok(path);
	set(s, "host", "M1,M2,M3");
	set(s, ALGORITHM, "balanced");
	come_many(s, 6);
	store_close(s);
	raw_exec(path, hidden);
	s = open_ok(path);
	(void)come(s, "seventh", NULL); /* the copy is made here */
	raw_exec(path, shown);
	run_ok(s, go_run, &id);
	entries_are(s, "M1=2 M2=2 M3=2");
	store_close(s);
	folder_remove();
}

/* ---- a random walk ---- */

/* Two that write in turn, and one that is opened for each step: all go on from the same. */
struct walk {
	struct rng rng;
	struct store *stores[3]; /* of one store each, all with the same history */
	struct store *second;    /* of the second one, used in turn */
	const char *paths[3];
	unsigned step;
};

static void step_of(struct walk *w, struct store *s, uint64_t kind, uint64_t a, uint64_t b)
{
	static const char *const lists[] = {"M1,M2,M3", "M1,M2,M3,M4", "M4,M2", "M1,M2,M3,M4,M5,M6", "M1,M5,M6"};
	static const char *const zones[] = {"", "za", "zb"};
	char guid[24], name[8];
	struct said said = {.entry = name, .weight = -1, .host = (int64_t)a + 1};
	int64_t id = (int64_t)a + 1;

	snprintf(name, sizeof(name), "M%u", (unsigned)b % 6 + 1);
	snprintf(guid, sizeof(guid), "w%u", w->step);
	if (kind < 60) {
		(void)come(s, guid, b % 3 ? zones[b % 3] : NULL);
	} else if (kind < 75) {
		(void)run_one(s, go_run, &id, NULL);
	} else if (kind < 80) {
		set(s, "host", lists[a % ARRAY_SIZE(lists)]);
	} else if (kind < 88) {
		said.weight = (int64_t)(a % 4);
		(void)run_one(s, say_run, &said, NULL);
	} else if (kind < 92) {
		said.zone = zones[a % 3];
		(void)run_one(s, say_run, &said, NULL);
	} else if (kind < 96) {
		said.entry = a % 3 ? name : NULL;
		(void)run_one(s, pin_run, &said, NULL);
	} else if (kind < 98) {
		said.entry = a % 3 ? name : NULL;
		(void)run_one(s, rest_run, &said, NULL);
	} else if (kind < 99) {
		set(s, ALGORITHM, a % 2 ? "balanced" : "static");
	} else {
		set(s, ALGORITHM, "balanced");
	}
}

static void same(struct store *a, struct store *b)
{
	struct shown one = show(a), two = show(b);

	assert_int_equal(one.version, two.version);
	assert_int_equal(one.n_rows, two.n_rows);
	for (size_t i = 0; i < one.n_rows; i++)
		assert_string_equal(one.rows[i].entry, two.rows[i].entry);
	assert_int_equal(one.n_places, two.n_places);
	if (one.n_places)
		assert_memory_equal(one.places, two.places, one.n_places * sizeof(*one.places));
	shown_deinit(&one);
	shown_deinit(&two);
}

static void whoever_writes_goes_on_from_the_same(void **state)
{
	const char *given = getenv("MUSTER_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	struct walk w = {0};

	print_message("MUSTER_SEED=%llu\n", (unsigned long long)seed);
	rng_init(&w.rng, seed);
	folder_make();
	for (size_t i = 0; i < 3; i++) {
		char name[8];

		snprintf(name, sizeof(name), "db%zu", i);
		w.paths[i] = folder_path(name);
		w.stores[i] = open_ok(w.paths[i]);
		set(w.stores[i], "host", "M1,M2,M3");
		set(w.stores[i], ALGORITHM, "balanced");
	}
	w.second = open_ok(w.paths[1]);
	for (w.step = 0; w.step < 250; w.step++) {
		uint64_t kind = rng_below(&w.rng, 100), a = rng_below(&w.rng, 120), b = rng_u64(&w.rng);

		step_of(&w, w.stores[0], kind, a, b);
		step_of(&w, w.step % 2 ? w.stores[1] : w.second, kind, a, b);
		if (w.step % 10 == 0) {
			store_close(w.stores[2]);
			w.stores[2] = open_ok(w.paths[2]);
		}
		step_of(&w, w.stores[2], kind, a, b);
		same(w.stores[0], w.stores[1]);
		same(w.stores[0], w.stores[2]);
	}
	store_close(w.second);
	for (size_t i = 0; i < 3; i++)
		store_close(w.stores[i]);
	folder_remove();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_placement_follows_the_setting),
		cmocka_unit_test(another_algorithm_moves_nobody),
		cmocka_unit_test(without_a_setting_the_registered_servers_count),
		cmocka_unit_test(hosts_come_and_go),
		cmocka_unit_test(operators_are_heard),
		cmocka_unit_test(servers_rest_in_turn),
		cmocka_unit_test(pins_hold),
		cmocka_unit_test(what_makes_no_sense_is_refused),
		cmocka_unit_test(an_undone_call_leaves_no_trace),
		cmocka_unit_test(what_does_not_fit_is_designed_anew),
		cmocka_unit_test(others_learn_of_another_spelling),
		cmocka_unit_test(an_undone_setting_leaves_no_trace),
		cmocka_unit_test(a_copy_from_before_another_algorithm_is_old),
		cmocka_unit_test(a_setting_that_makes_no_list_changes_nothing),
		cmocka_unit_test(a_list_has_room_for_so_many),
		cmocka_unit_test(a_host_that_the_copy_does_not_know),
		cmocka_unit_test(whoever_writes_goes_on_from_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
