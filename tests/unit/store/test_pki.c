/*
 * Secrets, certificates, revocations, join tokens, accounts.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store_test.h"

/* Rows that are only read. */
#define TEXT(literal) ((char *)(uintptr_t)(literal))

TX_TEST(a_secret_is_set_and_replaced)
{
	char *value = NULL;

	err_is(store_secret_get(tx, "ca.certificate", &value), ERR_NOT_FOUND);
	assert_string_equal(why->text, "the store has no ca.certificate");
	ok(store_secret_set(tx, "ca.certificate", "one"));
	ok(store_secret_set(tx, "ca.certificate", "two"));
	ok(store_secret_get(tx, "ca.certificate", &value));
	assert_string_equal(value, "two");
	mem_free(value);
	return ERR_OK;
}

TX_TEST(secrets_have_names)
{
	struct str_list names = {0};

	ok(store_secret_names(tx, &names));
	assert_int_equal(names.n, 0);
	ok(store_secret_set(tx, "b", "one"));
	ok(store_secret_set(tx, "a", "two"));
	ok(store_secret_names(tx, &names));
	assert_int_equal(names.n, 2);
	assert_string_equal(names.items[0], "a");
	assert_string_equal(names.items[1], "b");
	str_list_deinit(&names);
	return ERR_OK;
}

TX_TEST(setting_the_same_secret_changes_nothing)
{
	ok(store_secret_set(tx, "a", "one"));
	host_made(tx, "between");
	assert_int_equal(changes_so_far(tx), 2);
	ok(store_secret_set(tx, "a", "one"));
	assert_int_equal(changes_so_far(tx), 2);
	ok(store_secret_set(tx, "a", "two"));
	assert_int_equal(changes_so_far(tx), 3);
	return ERR_OK;
}

static void cert_added(struct store_tx *tx, const char *serial, const char *role, const char *subject)
{
	struct cert_row row = {
		.serial = TEXT(serial),
		.common_name = TEXT("cn"),
		.role = TEXT(role),
		.subject_id = TEXT(subject),
		.not_before_s = 1,
		.not_after_s = 2,
		.pem = TEXT("pem"),
		.issuer = TEXT("aki"),
	};

	ok(store_cert_add(tx, &row));
}

/* "serial" or "serial!" when revoked, in order of issue. */
static void certs_are(struct store_tx *tx, const char *expected)
{
	struct cert_row *rows = NULL;
	char text[100] = "";
	size_t n;

	ok(store_cert_list(tx, &rows, &n));
	for (size_t i = 0; i < n; i++) {
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s ", rows[i].serial,
			 rows[i].revoked_ms ? "!" : "");
		assert_true(!rows[i].revoked_ms || rows[i].revoked_ms == WALL);
		assert_string_equal(rows[i].pem, "pem");
		assert_string_equal(rows[i].issuer, "aki");
		assert_int_equal(rows[i].not_after_s, 2);
		cert_row_deinit(&rows[i]);
	}
	mem_free(rows);
	assert_string_equal(text, expected);
}

static void revoked_are(struct store_tx *tx, const char *expected)
{
	struct str_list serials = {0};
	char *text;

	ok(str_list_add(&serials, "what was there before"));
	ok(store_revoked_list(tx, &serials));
	text = str_list_join(&serials, " ");
	assert_string_equal(text, expected);
	mem_free(text);
	str_list_deinit(&serials);
}

TX_TEST(certificates_are_issued_once)
{
	struct cert_row again = {.serial = TEXT("b2")};

	cert_added(tx, "b2", "agent", "h1");
	cert_added(tx, "a1", "server", "s1");
	err_is(store_cert_add(tx, &again), ERR_EXISTS);
	certs_are(tx, "b2 a1 ");
	revoked_are(tx, "");
	assert_int_equal(changes_so_far(tx), 0);
	return ERR_OK;
}

TX_TEST(a_serial_is_revoked_once)
{
	cert_added(tx, "a", "agent", "h1");
	cert_added(tx, "b", "agent", "h1");
	ok(store_cert_revoke(tx, "b", "cn"));
	host_made(tx, "between");
	store_tx_by(tx, MS_A, WALL + 1);
	ok(store_cert_revoke(tx, "b", "cn"));
	assert_int_equal(changes_so_far(tx), 2);
	certs_are(tx, "a b! ");
	revoked_are(tx, "b");
	return ERR_OK;
}

TX_TEST(a_foreign_serial_can_be_revoked_before_it_is_seen)
{
	ok(store_cert_revoke(tx, "f", NULL));
	revoked_are(tx, "f");
	certs_are(tx, "");
	cert_added(tx, "f", "other", "x");
	certs_are(tx, "f! ");
	return ERR_OK;
}

TX_TEST(all_of_a_subject_is_revoked)
{
	size_t n = 9;

	cert_added(tx, "a", "agent", "h1");
	cert_added(tx, "b", "agent", "h2");
	cert_added(tx, "c", "server", "h1");
	cert_added(tx, "d", "agent", "h1");
	cert_added(tx, "e", "agent", "h1");
	ok(store_cert_revoke(tx, "d", "cn"));
	ok(store_cert_revoke_subject(tx, "agent", "h1", &n));
	assert_int_equal(n, 2);
	certs_are(tx, "a! b c d! e! ");
	revoked_are(tx, "d a e");
	ok(store_cert_revoke_subject(tx, "agent", "h1", &n));
	assert_int_equal(n, 0);
	return ERR_OK;
}

/* ---- tokens ---- */

static struct token_row token_like(const char *id)
{
	return (struct token_row){
		.id = TEXT(id),
		.hash = TEXT("hash"),
		.role = TEXT("agent"),
		.created_ms = WALL,
		.expires_ms = WALL + 1000,
		.uses_left = 2,
		.bound_guid = TEXT("guid"),
		.host_id = 7,
		.bound_zone = TEXT("zone-1"),
	};
}

TX_TEST(a_token_is_used_up)
{
	struct token_row row = token_like("t");
	struct token_row got;

	ok(store_token_add(tx, &row));
	err_is(store_token_add(tx, &row), ERR_EXISTS);
	ok(store_token_use(tx, "t"));
	ok(store_token_use(tx, "t"));
	err_is(store_token_use(tx, "t"), ERR_REFUSED);
	ok(store_token_get(tx, "t", &got));
	assert_int_equal(got.uses_left, 0);
	assert_int_equal(got.uses, 2);
	assert_string_equal(got.hash, "hash");
	assert_string_equal(got.bound_guid, "guid");
	assert_string_equal(got.bound_zone, "zone-1");
	assert_null(got.bound_name);
	assert_int_equal(got.host_id, 7);
	assert_false(got.revoked);
	token_row_deinit(&got);
	return ERR_OK;
}

TX_TEST(old_tokens_are_trimmed)
{
	struct token_row row = token_like("t"), forever = token_like("forever");
	struct token_row *rows = NULL;
	size_t n = 0;

	forever.expires_ms = 0;
	row.keeps_certificates = true;
	ok(store_token_add(tx, &row));
	ok(store_token_add(tx, &forever));
	ok(store_tokens_trim(tx, WALL + 1000));
	ok(store_token_list(tx, &rows, &n));
	assert_int_equal(n, 2);
	assert_true(rows[0].keeps_certificates && !rows[1].keeps_certificates);
	for (size_t i = 0; i < n; i++)
		token_row_deinit(&rows[i]);
	mem_free(rows);
	ok(store_tokens_trim(tx, WALL + 1001));
	err_is(store_token_revoke(tx, "t"), ERR_NOT_FOUND);
	ok(store_token_revoke(tx, "forever"));
	return ERR_OK;
}

TX_TEST(a_token_that_is_over_is_refused_by_name)
{
	struct token_row forever = token_like("forever");
	struct token_row old = token_like("old");
	struct token_row gone = token_like("gone");
	struct token_row got;

	forever.expires_ms = 0;
	ok(store_token_add(tx, &forever));
	ok(store_token_add(tx, &old));
	ok(store_token_add(tx, &gone));
	ok(store_token_revoke(tx, "gone"));
	ok(store_token_revoke(tx, "gone"));
	store_tx_by(tx, MS_A, WALL + 1000);
	ok(store_token_use(tx, "forever"));
	err_is(store_token_use(tx, "old"), ERR_EXPIRED);
	err_is(store_token_use(tx, "gone"), ERR_REVOKED);
	err_is(store_token_use(tx, "none"), ERR_NOT_FOUND);
	err_is(store_token_revoke(tx, "none"), ERR_NOT_FOUND);
	err_is(store_token_get(tx, "none", &got), ERR_NOT_FOUND);
	return ERR_OK;
}

TX_TEST(tokens_are_listed_and_their_changes_told_apart)
{
	struct token_row a = token_like("a");
	struct token_row b = token_like("b");
	struct token_row *rows;
	struct change changes[4];
	size_t n;
	bool gap;

	ok(store_token_add(tx, &b));
	ok(store_token_add(tx, &a));
	ok(store_token_use(tx, "b"));
	ok(store_token_list(tx, &rows, &n));
	assert_int_equal(n, 2);
	assert_string_equal(rows[0].id, "b");
	assert_string_equal(rows[1].id, "a");
	token_row_deinit(&rows[0]);
	token_row_deinit(&rows[1]);
	mem_free(rows);
	ok(store_changes_since(tx, 0, changes, ARRAY_SIZE(changes), &n, &gap));
	assert_int_equal(n, 3);
	assert_int_equal(changes[0].kind, CHANGE_TOKEN);
	assert_int_equal(changes[0].id, changes[2].id);
	assert_int_not_equal(changes[0].id, changes[1].id);
	return ERR_OK;
}

/* ---- accounts ---- */

TX_TEST(accounts_are_found_by_key)
{
	struct account_row row = {.name = TEXT("admin"),
				  .uuid = TEXT("u1"),
				  .role = TEXT("admin"),
				  .api_key = TEXT("k1"),
				  .secret_key = TEXT("s1"),
				  .created_ms = WALL};
	struct account_row got;
	struct account_row *rows;
	size_t n;

	ok(store_account_add(tx, &row));
	err_is(store_account_add(tx, &row), ERR_EXISTS);
	row.name = TEXT("other");
	row.uuid = TEXT("u2");
	err_is(store_account_add(tx, &row), ERR_EXISTS); /* the key */
	row.api_key = TEXT("k2");
	ok(store_account_add(tx, &row));
	ok(store_account_by_key(tx, "k1", &got));
	assert_string_equal(got.name, "admin");
	assert_string_equal(got.secret_key, "s1");
	account_row_deinit(&got);
	err_is(store_account_by_key(tx, "k", &got), ERR_NOT_FOUND);
	ok(store_account_list(tx, &rows, &n));
	assert_int_equal(n, 2);
	account_row_deinit(&rows[0]);
	account_row_deinit(&rows[1]);
	mem_free(rows);
	ok(store_account_remove(tx, "admin"));
	err_is(store_account_remove(tx, "admin"), ERR_NOT_FOUND);
	err_is(store_account_by_key(tx, "k1", &got), ERR_NOT_FOUND);
	assert_int_equal(changes_so_far(tx), 3);
	return ERR_OK;
}

/* ---- revocations by number, and what a signed list names ---- */

static void since_is(struct store_tx *tx, int64_t after, const char *expected, int64_t last, int64_t total)
{
	struct str_list serials = {0};
	int64_t newest = -1, count = -1;
	char *text;

	ok(store_revoked_since(tx, after, &serials, &newest, &count));
	text = str_list_join(&serials, " ");
	assert_string_equal(text, expected);
	assert_int_equal(newest, last);
	assert_int_equal(count, total);
	mem_free(text);
	str_list_deinit(&serials);
}

TX_TEST(revocations_are_read_from_where_one_stopped)
{
	bool is = true;

	since_is(tx, 0, "", 0, 0);
	ok(store_is_revoked(tx, "a", &is));
	assert_false(is);
	ok(store_cert_revoke(tx, "a", NULL));
	ok(store_cert_revoke(tx, "b", NULL));
	since_is(tx, 0, "a b", 2, 2);
	since_is(tx, 1, "b", 2, 2);
	since_is(tx, 2, "", 2, 2);
	ok(store_is_revoked(tx, "b", &is));
	assert_true(is);
	return ERR_OK;
}

static void cert_of_ca(struct store_tx *tx, const char *serial, const char *issuer, int64_t not_after_s)
{
	struct cert_row row = {.serial = TEXT(serial),
			       .role = TEXT("agent"),
			       .subject_id = TEXT("h"),
			       .not_after_s = not_after_s,
			       .issuer = TEXT(issuer)};

	ok(store_cert_add(tx, &row));
	ok(store_cert_revoke(tx, serial, NULL));
}

TX_TEST(a_signed_list_names_what_is_ours_and_not_over)
{
	struct revoked_row *rows = NULL;
	char text[64] = "";
	int64_t last;
	size_t n;

	cert_of_ca(tx, "ours", "aki", 1000);
	cert_of_ca(tx, "theirs", "other", 1000);
	cert_of_ca(tx, "from-before", NULL, 1000);
	cert_of_ca(tx, "over", "aki", 899);
	cert_of_ca(tx, "nearly", "aki", 900);
	ok(store_cert_revoke(tx, "unknown", NULL));
	ok(store_revoked_rows(tx, "aki", 900, &rows, &n, &last));
	assert_int_equal(last, 6);
	for (size_t i = 0; i < n; i++) {
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", rows[i].serial);
		assert_int_equal(rows[i].revoked_ms, WALL);
		revoked_row_deinit(&rows[i]);
	}
	mem_free(rows);
	assert_string_equal(text, "ours from-before nearly unknown ");
	return ERR_OK;
}

TX_TEST(who_revoked_it_and_why_is_kept)
{
	struct cert_question q = {.states = ~0u, .now_s = 1, .room = 10};
	struct cert_view *views = NULL;
	size_t n, count, revoked;

	cert_added(tx, "a", "agent", "h1");
	ok(store_cert_revoke_subject_by(tx, "agent", "h1", "ops", "host deleted", &revoked));
	assert_int_equal(revoked, 1);
	ok(store_cert_revoke_by(tx, "a", "cn", "another", "too late"));
	ok(store_cert_views(tx, &q, &views, &n, &count));
	assert_int_equal(n, 1);
	assert_string_equal(views[0].revoked_by, "ops");
	assert_string_equal(views[0].reason, "host deleted");
	assert_int_equal(views[0].revoked_ms, WALL);
	assert_int_equal(views[0].state, CERT_REVOKED);
	cert_view_deinit(&views[0]);
	mem_free(views);
	return ERR_OK;
}

/* ---- listing ---- */

static void cert_until(struct store_tx *tx, const char *serial, const char *role, const char *subject, int64_t end_s)
{
	struct cert_row row = {.serial = TEXT(serial),
			       .common_name = TEXT("Name"),
			       .role = TEXT(role),
			       .subject_id = TEXT(subject),
			       .not_before_s = 1,
			       .not_after_s = end_s,
			       .pem = TEXT("pem")};

	ok(store_cert_add(tx, &row));
}

static int64_t host_with_cert(struct store_tx *tx, const char *guid, const char *serial)
{
	struct host_row row = host_like(guid);

	row.cert_serial = TEXT(serial);
	row.cert_not_after_s = 500;
	ok(store_host_create(tx, &row));
	return row.id;
}

/* "serial=state" of each, in order. */
static void views_are(struct store_tx *tx, const struct cert_question *asked, const char *expected)
{
	static const char *const names[] = {"used", "valid", "superseded", "expired", "revoked"};
	struct cert_question q = *asked;
	struct cert_view *views = NULL;
	char text[300] = "";
	size_t n, count;

	q.now_s = 100;
	q.states = q.states ? q.states : ~0u;
	q.room = q.room ? q.room : 100;
	ok(store_cert_views(tx, &q, &views, &n, &count));
	for (size_t i = 0; i < n; i++) {
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s=%s ", views[i].serial,
			 names[views[i].state]);
		cert_view_deinit(&views[i]);
	}
	mem_free(views);
	assert_string_equal(text, expected);
	assert_true(n == count || q.room < 100);
}

/* More than are looked at together: pages, counts and the order are those of all. */
TX_TEST(many_certificates_are_looked_at_in_slices)
{
	static const struct {
		const char *what;
		size_t first, room;
		unsigned states;
		size_t n, count;
		int from; /* number of the first that is expected; those after it are below it */
	} rows[] = {
		{"the first page", 0, 20, ~0u, 20, 1230, 1199},
		{"a page across two slices", 490, 20, ~0u, 20, 1230, 709},
		{"a page that begins with a slice", 500, 20, ~0u, 20, 1230, 699},
		{"a page as long as three of them", 0, 1230, ~0u, 1230, 1230, 1199},
		{"the last page", 1220, 20, ~0u, 10, 1230, -1},
		{"behind it", 1300, 20, ~0u, 0, 1230, -1},
		{"one state", 0, 20, 1 << CERT_REVOKED, 20, 130, -1},
		{"nothing to show, only counted", 0, 0, ~0u, 0, 1230, -1},
	};
	char serial[16];

	for (int i = 0; i < 1200; i++) {
		snprintf(serial, sizeof(serial), "c%d", i);
		cert_until(tx, serial, "agent", serial, 1000);
		if (i % 12 == 0)
			ok(store_cert_revoke(tx, serial, "cn"));
	}
	for (int i = 0; i < 30; i++) {
		snprintf(serial, sizeof(serial), "foreign%d", i);
		ok(store_cert_revoke(tx, serial, "cn"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cert_question q = {
			.states = rows[i].states, .now_s = 100, .first = rows[i].first, .room = rows[i].room};
		struct cert_cursor c = {0};
		struct cert_view *views = NULL;
		size_t n = 0, count = 0, looks = 0, some;

		ok(store_cert_views(tx, &q, &views, &n, &count));
		print_message("%s\n", rows[i].what);
		assert_int_equal(n, rows[i].n);
		assert_int_equal(count, rows[i].count);
		for (size_t k = 0; k < n; k++) {
			snprintf(serial, sizeof(serial), "c%d", rows[i].from - (int)k);
			if (rows[i].from >= (int)k)
				assert_string_equal(views[k].serial, serial);
			cert_view_deinit(&views[k]);
		}
		mem_free(views);
		for (; !c.is_over; looks++) {
			ok(store_cert_views_some(tx, &q, &c, &views, &some));
			for (size_t k = 0; k < some; k++)
				cert_view_deinit(&views[k]);
			mem_free(views);
		}
		assert_int_equal(c.count, rows[i].count);
		assert_true(looks > 3);
	}
	return ERR_OK;
}

TX_TEST(certificates_are_listed_by_what_becomes_of_them)
{
	static const struct {
		const char *what;
		struct cert_question q;
		const char *expected;
	} rows[] = {
		{"all of them, the newest first",
		 {0},
		 "s3=valid s2=used s1=superseded n1=valid x1=expired b2=valid a2=used a1=superseded c0=revoked z9=revoked "
		 "f1=used "},
		{"by state", {.states = 1 << CERT_IN_USE}, "s2=used a2=used f1=used "},
		{"by several states",
		 {.states = 1 << CERT_EXPIRED | 1 << CERT_REVOKED},
		 "x1=expired c0=revoked z9=revoked "},
		{"by serial", {.serial = "a1"}, "a1=superseded "},
		{"a serial that nobody knows", {.serial = "a11"}, ""},
		{"by role", {.role = "server"}, "s3=valid s2=used s1=superseded "},
		{"by host", {.subject_id = "h1"}, "a2=used a1=superseded "},
		{"what ends soon", {.ends_before_s = 501}, "x1=expired f1=used "},
		{"by a part of whatever it is", {.keyword = "H1"}, "a2=used a1=superseded "},
		{"by a part of the serial", {.keyword = "z"}, "z9=revoked "},
		{"a page", {.first = 1, .room = 2}, "s2=used s1=superseded "},
	};

	cert_until(tx, "c0", "agent", "gone", 1000);
	cert_until(tx, "a1", "agent", "h1", 1000);
	cert_until(tx, "a2", "agent", "h1", 1000);
	cert_until(tx, "b2", "agent", "h2", 1000); /* not shown yet */
	cert_until(tx, "x1", "agent", "h3", 100);
	cert_until(tx, "n1", "other", "", 1000);
	cert_until(tx, "s1", "server", "u1", 1000);
	cert_until(tx, "s2", "server", "u1", 1000);
	cert_until(tx, "s3", "server", "u1", 1000);
	host_with_cert(tx, "h1", "a2");
	host_with_cert(tx, "h8", "z9"); /* a foreign one, revoked: listed once */
	host_with_cert(tx, "h9", "f1"); /* a foreign one */
	ok(store_cert_revoke(tx, "c0", "cn"));
	ok(store_cert_revoke(tx, "z9", "cn"));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cert_question q = rows[i].q;

		q.in_use = ",s2,";
		print_message("%s\n", rows[i].what);
		views_are(tx, &q, rows[i].expected);
	}
	return ERR_OK;
}

static bool is_known_to_trust(struct store_tx *tx, int64_t id)
{
	struct host_row got = {0};
	bool is;

	ok(store_host_get(tx, id, &got));
	is = got.ca_known != NULL;
	host_row_deinit(&got);
	return is;
}

/* With the last certificate that it can come back with goes what it is known to trust. */
TX_TEST(who_has_nothing_left_trusts_nobody)
{
	int64_t h1 = host_made(tx, "h1"), h2 = host_made(tx, "h2"), seq;

	store_tx_by(tx, 1, 100 * 86400000LL);
	ok(store_host_ca_known(tx, h1, "aa"));
	ok(store_host_ca_known(tx, h2, "aa"));
	cert_until(tx, "a", "agent", "h1", 101 * 86400);
	cert_until(tx, "b", "agent", "h1", 71 * 86400); /* expired, and may still let it in */
	cert_until(tx, "c", "agent", "h1", 69 * 86400); /* not any more */
	cert_until(tx, "d", "agent", "h2", 101 * 86400);
	cert_until(tx, "e", "server", "h2", 101 * 86400);
	ok(store_cert_revoke(tx, "a", "cn"));
	assert_true(is_known_to_trust(tx, h1));
	ok(store_cert_revoke(tx, "e", "cn"));
	seq = changes_so_far(tx);
	ok(store_cert_revoke(tx, "b", "cn"));
	assert_false(is_known_to_trust(tx, h1));
	assert_true(is_known_to_trust(tx, h2));
	assert_true(changes_so_far(tx) > seq);
	return ERR_OK;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_secret_is_set_and_replaced),
		cmocka_unit_test(secrets_have_names),
		cmocka_unit_test(setting_the_same_secret_changes_nothing),
		cmocka_unit_test(certificates_are_issued_once),
		cmocka_unit_test(a_serial_is_revoked_once),
		cmocka_unit_test(a_foreign_serial_can_be_revoked_before_it_is_seen),
		cmocka_unit_test(all_of_a_subject_is_revoked),
		cmocka_unit_test(who_has_nothing_left_trusts_nobody),
		cmocka_unit_test(revocations_are_read_from_where_one_stopped),
		cmocka_unit_test(a_signed_list_names_what_is_ours_and_not_over),
		cmocka_unit_test(who_revoked_it_and_why_is_kept),
		cmocka_unit_test(certificates_are_listed_by_what_becomes_of_them),
		cmocka_unit_test(many_certificates_are_looked_at_in_slices),
		cmocka_unit_test(a_token_is_used_up),
		cmocka_unit_test(old_tokens_are_trimmed),
		cmocka_unit_test(a_token_that_is_over_is_refused_by_name),
		cmocka_unit_test(tokens_are_listed_and_their_changes_told_apart),
		cmocka_unit_test(accounts_are_found_by_key),
	};

	return cmocka_run_group_tests_name("pki", tests, NULL, NULL);
}
