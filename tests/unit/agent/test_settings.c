#include "agent/settings.h"

#include "agent_help.h"
#include "client/agent_file.h"

struct said {
	struct buf mistakes, warnings;
};

static void say_mistake(void *user, const char *sentence)
{
	struct said *s = user;

	assert_int_equal(buf_printf(&s->mistakes, "%s\n", sentence), ERR_OK);
}

static void say_warning(void *user, const char *sentence)
{
	struct said *s = user;

	assert_int_equal(buf_printf(&s->warnings, "%s\n", sentence), ERR_OK);
}

static enum err load(struct agent_settings *out, const char *text, struct said *said)
{
	const struct settings_voice voice = {.mistake = say_mistake, .warning = say_warning, .user = said};
	struct props *p;
	enum err e;

	assert_int_equal(props_parse(&p, text, strlen(text), NULL), ERR_OK);
	e = agent_settings_load(out, p, "f", &voice);
	props_free(p);
	return e;
}

static void said_deinit(struct said *s)
{
	buf_deinit(&s->mistakes);
	buf_deinit(&s->warnings);
}

static void texts_are_read(void **state)
{
	static const struct {
		const char *what, *text;
		/* "": not set */
		const char *guid, *host, *zone;
		int64_t port, interval, ping_retries, workers;
	} rows[] = {
		{"nothing is every default", "", "", "", "default", 8250, -1, 5, 5},
		{"an ordinary file", "guid=g\nhost=a,b@static\nzone=z\nport=9\nhost.lb.check.interval=60\n", "g",
		 "a,b@static", "z", 9, 60, 5, 5},
		{"as CloudStack writes", "guid:g\nzone default\nhost = a\n", "g", "a", "default", 8250, -1, 5, 5},
		{"blank is unset", "zone=\nport=  \nping.retries=\nguid= \n", "", "", "default", 8250, -1, 5, 5},
		{"placeholders are unset, but for the servers", "zone=@ZONE@\nguid=@GUID@\nhost=@HOST@\n", "", "@HOST@",
		 "default", 8250, -1, 5, 5},
		{"blanks at the end mean nothing", "guid=g  \nport=9 \nzone=z\t\n", "g", "", "z", 9, -1, 5, 5},
		{"the last of two holds", "guid=g\nguid=h\n", "h", "", "default", 8250, -1, 5, 5},
		{"an interval of 0 is one", "host.lb.check.interval=0\n", "", "", "default", 8250, 0, 5, 5},
		{"a negative interval is 0", "host.lb.check.interval=-5\n", "", "", "default", 8250, 0, 5, 5},
		{"an interval that is no number is 0", "host.lb.check.interval=1m\n", "", "", "default", 8250, 0, 5, 5},
		{"no workers are five", "workers=0\nping.retries=2\n", "", "", "default", 8250, -1, 2, 5},
		{"more of them are theirs", "workers=9\n", "", "", "default", 8250, -1, 5, 9},
		{"keys of others", "LibvirtComputingResource.id=5\nguest.cpu.mode=x\n", "", "", "default", 8250, -1, 5,
		 5},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(said_deinit) struct said said = {0};
		struct agent_settings s = {0};

		check_row(&rows[i], load(&s, rows[i].text, &said) == ERR_OK);
		check_row(&rows[i], str_equal(s.guid ? s.guid : "", rows[i].guid));
		check_row(&rows[i], str_equal(s.host ? s.host : "", rows[i].host));
		check_row(&rows[i], str_equal(s.zone, rows[i].zone));
		check_row(&rows[i], s.port == rows[i].port && s.ping_retries == rows[i].ping_retries);
		check_row(&rows[i], s.workers == rows[i].workers);
		check_row(&rows[i], agent_settings_interval(&s) == rows[i].interval);
		check_row(&rows[i], said.mistakes.len == 0);
		agent_settings_deinit(&s);
	}
}

static void mistakes_are_said_with_their_line(void **state)
{
	static const struct {
		const char *what, *text, *mistakes, *warnings;
	} rows[] = {
		{"a port that is none", "guid=g\nport=x\n", "f:2: port: \"x\" is not a whole number\n", ""},
		{"a port that can't be", "port=99999\n", "f:1: port: 99999 is not between 1 and 65535\n", ""},
		{"lines that count as unset still count", "zone=\n\nport=x\n",
		 "f:3: port: \"x\" is not a whole number\n", ""},
		{"an unknown key of ours", "muster.colour=red\n", "f:1: muster.colour: no such setting\n", ""},
		{"an unknown level", "muster.log.level=loud\n",
		 "f:1: muster.log.level: \"loud\" is not one of error,warn,info,debug\n", ""},
		{"all of them, not only the first", "port=x\nping.retries=0\n",
		 "f:1: port: \"x\" is not a whole number\nf:2: ping.retries: 0 is not between 1 and 1000\n", ""},
		{"an interval that is no number only warns", "\nhost.lb.check.interval=soon\n", "",
		 "f:2: host.lb.check.interval: \"soon\" is not a number and counts as 0: never looks at the preferred "
		 "server\n"},
		{"timers that the kernel would refuse in silence",
		 "muster.tcp.keepalive.idle=40000\nmuster.tcp.keepalive.interval=0\nmuster.tcp.keepalive.count=128\n"
		 "muster.tcp.user.timeout=-1\n",
		 "f:1: muster.tcp.keepalive.idle: 40000 is not between 0 and 32767\n"
		 "f:2: muster.tcp.keepalive.interval: 0 is not between 1 and 32767\n"
		 "f:3: muster.tcp.keepalive.count: 128 is not between 1 and 127\n"
		 "f:4: muster.tcp.user.timeout: -1 is not between 0 and 86400\n",
		 ""},
		{"timers that can be off", "muster.tcp.keepalive.idle=0\nmuster.tcp.user.timeout=0\n", "", ""},
		{"a server's name for them is only kept", "tcp.keepalive.idle=5\n", "", ""},
		{"unknown keys of others are fine", "colour=red\n", "", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(said_deinit) struct said said = {0};
		struct agent_settings s = {0};
		enum err e = load(&s, rows[i].text, &said);

		check_row(&rows[i], e == (*rows[i].mistakes ? ERR_INVALID : ERR_OK));
		check_row(&rows[i], str_equal(buf_str(&said.mistakes), rows[i].mistakes));
		check_row(&rows[i], str_equal(buf_str(&said.warnings), rows[i].warnings));
		agent_settings_deinit(&s);
	}
}

static void an_agent_needs_a_guid_and_a_server(void **state)
{
	static const struct {
		const char *what, *text, *why; /* NULL: fine */
	} rows[] = {
		{"all there", "guid=g\nhost=a\n", NULL},
		{"hosts will do", "guid=g\nhosts=a\n", NULL},
		{"no guid", "host=a\n", "has not joined yet"},
		{"no server", "guid=g\n", "no management server"},
		{"servers that were never filled in", "guid=g\nhost=@MSHOST@\n", "placeholder"},
		{"a resource that is none", "guid=g\nhost=a\nresource=com.cloud.\n", "name of a class"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(said_deinit) struct said said = {0};
		struct agent_settings s = {0};
		struct why why = WHY_NONE;
		enum err e;

		check_row(&rows[i], load(&s, rows[i].text, &said) == ERR_OK);
		e = agent_settings_check(&s, &why);
		check_row(&rows[i], e == (rows[i].why ? ERR_INVALID : ERR_OK));
		check_row(&rows[i], !rows[i].why || strstr(why.text, rows[i].why));
		agent_settings_deinit(&s);
	}
}

static void the_command_line_overrides(void **state)
{
	static const struct {
		const char *what, *key, *value;
		enum err e;
		const char *why;
	} rows[] = {
		{"a port", "port", "9", ERR_OK, NULL},
		{"a bad port", "port", "x", ERR_INVALID, "not a whole number"},
		{"no such thing", "colour", "red", ERR_NOT_FOUND, "no such setting"},
		{"what the engine keeps", "host", "a", ERR_INVALID, "change it there"},
		{"what the engine keeps, too", "host.lb.check.interval", "5", ERR_INVALID, "change it there"},
	};
	CLEAN(said_deinit) struct said said = {0};
	struct agent_settings s = {0};

	assert_int_equal(load(&s, "", &said), ERR_OK);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct why why = WHY_NONE;

		check_row(&rows[i], agent_settings_set(&s, rows[i].key, rows[i].value, &why) == rows[i].e);
		check_row(&rows[i], !rows[i].why || strstr(why.text, rows[i].why));
	}
	assert_int_equal(s.port, 9);
	agent_settings_deinit(&s);
}

static void resource_names_and_tags(void **state)
{
	static const struct {
		const char *what, *resource, *name; /* NULL: none */
	} rows[] = {
		{"the default", "com.cloud.hypervisor.kvm.resource.LibvirtComputingResource",
		 "LibvirtComputingResource"},
		{"the first of several", "a.B|c.D", "B"},
		{"without a package", "B", "B"},
		{"nothing behind the dot", "a.", NULL},
		{"too long for anybody",
		 "a.Bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
		 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
		 NULL},
	};
	CLEAN(str_list_deinit) struct str_list tags = {0};
	CLEAN(mem_freep) char *joined = NULL;
	struct agent_settings s = {0};
	char name[128];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool ok;

		s.resource = mem_strdup(rows[i].resource);
		ok = agent_settings_resource_name(name, sizeof(name), &s);
		check_row(&rows[i], ok == (rows[i].name != NULL));
		check_row(&rows[i], !ok || str_equal(name, rows[i].name));
		s.resource = mem_free(s.resource);
	}
	s.host_tags = mem_strdup(" ssd, zone-a ,,ssd");
	assert_int_equal(agent_settings_tags(&tags, &s), ERR_OK);
	joined = str_list_join(&tags, "|");
	assert_string_equal(joined, "ssd|zone-a");
	agent_settings_deinit(&s);
}

/* ---- dump ---- */

static void unknown_key(void *user, const char *key, unsigned line)
{
	assert_int_equal(buf_printf(user, "%u:%s ", line, key), ERR_OK);
}

static void the_dump_is_a_valid_file_that_says_the_same(void **state)
{
	CLEAN(said_deinit) struct said said = {0};
	CLEAN(buf_deinit) struct buf first = {0};
	CLEAN(buf_deinit) struct buf second = {0};
	CLEAN(buf_deinit) struct buf text = {0};
	CLEAN(buf_deinit) struct buf unknown = {0};
	struct agent_settings s = {0}, again = {0};
	struct props *p, *q;

	assert_int_equal(file_read(&fs_posix, GOLDEN "/agent_settings.in", 1 << 20, &text, NULL), ERR_OK);
	assert_int_equal(props_parse(&p, text.data, text.len, NULL), ERR_OK);
	assert_int_equal(load(&s, buf_str(&text), &said), ERR_OK);
	agent_settings_unknown(&s, p, unknown_key, &unknown);
	assert_string_equal(buf_str(&unknown), "11:guest.cpu.mode 12:Other.id ");
	assert_int_equal(agent_settings_dump(&s, p, &first), ERR_OK);

	/* Golden: people diff it. */
	buf_clear(&text);
	assert_int_equal(file_read(&fs_posix, GOLDEN "/agent_settings.ok", 1 << 20, &text, NULL), ERR_OK);
	assert_string_equal(buf_str(&first), buf_str(&text));
	assert_null(strstr(buf_str(&first), "secret"));

	assert_int_equal(load(&again, buf_str(&first), &said), ERR_OK);
	assert_int_equal(props_parse(&q, first.data, first.len, NULL), ERR_OK);
	assert_int_equal(agent_settings_dump(&again, q, &second), ERR_OK);
	assert_string_equal(buf_str(&first), buf_str(&second));
	agent_settings_deinit(&s);
	agent_settings_deinit(&again);
	props_free(p);
	props_free(q);
}

/* The page's list is what `muster-agent --settings=scdoc` prints. */
static void the_manual_has_every_setting(void **state)
{
	CLEAN(buf_deinit) struct buf page = {0};
	CLEAN(buf_deinit) struct buf help = {0};

	assert_int_equal(file_read(&fs_posix, MAN "/agent.properties.5.scd", 1 << 20, &page, NULL), ERR_OK);
	assert_int_equal(settings_help(&agent_settings_table, true, &help), ERR_OK);
	if (!strstr(buf_str(&page), buf_str(&help)))
		fail_msg(
			"docs/man/agent.properties.5.scd: put what `muster-agent --settings=scdoc` prints between its marks");
}

/* The defaults are written twice: here as people read them, in core as the rules have them. */
static void the_rules_of_failover_can_be_set(void **state)
{
	CLEAN(said_deinit) struct said said = {0};
	struct agent_settings s = {0};
	struct failback_rule r;
	struct first_dial_rule d;

	assert_int_equal(load(&s, "", &said), ERR_OK);
	r = agent_settings_failback(&s);
	d = agent_settings_first_dial(&s);
	assert_int_equal(r.uptime_ms, failback_rule_default.uptime_ms);
	assert_int_equal(r.uptime_intervals, failback_rule_default.uptime_intervals);
	assert_int_equal(r.heartbeats, failback_rule_default.heartbeats);
	assert_int_equal(r.prove_ms, failback_rule_default.prove_ms);
	assert_int_equal(r.unknown_ms, failback_rule_default.unknown_ms);
	assert_int_equal(r.flap_ms, failback_rule_default.flap_ms);
	assert_int_equal(r.damper_ms, failback_rule_default.damper_ms);
	assert_int_equal(r.jitter_percent, failback_rule_default.jitter_percent);
	assert_int_equal(d.few, first_dial_rule_default.few);
	assert_int_equal(d.us_per_agent, first_dial_rule_default.us_per_agent);
	assert_int_equal(d.most_ms, first_dial_rule_default.most_ms);
	agent_settings_deinit(&s);

	assert_int_equal(
		load(&s,
		     "muster.failback.uptime=4\nmuster.failback.uptime.intervals=1\nmuster.failback.heartbeats=5\n"
		     "muster.failback.prove=7\nmuster.failback.unknown=8\nmuster.failback.flap=9\n"
		     "muster.failback.damper=10\nmuster.failback.jitter=11\nmuster.first.dial.few=12\n"
		     "muster.first.dial.per.agent.us=13\nmuster.first.dial.most.ms=14\n",
		     &said),
		ERR_OK);
	r = agent_settings_failback(&s);
	d = agent_settings_first_dial(&s);
	assert_true(r.uptime_ms == 4000 && r.uptime_intervals == 1 && r.heartbeats == 5 && r.prove_ms == 7000);
	assert_true(r.unknown_ms == 8000 && r.flap_ms == 9000 && r.damper_ms == 10000 && r.jitter_percent == 11);
	assert_true(d.few == 12 && d.us_per_agent == 13 && d.most_ms == 14);
	agent_settings_deinit(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_read),
		cmocka_unit_test(mistakes_are_said_with_their_line),
		cmocka_unit_test(an_agent_needs_a_guid_and_a_server),
		cmocka_unit_test(the_command_line_overrides),
		cmocka_unit_test(resource_names_and_tags),
		cmocka_unit_test(the_dump_is_a_valid_file_that_says_the_same),
		cmocka_unit_test(the_manual_has_every_setting),
		cmocka_unit_test(the_rules_of_failover_can_be_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
