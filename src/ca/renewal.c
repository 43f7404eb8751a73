#include "ca/renewal.h"

#include <stddef.h>
#include <string.h>

#include "base/str.h"
#include "pki/cert.h"

static const char *const names[RENEWAL_N] = {
	[RENEWAL_NONE] = "not due",
	[RENEWAL_EXPIRED] = "it has expired",
	[RENEWAL_ISSUER] = "another CA issues now",
	[RENEWAL_TRUST] = "the CA certificates in force are others",
	[RENEWAL_NEAR_END] = "it expires soon",
	[RENEWAL_HALF_LIFE] = "half of its life is over",
	[RENEWAL_ASKED] = "an operator asked for it",
};

const char *renewal_reason_name(enum renewal_reason r)
{
	return names[r];
}

/* Always the same for a guid, and even over all of them. */
static uint32_t part_of(const char *guid)
{
	char hex[FINGERPRINT_TEXT];
	uint32_t n = 0;

	sha256_hex(hex, guid, strlen(guid));
	for (size_t i = 0; i < 4; i++)
		n = n * 16 + (uint32_t)(hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'a' + 10);
	return n; /* of 65536 */
}

int64_t renewal_half_life_s(const char *guid, int64_t not_before_s, int64_t not_after_s)
{
	int64_t life_s = not_after_s - not_before_s;

	if (!not_before_s || life_s <= 0)
		return INT64_MAX;
	return not_before_s + life_s / 2 + (life_s / 8) * part_of(guid) / 65536;
}

int64_t renewal_near_end_s(int64_t not_before_s, int64_t not_after_s, int64_t alert_period_s)
{
	int64_t quarter_s = (not_after_s - not_before_s) / 4;

	return not_after_s - (not_before_s && quarter_s < alert_period_s ? quarter_s : alert_period_s);
}

enum renewal_reason renewal_is_due(const struct renewal_question *q)
{
	/* 1. Who has shown no certificate is not given one: whoever it is, nobody has let it join. */
	if (!q->not_after_s)
		return RENEWAL_NONE;
	/* 2. Expired: it is let in for a while only, and soon not any more. */
	if (q->automatic && q->wall_s >= q->not_after_s)
		return RENEWAL_EXPIRED;
	/* 3. While the CA is changed: whoever has a certificate of another one, or is not known to have this one's. */
	if (q->issuer && (!q->cert_issuer || !str_equal(q->cert_issuer, q->issuer)))
		return RENEWAL_ISSUER;
	/* 4. ... and whoever has not said that it trusts all that is to be trusted. */
	if (q->trusted && (!q->ca_known || !str_equal(q->ca_known, q->trusted)))
		return RENEWAL_TRUST;
	/* 5. A new one would end when the CA ends, as this one does. Without this the last days of a CA would be spent
	 * with renewals for shorter and shorter lives. */
	if (!q->automatic || (q->ca_not_after_s && q->not_after_s >= q->ca_not_after_s))
		return RENEWAL_NONE;
	/* 6. Near its end. For CloudStack's agents this is the only date: they lose their link for it. */
	if (q->wall_s >= renewal_near_end_s(q->not_before_s, q->not_after_s, q->alert_period_s))
		return RENEWAL_NEAR_END;
	/* 7. Half of its life is over, and the part of an eighth that is this host's own. */
	if (q->is_muster && q->not_before_s && q->wall_s >= q->not_before_s + (q->not_after_s - q->not_before_s) / 2 &&
	    q->wall_s >= renewal_half_life_s(q->guid, q->not_before_s, q->not_after_s))
		return RENEWAL_HALF_LIFE;
	return RENEWAL_NONE;
}
