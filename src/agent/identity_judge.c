/*
 * Is a certificate one that this agent can work with, and are these CAs such that it can know its servers by them?
 */
#include "agent/identity.h"

#include <string.h>
#include <time.h>

#include "base/mem.h"

#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"

static enum err check_whose(const char *cert, const char *guid, struct why *why)
{
	struct cert_info info = {0};
	enum err e = cert_info_parse(&info, cert, why);

	if (!e && info.role == CERT_ROLE_SERVER) {
		why_set(why, "it is a management server's");
		e = ERR_INVALID;
	} else if (!e && info.role == CERT_ROLE_AGENT && !str_equal(info.id, guid)) {
		why_set(why, "it is for the host with guid %s, this one is %s", info.id, guid);
		e = ERR_INVALID;
	} else if (!e && !info.eku_client) {
		why_set(why, "it is not for clients");
		e = ERR_INVALID;
	}
	cert_info_deinit(&info);
	return e;
}

static void date_text(char out[32], int64_t s)
{
	time_t at = (time_t)s;
	struct tm tm;

	if (!gmtime_r(&at, &tm) || !strftime(out, 32, "%Y-%m-%d %H:%M UTC", &tm))
		str_copy(out, 32, "a date that is none");
}

/* One that is not valid yet is for nobody to wait with: only time that has passed may be forgiven (decision 8). */
static enum err say_expired(const char *cert, int64_t wall_s, struct why *why)
{
	struct cert_info info = {0};
	char date[32];
	enum err e = cert_info_parse(&info, cert, why);

	if (e)
		return e;
	if (wall_s > info.not_after_s) {
		date_text(date, info.not_after_s);
		why_set(why, "the certificate expired on %s, %lld days ago", date,
			(long long)((wall_s - info.not_after_s) / 86400));
		e = ERR_EXPIRED;
	} else if (wall_s < info.not_before_s) {
		date_text(date, info.not_before_s);
		why_set(why, "the certificate is valid from %s on only (is the clock right?)", date);
		e = ERR_EXPIRED;
	} else {
		e = ERR_UNTRUSTED; /* what cert_verify() said */
	}
	cert_info_deinit(&info);
	return e;
}

enum err identity_check(const struct identity *i, const char *guid, int64_t wall_s, struct why *why)
{
	enum err e = check_whose(i->cert, guid, why);

	if (!e)
		e = key_matches_cert(i->key, i->cert, why);
	if (!e)
		e = cert_verify(i->cert, i->ca, wall_s, why);
	if (e == ERR_EXPIRED)
		e = say_expired(i->cert, wall_s, why);
	else if (e)
		why_add(why, "the certificate can't be used");
	return e;
}

bool identity_ca_has(const char *ca_pem, const char *fingerprint)
{
	for (const char *at = strstr(ca_pem, PEM_BEGIN); at; at = strstr(at + 1, PEM_BEGIN)) {
		struct cert_info info = {0};
		bool is_it =
			cert_info_parse(&info, at, NULL) == ERR_OK && str_equal_nocase(info.fingerprint, fingerprint);

		cert_info_deinit(&info);
		if (is_it)
			return true;
	}
	return false;
}

static enum err check_one_ca(const char *pem, int64_t wall_s, bool *has_valid, struct why *why)
{
	struct cert_info info = {0};
	enum err e = cert_info_parse(&info, pem, why);

	if (!e && (!info.is_ca || !info.signs_certs)) {
		why_set(why, "the certificate of %s among them is no CA's", info.common_name);
		e = ERR_INVALID;
	}
	if (!e)
		*has_valid |= wall_s >= info.not_before_s && wall_s <= info.not_after_s;
	cert_info_deinit(&info);
	return e;
}

enum err identity_check_ca(const char *ca_pem, int64_t wall_s, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list cas = {0};
	bool has_valid = false;
	enum err e = ERR_OK;

	if (strlen(ca_pem) > IDENTITY_TEXT_MAX) {
		why_set(why, "more than %u bytes", IDENTITY_TEXT_MAX);
		e = ERR_TOO_BIG;
	}
	if (!e)
		e = cert_split(&cas, ca_pem, why);
	if (!e && cas.n > IDENTITY_CAS_MAX) {
		why_set(why, "%zu of them, more than %d", cas.n, IDENTITY_CAS_MAX);
		e = ERR_TOO_BIG;
	}
	for (size_t i = 0; !e && i < cas.n; i++)
		e = check_one_ca(cas.items[i], wall_s, &has_valid, why);
	if (!e && !cas.n) {
		why_set(why, "there is none among them");
		e = ERR_INVALID;
	} else if (!e && !has_valid) {
		why_set(why, "none of them is valid now (is the clock right?)");
		e = ERR_EXPIRED;
	}
	if (e)
		why_add(why, "the CA certificates can't be used");
	return e;
}
