/* Two servers on one store: who owns a host, commands through each other, what peers may say. */
#include <string.h>

#include "check.h"
#include "engine_bench.h"

static const struct agent_script h1 = {
	.guid = "h1", .ip = "10.1.0.1", .identity = ID_URI, .is_muster = true, .boot = "b1"};

static void cluster_up(struct engine_bench *e)
{
	engine_up(e);
	node_add(e, &e->b, B_IP);
	engine_run(e, 1500);
}

struct heard {
	int n;
	enum err result;
};

static void heard(void *user, enum err result, const char *sentence, const struct batch *answers)
{
	struct heard *h = user;

	h->n++;
	h->result = result;
}

static void ask(struct node *n, const char *guid, struct heard *h)
{
	struct batch b = {0};
	struct request_params p = {.wait_ms = 600000, .done = heard, .user = h};

	*h = (struct heard){0};
	assert_non_null(batch_add(&b, MSG_MAINTAIN));
	assert_int_equal(request_to_host(n->server, host_of(n, guid), &b, &p), ERR_OK);
}

static bool is_ready_at(struct node *n, const char *guid)
{
	struct host *h = host_of(n, guid);

	return h && h->session && h->session->state == SESSION_READY;
}

static void servers_are_linked_both_ways(void **state)
{
	struct engine_bench e;
	struct server_view v;

	cluster_up(&e);
	server_look(e.a.server, &v);
	assert_int_equal(v.peers_up, 1);
	server_look(e.b.server, &v);
	assert_int_equal(v.peers_up, 1);
	assert_int_equal(lists_servers(e.a.server)->n, 2);
	engine_down(&e);
}

static void a_command_finds_the_agent_through_its_owner(void **state)
{
	struct engine_bench e;
	struct script *a;
	struct heard one;

	cluster_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	ask(&e.b, "h1", &one);
	engine_run(&e, 100);
	assert_int_equal(script_count(a, MSG_MAINTAIN), 1);
	assert_int_equal(script_got(a, MSG_MAINTAIN, 0)->header.mgmt_id, server_msid(e.b.server));
	script_answer(a, script_got(a, MSG_MAINTAIN, 0), MSG_ANSWER, true);
	engine_run(&e, 100);
	assert_int_equal(one.n, 1);
	assert_int_equal(one.result, ERR_OK);
	engine_down(&e);
}

static void a_command_follows_the_agent_to_another_owner(void **state)
{
	struct engine_bench e;
	struct script *a;
	struct heard one;

	cluster_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	ask(&e.b, "h1", &one);
	engine_run(&e, 100);
	/* The owner dies with the command; the agent comes to the one that asked. */
	fake_works_cut(e.f);
	node_kill(&e.a);
	script_forget(a);
	engine_run(&e, 50);
	script_dial(a, &e.b);
	engine_run(&e, 500);
	assert_true(is_ready_at(&e.b, "h1"));
	assert_int_equal(script_count(a, MSG_MAINTAIN), 1);
	script_answer(a, script_got(a, MSG_MAINTAIN, 0), MSG_ANSWER, true);
	engine_run(&e, 100);
	assert_int_equal(one.n, 1);
	assert_int_equal(one.result, ERR_OK);
	engine_down(&e);
}

/* Asked while the agent has no link anywhere: what follows decides. */
static void a_command_waits_for_an_agent_that_changes_servers(void **state)
{
	enum way { HANGS_UP, SERVER_DIES, SAYS_GOODBYE };
	static const struct {
		const char *what;
		enum way way;
		bool is_java;
		bool ask_at_b; /* its server is A */
		int64_t ask_after_ms;
		bool is_taken; /* not refused at once */
		char comes_to; /* 'a', 'b', '-': nowhere */
		int64_t over_ms;
		enum err result;
	} rows[] = {
		{"back at the same server", HANGS_UP, false, false, 10, true, 'a', 600, ERR_OK},
		{"it comes to another one", HANGS_UP, false, false, 10, true, 'b', 600, ERR_OK},
		{"asked through another one, back where it was", HANGS_UP, false, true, 10, true, 'a', 600, ERR_OK},
		{"... and it comes to that one", HANGS_UP, false, true, 10, true, 'b', 600, ERR_OK},
		{"its server has died", SERVER_DIES, false, true, 10, true, 'b', 600, ERR_OK},
		{"... which everybody knows by now", SERVER_DIES, false, true, 9000, true, 'b', 600, ERR_OK},
		{"it comes nowhere", HANGS_UP, false, false, 10, true, '-', 15100, ERR_UNREACHABLE},
		{"... asked through another one", HANGS_UP, false, true, 10, true, '-', 19000, ERR_UNREACHABLE},
		{"... after its server died", SERVER_DIES, false, true, 10, true, '-', 30000, ERR_UNREACHABLE},
		{"its host was given up", HANGS_UP, false, false, 16000, false, '-', 0, ERR_OK},
		{"... and that of a dead server", SERVER_DIES, false, true, 30000, false, '-', 0, ERR_OK},
		{"it said goodbye", SAYS_GOODBYE, false, false, 300, false, '-', 0, ERR_OK},
		{"... asked through another one", SAYS_GOODBYE, false, true, 300, false, '-', 0, ERR_OK},
		{"a CloudStack agent", HANGS_UP, true, false, 10, false, '-', 0, ERR_OK},
		{"... of a dead server", SERVER_DIES, true, true, 10, false, '-', 0, ERR_OK},
	};
	static const struct agent_script java = {.guid = "h1", .ip = "10.1.0.9", .identity = ID_SAN};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		struct script *a;
		struct heard h = {0};
		struct request_params p = {.wait_ms = 600000, .done = heard, .user = &h};
		struct batch b = {0};
		struct node *asked;
		enum err result;

		print_message("  %s\n", rows[i].what);
		cluster_up(&e);
		asked = rows[i].ask_at_b ? &e.b : &e.a;
		a = script_new(&e, rows[i].is_java ? &java : &h1);
		script_dial(a, &e.a);
		engine_run(&e, 1000);
		if (rows[i].way == SAYS_GOODBYE)
			session_end(host_of(&e.a, "h1")->session, ERR_CLOSED, "goodbye", EVENT_SHUTDOWN_REQUESTED);
		if (rows[i].way == SERVER_DIES) {
			fake_works_cut(e.f);
			node_kill(&e.a);
		}
		script_hang_up(a);
		script_forget(a);
		engine_run(&e, rows[i].ask_after_ms);
		assert_non_null(batch_add(&b, MSG_MAINTAIN));
		result = request_to_host(asked->server, host_of(asked, "h1"), &b, &p);
		check_row(&rows[i], result == (rows[i].is_taken ? ERR_OK : ERR_UNREACHABLE));
		engine_run(&e, 200);
		check_row(&rows[i], h.n == 0);
		if (rows[i].comes_to != '-')
			script_dial(a, rows[i].comes_to == 'a' ? &e.a : &e.b);
		engine_run(&e, rows[i].over_ms);
		check_row(&rows[i], script_count(a, MSG_MAINTAIN) == (rows[i].comes_to != '-'));
		if (rows[i].comes_to != '-')
			script_answer(a, script_got(a, MSG_MAINTAIN, 0), MSG_ANSWER, true);
		engine_run(&e, 100);
		check_row(&rows[i], h.n == rows[i].is_taken && h.result == rows[i].result);
		engine_down(&e);
	}
}

/* What was sent to a muster agent may have run; one that comes back without muster/1 would run the copy too. */
static void a_command_is_not_repeated_to_one_that_can_not_tell(void **state)
{
	/* One that was CloudStack's, with its certificate: only those may speak either way. */
	static const struct agent_script taken_over = {
		.guid = "h1", .ip = "10.1.0.1", .identity = ID_SAN, .is_muster = true, .boot = "b1"};
	static const struct agent_script plain = {.guid = "h1", .ip = "10.1.0.1", .identity = ID_SAN};
	struct engine_bench e;
	struct script *a, *again;
	struct heard one;

	cluster_up(&e);
	a = script_new(&e, &taken_over);
	script_dial(a, &e.a);
	engine_run(&e, 1000);
	ask(&e.a, "h1", &one);
	engine_run(&e, 100);
	assert_int_equal(script_count(a, MSG_MAINTAIN), 1);
	script_hang_up(a);
	engine_run(&e, 100);
	assert_int_equal(one.n, 0);
	again = script_new(&e, &plain);
	script_dial(again, &e.b);
	engine_run(&e, 1000);
	assert_true(is_ready_at(&e.b, "h1"));
	assert_int_equal(script_count(again, MSG_MAINTAIN), 0);
	assert_int_equal(one.n, 1);
	assert_int_equal(one.result, ERR_CLOSED);
	engine_down(&e);
}

/* Its owner lives and has it, only the link between the servers is gone: not for ever. */
static void nobody_waits_long_for_a_server_that_can_not_be_reached(void **state)
{
	struct engine_bench e;
	struct script *a;
	struct heard one;

	cluster_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 1000);
	fake_cut(e.f, "10.9.9.9", true); /* where links between servers come from in this world */
	engine_run(&e, 13000);
	assert_true(is_ready_at(&e.a, "h1"));
	ask(&e.b, "h1", &one);
	engine_run(&e, 29500);
	assert_int_equal(one.n, 0);
	engine_run(&e, 1000);
	assert_int_equal(one.n, 1);
	assert_int_equal(one.result, ERR_UNREACHABLE);
	engine_down(&e);
}

/* What a server has of links that others have dialled to it: they end, as a reset does it. */
static void cut_links_from_peers(struct node *n)
{
	list_for (x, &n->server->sessions, struct session, in_sessions)
		if (x->state == SESSION_PEER)
			session_end(x, ERR_CLOSED, "cut", EVENT_N);
}

/* An answer that is lost with the link between two servers is not waited for. */
static void a_link_between_servers_that_ends_takes_requests_with_it(void **state)
{
	static const struct agent_script java = {.guid = "j", .ip = "10.1.0.9", .identity = ID_SAN};
	static const struct {
		const char *what;
		const struct agent_script *as;
		bool cut_at_owner; /* the link that carries requests */
		bool cut_at_asker; /* the link that carries answers */
		int n;
		enum err result;
		size_t n_got; /* how often the agent got the command */
	} rows[] = {
		{"a CloudStack agent: it may have run", &java, true, false, 1, ERR_CLOSED, 1},
		{"the same, by the link for answers", &java, false, true, 1, ERR_CLOSED, 1},
		{"both", &java, true, true, 1, ERR_CLOSED, 1},
		{"a muster agent gets it again", &h1, true, true, 0, ERR_OK, 2},
		{"its answer takes the other link", &h1, false, true, 1, ERR_OK, 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		struct script *a;
		struct heard h;

		cluster_up(&e);
		a = script_new(&e, rows[i].as);
		script_dial(a, &e.b);
		engine_run(&e, 1000);
		ask(&e.a, rows[i].as->guid, &h);
		engine_run(&e, 500);
		check_row(&rows[i], script_count(a, MSG_MAINTAIN) == 1);
		if (rows[i].cut_at_owner)
			cut_links_from_peers(&e.b);
		if (rows[i].cut_at_asker)
			cut_links_from_peers(&e.a);
		script_answer(a, script_got(a, MSG_MAINTAIN, 0), MSG_ANSWER, true);
		engine_run(&e, 5000);
		check_row(&rows[i], h.n == rows[i].n && h.result == rows[i].result);
		check_row(&rows[i], script_count(a, MSG_MAINTAIN) == rows[i].n_got);
		engine_down(&e);
	}
}

/* It does not wait for a new link while there is another one. */
static void a_lost_request_takes_the_other_link(void **state)
{
	struct engine_bench e;
	struct script *a;
	struct heard h;

	cluster_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.b);
	engine_run(&e, 1000);
	ask(&e.a, "h1", &h);
	engine_run(&e, 500);
	cut_links_from_peers(&e.b);
	engine_run(&e, 90); /* nobody dials before */
	/* In sequence: behind itself, until the agent has answered the first. */
	assert_int_equal(host_of(&e.b, "h1")->session->n_queued, 1);
	engine_down(&e);
}

/* Two machines with one guid: the first is at A, another one comes to B (decision 7). */
static void a_copy_is_refused_at_another_server_too(void **state)
{
	enum first { ANSWERS, SILENT, HUNG_UP, SLOW };
	static const struct {
		const char *what;
		enum first first; /* what the one at A does */
		const char *boot; /* of the newcomer */
		bool linked;      /* are the servers? */
		int64_t early_ms; /* it isn't in before */
		int64_t late_ms;  /* and by now, if ever */
		bool is_in;
	} rows[] = {
		{"both alive: the first stays", ANSWERS, "b2", true, 3000, 3500, false},
		{"the first is silent: a restarted machine", SILENT, "b2", true, 2400, 3200, true},
		{"its link is gone: a restarted process, without delay", HUNG_UP, "b2", true, 0, 300, true},
		{"the same agent has moved", ANSWERS, "b1", true, 0, 100, true},
		{"nobody to ask: as ever", ANSWERS, "b2", false, 0, 100, true},
		{"heartbeats far apart: the first is asked for a sign of life", SLOW, "b2", true, 3000, 3500, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		struct agent_script second = h1;
		struct script *a, *b;

		second.boot = rows[i].boot;
		second.ip = "10.1.0.2";
		cluster_up(&e);
		if (rows[i].first == SLOW)
			e.a.server->n_sessions += 12000;
		engine_run(&e, 1100);
		a = script_new(&e, &h1);
		script_dial(a, &e.a);
		engine_run(&e, 1000);
		check_row(&rows[i], is_ready_at(&e.a, "h1"));
		if (!rows[i].linked)
			peer_stop(e.b.server);
		if (rows[i].first == SILENT)
			link_set_heartbeat(a->link, 0);
		if (rows[i].first == SLOW)
			link_set_heartbeat(a->link, 5000);
		if (rows[i].first == HUNG_UP)
			script_hang_up(a);
		engine_run(&e, 10);
		b = script_new(&e, &second);
		b->link_number = 1;
		script_dial(b, &e.b);
		engine_run(&e, rows[i].early_ms);
		check_row(&rows[i], !is_ready_at(&e.b, "h1"));
		engine_run(&e, rows[i].late_ms - rows[i].early_ms);
		check_row(&rows[i], is_ready_at(&e.b, "h1") == rows[i].is_in);
		check_row(&rows[i], script_is_open(b) == rows[i].is_in);
		check_row(&rows[i], rows[i].is_in || is_ready_at(&e.a, "h1"));
		check_row(&rows[i], e.a.server->n_questions == 0);
		if (rows[i].first == SLOW)
			e.a.server->n_sessions -= 12000;
		engine_down(&e);
	}
}

/* Questions are counted against nobody, so there is an end to them; a server may go while some are open. */
static void questions_about_copies_are_bounded(void **state)
{
	struct engine_bench e;
	struct header h = {.flags = FLAG_REQUEST | FLAG_FROM_SERVER, .seq = 1};
	struct msg_agent_alive m = {0};
	struct script *a;

	cluster_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 1000);
	msg_set_i64(&m.agentId, host_of(&e.a, "h1")->row.id);
	assert_int_equal(msg_set_text(&m.boot, "other"), ERR_OK);
	for (int i = 0; i < 1500; i++)
		clone_asked(e.a.server, server_msid(e.b.server), &h, &m);
	assert_int_equal(e.a.server->n_questions, 1000);
	mem_free(m.boot);
	engine_run(&e, 2600);
	assert_int_equal(e.a.server->n_questions, 0);
	engine_down(&e);
}

static void an_agent_that_moves_is_superseded_at_its_old_server(void **state)
{
	struct engine_bench e;
	struct script *a;
	struct session *first;

	cluster_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	first = host_of(&e.a, "h1")->session;
	script_dial(a, &e.b);
	engine_run(&e, 500);
	assert_true(is_ready_at(&e.b, "h1"));
	assert_null(host_of(&e.a, "h1")->session);
	assert_int_equal(first->state, SESSION_SUPERSEDED);
	/* And back, on the link that is still there. */
	script_hang_up(a);
	script_back_to_oldest(a);
	script_startup(a);
	engine_run(&e, 1000);
	assert_true(is_ready_at(&e.a, "h1"));
	assert_int_equal(host_of(&e.b, "h1")->row.owner, server_msid(e.a.server));
	engine_run(&e, 40000);
	assert_int_equal(status_in_store(&e, host_of(&e.a, "h1")->row.id), HOST_UP);
	engine_down(&e);
}

static void a_late_claim_of_an_older_link_does_not_win(void **state)
{
	struct engine_bench e;
	struct script *a;
	int64_t id;

	cluster_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	id = host_of(&e.a, "h1")->row.id;
	/* Its newest link is at b, where the store does not work yet; the older one is claimed again at a. */
	e.b.store_fails = true;
	script_dial(a, &e.b);
	engine_run(&e, 300);
	assert_true(is_ready_at(&e.b, "h1"));
	startup_claim_again(host_of(&e.a, "h1")->session);
	engine_run(&e, 2000);
	e.b.store_fails = false;
	engine_run(&e, 3000);
	assert_true(is_ready_at(&e.b, "h1"));
	assert_false(host_of(&e.b, "h1")->session->provisional);
	assert_int_equal(host_of(&e.a, "h1")->row.owner, server_msid(e.b.server));
	assert_int_equal(status_in_store(&e, id), HOST_UP);
	engine_down(&e);
}

static void a_dead_server_loses_its_hosts(void **state)
{
	struct engine_bench e;
	struct script *a;
	int64_t id;

	cluster_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	id = host_of(&e.a, "h1")->row.id;
	fake_works_cut(e.f);
	node_kill(&e.a);
	/* Its agents have time to come elsewhere: nothing flickers. */
	engine_run(&e, 12000);
	assert_int_equal(status_in_store(&e, id), HOST_UP);
	engine_run(&e, 12000);
	assert_int_equal(host_of(&e.b, "h1")->row.owner, 0);
	assert_int_equal(status_in_store(&e, id), HOST_DISCONNECTED);
	script_dial(a, &e.b);
	engine_run(&e, 500);
	assert_true(is_ready_at(&e.b, "h1"));
	engine_down(&e);
}

/* ---- names ---- */

static void avoids(struct node *n, const char *expected)
{
	CLEAN(mem_freep) char *text = str_list_join(&n->server->avoid, ",");

	assert_string_equal(text, expected);
}

static void an_entry_that_is_a_name_means_the_server_it_leads_to(void **state)
{
	static const struct {
		const char *what;
		const char *host, *leads_to;
		const char *avoided; /* when b is in maintenance */
	} rows[] = {
		{"an address", "10.0.0.1,10.0.0.2", NULL, "10.0.0.2"},
		{"a name of it", "10.0.0.1,ms2.example", B_IP, "ms2.example"},
		{"in another case, with the port", "10.0.0.1,MS2.example:8250", B_IP, "MS2.example:8250"},
		{"a name that does not resolve", "10.0.0.1,ms2.example", NULL, ""},
		{"a name of somebody else", "10.0.0.1,ms2.example", "10.0.0.9", ""},
		{"another port is another server", "10.0.0.1,ms2.example:9250", B_IP, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;

		print_message("%s\n", rows[i].what);
		cluster_up(&e);
		fake_name(e.f, "ms2.example", rows[i].leads_to);
		fake_name(e.f, "MS2.example", rows[i].leads_to);
		engine_config(&e, "host", rows[i].host);
		engine_run(&e, 1000);
		avoids(&e.a, "");
		engine_ask_drain(&e, &e.b, &(struct drain_row){0});
		engine_run(&e, 1500);
		avoids(&e.a, rows[i].avoided);
		avoids(&e.b, rows[i].avoided);
		engine_down(&e);
	}
}

static void a_name_is_asked_again_and_kept_meanwhile(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	engine_config(&e, "host", "10.0.0.1,ms2.example");
	engine_ask_drain(&e, &e.b, &(struct drain_row){0});
	engine_run(&e, 2000);
	avoids(&e.a, "");
	/* It comes into being ... */
	fake_name(e.f, "ms2.example", B_IP);
	engine_run(&e, 7000);
	avoids(&e.a, "ms2.example");
	/* ... can't be asked for a while ... */
	fake_name(e.f, "ms2.example", NULL);
	engine_run(&e, 150000);
	avoids(&e.a, "ms2.example");
	/* ... and leads elsewhere. */
	fake_name(e.f, "ms2.example", "10.0.0.9");
	engine_run(&e, 70000);
	avoids(&e.a, "");
	engine_down(&e);
}

/* ---- peers that say what they should not ---- */

static int64_t msid_said;

static void fill_hello(void *fields)
{
	struct msg_peer_hello *m = fields;

	msg_set_i64(&m->msId, msid_said);
}

static void hello(struct script *p, int64_t msid)
{
	msid_said = msid;
	script_send(p, MSG_PEER_HELLO, fill_hello);
}

static struct script *peer_script(struct engine_bench *e, const char *uuid)
{
	struct agent_script as = {.guid = uuid, .ip = "10.2.0.1", .identity = ID_SERVER, .is_muster = true};
	struct script *p = script_new(e, &as);

	p->no_startup = true;
	return p;
}

static void a_peer_speaks_for_itself_only(void **state)
{
	struct engine_bench e;
	struct script *p;

	cluster_up(&e);
	p = peer_script(&e, "6b1a2f0e-0000-4000-8000-000000000001");
	script_dial(p, &e.a);
	engine_run(&e, 100);
	assert_true(script_is_open(p));
	hello(p, server_msid(e.b.server));
	engine_run(&e, 100);
	assert_false(script_is_open(p));
	engine_down(&e);
}

static void a_revoked_server_is_cut_off(void **state)
{
	struct engine_bench e;
	struct cert_info c = {0};
	struct server_view v;

	cluster_up(&e);
	assert_int_equal(cert_info_parse(&c, e.b.server->own[OWN_CERT_EC].cert, NULL), ERR_OK);
	engine_revoke(&e, c.serial);
	engine_run(&e, 500);
	server_look(e.a.server, &v);
	assert_int_equal(v.peers_up, 0);
	cert_info_deinit(&c);
	engine_down(&e);
}

static void hellos_on_many_links_leave_one(void **state)
{
	struct engine_bench e;
	struct script *p;
	struct member_server *m;

	cluster_up(&e);
	m = roster_server(e.a.server, server_msid(e.b.server));
	p = peer_script(&e, m->row.uuid);
	for (int i = 0; i < 3; i++) {
		script_dial(p, &e.a);
		engine_run(&e, 50);
		hello(p, server_msid(e.b.server));
		hello(p, 12345);
		hello(p, server_msid(e.b.server));
		engine_run(&e, 50);
	}
	/* The first ones end, then the server leaves the roster: nothing points at what is gone. */
	script_hang_up_oldest(p);
	engine_run(&e, 100);
	fake_works_cut(e.f);
	node_kill(&e.b);
	peer_stop(e.a.server);
	engine_run(&e, 100);
	if (script_is_open(p))
		hello(p, 77);
	engine_run(&e, 100);
	engine_down(&e);
}

static void what_answers_at_an_old_address_keeps_nobody_alive(void **state)
{
	struct engine_bench e;
	struct member_server *m;
	int64_t old;

	cluster_up(&e);
	old = server_msid(e.b.server);
	fake_works_cut(e.f);
	node_kill(&e.b);
	/* The same machine with a new identity. */
	fake_file_put(e.f, "/" B_IP "/server.id", "msid=4711\nuuid=6b1a2f0e-0000-4000-8000-000000000002\n");
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 9000);
	m = roster_server(e.a.server, old);
	assert_non_null(m);
	assert_int_equal(m->member.view, MEMBER_DOWN);
	assert_int_equal(m->row.state, SERVER_DOWN);
	engine_down(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(servers_are_linked_both_ways),
		cmocka_unit_test(a_command_finds_the_agent_through_its_owner),
		cmocka_unit_test(a_command_follows_the_agent_to_another_owner),
		cmocka_unit_test(a_command_waits_for_an_agent_that_changes_servers),
		cmocka_unit_test(a_command_is_not_repeated_to_one_that_can_not_tell),
		cmocka_unit_test(nobody_waits_long_for_a_server_that_can_not_be_reached),
		cmocka_unit_test(a_link_between_servers_that_ends_takes_requests_with_it),
		cmocka_unit_test(a_lost_request_takes_the_other_link),
		cmocka_unit_test(a_copy_is_refused_at_another_server_too),
		cmocka_unit_test(questions_about_copies_are_bounded),
		cmocka_unit_test(an_agent_that_moves_is_superseded_at_its_old_server),
		cmocka_unit_test(a_late_claim_of_an_older_link_does_not_win),
		cmocka_unit_test(a_dead_server_loses_its_hosts),
		cmocka_unit_test(an_entry_that_is_a_name_means_the_server_it_leads_to),
		cmocka_unit_test(a_name_is_asked_again_and_kept_meanwhile),
		cmocka_unit_test(a_peer_speaks_for_itself_only),
		cmocka_unit_test(a_revoked_server_is_cut_off),
		cmocka_unit_test(hellos_on_many_links_leave_one),
		cmocka_unit_test(what_answers_at_an_old_address_keeps_nobody_alive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
