/* Which CA may follow which. */
#include "ca/succession.h"

#include "../pki/pki_help.h"

static struct test_ca made(const char *name, const struct test_ca *above, const struct test_ca *key_of, int64_t to_days,
			   uint8_t n)
{
	struct test_ca ca = {0};
	struct why why = WHY_NONE;
	struct cert_params p = {
		.ca_cert_pem = above ? above->cert : NULL,
		.ca_key_pem = above ? above->key : NULL,
		.common_name = name,
		.is_ca = true,
		.not_before_s = WALL_S - DAY_S,
		.not_after_s = WALL_S + to_days * DAY_S,
		.serial = {n},
	};

	if (key_of)
		ca.key = mem_strdup(key_of->key);
	else
		assert_int_equal(key_new(&ca.key, KEY_EC_P256, NULL), ERR_OK);
	p.key_pem = ca.key;
	if (cert_new(&ca.cert, &p, &why))
		fail_msg("%s", why.text);
	return ca;
}

static char *with(const struct test_ca *ca, const struct test_ca *above)
{
	return mem_printf("%s%s", ca->cert, above->cert);
}

static void who_may_follow(void **state)
{
	CLEAN(test_ca_deinit)
	struct test_ca own = made("muster", NULL, NULL, 1000, 1), other = made("other", NULL, NULL, 1000, 2),
		       namesake = made("muster", NULL, NULL, 1000, 3), renewed = made("muster", NULL, &own, 2000, 4),
		       renamed = made("muster 2", NULL, &own, 2000, 5), root = made("company", NULL, NULL, 3000, 6),
		       first = made("machines", &root, NULL, 1000, 7),
		       second = made("machines 2", &root, NULL, 2000, 8),
		       again = made("machines", &root, &first, 2000, 9),
		       new_key = made("machines", &root, NULL, 2000, 10),
		       under_own = made("below", &own, NULL, 900, 11),
		       under_first = made("below", &first, NULL, 900, 12), short_one = made("short", NULL, NULL, 5, 13);
	CLEAN(mem_freep)
	char *first_up = with(&first, &root), *second_up = with(&second, &root), *again_up = with(&again, &root),
	     *new_key_up = with(&new_key, &root), *under_own_up = with(&under_own, &own),
	     *under_first_up = mem_printf("%s%s%s", under_first.cert, first.cert, root.cert);
	const struct {
		const char *what, *present, *next;
		int64_t at_days;
		enum err e;
		const char *why;
	} rows[] = {
		{"1: itself", own.cert, own.cert, 0, ERR_REFUSED, "it is the CA that signs now"},
		{"1: itself, with a chain", first_up, first_up, 0, ERR_REFUSED, "it is the CA that signs now"},
		{"1: another one", own.cert, other.cert, 0, ERR_OK, NULL},
		{"1: an intermediate after a root", own.cert, first_up, 0, ERR_OK, NULL},
		{"1: a root after an intermediate", first_up, own.cert, 0, ERR_OK, NULL},
		{"1: a sister below the same root", first_up, second_up, 0, ERR_OK, NULL},
		{"2: on its last day", own.cert, short_one.cert, 4, ERR_OK, NULL},
		{"2: expired since it was prepared", own.cert, short_one.cert, 5, ERR_EXPIRED, "expired"},
		{"3: its own root", first_up, root.cert, 0, ERR_REFUSED,
		 "stands above the CA that signs now (machines)"},
		{"3: signed by it", own.cert, under_own_up, 0, ERR_REFUSED,
		 "leads through the CA that signs now (muster)"},
		{"3: signed by it, with a root above both", first_up, under_first_up, 0, ERR_REFUSED, "leads through"},
		{"4: renewed with its key", first_up, again_up, 0, ERR_OK, NULL},
		{"4: a root renewed with its key", own.cert, renewed.cert, 0, ERR_OK, NULL},
		{"5: its key under another name", own.cert, renamed.cert, 0, ERR_REFUSED, "another name"},
		{"7: its name with another key", first_up, new_key_up, 0, ERR_OK, NULL},
		{"7: a root of its name", own.cert, namesake.cert, 0, ERR_OK, NULL},
		{"garbage", own.cert, "x", 0, ERR_MALFORMED, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct why why = WHY_NONE;
		enum err e = ca_may_follow(rows[i].present, rows[i].next, WALL_S + rows[i].at_days * DAY_S, &why);

		if (e != rows[i].e || (rows[i].why && !strstr(why.text, rows[i].why)))
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
	}
}

static char *read_text(const char *dir, const char *name)
{
	CLEAN(buf_deinit) struct buf b = {0};
	CLEAN(mem_freep) char *path = path_join(dir, name);

	assert_int_equal(file_read(&fs_posix, path, 65536, &b, NULL), ERR_OK);
	return buf_take_str(&b);
}

/* What muster never makes itself: CAs that name no key, or name it as another one does. */
static void key_identifiers(void **state)
{
	static const struct {
		const char *what, *now, *next; /* lines of the extensions' section */
		bool same_key;
		enum err e;
		const char *why;
	} rows[] = {
		{"7: both name their keys", "subjectKeyIdentifier=hash", "subjectKeyIdentifier=hash", false, ERR_OK,
		 NULL},
		{"7: the next one names none", "subjectKeyIdentifier=hash", "subjectKeyIdentifier=none", false,
		 ERR_REFUSED, "has no subject key identifier"},
		{"7: the present one names none", "subjectKeyIdentifier=none", "subjectKeyIdentifier=hash", false,
		 ERR_REFUSED, "that one has no subject key identifier"},
		{"6: another key of the same identifier", "subjectKeyIdentifier=01:02:03",
		 "subjectKeyIdentifier=01:02:03", false, ERR_REFUSED, "the same subject key identifier"},
		{"4: the same key, named and not named", "subjectKeyIdentifier=hash", "subjectKeyIdentifier=none", true,
		 ERR_REFUSED, "calls the key otherwise"},
		{"4: the same key, named in both", "subjectKeyIdentifier=hash", "subjectKeyIdentifier=hash", true,
		 ERR_OK, NULL},
		{"4: the same key, named in neither", "subjectKeyIdentifier=none", "subjectKeyIdentifier=none", true,
		 ERR_OK, NULL},
		{"4: the same key, and another identifier", "subjectKeyIdentifier=hash",
		 "subjectKeyIdentifier=01:02:03", true, ERR_REFUSED, "calls the key otherwise"},
	};
	CLEAN(folder_freep) char *dir = openssl_folder();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *certs[2];
		struct why why = WHY_NONE;
		enum err e;

		for (int k = 0; k < 2; k++) {
			CLEAN(mem_freep)
			char *conf = mem_printf(
				"[req]\ndistinguished_name=dn\nx509_extensions=v3\nprompt=no\n[dn]\nCN=company\n[v3]\n"
				"basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n%s\n",
				k ? rows[i].next : rows[i].now);

			put_file(dir, "conf", conf);
			if (k == 0 || !rows[i].same_key)
				assert_true(openssl(dir, "ecparam -name prime256v1 -genkey -noout -out k"));
			assert_true(openssl(dir, "req -x509 -config conf -key k -out c -days 900"));
			certs[k] = read_text(dir, "c");
		}
		e = ca_may_follow(certs[0], certs[1], 0, &why);
		mem_free(certs[0]);
		mem_free(certs[1]);
		if (e != rows[i].e || (rows[i].why && !strstr(why.text, rows[i].why)))
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_may_follow),
		cmocka_unit_test(key_identifiers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
