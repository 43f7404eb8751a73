/*
 * In the middle of a rotation two CAs are trusted, and every server has to say of every certificate which of them
 * signed it: by the name and the key identifier in it. So the two must be different in what is looked at, or not be
 * different at all.
 *
 *   1. The next one is not the present one.
 *   2. It is valid now. (It was when it was prepared.)
 *   3. Neither stands above the other: what stands above stays trusted as long as what is below it.
 *   4. The same key under the same name is the present CA with other dates: nobody needs a new certificate.
 *   5. The same key under another name: certificates of the present one would not lead to it, and nobody could tell who
 *      has been given a new one.
 *   6. Another key that is called the same (the same key identifier) can't be told apart.
 *   7. Another key under the same name can, when both name their keys.
 */
#include "ca/succession.h"

#include <stdbool.h>

#include "base/mem.h"
#include "base/str.h"
#include "pki/cert.h"

struct sides {
	struct cert_info present, next;
};

static void sides_deinit(struct sides *s)
{
	cert_info_deinit(&s->present);
	cert_info_deinit(&s->next);
}

static bool is_same_ca(const struct cert_info *a, const struct cert_info *b)
{
	return str_equal(a->key_id, b->key_id) && str_equal(a->name_hash, b->name_hash);
}

/* Is that CA, in this form or another one, what this chain leads through? */
static enum err leads_through(bool *yes, const char *chain_pem, const struct cert_info *ca, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list certs = {0};
	enum err e = cert_split(&certs, chain_pem, why);

	*yes = false;
	for (size_t i = 1; !e && i < certs.n && !*yes; i++) {
		struct cert_info c;

		e = cert_info_parse(&c, certs.items[i], why);
		if (!e)
			*yes = is_same_ca(&c, ca);
		cert_info_deinit(&c);
	}
	return e;
}

static enum err check_places(const struct sides *s, const char *present_pem, const char *next_pem, struct why *why)
{
	bool present_below, next_below = false;
	enum err e = leads_through(&present_below, present_pem, &s->next, why);

	if (!e)
		e = leads_through(&next_below, next_pem, &s->present, why);
	if (e || (!present_below && !next_below))
		return e;
	if (present_below)
		why_set(why,
			"it stands above the CA that signs now (%s), whose certificates would stay trusted with it",
			s->present.common_name);
	else
		why_set(why, "its chain leads through the CA that signs now (%s), which would stay trusted with it",
			s->present.common_name);
	return ERR_REFUSED;
}

static enum err check_likeness(const struct cert_info *present, const struct cert_info *next, struct why *why)
{
	bool same_key = str_equal(present->key_id, next->key_id);
	bool same_name = str_equal(present->name_hash, next->name_hash);

	if (str_equal(present->fingerprint, next->fingerprint))
		why_set(why, "it is the CA that signs now");
	else if (same_key && same_name && str_equal(present->subject_key_id, next->subject_key_id))
		return ERR_OK;
	else if (same_key && same_name)
		why_set(why,
			"it has the key and the name of the CA that signs now, but calls the key otherwise (subject key "
			"identifier): what that one signed would not lead to it");
	else if (same_key)
		why_set(why,
			"it has the key of the CA that signs now, and another name: what that one signed would not lead "
			"to it, and nobody could tell who has a new certificate; give it a new key, or the same name");
	else if (str_equal(present->subject_key_id, next->subject_key_id))
		why_set(why,
			"it has another key than the CA that signs now, and the same subject key identifier: nobody could "
			"tell their certificates apart");
	else if (same_name && !(present->names_its_key && next->names_its_key))
		why_set(why,
			"it has the name of the CA that signs now, and %s no subject key identifier: nobody could tell "
			"their certificates apart; give it another name",
			next->names_its_key ? "that one has" : "has");
	else
		return ERR_OK;
	return ERR_REFUSED;
}

enum err ca_may_follow(const char *present_pem, const char *next_pem, int64_t wall_s, struct why *why)
{
	CLEAN(sides_deinit) struct sides s = {0};
	enum err e;

	if ((e = cert_info_parse(&s.present, present_pem, why)) || (e = cert_info_parse(&s.next, next_pem, why)))
		return e;
	if (wall_s >= s.next.not_after_s) {
		why_set(why, "it is expired");
		return ERR_EXPIRED;
	}
	if ((e = check_likeness(&s.present, &s.next, why)))
		return e;
	return check_places(&s, present_pem, next_pem, why);
}
