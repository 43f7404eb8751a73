/*
 * Metrics as text: Prometheus' exposition format 0.0.4, written with its rules kept (names, HELP and TYPE once, escaped
 * labels, a metric's samples together), whatever the values of labels are. Knows no server.
 *
 * Numbers are whole numbers with a fixed number of decimals, so nothing depends on a locale and nothing is rounded.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"

enum metric_type { METRIC_GAUGE, METRIC_COUNTER };

struct metric {
	const char *name;
	enum metric_type type;
	const char *labels; /* names, comma separated, METRIC_LABELS_MAX at most; "": none */
	const char *help;
};
#define METRIC_LABELS_MAX 4
#define METRIC_VALUE_MAX 128 /* bytes of a label's value; what is longer is cut */

struct metric_writer {
	struct buf out;
	const struct metric *metric; /* whose samples are being written */
	enum err error;              /* the first; nothing is written after it */
};

/* HELP and TYPE; its samples follow. A metric without a sample is fine: its value isn't known. */
void metric_begin(struct metric_writer *w, const struct metric *m);
/*
 * One sample. `values`: of its labels, in order, as many as it has names; NULL when it has none. A NULL value is "".
 * 1234 with 3 decimals is 1.234.
 */
void metric_sample(struct metric_writer *w, const char *const *values, int64_t value, unsigned decimals);
