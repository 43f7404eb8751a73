/*
 * The words of `muster explain`. Each of the four functions says one thing, and asks in the same order: is there a link
 * at all, is the agent at home, does the preferred server stand in the way, does the agent itself.
 */
#include "server/explain.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/speech.h"

/* "45 s", "12 min", "3 h 12 min" */
static const char *span(char out[32], int64_t s)
{
	if (s < 120)
		snprintf(out, 32, "%" PRId64 " s", s < 0 ? 0 : s);
	else if (s < 7200)
		snprintf(out, 32, "%" PRId64 " min", s / 60);
	else
		snprintf(out, 32, "%" PRId64 " h %" PRId64 " min", s / 3600, s % 3600 / 60);
	return out;
}

/* ---- what the gate says ---- */

enum failback_verdict explain_gate_from_text(const char *text)
{
	int v = 0;

	while (v < FAILBACK_N_VERDICTS && !str_equal(text, failback_verdict_name((enum failback_verdict)v)))
		v++;
	return (enum failback_verdict)v;
}

static int64_t uptime_needed_s(const struct explain_facts *f)
{
	if (f->agent.answered && f->agent.uptime_needed_s >= 0)
		return f->agent.uptime_needed_s;
	return (failback_uptime_needed_ms(&failback_rule_default, f->interval_s * 1000) + 999) / 1000;
}

static int64_t uptime_s(const struct explain_facts *f)
{
	return f->agent.answered && f->agent.uptime_s >= 0 ? f->agent.uptime_s : f->first.uptime_s;
}

static bool never_looks(const struct explain_facts *f)
{
	return f->agent.answered ? f->agent.interval_s <= 0 : f->interval_s <= 0;
}

/*
 * Why an agent does not go to a preferred server that is Up and takes agents. Its own word counts; without it, what the
 * rules make of what the servers know.
 */
static enum failback_verdict gate_of(const struct explain_facts *f)
{
	/* The gate is asked between looks too: open then, and nobody goes through. */
	if (f->agent.answered && f->agent.known == FAILBACK_OPEN && !f->agent.is_moving)
		return FAILBACK_HOME;
	if (f->agent.answered && f->agent.verdict)
		return f->agent.known;
	if (f->frozen)
		return FAILBACK_FROZEN;
	if (never_looks(f))
		return FAILBACK_OFF;
	if (f->first.uptime_s >= 0 && f->first.uptime_s < uptime_needed_s(f))
		return FAILBACK_TOO_YOUNG;
	return FAILBACK_HOME; /* nothing is known that would keep it away */
}

/* It has looked, and has no look left. */
static bool has_looked_once(const struct explain_facts *f)
{
	return f->looks_once && !(f->agent.answered && f->agent.next_s >= 0);
}

/* ---- why it is where it is ---- */

static void say_unconnected(struct speech *s, const struct explain_facts *f)
{
	if (f->status == HOST_CREATING)
		say(s, "%s is reserved; its agent has not joined yet.", f->host);
	else if (!f->owner)
		say(s, "%s is %s: it is connected to no management server.", f->host, host_status_name(f->status));
	else if (f->reconnecting)
		say(s, "%s lost its link to %s a moment ago and may come back anywhere.", f->host, f->owner);
	else
		say(s, "%s is %s at %s.", f->host, host_status_name(f->status), f->owner);
}

/* The preferred server's state: "is in Maintenance". */
static void say_state(struct speech *s, enum server_state state)
{
	switch (state) {
	case SERVER_MAINTENANCE:
		say(s, "is in Maintenance");
		break;
	case SERVER_PREPARING_FOR_MAINTENANCE:
		say(s, "is being emptied (PreparingForMaintenance)");
		break;
	default:
		say(s, "is %s", server_state_name(state));
		break;
	}
}

/* It is Up and takes agents: then something keeps the agent. */
static void say_gate(struct speech *s, const struct explain_facts *f)
{
	const struct explain_agent *a = &f->agent;
	const char *p = f->preferred;
	char x[32], y[32];

	switch (gate_of(f)) {
	case FAILBACK_FROZEN:
		say(s, "the last that it was told is that moves are frozen, and it prefers %s", p);
		break;
	case FAILBACK_OFF:
		say(s, "nothing brings it back to %s, which it prefers and which is Up: the check interval is 0", p);
		break;
	case FAILBACK_PUT_OFF:
		if (a->preferred.put_off)
			say(s, "%s, which it prefers, asked it to come back later", p);
		else
			say(s, "its last attempt to return to %s, which it prefers, failed", p);
		if (a->preferred.said || a->preferred.error)
			say(s, " (%s)", a->preferred.said ? a->preferred.said : a->preferred.error);
		break;
	case FAILBACK_AVOIDED:
		say(s, "it was told to avoid %s, which it prefers", p);
		break;
	case FAILBACK_UNKNOWN:
		say(s, "its server has not told it yet how %s, which it prefers, is", p);
		break;
	case FAILBACK_NOT_UP:
		say(s, "the last that it was told of %s, which it prefers, is that it is not Up", p);
		break;
	case FAILBACK_NOT_ACCEPTING:
		say(s, "the last that it was told of %s, which it prefers, is that it takes no agents", p);
		break;
	case FAILBACK_TOO_YOUNG:
		if (uptime_s(f) >= 0 && uptime_s(f) < uptime_needed_s(f))
			say(s, "%s, which it prefers, has been up for %s of the %s that it waits for", p,
			    span(x, uptime_s(f)), span(y, uptime_needed_s(f)));
		else
			say(s, "%s, which it prefers, was not up for the %s that it waits for when it looked last", p,
			    span(x, uptime_needed_s(f)));
		break;
	case FAILBACK_DAMPED:
		say(s, "it lost %s, which it prefers, right after its last return there", p);
		break;
	case FAILBACK_OPEN:
	case FAILBACK_PROVING:
	case FAILBACK_PROMOTE:
		say(s, "it is only now on its way back to %s, which it prefers", p);
		break;
	case FAILBACK_UNPROVEN:
		say(s, "its last link to %s, which it prefers, saw too few heartbeats to be used", p);
		break;
	case FAILBACK_HOME:
		if (has_looked_once(f))
			say(s, "%s, which it prefers, was no choice when it looked: under shuffle an agent looks once",
			    p);
		else
			say(s, "it has not looked since %s, which it prefers, can be taken", p);
		break;
	case FAILBACK_N_VERDICTS:
		say(s, "of what it says itself: %s", a->why ? a->why : a->verdict);
		break;
	}
}

/* By its own word: it was asked just after it had moved, or its list leads it elsewhere than the servers think. */
static bool says_it_is_home(const struct explain_facts *f)
{
	return !f->is_home && f->first.name && f->first.state == SERVER_UP && f->agent.answered &&
	       f->agent.known == FAILBACK_HOME;
}

static bool is_on_its_way(const struct explain_facts *f)
{
	enum failback_verdict v = gate_of(f);

	return v == FAILBACK_OPEN || v == FAILBACK_PROVING || v == FAILBACK_PROMOTE;
}

/* -1: not known. */
static int64_t earliest_s(const struct explain_facts *f)
{
	const struct explain_agent *a = &f->agent;
	int64_t s;

	if (a->answered)
		return a->again_s > 0 && (a->known == FAILBACK_PUT_OFF || a->known == FAILBACK_DAMPED ||
					  a->known == FAILBACK_TOO_YOUNG)
			       ? a->again_s
			       : a->next_s;
	s = uptime_needed_s(f) - f->first.uptime_s;
	return f->first.uptime_s >= 0 && s > 0 ? s : -1;
}

static void say_return(struct speech *s, const struct explain_facts *f)
{
	const char *p = f->preferred;
	int64_t needed = uptime_needed_s(f), in = earliest_s(f);
	char x[32];

	if (!f->first.name)
		say(s, "it stays until its list changes or %s is a registered server", p);
	else if (f->frozen && f->first.state != SERVER_UP)
		say(s, "it stays until %s is Up and moves are thawed", p);
	else if (f->frozen)
		say(s, "it stays until %s", f->first.accepting ? "they are thawed" : "moves are thawed");
	else if (never_looks(f))
		say(s, "it stays until it is told to look");
	else if (has_looked_once(f) && !is_on_its_way(f))
		say(s, "it stays until it is told to look or gets a new list");
	else if (f->first.state != SERVER_UP && needed > 0)
		say(s, "it returns once %s has been Up for %s", p, span(x, needed));
	else if (f->first.state != SERVER_UP)
		say(s, "it returns when %s is Up", p);
	else if (!f->first.accepting)
		say(s, "it returns when %s takes agents again", p);
	else if (is_on_its_way(f))
		say(s, "it is there in a moment");
	else if (in > 0)
		say(s, "it returns at the earliest in %s", span(x, in));
	else
		say(s, "it returns with its next look");
}

/* The preferred server is away: does the agent go to a better one than this meanwhile? */
static bool goes_better(const struct explain_facts *f)
{
	return f->better && (!f->agent.answered || f->agent.goes_better);
}

static void say_better(struct speech *s, const struct explain_facts *f)
{
	char x[32];

	if (!goes_better(f))
		return;
	say(s, " Before %s stands %s, which is Up: ", f->owner, f->better);
	if (f->frozen)
		say(s, "it would go there if moves were not frozen.");
	else if (never_looks(f) || (has_looked_once(f) && f->agent.better != FAILBACK_PROVING))
		say(s, "it goes there when it is told to look.");
	else if (f->agent.better == FAILBACK_PROVING || f->agent.better == FAILBACK_PROMOTE)
		say(s, "it is there in a moment.");
	else if (f->agent.answered && f->agent.next_s >= 0)
		say(s, "it goes there with its next look, in %s.", span(x, f->agent.next_s));
	else
		say(s, "it goes there within %s.", span(x, f->interval_s));
}

enum err explain_why(struct buf *out, const struct explain_facts *f)
{
	struct speech s = {.out = out};

	if (!f->is_up || !f->owner || f->reconnecting) {
		say_unconnected(&s, f);
		return s.err;
	}
	if (f->suspect)
		say(&s, "%s is connected to %s, which has not heard it for a while.", f->host, f->owner);
	else if (!f->preferred)
		say(&s, "%s is connected to %s and has reported no list.", f->host, f->owner);
	else if (f->is_home)
		say(&s, "%s is on %s, the first of its list: it is where it should be.", f->host, f->owner);
	else if (says_it_is_home(f))
		say(&s, "%s says that it is on %s, which it prefers; the servers still see it on %s.", f->host,
		    f->preferred, f->owner);
	if (s.out->len)
		return s.err;
	say(&s, "%s is on %s because ", f->host, f->owner);
	if (!f->first.name)
		say(&s, "%s, which it prefers, is not a registered server", f->preferred);
	else if (f->first.state != SERVER_UP) {
		say(&s, "%s, which it prefers, ", f->preferred);
		say_state(&s, f->first.state);
	} else if (!f->first.accepting)
		say(&s, "%s, which it prefers, is Up and takes no agents now", f->preferred);
	else if (f->frozen)
		say(&s, "moves are frozen: it would go to %s, which it prefers", f->preferred);
	else
		say_gate(&s, f);
	say(&s, "; ");
	say_return(&s, f);
	say(&s, ".");
	say_better(&s, f);
	return s.err;
}

/* ---- when it looks ---- */

static void say_own_interval(struct speech *s, const struct explain_facts *f)
{
	say(s, "%s", f->agent.interval_is_own ? "set in its agent.properties" : "indirect.agent.lb.check.interval");
}

enum err explain_looks(struct buf *out, const struct explain_facts *f)
{
	const struct explain_agent *a = &f->agent;
	int64_t interval = a->answered ? a->interval_s : f->interval_s;
	struct speech s = {.out = out};
	char x[32], y[32];

	if (f->status == HOST_CREATING)
		return ERR_OK;
	if (!f->is_up || !f->owner || f->reconnecting) {
		say(&s, "Without a link its agent tries the servers of its list until one takes it.");
		return s.err;
	}
	if (f->frozen && f->preferred && !f->is_home) {
		say(&s, "%s. It stays until `muster thaw`.", f->frozen);
		return s.err;
	}
	if (a->answered && a->next_s >= 0) {
		say(&s, "In %s", span(x, a->next_s));
		if (f->looks_once)
			say(&s, "; under shuffle once after each new list");
		else if (interval > 0) {
			say(&s, ", then every %s (", span(y, interval));
			say_own_interval(&s, f);
			say(&s, ")");
		}
		say(&s, ".");
	} else if (f->looks_once) {
		say(&s, "Not by itself: under shuffle an agent looks once after each new list.");
	} else if (interval <= 0) {
		say(&s, "Not by itself: its check interval is 0 (");
		say_own_interval(&s, f);
		say(&s, ").");
	} else {
		say(&s, "Within %s (", span(x, interval));
		say_own_interval(&s, f);
		say(&s, ").");
	}
	return s.err;
}

/* ---- what would move it ---- */

struct moves {
	struct str_list *out;
	enum err err;
};

static void add(struct moves *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct moves *m, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (!m->err)
		m->err = str_list_add(m->out, text);
}

static void add_unconnected(struct moves *m, const struct explain_facts *f)
{
	if (f->status == HOST_CREATING)
		add(m, "`muster-agent join` on its machine, with the token that `muster host add` gave.");
	else
		add(m, "Its agent: `muster-agent explain` on its machine says what it tries and why that fails.");
}

/* The preferred server's own part. */
static void add_of_first(struct moves *m, const struct explain_facts *f)
{
	const char *p = f->preferred;

	switch (f->first.state) {
	case SERVER_UP:
		if (!f->first.accepting)
			add(m, "%s has worked off its queue, and takes agents again.", p);
		break;
	case SERVER_MAINTENANCE:
	case SERVER_PREPARING_FOR_MAINTENANCE:
		add(m, "`muster undrain %s`: ends its maintenance.", p);
		break;
	case SERVER_PREPARING_FOR_SHUTDOWN:
	case SERVER_READY_TO_SHUTDOWN:
		add(m, "`muster api cancelShutdown managementserverid=...`: %s takes agents again.", p);
		break;
	default:
		add(m, "%s is started again.", p);
		break;
	}
}

/* The agent's part, with a preferred server that it could use. */
static void add_of_agent(struct moves *m, const struct explain_facts *f)
{
	enum failback_verdict v = gate_of(f);
	char x[32];

	if (v == FAILBACK_PUT_OFF) {
		add(m, "Its time: it tries again in %s, and nothing makes it come earlier.", span(x, f->agent.again_s));
		return;
	}
	if (is_on_its_way(f) || says_it_is_home(f))
		return;
	add(m, "`muster rebalance`: all agents look now, whatever their interval is%s.",
	    v == FAILBACK_TOO_YOUNG ? ", and don't wait for the server's age"
	    : v == FAILBACK_DAMPED  ? ", and don't wait after a loss"
				    : "");
	if (f->looks_once)
		add(m, "A new list: it looks once after that.");
	else if (never_looks(f) && f->agent.answered && f->agent.interval_is_own)
		add(m, "Another host.lb.check.interval in its agent.properties.");
	else if (never_looks(f))
		add(m, "`muster config set indirect.agent.lb.check.interval 60`: agents look by themselves.");
}

static void add_pace(struct moves *m, const struct explain_facts *f)
{
	if (f->pace == 0)
		add(m, "`muster config set agent.failback.rate 50`: it is 0, so nobody comes home.");
	else if (f->n_waiting > 0)
		add(m,
		    "Its turn: %" PRId64 " agents wait to come home to %s, which takes %" PRId64
		    " a second (agent.failback.rate).",
		    f->n_waiting, f->preferred, f->pace);
}

static void add_away(struct moves *m, const struct explain_facts *f)
{
	if (!f->first.name) {
		add(m, "`muster config set host ...`: a list of servers that are there.");
		return;
	}
	add_of_first(m, f);
	if (f->frozen) {
		add(m, "`muster thaw`: agents go home again.");
		return;
	}
	if (goes_better(f))
		add(m, "`muster rebalance`: it goes to %s now, and home when %s takes agents.", f->better,
		    f->preferred);
	else if (f->first.state != SERVER_UP && (never_looks(f) || f->looks_once))
		add(m, "`muster rebalance`, when %s is Up: it does not look by itself.", f->preferred);
	if (f->first.state == SERVER_UP && f->first.accepting) {
		add_of_agent(m, f);
		add_pace(m, f);
	}
}

enum err explain_moves(struct str_list *out, const struct explain_facts *f)
{
	struct moves m = {.out = out};

	if (!f->is_up || !f->owner || f->reconnecting) {
		add_unconnected(&m, f);
		return m.err;
	}
	if (f->is_outdated)
		add(&m, "Its list: a newer one is on its way, and counts from the moment it has it.");
	if (f->preferred && !f->is_home)
		add_away(&m, f);
	if (f->next)
		add(&m, "`muster drain %s`, or the loss of %s: it goes to %s.", f->owner, f->owner, f->next);
	else
		add(&m, "Nothing else of its list takes agents now: without %s it would have no server.", f->owner);
	return m.err;
}

/* ---- each entry ---- */

static void say_attempts(struct speech *s, const struct explain_candidate *c)
{
	char x[32];

	if (c->put_off) {
		say(s, "; asked to come back%s%s", c->retry_s >= 0 ? " in " : " later",
		    c->retry_s >= 0 ? span(x, c->retry_s) : "");
		return;
	}
	if (c->failures)
		say(s, "; failed %" PRId64 " %s", c->failures, c->failures == 1 ? "time" : "times");
	if (c->error)
		say(s, "; last time: %s", c->error);
	if (c->said && !str_equal(c->said, c->error))
		say(s, " (%s)", c->said);
	if (c->retry_s >= 0)
		say(s, "; again in %s", span(x, c->retry_s));
}

/* Its preferred server, seen by the gate. */
static void judge_preferred(struct speech *verdict, struct speech *sentence, const struct explain_facts *f)
{
	const struct explain_agent *a = &f->agent;
	char x[32], y[32];

	say(verdict, "%s", a->verdict);
	if (a->known == FAILBACK_TOO_YOUNG && a->uptime_s >= 0)
		say(sentence, "up for %s of the %s that it waits for", span(x, a->uptime_s),
		    span(y, uptime_needed_s(f)));
	else if (a->known == FAILBACK_PUT_OFF && a->preferred.put_off)
		say(sentence, "it asked the agent to come back later");
	else if (a->known == FAILBACK_PUT_OFF)
		say(sentence, "the last attempt to return failed");
	else if (a->known == FAILBACK_OPEN && !a->is_moving)
		say(sentence, "nothing keeps the agent away, %s",
		    never_looks(f) || has_looked_once(f) ? "but it does not look" : "it goes there with its next look");
	else if (says_it_is_home(f))
		say(sentence, "by its own word the agent is here already");
	else if (a->known == FAILBACK_PROVING)
		say(sentence, "a link is open, %" PRId64 " of %" PRId64 " heartbeats seen", a->heartbeats,
		    a->heartbeats_needed);
	else
		say(sentence, "%s", a->why ? a->why : "");
	if (a->known == FAILBACK_DAMPED && a->again_s > 0)
		say(sentence, ", for %s", span(x, a->again_s));
	if (a->known != FAILBACK_PUT_OFF) {
		say_attempts(sentence, &a->preferred);
		return;
	}
	if (a->preferred.said || a->preferred.error)
		say(sentence, ": %s", a->preferred.said ? a->preferred.said : a->preferred.error);
	if (a->again_s >= 0)
		say(sentence, "; tried again in %s", span(x, a->again_s));
}

/* As the servers see it. */
static void judge_from_outside(struct speech *verdict, struct speech *sentence, const struct explain_facts *f,
			       const struct explain_entry *e)
{
	if (e->server.state != SERVER_UP) {
		say(verdict, "avoided (%s)", server_state_name(e->server.state));
		say(sentence, "the server is %s: it is tried last", server_state_name(e->server.state));
	} else if (!e->server.accepting) {
		say(verdict, "not accepting");
		say(sentence, "the server is Up and takes no agents now");
	} else {
		say(verdict, "could be taken");
		say(sentence, "%s",
		    !e->is_first ? "the server is Up: taken when those before it can't be"
		    : f->owner   ? "its preferred server, and Up: it goes there with a look, if its gate lets it"
				 : "its preferred server, and Up: it is tried first");
	}
}

static bool is_away(const struct explain_facts *f)
{
	return f->is_up && f->owner && !f->is_home;
}

enum err explain_verdict(struct buf *verdict, struct buf *sentence, const struct explain_facts *f,
			 const struct explain_entry *e)
{
	struct speech v = {.out = verdict}, s = {.out = sentence};

	if (e->is_connected) {
		say(&v, "connected");
		say(&s, "it is here%s", e->is_first ? ", on its preferred server" : "");
	} else if (e->is_first && is_away(f) && f->agent.answered && f->agent.verdict) {
		judge_preferred(&v, &s, f);
	} else if (e->said.gate && is_away(f) && explain_gate_from_text(e->said.gate) != FAILBACK_N_VERDICTS) {
		say(&v, "%s", e->said.gate);
		say(&s, "%s", failback_verdict_other(explain_gate_from_text(e->said.gate)));
		say_attempts(&s, &e->said);
	} else if (e->said.verdict) {
		/* "Dialled next" is what would be done if it had to go: as long as it is on a server, it hasn't. */
		bool is_next = f->is_up && str_equal(e->said.verdict, "chosen");

		say(&v, "%s", is_next ? "next" : e->said.verdict);
		say(&s, "%s", is_next ? "taken if the agent loses its server" : e->said.why ? e->said.why : "");
		say_attempts(&s, &e->said);
	} else if (!e->server.name) {
		say(&v, "unknown server");
		say(&s, "no registered management server has the address %.100s", e->entry);
	} else {
		judge_from_outside(&v, &s, f, e);
	}
	if (!e->server.name && v.out->len && !str_equal(buf_str(verdict), "unknown server"))
		say(&s, "; no registered server has this address");
	return v.err ? v.err : s.err;
}
