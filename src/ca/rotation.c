/*
 * Who would be locked out by a step.
 *
 *   1. The new CA signs only when everybody trusts it: before that, an agent would refuse its server's certificate, and
 *      a server its agent's.
 *   2. The old one is dropped only when nobody shows a certificate of it any more.
 *   3. The rotation is finished, and the old key destroyed, only when everybody has forgotten the old CA: whoever still
 *      trusts it would believe who has stolen it.
 *   4. Back from `trust`, the new CA must not have signed what somebody still shows.
 *   5. Back from `issue`, the old one signs again only when everybody trusts it (again): after `drop` that is not so at
 *      once. Back from `drop` nothing is taken away from anybody.
 */
#include "ca/rotation.h"

#include <string.h>

#include "base/str.h"

static const char *const names[ROTATION_N] = {
	[ROTATION_NONE] = "none",
	[ROTATION_TRUST] = "trust",
	[ROTATION_ISSUE] = "issue",
	[ROTATION_DROP] = "drop",
};

const char *rotation_phase_name(enum rotation_phase p)
{
	return (unsigned)p < ROTATION_N ? names[p] : "unknown";
}

bool rotation_phase_from_text(const char *text, enum rotation_phase *p)
{
	for (int i = 0; i < ROTATION_N; i++) {
		if (!str_equal(text, names[i]))
			continue;
		*p = (enum rotation_phase)i;
		return true;
	}
	return false;
}

bool rotation_trusts_both(enum rotation_phase p)
{
	return p == ROTATION_TRUST || p == ROTATION_ISSUE;
}

bool rotation_to(enum rotation_phase from, enum rotation_step step, enum rotation_phase *to)
{
	if (step == ROTATION_BACK && from == ROTATION_NONE)
		return false;
	*to = step == ROTATION_BACK ? (enum rotation_phase)(from - 1) : (enum rotation_phase)((from + 1) % ROTATION_N);
	return true;
}

const char *rotation_lag_text(enum rotation_lag l)
{
	switch (l) {
	case ROTATION_TRUSTS_OLD:
		return "has not confirmed the CA certificates in force";
	case ROTATION_OLD_CERT:
		return "has a certificate of the old CA";
	case ROTATION_NEW_CERT:
		return "has a certificate of the new CA";
	case ROTATION_READY:
		break;
	}
	return "is ready";
}

static enum rotation_lag lag_back(const struct rotation_want *w, const struct rotation_party *p)
{
	/* A CA that was renewed with its key: what one of the two has signed, both have. */
	bool same_key = w->other && str_equal(w->other, w->issuing);

	switch (w->phase) {
	case ROTATION_TRUST:
		return w->other && !same_key && str_equal(p->cert_issuer, w->other) ? ROTATION_NEW_CERT
										    : ROTATION_READY;
	case ROTATION_ISSUE:
		return str_equal(p->ca_known, w->trusted) ? ROTATION_READY : ROTATION_TRUSTS_OLD;
	default:
		return ROTATION_READY;
	}
}

enum rotation_lag rotation_lag_of(const struct rotation_want *w, enum rotation_step step,
				  const struct rotation_party *p)
{
	if (step == ROTATION_BACK)
		return lag_back(w, p);
	switch (w->phase) {
	case ROTATION_TRUST:
	case ROTATION_DROP:
		return str_equal(p->ca_known, w->trusted) ? ROTATION_READY : ROTATION_TRUSTS_OLD;
	case ROTATION_ISSUE:
		return str_equal(p->cert_issuer, w->issuing) ? ROTATION_READY : ROTATION_OLD_CERT;
	case ROTATION_NONE:
	case ROTATION_N:
		break;
	}
	return ROTATION_READY;
}

enum err rotation_may(enum rotation_phase from, enum rotation_step step, size_t n_servers, size_t n_hosts, bool force,
		      struct why *why)
{
	enum rotation_phase to;

	if (!rotation_to(from, step, &to)) {
		why_set(why, "no rotation of the CA is under way");
		return ERR_STATE;
	}
	if (force || n_servers + n_hosts == 0)
		return ERR_OK;
	why_set(why, "%zu server%s and %zu host%s would be cut off: see who with `muster ca rotate --status`",
		n_servers, n_servers == 1 ? "" : "s", n_hosts, n_hosts == 1 ? "" : "s");
	return ERR_REFUSED;
}
