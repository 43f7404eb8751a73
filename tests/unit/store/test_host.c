/*
 * Hosts: rows, slots, owners and epochs; and a random walk over all of it beside a simple model.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "core/slots.h"
#include "store_test.h"

static struct host_row host(struct store_tx *tx, int64_t id)
{
	struct host_row row;

	ok(store_host_get(tx, id, &row));
	return row;
}

/* ---- coming and going ---- */

TX_TEST(a_host_is_stored_with_all_its_fields)
{
	struct host_row row = {
		.guid = (char[]){"guid"},
		.name = (char[]){"name"},
		.type = (char[]){"Routing"},
		.resource_name = (char[]){"LibvirtComputingResource"},
		.hypervisor = (char[]){"KVM"},
		.version = (char[]){"4.19"},
		.arch = (char[]){"x86_64"},
		.private_ip = (char[]){"10.0.0.1"},
		.capabilities = (char[]){"hvm"},
		.details = (char[]){"{\"a\":1}"},
		.zone_id = 1,
		.pod_id = 1,
		.cluster_id = 1,
		.status = HOST_CREATING,
		.resource_state = RESOURCE_DISABLED,
		.owner = 5,
		.last_owner = 6,
		.boot = (char[]){"boot"},
		.link_number = 7,
		.boot_number = 3,
		.ms_list = (char[]){"a,b@static"},
		.ms_interval = 60,
		.is_muster = true,
		.secured = true,
		.bound_key = (char[]){"uri"},
		.allow_weaker = true,
		.cert_serial = (char[]){"ab12"},
		.cert_not_after_s = 8,
		.cert_not_before_s = 4,
		.cert_issuer = (char[]){"cd34"},
		.ca_known = (char[]){"ef56"},
		.bound_to = (char[]){"0a1b"},
		.disconnected_ms = 9,
		.last_ping_ms = 10,
		.bound_zone = 1,
		.epoch = 99,      /* filled in by the store */
		.removed_ms = 11, /* likewise */
	};
	struct host_row got, copy;
	int64_t zone = 9;

	str_copy(row.uuid, sizeof(row.uuid), some_uuid());
	ok(store_host_create(tx, &row));
	assert_int_equal(row.id, 1);
	assert_int_equal(row.epoch, 0);
	assert_int_equal(row.removed_ms, 0);
	assert_int_equal(row.created_ms, WALL);
	ok(store_host_by_guid(tx, "guid", &got));
	ok(host_row_copy(&copy, &got));
	host_row_deinit(&got);
	assert_string_equal(copy.uuid, row.uuid);
	assert_string_equal(copy.name, "name");
	assert_string_equal(copy.type, "Routing");
	assert_string_equal(copy.resource_name, "LibvirtComputingResource");
	assert_string_equal(copy.hypervisor, "KVM");
	assert_string_equal(copy.version, "4.19");
	assert_string_equal(copy.arch, "x86_64");
	assert_string_equal(copy.private_ip, "10.0.0.1");
	assert_string_equal(copy.capabilities, "hvm");
	assert_string_equal(copy.details, "{\"a\":1}");
	assert_string_equal(copy.boot, "boot");
	assert_string_equal(copy.ms_list, "a,b@static");
	assert_string_equal(copy.bound_key, "uri");
	assert_string_equal(copy.cert_serial, "ab12");
	assert_int_equal(copy.status, HOST_CREATING);
	assert_int_equal(copy.resource_state, RESOURCE_DISABLED);
	assert_int_equal(copy.owner, 5);
	assert_int_equal(copy.last_owner, 6);
	assert_int_equal(copy.link_number, 7);
	assert_int_equal(copy.boot_number, 3);
	assert_int_equal(copy.ms_interval, 60);
	assert_true(copy.is_muster);
	assert_true(copy.secured);
	assert_true(copy.allow_weaker);
	assert_int_equal(copy.cert_not_after_s, 8);
	assert_int_equal(copy.cert_not_before_s, 4);
	assert_string_equal(copy.cert_issuer, "cd34");
	assert_string_equal(copy.ca_known, "ef56");
	assert_string_equal(copy.bound_to, "0a1b");
	assert_int_equal(copy.bound_zone, 1);
	ok(store_host_bound_zone(tx, "guid", &zone));
	assert_int_equal(zone, 1);
	ok(store_host_bound_zone(tx, "nobody", &zone));
	assert_int_equal(zone, 0);
	assert_int_equal(copy.disconnected_ms, 9);
	assert_int_equal(copy.last_ping_ms, 10);
	host_row_deinit(&copy);
	return ERR_OK;
}

TX_TEST(a_host_that_is_not_there_is_not_found)
{
	struct host_row row;
	size_t moved;
	enum host_status to;
	enum resource_state state;
	struct host_claim c = {.host_id = 7, .msid = MS_A};
	struct host_row unknown = host_like("a");

	unknown.id = 7;
	err_is(store_host_get(tx, 7, &row), ERR_NOT_FOUND);
	assert_string_equal(why->text, "host 7 does not exist");
	err_is(store_host_by_guid(tx, "x", &row), ERR_NOT_FOUND);
	err_is(store_host_remove(tx, 7, 1, &moved), ERR_NOT_FOUND);
	err_is(store_host_claim(tx, &c), ERR_NOT_FOUND);
	err_is(store_host_event(tx, 7, 0, EVENT_PING, &to), ERR_NOT_FOUND);
	err_is(store_host_resource_event(tx, 7, RESOURCE_EVENT_DISABLE, &state), ERR_NOT_FOUND);
	err_is(store_host_describe(tx, &unknown), ERR_NOT_FOUND);
	err_is(store_host_list_confirmed(tx, 7, "a", 1), ERR_NOT_FOUND);
	err_is(store_host_allow_weaker(tx, 7, true), ERR_NOT_FOUND);
	ok(store_host_pings(tx, &(struct host_ping){7, WALL}, 1));
	assert_int_equal(changes_so_far(tx), 0);
	return ERR_OK;
}

TX_TEST(a_host_that_does_not_fit_is_refused)
{
	static const struct {
		const char *what;
		const char *guid, *uuid;
		int64_t zone, pod, cluster;
		enum err error;
	} rows[] = {
		{"a guid is taken while its host is not removed", "a", NULL, 1, 1, 1, ERR_EXISTS},
		{"a uuid is taken for ever", "b", "00000000-0000-4000-8000-aaaaaaaaaaaa", 1, 1, 1, ERR_EXISTS},
		{"a host without guid can't be found again", "", NULL, 1, 1, 1, ERR_INVALID},
		{"a zone must exist", "b", NULL, 2, 1, 1, ERR_NOT_FOUND},
		{"a pod must exist", "b", NULL, 1, 2, 1, ERR_NOT_FOUND},
		{"a cluster must exist", "b", NULL, 1, 1, 2, ERR_NOT_FOUND},
	};
	struct host_row first = host_like("a");

	str_copy(first.uuid, sizeof(first.uuid), "00000000-0000-4000-8000-aaaaaaaaaaaa");
	ok(store_host_create(tx, &first));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct host_row row = host_like(rows[i].guid);

		if (rows[i].uuid)
			str_copy(row.uuid, sizeof(row.uuid), rows[i].uuid);
		row.zone_id = rows[i].zone;
		row.pod_id = rows[i].pod;
		row.cluster_id = rows[i].cluster;
		check_row(&rows[i], store_host_create(tx, &row) == rows[i].error);
		check_row(&rows[i], row.id == 0);
		check_row(&rows[i], why->text[0] != '\0');
	}
	return ERR_OK;
}

TX_TEST(a_removed_host_keeps_its_row_and_frees_its_guid)
{
	int64_t a = host_made(tx, "a");
	struct host_claim c = {.host_id = a, .msid = MS_A};
	struct host_row row;
	size_t moved;
	enum host_status to;
	int64_t b;

	ok(store_host_claim(tx, &c));
	ok(store_host_remove(tx, a, 1, &moved));
	assert_int_equal(moved, 0);
	row = host(tx, a);
	assert_int_equal(row.removed_ms, WALL);
	assert_int_equal(row.status, HOST_REMOVED);
	assert_int_equal(row.resource_state, RESOURCE_DISABLED);
	assert_int_equal(row.owner, 0);
	assert_int_equal(row.last_owner, MS_A);
	assert_int_equal(row.epoch, c.epoch + 1);
	host_row_deinit(&row);
	err_is(store_host_by_guid(tx, "a", &row), ERR_NOT_FOUND);
	err_is(store_host_claim(tx, &c), ERR_NOT_FOUND);
	err_is(store_host_event(tx, a, 0, EVENT_PING, &to), ERR_NOT_FOUND);
	err_is(store_host_remove(tx, a, 1, &moved), ERR_NOT_FOUND);
	b = host_made(tx, "a");
	assert_true(b > a);
	return ERR_OK;
}

TX_TEST(ids_are_never_given_twice)
{
	size_t moved;

	host_made(tx, "a");
	ok(store_host_remove(tx, host_made(tx, "b"), 1, &moved));
	assert_int_equal(host_made(tx, "b"), 3);
	return ERR_OK;
}

TX_TEST(a_description_is_written_when_it_changed)
{
	struct host_row row = host_like("a");
	struct host_row got;
	int64_t seq;

	ok(store_host_create(tx, &row));
	seq = changes_so_far(tx);
	ok(store_host_describe(tx, &row));
	row.guid = (char[]){"other"};   /* not part of a description */
	row.owner = MS_B;               /* likewise */
	row.ms_list = (char[]){"list"}; /* likewise */
	ok(store_host_describe(tx, &row));
	assert_int_equal(changes_so_far(tx), seq);
	row.name = (char[]){"n"};
	row.details = (char[]){"{}"};
	row.bound_key = (char[]){"san"};
	row.is_muster = true;
	row.cert_not_after_s = 5;
	row.cert_not_before_s = 3;
	row.cert_issuer = (char[]){"77"};
	row.bound_to = (char[]){"key"};
	row.ca_known = (char[]){"not by a description"};
	store_tx_by(tx, MS_B, WALL);
	host_made(tx, "b"); /* so that the change isn't the same as the last */
	seq = changes_so_far(tx);
	ok(store_host_describe(tx, &row));
	assert_int_equal(changes_so_far(tx), seq + 1);
	got = host(tx, row.id);
	assert_string_equal(got.guid, "a");
	assert_string_equal(got.name, "n");
	assert_string_equal(got.details, "{}");
	assert_string_equal(got.bound_key, "san");
	assert_true(got.is_muster);
	assert_int_equal(got.cert_not_after_s, 5);
	assert_int_equal(got.cert_not_before_s, 3);
	assert_string_equal(got.cert_issuer, "77");
	assert_string_equal(got.bound_to, "key");
	assert_null(got.ca_known);
	ok(store_host_ca_known(tx, row.id, "aa"));
	seq = changes_so_far(tx);
	ok(store_host_ca_known(tx, row.id, "aa")); /* said already */
	assert_int_equal(changes_so_far(tx), seq);
	host_row_deinit(&got);
	got = host(tx, row.id);
	assert_string_equal(got.ca_known, "aa");
	err_is(store_host_ca_known(tx, 4711, "aa"), ERR_NOT_FOUND);
	ok(store_host_cert_issuer(tx, row.id, "88"));
	seq = changes_so_far(tx);
	ok(store_host_cert_issuer(tx, row.id, "88")); /* said already */
	assert_int_equal(changes_so_far(tx), seq);
	host_row_deinit(&got);
	got = host(tx, row.id);
	assert_string_equal(got.cert_issuer, "88");
	err_is(store_host_cert_issuer(tx, 4711, "88"), ERR_NOT_FOUND);
	ok(store_host_shown(tx, &(struct host_row){.id = row.id,
						   .cert_serial = (char[]){"c2"},
						   .cert_issuer = (char[]){"99"},
						   .cert_not_before_s = 4,
						   .cert_not_after_s = 6}));
	host_row_deinit(&got);
	got = host(tx, row.id);
	assert_string_equal(got.cert_serial, "c2");
	assert_string_equal(got.cert_issuer, "99");
	assert_int_equal(got.cert_not_after_s, 6);
	assert_string_equal(got.name, "n");
	err_is(store_host_shown(tx, &(struct host_row){.id = 4711}), ERR_NOT_FOUND);
	assert_int_equal(got.owner, 0);
	assert_null(got.ms_list);
	host_row_deinit(&got);
	row.details = NULL;
	ok(store_host_describe(tx, &row));
	got = host(tx, row.id);
	assert_null(got.details);
	host_row_deinit(&got);
	row.cluster_id = 9;
	err_is(store_host_describe(tx, &row), ERR_NOT_FOUND);
	return ERR_OK;
}

TX_TEST(confirmed_lists_and_pings_are_not_changes)
{
	int64_t a = host_made(tx, "a");
	int64_t seq = changes_so_far(tx);
	const struct host_ping pings[] = {{a, WALL + 5}, {a, WALL + 3}, {77, WALL}};
	struct host_row row;

	ok(store_host_list_confirmed(tx, a, "m1,m2@shuffle", 30));
	ok(store_host_pings(tx, pings, ARRAY_SIZE(pings)));
	row = host(tx, a);
	assert_string_equal(row.ms_list, "m1,m2@shuffle");
	assert_int_equal(row.ms_interval, 30);
	/* Pings of two servers may arrive in any order: time doesn't go back. */
	assert_int_equal(row.last_ping_ms, WALL + 5);
	host_row_deinit(&row);
	assert_int_equal(changes_so_far(tx), seq);
	return ERR_OK;
}

TX_TEST(a_weaker_identity_is_allowed_and_forbidden)
{
	int64_t a = host_made(tx, "a");
	struct host_row row;

	ok(store_host_allow_weaker(tx, a, true));
	row = host(tx, a);
	assert_true(row.allow_weaker);
	host_row_deinit(&row);
	ok(store_host_allow_weaker(tx, a, false));
	row = host(tx, a);
	assert_false(row.allow_weaker);
	host_row_deinit(&row);
	return ERR_OK;
}

static enum err collect_ids(void *user, const struct host_row *row)
{
	char *text = user;

	snprintf(text + strlen(text), 60 - strlen(text), "%" PRId64 ":%" PRIu64 " ", row->id, row->slot);
	return ERR_OK;
}

static void hosts_are(struct store_tx *tx, const char *expected)
{
	char text[60] = "";

	ok(store_host_list(tx, collect_ids, text));
	assert_string_equal(text, expected);
}

/* ---- slots ---- */

TX_TEST(a_new_host_takes_the_lowest_hole)
{
	size_t moved;

	for (char name[2] = "a"; name[0] < 'f'; name[0]++)
		host_made(tx, name);
	hosts_are(tx, "1:0 2:1 3:2 4:3 5:4 ");
	ok(store_host_remove(tx, 4, 1, &moved));
	ok(store_host_remove(tx, 2, 1, &moved));
	hosts_are(tx, "1:0 3:2 5:4 ");
	host_made(tx, "g");
	host_made(tx, "h");
	host_made(tx, "i");
	hosts_are(tx, "1:0 3:2 5:4 6:1 7:3 8:5 ");
	return ERR_OK;
}

TX_TEST(holes_at_the_end_are_used_from_below)
{
	size_t moved;

	for (char name[2] = "a"; name[0] < 'd'; name[0]++)
		host_made(tx, name);
	ok(store_host_remove(tx, 3, 1, &moved));
	ok(store_host_remove(tx, 2, 1, &moved));
	host_made(tx, "g");
	host_made(tx, "h");
	host_made(tx, "i");
	hosts_are(tx, "1:0 4:1 5:2 6:3 ");
	return ERR_OK;
}

TX_TEST(removal_repairs_the_spread)
{
	size_t moved;
	int64_t seq;

	for (char name[2] = "a"; name[0] < 'h'; name[0]++)
		host_made(tx, name);
	/* Slots 0 to 6 over 3 servers: 3, 2, 2. Without slot 1: 3, 1, 2, so slot 6 goes to 1. */
	seq = changes_so_far(tx);
	ok(store_host_remove(tx, 2, 3, &moved));
	assert_int_equal(moved, 1);
	hosts_are(tx, "1:0 3:2 4:3 5:4 6:5 7:1 ");
	assert_int_equal(changes_so_far(tx), seq + 2);
	host_made(tx, "x");
	hosts_are(tx, "1:0 3:2 4:3 5:4 6:5 7:1 8:6 ");
	return ERR_OK;
}

TX_TEST(a_new_number_of_servers_repairs_all_zones)
{
	size_t moved;
	int64_t zone, pod, cluster;
	struct host_row row;

	ok(store_place_find_or_make(tx, PLACE_ZONE, 0, "z", some_uuid(), &zone));
	ok(store_place_find_or_make(tx, PLACE_POD, zone, "p", some_uuid(), &pod));
	ok(store_place_find_or_make(tx, PLACE_CLUSTER, pod, "c", some_uuid(), &cluster));
	for (char name[2] = "a"; name[0] < 'i'; name[0]++) {
		host_made(tx, name);
		row = host_like((char[]){'z', name[0], '\0'});
		row.zone_id = zone;
		row.pod_id = pod;
		row.cluster_id = cluster;
		ok(store_host_create(tx, &row));
		assert_int_equal(row.slot, name[0] - 'a');
	}
	/* With one server holes don't matter. Without slots 1 and 3, two servers have 4 and 2. */
	ok(store_host_remove(tx, 3, 1, &moved));
	ok(store_host_remove(tx, 7, 1, &moved));
	ok(store_host_remove(tx, 4, 1, &moved));
	ok(store_host_remove(tx, 8, 1, &moved));
	assert_int_equal(moved, 0);
	ok(store_slots_repair(tx, 1, &moved));
	assert_int_equal(moved, 0);
	ok(store_slots_repair(tx, 2, &moved));
	assert_int_equal(moved, 2);
	ok(store_slots_repair(tx, 2, &moved));
	assert_int_equal(moved, 0);
	return ERR_OK;
}

TX_TEST(a_new_host_takes_the_hole_that_keeps_the_servers_even)
{
	struct host_row row, got;
	size_t moved;

	/* Slots 0 to 5; without 1, 2 and 4 the hosts left have 0, 3, 5: one on the first of two servers, two on the
	 * other. */
	for (char name[2] = "a"; name[0] < 'g'; name[0]++)
		host_made(tx, name);
	ok(store_host_remove(tx, 2, 1, &moved));
	ok(store_host_remove(tx, 3, 1, &moved));
	ok(store_host_remove(tx, 5, 1, &moved));
	store_tx_servers(tx, 2);
	row = host_like("x");
	ok(store_host_create(tx, &row));
	assert_int_equal(row.slot, 2); /* 1 is the lowest hole, but would make it 1 and 3 */
	store_tx_servers(tx, 0);
	row = host_like("y");
	ok(store_host_create(tx, &row));
	assert_int_equal(row.slot, 1); /* nobody said for how many servers: the lowest */
	/* On demand slots are given anew, in order of id. */
	ok(store_slots_rerank(tx, &moved));
	assert_int_equal(moved, 4);
	got = host(tx, row.id);
	assert_int_equal(got.slot, 4);
	host_row_deinit(&got);
	ok(store_slots_rerank(tx, &moved));
	assert_int_equal(moved, 0);
	row = host_like("z");
	ok(store_host_create(tx, &row));
	assert_int_equal(row.slot, 5);
	return ERR_OK;
}

TX_TEST(a_host_that_changes_its_zone_gets_a_slot_there)
{
	int64_t zone, pod, cluster;
	struct host_row row;

	host_made(tx, "a");
	host_made(tx, "b");
	ok(store_place_find_or_make(tx, PLACE_ZONE, 0, "z", some_uuid(), &zone));
	ok(store_place_find_or_make(tx, PLACE_POD, zone, "p", some_uuid(), &pod));
	ok(store_place_find_or_make(tx, PLACE_CLUSTER, pod, "c", some_uuid(), &cluster));
	row = host(tx, 1);
	row.zone_id = zone;
	err_is(store_host_describe(tx, &row), ERR_NOT_FOUND);
	row.pod_id = pod;
	row.cluster_id = cluster;
	ok(store_host_describe(tx, &row));
	host_row_deinit(&row);
	host_made(tx, "c");
	hosts_are(tx, "1:0 2:1 3:0 ");
	row = host(tx, 1);
	assert_int_equal(row.zone_id, zone);
	host_row_deinit(&row);
	return ERR_OK;
}

/* ---- owners ---- */

TX_TEST(a_claim_is_judged_by_boot_and_link)
{
	static const struct {
		const char *what;
		const char *boot;
		int64_t msid, link;
		bool superseded;
		int64_t boot_number;
	} rows[] = {
		{"the first claim", "b1", MS_A, 3, false, 0},
		{"a newer link of the same boot takes over", "b1", MS_B, 5, false, 0},
		{"an older link comes too late", "b1", MS_A, 4, true, 0},
		{"the same link may be claimed again: its server didn't hear the answer", "b1", MS_B, 5, false, 0},
		{"another boot starts to count anew", "b2", MS_A, 1, false, 0},
		{"a link of a boot that has ended can't be told from a new boot", "b1", MS_B, 9, false, 0},
		{"an agent that numbers nothing takes over", NULL, MS_A, 0, false, 0},
		{"and is taken over", "b3", MS_B, 1, false, 0},
		{"a boot with a number", "b4", MS_A, 1, false, 7},
		{"an earlier boot comes too late, whatever its link", "b5", MS_B, 9, true, 6},
		{"the same number and another boot can't be told apart", "b6", MS_B, 1, false, 7},
		{"a later boot takes over", "b7", MS_A, 1, false, 8},
		{"links of the boot count as ever", "b7", MS_B, 3, false, 8},
		{"also the older ones", "b7", MS_A, 2, true, 8},
		{"who could not keep its count is never late", "b8", MS_A, 1, false, 0},
		{"and nobody is late behind it", "b7", MS_B, 4, false, 8},
	};
	int64_t id = host_made(tx, "a");
	int64_t epoch = 0;
	int64_t owner = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct host_claim c = {.host_id = id,
				       .msid = rows[i].msid,
				       .boot = rows[i].boot,
				       .link_number = rows[i].link,
				       .boot_number = rows[i].boot_number};
		struct host_row row;

		check_row(&rows[i], store_host_claim(tx, &c) == ERR_OK);
		check_row(&rows[i], c.superseded == rows[i].superseded);
		check_row(&rows[i], c.previous_owner == owner);
		if (!c.superseded) {
			owner = rows[i].msid;
			epoch++;
		}
		check_row(&rows[i], c.epoch == epoch);
		row = host(tx, id);
		check_row(&rows[i], row.owner == owner);
		check_row(&rows[i], row.epoch == epoch);
		check_row(&rows[i], row.status == HOST_CONNECTING);
		check_row(&rows[i], row.last_ping_ms == WALL);
		check_row(&rows[i], c.superseded || str_equal(row.boot, rows[i].boot));
		check_row(&rows[i], c.superseded || row.boot_number == rows[i].boot_number);
		host_row_deinit(&row);
	}
	return ERR_OK;
}

TX_TEST(an_older_link_stays_too_late_when_nobody_owns_the_host)
{
	int64_t id = host_made(tx, "a");
	struct host_claim c = {.host_id = id, .msid = MS_B, .boot = "b", .link_number = 5};
	struct host_claim late = {.host_id = id, .msid = MS_A, .boot = "b", .link_number = 4};
	enum host_status to;

	ok(store_host_claim(tx, &c));
	ok(store_host_event(tx, id, c.epoch, EVENT_AGENT_DISCONNECTED, &to));
	ok(store_host_claim(tx, &late));
	assert_true(late.superseded);
	assert_int_equal(late.previous_owner, 0);
	return ERR_OK;
}

/* It may be a machine that was restored from a backup: its count went back, and it must not be shut out for good. */
TX_TEST(an_older_boot_gets_in_when_nobody_owns_the_host)
{
	int64_t id = host_made(tx, "a");
	struct host_claim c = {.host_id = id, .msid = MS_B, .boot = "b9", .link_number = 5, .boot_number = 9};
	struct host_claim restored = {.host_id = id, .msid = MS_A, .boot = "b2", .link_number = 1, .boot_number = 2};
	enum host_status to;

	ok(store_host_claim(tx, &c));
	ok(store_host_claim(tx, &restored));
	assert_true(restored.superseded);
	ok(store_host_event(tx, id, c.epoch, EVENT_AGENT_DISCONNECTED, &to));
	ok(store_host_claim(tx, &restored));
	assert_false(restored.superseded);
	return ERR_OK;
}

TX_TEST(a_claim_needs_a_server)
{
	struct host_claim c = {.host_id = host_made(tx, "a")};

	err_is(store_host_claim(tx, &c), ERR_INVALID);
	return ERR_OK;
}

TX_TEST(events_are_for_the_current_epoch)
{
	int64_t id = host_made(tx, "a");
	struct host_claim c = {.host_id = id, .msid = MS_A};
	struct host_claim other = {.host_id = id, .msid = MS_B};
	struct host_row row;
	enum host_status to = HOST_UNKNOWN;
	int64_t seq;

	ok(store_host_claim(tx, &c));
	ok(store_host_event(tx, id, c.epoch, EVENT_READY, &to));
	assert_int_equal(to, HOST_UP);
	seq = changes_so_far(tx);
	host_made(tx, "b");
	store_tx_by(tx, MS_A, WALL + 7);
	ok(store_host_event(tx, id, c.epoch, EVENT_PING, &to));
	assert_int_equal(to, HOST_UP);
	assert_int_equal(changes_so_far(tx), seq + 1); /* of host b */
	ok(store_host_claim(tx, &other));
	to = HOST_UNKNOWN;
	err_is(store_host_event(tx, id, c.epoch, EVENT_AGENT_DISCONNECTED, &to), ERR_CONFLICT);
	assert_int_equal(to, HOST_UNKNOWN);
	row = host(tx, id);
	assert_int_equal(row.owner, MS_B);
	assert_int_equal(row.last_owner, MS_A);
	assert_int_equal(row.status, HOST_CONNECTING);
	assert_int_equal(row.last_ping_ms, WALL + 7);
	host_row_deinit(&row);
	err_is(store_host_event(tx, id, 0, EVENT_WAITED_TOO_LONG, &to), ERR_STATE);
	assert_non_null(strstr(why->text, "is Connecting, where WaitedTooLong has no meaning"));
	err_is(store_host_event(tx, id, 0, EVENT_REMOVE, &to), ERR_STATE);
	ok(store_host_event(tx, id, 0, EVENT_HOST_DOWN, &to));
	assert_int_equal(to, HOST_DOWN);
	row = host(tx, id);
	assert_int_equal(row.owner, 0);
	assert_int_equal(row.last_owner, MS_B);
	assert_int_equal(row.disconnected_ms, WALL + 7);
	assert_int_equal(row.epoch, other.epoch + 1);
	host_row_deinit(&row);
	/* Who lost the host without knowing can't bring it back without a claim. */
	err_is(store_host_event(tx, id, other.epoch, EVENT_PING, &to), ERR_CONFLICT);
	return ERR_OK;
}

TX_TEST(resource_states_follow_their_table)
{
	int64_t id = host_made(tx, "a");
	enum resource_state to = RESOURCE_ERROR;
	int64_t seq = changes_so_far(tx);

	ok(store_host_resource_event(tx, id, RESOURCE_EVENT_ENABLE, &to));
	assert_int_equal(to, RESOURCE_ENABLED);
	assert_int_equal(changes_so_far(tx), seq);
	ok(store_host_resource_event(tx, id, RESOURCE_EVENT_ADMIN_ASK_MAINTENANCE, &to));
	assert_int_equal(to, RESOURCE_PREPARE_FOR_MAINTENANCE);
	err_is(store_host_resource_event(tx, id, RESOURCE_EVENT_DISABLE, &to), ERR_STATE);
	assert_int_equal(to, RESOURCE_PREPARE_FOR_MAINTENANCE);
	return ERR_OK;
}

TX_TEST(a_dead_server_loses_its_hosts)
{
	static const struct {
		const char *what;
		enum host_event events[2];
		size_t n_events;
		enum host_status status;
		bool counts;
	} rows[] = {
		{"a host that is Up is Disconnected", {EVENT_READY}, 1, HOST_DISCONNECTED, true},
		{"a host that is Connecting too", {0}, 0, HOST_DISCONNECTED, true},
		{"a host that is Down has no owner and stays", {EVENT_READY, EVENT_HOST_DOWN}, 2, HOST_DOWN, false},
		{"an alert stays", {EVENT_READY, EVENT_PING_TIMEOUT}, 2, HOST_ALERT, false},
	};
	struct host_claim c = {.msid = MS_A};
	struct host_row row;
	size_t n = 99;
	enum host_status to;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		c.host_id = host_made(tx, (char[]){'a' + (char)i, '\0'});
		ok(store_host_claim(tx, &c));
		for (size_t j = 0; j < rows[i].n_events; j++)
			check_row(&rows[i], store_host_event(tx, c.host_id, 0, rows[i].events[j], &to) == ERR_OK);
	}
	c = (struct host_claim){.host_id = host_made(tx, "other"), .msid = MS_B};
	ok(store_host_claim(tx, &c));
	ok(store_hosts_disown(tx, MS_A, &n));
	assert_int_equal(n, 2);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		row = host(tx, (int64_t)i + 1);
		check_row(&rows[i], row.status == rows[i].status);
		check_row(&rows[i], row.owner == 0);
		check_row(&rows[i], row.last_owner == MS_A);
		check_row(&rows[i], row.epoch == 2);
		check_row(&rows[i], row.disconnected_ms == WALL);
		host_row_deinit(&row);
	}
	row = host(tx, c.host_id);
	assert_int_equal(row.owner, MS_B);
	host_row_deinit(&row);
	ok(store_hosts_disown(tx, MS_A, &n));
	assert_int_equal(n, 0);
	err_is(store_hosts_disown(tx, 0, &n), ERR_INVALID);
	return ERR_OK;
}

/* ---- a random walk ---- */

#define WALK_HOSTS 12
#define WALK_SERVERS 3
#define WALK_STEPS 3000

/* What the store should hold, in the simplest words. */
struct model {
	bool is_there;
	int64_t id;
	int64_t owner, last_owner, epoch;
	int boot; /* 0: an agent that numbers nothing */
	int64_t link;
	enum host_status status;
	uint64_t slot;
	int64_t last_epoch[WALK_SERVERS]; /* that each server was given, 0: none */
};

struct walk {
	struct rng rng;
	struct model hosts[WALK_HOSTS];
	int64_t highest_id;
};

static uint64_t lowest_free(const struct walk *w)
{
	for (uint64_t slot = 0;; slot++) {
		bool is_free = true;

		for (size_t i = 0; i < WALK_HOSTS; i++)
			is_free = is_free && !(w->hosts[i].is_there && w->hosts[i].slot == slot);
		if (is_free)
			return slot;
	}
}

static size_t spread(const struct walk *w, size_t n_servers)
{
	uint64_t taken[WALK_HOSTS];
	size_t n = 0;

	for (size_t i = 0; i < WALK_HOSTS; i++) {
		if (w->hosts[i].is_there)
			taken[n++] = w->hosts[i].slot;
	}
	return slots_spread(taken, n, n_servers);
}

static void set_model_owner(struct model *m, int64_t owner)
{
	if (m->owner && m->owner != owner)
		m->last_owner = m->owner;
	m->owner = owner;
	m->epoch++;
}

static void step_create(struct store_tx *tx, struct walk *w, struct model *m, size_t i)
{
	struct host_row row = host_like((char[]){'h', (char)('a' + i), '\0'});
	uint64_t slot = lowest_free(w);

	ok(store_host_create(tx, &row));
	assert_true(row.id > w->highest_id);
	assert_int_equal(row.slot, slot);
	w->highest_id = row.id;
	*m = (struct model){.is_there = true, .id = row.id, .status = HOST_CREATING, .slot = slot};
}

static void step_claim(struct store_tx *tx, struct walk *w, struct model *m)
{
	static const char *const boots[] = {NULL, "b1", "b2"};
	int server = (int)rng_below(&w->rng, WALK_SERVERS);
	int boot = (int)rng_below(&w->rng, ARRAY_SIZE(boots));
	struct host_claim c = {
		.host_id = m->id,
		.msid = MS_A + server,
		.boot = boots[boot],
		.link_number = (int64_t)rng_below(&w->rng, 6),
	};
	bool late = boot && boot == m->boot && c.link_number < m->link;
	enum err e = store_host_claim(tx, &c);

	ok(e);
	assert_int_equal(c.superseded, late);
	assert_int_equal(c.previous_owner, m->owner);
	if (!late) {
		set_model_owner(m, MS_A + server);
		m->boot = boot;
		m->link = c.link_number;
		assert_true(host_status_move(m->status, EVENT_AGENT_CONNECTED, &m->status));
		m->last_epoch[server] = c.epoch;
	}
	assert_int_equal(c.epoch, m->epoch);
}

static void step_event(struct store_tx *tx, struct walk *w, struct model *m)
{
	size_t server = rng_below(&w->rng, WALK_SERVERS);
	int64_t epoch = rng_below(&w->rng, 4) ? m->last_epoch[server] : 0;
	enum host_event event = (enum host_event)rng_below(&w->rng, EVENT_N);
	enum host_status next = m->status;
	enum host_status to = HOST_UNKNOWN;
	enum err expected = epoch && epoch != m->epoch                                            ? ERR_CONFLICT
			    : event == EVENT_REMOVE || !host_status_move(m->status, event, &next) ? ERR_STATE
												  : ERR_OK;

	err_is(store_host_event(tx, m->id, epoch, event, &to), expected);
	if (expected)
		return;
	assert_int_equal(to, next);
	m->status = next;
	if (host_status_clears_owner(next) && m->owner)
		set_model_owner(m, 0);
}

static void step_disown(struct store_tx *tx, struct walk *w)
{
	int64_t msid = MS_A + (int64_t)rng_below(&w->rng, WALK_SERVERS);
	size_t expected = 0;
	size_t n = 0;

	for (size_t i = 0; i < WALK_HOSTS; i++) {
		struct model *m = &w->hosts[i];

		if (!m->is_there || m->owner != msid)
			continue;
		expected++;
		host_status_move(m->status, EVENT_MANAGEMENT_SERVER_DOWN, &m->status);
		set_model_owner(m, 0);
	}
	ok(store_hosts_disown(tx, msid, &n));
	assert_int_equal(n, expected);
}

/* The store says which slots moved; that the spread is right then is checked apart. */
static size_t read_slots(struct store_tx *tx, struct walk *w)
{
	size_t moved = 0;

	for (size_t i = 0; i < WALK_HOSTS; i++) {
		struct host_row row;

		if (!w->hosts[i].is_there)
			continue;
		row = host(tx, w->hosts[i].id);
		moved += row.slot != w->hosts[i].slot;
		w->hosts[i].slot = row.slot;
		host_row_deinit(&row);
	}
	return moved;
}

static void step_remove(struct store_tx *tx, struct walk *w, struct model *m)
{
	size_t n_servers = 1 + rng_below(&w->rng, 4);
	size_t moved = 99;

	ok(store_host_remove(tx, m->id, n_servers, &moved));
	m->is_there = false;
	assert_int_equal(moved, read_slots(tx, w));
	assert_true(spread(w, n_servers) <= 1);
}

static void step_repair(struct store_tx *tx, struct walk *w)
{
	size_t n_servers = 1 + rng_below(&w->rng, 4);
	size_t moved = 99;

	ok(store_slots_repair(tx, n_servers, &moved));
	assert_int_equal(moved, read_slots(tx, w));
	assert_true(spread(w, n_servers) <= 1);
}

static void compare(struct store_tx *tx, const struct model *m)
{
	struct host_row row = host(tx, m->id);

	assert_int_equal(row.owner, m->owner);
	assert_int_equal(row.last_owner, m->last_owner);
	assert_int_equal(row.epoch, m->epoch);
	assert_int_equal(row.link_number, m->link);
	assert_int_equal(row.status, m->status);
	assert_int_equal(row.slot, m->slot);
	assert_int_equal(row.removed_ms, 0);
	host_row_deinit(&row);
}

static enum err walk_step(struct store_tx *tx, void *arg, struct why *why)
{
	struct walk *w = arg;
	size_t i = rng_below(&w->rng, WALK_HOSTS);
	struct model *m = &w->hosts[i];
	uint64_t what = rng_below(&w->rng, 100);

	if (!m->is_there)
		step_create(tx, w, m, i);
	else if (what < 40)
		step_claim(tx, w, m);
	else if (what < 85)
		step_event(tx, w, m);
	else if (what < 90)
		step_disown(tx, w);
	else if (what < 95)
		step_repair(tx, w);
	else
		step_remove(tx, w, m);
	for (i = 0; i < WALK_HOSTS; i++) {
		if (w->hosts[i].is_there)
			compare(tx, &w->hosts[i]);
	}
	return ERR_OK;
}

/* As a call that is undone: nothing of it may be seen afterwards. */
static enum err walk_step_undone(struct store_tx *tx, void *arg, struct why *why)
{
	ok(walk_step(tx, arg, why));
	return ERR_REFUSED;
}

static void a_random_walk_agrees_with_a_simple_model(void **state)
{
	const char *given = getenv("SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	struct walk w = {0};
	struct store *s = open_memory();

	print_message("seed %" PRIu64 " (SEED=%" PRIu64 " repeats it)\n", seed, seed);
	rng_init(&w.rng, seed);
	for (int i = 0; i < WALK_STEPS; i++) {
		if (rng_below(&w.rng, 10) == 0) {
			struct walk aside = w;

			err_is(run_one(s, walk_step_undone, &aside, NULL), ERR_REFUSED);
			w.rng = aside.rng;
		}
		run_ok(s, walk_step, &w);
	}
	store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_is_stored_with_all_its_fields),
		cmocka_unit_test(a_host_that_is_not_there_is_not_found),
		cmocka_unit_test(a_host_that_does_not_fit_is_refused),
		cmocka_unit_test(a_removed_host_keeps_its_row_and_frees_its_guid),
		cmocka_unit_test(ids_are_never_given_twice),
		cmocka_unit_test(a_description_is_written_when_it_changed),
		cmocka_unit_test(confirmed_lists_and_pings_are_not_changes),
		cmocka_unit_test(a_weaker_identity_is_allowed_and_forbidden),
		cmocka_unit_test(a_new_host_takes_the_lowest_hole),
		cmocka_unit_test(holes_at_the_end_are_used_from_below),
		cmocka_unit_test(removal_repairs_the_spread),
		cmocka_unit_test(a_new_number_of_servers_repairs_all_zones),
		cmocka_unit_test(a_new_host_takes_the_hole_that_keeps_the_servers_even),
		cmocka_unit_test(a_host_that_changes_its_zone_gets_a_slot_there),
		cmocka_unit_test(a_claim_is_judged_by_boot_and_link),
		cmocka_unit_test(an_older_link_stays_too_late_when_nobody_owns_the_host),
		cmocka_unit_test(an_older_boot_gets_in_when_nobody_owns_the_host),
		cmocka_unit_test(a_claim_needs_a_server),
		cmocka_unit_test(events_are_for_the_current_epoch),
		cmocka_unit_test(resource_states_follow_their_table),
		cmocka_unit_test(a_dead_server_loses_its_hosts),
		cmocka_unit_test(a_random_walk_agrees_with_a_simple_model),
	};

	return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}
