#include "party.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static uint8_t last_serial;

static struct party make(const struct party *ca, enum key_kind kind, struct cert_params p)
{
	struct party made = {0};
	struct why why = WHY_NONE;

	assert_int_equal(key_new(&made.key, kind, &why), ERR_OK);
	p.key_pem = made.key;
	if (ca) {
		p.ca_cert_pem = ca->cert;
		p.ca_key_pem = ca->key;
	} else {
		p.ca_key_pem = made.key;
	}
	p.serial[0] = 1;
	p.serial[15] = ++last_serial;
	if (cert_new(&made.cert, &p, &why) != ERR_OK)
		fail_msg("certificate: %s", why.text);
	return made;
}

struct party party_root(const char *name)
{
	return party_root_of(KEY_EC_P256, name);
}

struct party party_root_of(enum key_kind kind, const char *name)
{
	return make(NULL, kind,
		    (struct cert_params){.common_name = name,
					 .is_ca = true,
					 .not_before_s = TEST_WALL_S - 1000 * DAY_S,
					 .not_after_s = TEST_WALL_S + 1000 * DAY_S});
}

struct party party_new(const struct party *ca, enum key_kind kind, enum cert_role role, const char *id)
{
	return make(ca, kind,
		    (struct cert_params){.common_name = id,
					 .role = role,
					 .id = id,
					 .not_before_s = TEST_WALL_S - 100 * DAY_S,
					 .not_after_s = TEST_WALL_S + 100 * DAY_S});
}

struct party party_valid(const struct party *ca, enum cert_role role, const char *id, int64_t from_s, int64_t to_s)
{
	return make(ca, KEY_EC_P256,
		    (struct cert_params){
			    .common_name = id, .role = role, .id = id, .not_before_s = from_s, .not_after_s = to_s});
}

void party_deinit(struct party *p)
{
	p->cert = mem_free(p->cert);
	p->key = key_free(p->key);
}

void party_fingerprint(char out[FINGERPRINT_TEXT], const struct party *p)
{
	struct cert_info info = {0};

	assert_int_equal(cert_info_parse(&info, p->cert, NULL), ERR_OK);
	memcpy(out, info.fingerprint, FINGERPRINT_TEXT);
	cert_info_deinit(&info);
}
