#include "ca/policy.h"

#include "check.h"

#include <string.h>

#include "base/mem.h"

#define SECRET "00112233445566778899aabbccddeeff0011223344556677"
#define FINGERPRINT "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define WALL_S INT64_C(1750000000)

static void hashes_depend_on_both(void **state)
{
	char a[FINGERPRINT_TEXT], b[FINGERPRINT_TEXT];

	(void)state;
	token_hash(a, "t-1", SECRET);
	token_hash(b, "t-1", SECRET);
	assert_string_equal(a, b);
	token_hash(b, "t-2", SECRET);
	assert_string_not_equal(a, b);
	token_hash(b, "t-1", FINGERPRINT);
	assert_string_not_equal(a, b);
	assert_null(strstr(a, "001122"));
}

static void tokens_are_checked(void **state)
{
	static const struct {
		const char *what;
		/* what is presented; NULL: as in the record; name "h", guid "g" */
		const char *id, *secret;
		const char *name, *guid, *zone;
		bool is_server, is_nobody, is_nameless, fixed, rejoins;
		int64_t late_s; /* of 60 s */
		/* the record */
		int64_t n_uses, n_used; /* 0: of 1 */
		bool revoked;
		const char *bound_name, *bound_guid, *bound_zone;
		enum join_refusal refusal;
		const char *why;
	} rows[] = {
		{.what = "a good one"},
		{.what = "the last second", .late_s = 59},
		{.what = "of many uses the last one", .n_uses = 5, .n_used = 4},
		{.what = "bound to the name, in other letters", .name = "Host-7", .bound_name = "host-7"},
		{.what = "bound to the guid", .bound_guid = "g"},
		{.what = "bound to the guid of a machine that sticks to it", .fixed = true, .bound_guid = "g"},
		{.what = "a machine without identity becomes what the token says", .bound_guid = "g2"},
		{.what = "a machine that is a host already, with its own token",
		 .fixed = true,
		 .rejoins = true,
		 .bound_guid = "g"},
		{.what = "bound to the zone", .zone = "east", .bound_zone = "east"},
		{.what = "bound to a zone, which the machine doesn't mention", .bound_zone = "east"},
		{.what = "a zone of its own where any will do", .zone = "west"},
		{.what = "a wrong secret", .secret = FINGERPRINT, .refusal = JOIN_WRONG_SECRET, .why = "no such token"},
		{.what = "a secret that is wrong in its last digit",
		 .secret = "00112233445566778899aabbccddeeff0011223344556678",
		 .refusal = JOIN_WRONG_SECRET,
		 .why = "no such token"},
		{.what = "a secret in capitals",
		 .secret = "00112233445566778899AABBCCDDEEFF0011223344556677",
		 .refusal = JOIN_WRONG_SECRET,
		 .why = "no such token"},
		{.what = "no secret", .secret = "", .refusal = JOIN_WRONG_SECRET, .why = "no such token"},
		{.what = "another token's secret", .id = "t-2", .refusal = JOIN_WRONG_SECRET, .why = "no such token"},
		{.what = "an id that can't be one", .id = "t/1", .refusal = JOIN_WRONG_SECRET, .why = "no such token"},
		{.what = "a wrong secret learns nothing else",
		 .secret = FINGERPRINT,
		 .is_server = true,
		 .late_s = 120,
		 .n_used = 1,
		 .revoked = true,
		 .bound_name = "x",
		 .bound_guid = "y",
		 .bound_zone = "z",
		 .fixed = true,
		 .refusal = JOIN_WRONG_SECRET,
		 .why = "no such token"},
		{.what = "expired", .late_s = 60, .refusal = JOIN_EXPIRED_TOKEN, .why = "expired"},
		{.what = "revoked", .revoked = true, .refusal = JOIN_REVOKED_TOKEN, .why = "revoked"},
		{.what = "revoked and expired",
		 .late_s = 120,
		 .revoked = true,
		 .refusal = JOIN_REVOKED_TOKEN,
		 .why = "revoked"},
		{.what = "used up", .n_used = 1, .refusal = JOIN_USED_TOKEN, .why = "used as often"},
		{.what = "used more often than up", .n_used = 2, .refusal = JOIN_USED_TOKEN, .why = "used as often"},
		{.what = "a host's token for a server",
		 .is_server = true,
		 .refusal = JOIN_OTHER_ROLE,
		 .why = "is for hosts"},
		{.what = "for nobody", .is_nobody = true, .refusal = JOIN_OTHER_ROLE, .why = "is for hosts"},
		{.what = "another name",
		 .name = "host-8",
		 .bound_name = "host-7",
		 .refusal = JOIN_OTHER_NAME,
		 .why = "is for host-7 only"},
		{.what = "a name that begins the same",
		 .name = "host-77",
		 .bound_name = "host-7",
		 .refusal = JOIN_OTHER_NAME,
		 .why = "is for host-7 only"},
		{.what = "no name where one is needed",
		 .is_nameless = true,
		 .bound_name = "host-7",
		 .refusal = JOIN_OTHER_NAME,
		 .why = "is for host-7 only"},
		{.what = "a machine that is somebody else",
		 .guid = "g2",
		 .fixed = true,
		 .bound_guid = "g",
		 .refusal = JOIN_OTHER_GUID,
		 .why = "guid g only, and this machine is g2"},
		{.what = "a host that is somebody else",
		 .guid = "g2",
		 .fixed = true,
		 .rejoins = true,
		 .bound_guid = "g",
		 .refusal = JOIN_OTHER_GUID,
		 .why = "guid g only, and this machine is g2"},
		{.what = "another zone",
		 .zone = "west",
		 .bound_zone = "east",
		 .refusal = JOIN_OTHER_ZONE,
		 .why = "zone east only, and this machine says zone west"},
		{.what = "the zone in other letters is another one",
		 .zone = "East",
		 .bound_zone = "east",
		 .refusal = JOIN_OTHER_ZONE},
		{.what = "a host with a token for anybody",
		 .fixed = true,
		 .rejoins = true,
		 .refusal = JOIN_NO_REJOIN,
		 .why = "host rejoin"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct token_record r = {
			.expires_s = WALL_S + 60,
			.uses_left = (rows[i].n_uses ? rows[i].n_uses : 1) - rows[i].n_used,
			.revoked = rows[i].revoked,
			.role = CERT_ROLE_AGENT,
			.bound_name = rows[i].bound_name,
			.bound_guid = rows[i].bound_guid,
			.bound_zone = rows[i].bound_zone,
		};
		struct join_request q = {
			.name = rows[i].is_nameless ? NULL : (char *)(uintptr_t)(rows[i].name ? rows[i].name : "h"),
			.zone = (char *)(uintptr_t)rows[i].zone,
			.role = rows[i].is_nobody   ? CERT_ROLE_NONE
				: rows[i].is_server ? CERT_ROLE_SERVER
						    : CERT_ROLE_AGENT,
			.guid_is_fixed = rows[i].fixed,
			.rejoins = rows[i].rejoins,
		};
		struct why why = WHY_NONE;
		enum join_refusal got;

		str_copy(q.token_id, sizeof(q.token_id), rows[i].id ? rows[i].id : "t-1");
		str_copy(q.token_secret, sizeof(q.token_secret), rows[i].secret ? rows[i].secret : SECRET);
		str_copy(q.guid, sizeof(q.guid), rows[i].guid ? rows[i].guid : "g");
		token_hash(r.hash, "t-1", SECRET);
		got = token_check(&r, &q, WALL_S + rows[i].late_s, &why);
		if (got != rows[i].refusal || (rows[i].why && !strstr(why.text, rows[i].why)))
			fail_msg("%s: %s: %s", rows[i].what, join_refusal_name(got), why.text);
		check_row(&rows[i], !got == !why.text[0] && !strstr(why.text, "0011223344"));
	}
}

/* The same sentence, whether there is such a token or not. */
static void who_knows_no_secret_learns_nothing(void **state)
{
	struct join_request q = {.token_id = "t-1", .token_secret = SECRET, .role = CERT_ROLE_AGENT};
	struct token_record r = {.uses_left = 1, .expires_s = WALL_S + 1, .role = CERT_ROLE_AGENT};
	struct why unknown = WHY_NONE, wrong = WHY_NONE;

	(void)state;
	assert_int_equal(token_check(NULL, &q, WALL_S, &unknown), JOIN_UNKNOWN_TOKEN);
	assert_int_equal(token_check(&r, &q, WALL_S, &wrong), JOIN_WRONG_SECRET);
	assert_string_equal(unknown.text, wrong.text);
	assert_int_equal(join_refusal_err(JOIN_UNKNOWN_TOKEN), join_refusal_err(JOIN_WRONG_SECRET));
	assert_int_equal(token_check(NULL, &(struct join_request){0}, WALL_S, NULL), JOIN_UNKNOWN_TOKEN);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_depend_on_both),
		cmocka_unit_test(tokens_are_checked),
		cmocka_unit_test(who_knows_no_secret_learns_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
