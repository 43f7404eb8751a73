/*
 * Member: the rules of the header, in order.
 *
 *              a sign                  both silent for MEMBER_DOWN_MS
 *   unknown -----------> up <---> up (no link), up (no heartbeat) ----------> down
 *      |                  ^                                                     |
 *      |                  +------------------ a sign ---------------------------+
 *      +--- no sign for MEMBER_DOWN_MS --> down
 *
 * During grace a sign that is silent counts as it counted before, so that neither our own pause nor the first seconds
 * of an acquaintance make a view worse; a sign that is really heard always counts.
 */
#include "core/member.h"

#include "base/mem.h"

/* clang-format off */
static const struct {
	const char *name;
	bool has_link;      /* how a silent sign counts during grace */
	bool has_heartbeat;
} views[] = {
	[MEMBER_UNKNOWN]         = { "unknown",           false, false },
	[MEMBER_UP]              = { "up",                true,  true },
	[MEMBER_UP_NO_LINK]      = { "up (no link)",      false, true },
	[MEMBER_UP_NO_HEARTBEAT] = { "up (no heartbeat)", true,  false },
	[MEMBER_DOWN]            = { "down",              false, false },
};
/* clang-format on */

const char *member_view_name(enum member_view v)
{
	return views[v].name;
}

void member_init(struct member *m, struct mono now)
{
	*m = (struct member){.known_since = now, .looked = now, .view = MEMBER_UNKNOWN};
}

void member_heard_link(struct member *m, struct mono now)
{
	m->link_heard = now;
}

void member_heard_store(struct member *m, struct mono now)
{
	m->store_heard = now;
}

static bool is_fresh(struct mono heard, struct mono now)
{
	return heard.us != 0 && !mono_reached(now, mono_add_ms(heard, MEMBER_DOWN_MS));
}

static enum member_view view_of(bool has_link, bool has_heartbeat)
{
	if (has_link)
		return has_heartbeat ? MEMBER_UP : MEMBER_UP_NO_HEARTBEAT;
	return has_heartbeat ? MEMBER_UP_NO_LINK : MEMBER_DOWN;
}

static enum member_view member_judge(struct member *m, struct mono now)
{
	bool has_link = is_fresh(m->link_heard, now);
	bool has_heartbeat = is_fresh(m->store_heard, now);
	bool is_new = m->view == MEMBER_UNKNOWN || m->view == MEMBER_DOWN;

	/* 1. Our own pause: whatever was said meanwhile may still lie unread, so nobody is judged by it. */
	if (mono_ms_between(m->looked, now) > MEMBER_STALL_MS)
		m->known_since = now;
	/* 2. Who appears or comes back shows one sign first; the other one has time to follow. */
	if (is_new && (has_link || has_heartbeat)) {
		m->known_since = now;
		return MEMBER_UP;
	}
	/* 3. During grace silence changes nothing. */
	if (!mono_reached(now, mono_add_ms(m->known_since, MEMBER_DOWN_MS))) {
		if (is_new)
			return m->view;
		has_link |= views[m->view].has_link;
		has_heartbeat |= views[m->view].has_heartbeat;
	}
	/* 4. One sign is enough to be up; none is down. */
	return view_of(has_link, has_heartbeat);
}

/* When silence alone may change the view next. */
static struct mono member_due(const struct member *m, struct mono now)
{
	struct mono due;

	if (m->view == MEMBER_DOWN)
		return MONO_NEVER;
	/* Also without news it is looked at well within MEMBER_STALL_MS, or the look itself would seem a stall. */
	due = mono_add_ms(now, MEMBER_STALL_MS / 2);
	if (is_fresh(m->link_heard, now))
		due = mono_min(due, mono_add_ms(m->link_heard, MEMBER_DOWN_MS));
	if (is_fresh(m->store_heard, now))
		due = mono_min(due, mono_add_ms(m->store_heard, MEMBER_DOWN_MS));
	if (!mono_reached(now, mono_add_ms(m->known_since, MEMBER_DOWN_MS)))
		due = mono_min(due, mono_add_ms(m->known_since, MEMBER_DOWN_MS));
	return due;
}

bool member_look(struct member *m, struct mono now, struct mono *next_due)
{
	enum member_view before = m->view;

	m->view = member_judge(m, now);
	m->looked = now;
	*next_due = member_due(m, now);
	return m->view != before;
}
