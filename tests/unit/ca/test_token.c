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
		/* what is presented; NULL: as in the record */
		const char *id, *secret;
		enum cert_role role;
		const char *name, *guid;
		/* the record */
		int64_t left_s, uses_left;
		bool revoked;
		const char *bound_name, *bound_guid;
		enum err e;
		const char *why;
	} rows[] = {
		{"a good one", NULL, NULL, CERT_ROLE_AGENT, "h", "g", 60, 1, .e = ERR_OK},
		{"the last second", NULL, NULL, CERT_ROLE_AGENT, "h", "g", 1, 1, .e = ERR_OK},
		{"bound to the name, in other letters", NULL, NULL, CERT_ROLE_AGENT, "Host-7", "g", 60, 1,
		 .bound_name = "host-7", .e = ERR_OK},
		{"bound to the guid", NULL, NULL, CERT_ROLE_AGENT, "h", "g", 60, 1, .bound_guid = "g", .e = ERR_OK},
		{"a wrong secret", NULL, FINGERPRINT, CERT_ROLE_AGENT, "h", "g", 60, 1, .e = ERR_REFUSED,
		 .why = "no such token"},
		{"a secret that is wrong in its last digit", NULL, "00112233445566778899aabbccddeeff0011223344556678",
		 CERT_ROLE_AGENT, "h", "g", 60, 1, .e = ERR_REFUSED, .why = "no such token"},
		{"no secret", NULL, "", CERT_ROLE_AGENT, "h", "g", 60, 1, .e = ERR_REFUSED, .why = "no such token"},
		{"another token's secret", "t-2", NULL, CERT_ROLE_AGENT, "h", "g", 60, 1, .e = ERR_REFUSED,
		 .why = "no such token"},
		{"a wrong secret learns nothing else", NULL, FINGERPRINT, CERT_ROLE_SERVER, "h", "g", -60, 0,
		 .revoked = true, .bound_name = "x", .bound_guid = "y", .e = ERR_REFUSED, .why = "no such token"},
		{"expired", NULL, NULL, CERT_ROLE_AGENT, "h", "g", 0, 1, .e = ERR_EXPIRED, .why = "expired"},
		{"revoked", NULL, NULL, CERT_ROLE_AGENT, "h", "g", 60, 1, .revoked = true, .e = ERR_REVOKED,
		 .why = "revoked"},
		{"revoked and expired", NULL, NULL, CERT_ROLE_AGENT, "h", "g", -60, 1, .revoked = true,
		 .e = ERR_REVOKED, .why = "revoked"},
		{"used up", NULL, NULL, CERT_ROLE_AGENT, "h", "g", 60, 0, .e = ERR_REFUSED, .why = "used as often"},
		{"a host's token for a server", NULL, NULL, CERT_ROLE_SERVER, "h", "g", 60, 1, .e = ERR_REFUSED,
		 .why = "is for hosts"},
		{"for nobody", NULL, NULL, CERT_ROLE_NONE, "h", "g", 60, 1, .e = ERR_REFUSED, .why = "is for hosts"},
		{"another name", NULL, NULL, CERT_ROLE_AGENT, "host-8", "g", 60, 1, .bound_name = "host-7",
		 .e = ERR_REFUSED, .why = "is for host-7 only"},
		{"no name where one is needed", NULL, NULL, CERT_ROLE_AGENT, NULL, "g", 60, 1, .bound_name = "host-7",
		 .e = ERR_REFUSED, .why = "is for host-7 only"},
		{"another guid", NULL, NULL, CERT_ROLE_AGENT, "h", "g2", 60, 1, .bound_guid = "g", .e = ERR_REFUSED,
		 .why = "guid g only"},
		{"no guid where one is needed", NULL, NULL, CERT_ROLE_AGENT, "h", NULL, 60, 1, .bound_guid = "g",
		 .e = ERR_REFUSED, .why = "guid g only"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct token_record r = {
			.expires_s = WALL_S + rows[i].left_s,
			.uses_left = rows[i].uses_left,
			.revoked = rows[i].revoked,
			.role = CERT_ROLE_AGENT,
			.bound_name = rows[i].bound_name,
			.bound_guid = rows[i].bound_guid,
		};
		struct why why = WHY_NONE;
		enum err e;

		token_hash(r.hash, "t-1", SECRET);
		e = token_check(&r, rows[i].id ? rows[i].id : "t-1", rows[i].secret ? rows[i].secret : SECRET,
				rows[i].role, rows[i].name, rows[i].guid, WALL_S, &why);
		if (e != rows[i].e || (rows[i].why && !strstr(why.text, rows[i].why)))
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
		check_row(&rows[i], !e == !why.text[0] && !strstr(why.text, "0011223344"));
	}
	assert_int_equal(token_check(NULL, "t-1", SECRET, CERT_ROLE_AGENT, "h", "g", WALL_S, NULL), ERR_REFUSED);
	assert_int_equal(
		token_check(&(struct token_record){.uses_left = 1, .expires_s = WALL_S + 1, .role = CERT_ROLE_AGENT},
			    NULL, NULL, CERT_ROLE_AGENT, "h", "g", WALL_S, NULL),
		ERR_REFUSED);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_depend_on_both),
		cmocka_unit_test(tokens_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
