#include "agent/certificate_words.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"

#define DAY_S INT64_C(86400)
#define SOON_S (15 * DAY_S)

enum certificate_age certificate_age(const struct cert_info *i, int64_t wall_s)
{
	int64_t quarter = (i->not_after_s - i->not_before_s) / 4;
	int64_t soon = quarter < SOON_S ? quarter : SOON_S;

	if (wall_s > i->not_after_s)
		return CERTIFICATE_EXPIRED;
	if (wall_s < i->not_before_s)
		return CERTIFICATE_NOT_YET;
	return i->not_after_s - wall_s < soon ? CERTIFICATE_EXPIRES_SOON : CERTIFICATE_FINE;
}

const char *certificate_age_name(enum certificate_age a)
{
	static const char *const names[] = {
		[CERTIFICATE_FINE] = "fine",
		[CERTIFICATE_EXPIRES_SOON] = "expires soon",
		[CERTIFICATE_EXPIRED] = "expired",
		[CERTIFICATE_NOT_YET] = "not valid yet",
	};

	return names[a];
}

/* "312 days", "1 day", "5 h", "12 min" */
static void time_text(char out[32], int64_t s)
{
	if (s >= 2 * DAY_S)
		snprintf(out, 32, "%" PRId64 " days", s / DAY_S);
	else if (s >= 2 * 3600)
		snprintf(out, 32, "%" PRId64 " h", s / 3600);
	else
		snprintf(out, 32, "%" PRId64 " min", s / 60);
}

static enum err put_time(struct buf *out, const struct cert_info *i, int64_t wall_s)
{
	char left[32];

	switch (certificate_age(i, wall_s)) {
	case CERTIFICATE_EXPIRED:
		time_text(left, wall_s - i->not_after_s);
		return buf_printf(out, "EXPIRED %s ago", left);
	case CERTIFICATE_NOT_YET:
		time_text(left, i->not_before_s - wall_s);
		return buf_printf(out, "NOT VALID before %s from now (is the clock right?)", left);
	case CERTIFICATE_EXPIRES_SOON:
		time_text(left, i->not_after_s - wall_s);
		return buf_printf(out, "EXPIRES SOON, in %s", left);
	default:
		time_text(left, i->not_after_s - wall_s);
		return buf_printf(out, "expires in %s", left);
	}
}

enum err certificate_words(struct buf *out, const struct cert_info *i, int64_t wall_s)
{
	CLEAN(buf_deinit) struct buf text = {0};
	CLEAN(mem_freep) char *line = NULL;
	enum err e = buf_printf(&text, "%s %s, ", i->role == CERT_ROLE_AGENT ? "for host" : "of",
				i->id[0] ? i->id : i->common_name);

	if (!e)
		e = put_time(&text, i, wall_s);
	if (e || !(line = buf_take_str(&text)))
		return e ? e : ERR_NOMEM;
	/* Whoever has issued it has chosen some of these. */
	str_make_printable(line);
	return buf_put_str(out, line);
}
