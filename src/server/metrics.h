/*
 * What the files of /metrics share.
 *
 *   metrics.def     every metric, once
 *   metric_text     how a metric is written
 *   metrics.c       walks the hosts, a slice a turn; who asks meanwhile waits for the same walk
 *   metrics_write.c what every metric is
 *   health.c        /healthz
 */
#pragma once

#include "server/internal.h"
#include "server/metric_text.h"

enum metric_id {
#define METRIC(what, ...) M_##what,
#include "server/metrics.def"
#undef METRIC
	M_N
};
extern const struct metric metrics_all[M_N];

/* What the certificate of an agent that is connected here is like; the first that holds. */
enum agent_cert {
	AGENT_CERT_UNSECURED, /* it has shown none that holds */
	AGENT_CERT_UNKNOWN,   /* it has, and when that ends is not known (yet) */
	AGENT_CERT_EXPIRED,
	AGENT_CERT_NEAR_END,
	AGENT_CERT_DUE,
	AGENT_CERT_GOOD,
	AGENT_CERT_N
};
const char *agent_cert_name(enum agent_cert c); /* "near_end" */

/* What one walk over all hosts finds. */
#define FLEET_SERVERS_MOST 64 /* that have series of their own; all are counted */
struct fleet {
	size_t by_status[HOST_N_STATUSES];
	size_t n_muster, n_cloudstack; /* connected here; of those: */
	size_t n_away, n_suspect, n_outdated, n_provisional;
	size_t n_reconnecting;
	size_t by_cert[AGENT_CERT_N];
	int64_t first_end_s; /* 0: none is known */
	size_t n_renewals_waiting;
	size_t n_rotation_behind;
	struct {
		int64_t msid;
		size_t n;
	} owners[FLEET_SERVERS_MOST];
	size_t n_owners;
};
void metrics_write(struct metric_writer *w, struct server *s, const struct fleet *f);

/* When a certificate of this server ends, Unix time; 0: it has none of that kind. */
int64_t metrics_own_end_s(struct server *s, enum own_cert_kind kind);

/* A CA certificate that is trusted. */
#define CAS_MOST 32
struct trusted_ca {
	char fingerprint[17]; /* its beginning */
	bool issues;
	int64_t not_after_s;
};
/* Belongs to the server. */
const struct trusted_ca *metrics_trusted_cas(struct server *s, size_t *n);
