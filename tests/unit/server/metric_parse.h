/*
 * A strict reader of Prometheus' text format 0.0.4, written from its description and not from our writer: whatever it
 * doesn't expect fails the test.
 */
#pragma once

#include <stddef.h>

struct parsed_sample {
	char series[512]; /* name{label="value",...} as it stands, labels unescaped */
	char value[32];
};
struct parsed {
	char names[128][96]; /* of metrics, in order */
	char types[128][16];
	size_t n_names;
	struct parsed_sample samples[512];
	size_t n;
};

/*
 * Checks: each metric has HELP, then TYPE, once; its samples follow at once and nobody else's; names and label names
 * are well formed, values of labels are quoted with known escapes only and UTF-8 without control characters; no series
 * twice; values are numbers; counters end in _total and are not negative; the last line ends.
 */
void metric_parse(struct parsed *out, const char *text, size_t n);
/* Of "name{label=\"value\"}"; NULL: there is none. */
const char *metric_value(const struct parsed *p, const char *series);
