/*
 * What the files share that compare the engines with each other and with the store:
 *
 *   invariants.c  what must hold always, and once the world is calm
 *   leaks.c       what is counted, counted again
 *   moves.c       who moves when: planned moves, the pace, the time until everybody is home, or on the first of its
 *                 list that is up
 *   flights.c     commands to agents, and their answers
 *   evenness.c    the placement in the store: does it fit, is it even
 *   cert_rules.c  certificates: who is revoked is out, who isn't is never locked out, a rotation comes to its end
 *
 * No other file of the simulation looks into the server's engine; what an agent thinks comes through agent_look().
 */
#pragma once

#include "ca/rotation.h"
#include "core/algorithm.h"
#include "server/internal.h"
#include "sim/cluster.h"

/* What the store says. */
struct truth {
	struct host_row *hosts;
	size_t n, cap;
	struct map by_guid;
	struct config_row *settings;
	size_t n_settings;
	struct server_row *servers;
	size_t n_servers;
	struct drain_row *drains;
	size_t n_drains;
	struct str_list list; /* that lists are made from */
	enum algorithm algorithm;
	int64_t interval;
	bool is_frozen; /* moves are */
	struct list_server_row *entries;
	size_t n_entries;
	struct evenness *evenness; /* under balanced; evenness.c */
};

/* The machine that an entry of a list means; NULL: none of the cluster's. */
struct sim_server *server_at(struct cluster *c, const char *entry);
bool server_is_up_in(const struct truth *t, const struct sim_server *s);
/* Nothing is in its way, and it knows what the store says. */
bool server_is_well(const struct sim_server *s);

/* leaks.c */
void leaks_look(struct cluster *c);
/* Once it is calm: nothing is left over in this agent. */
bool leaks_agent_is_clean(const struct sim_agent *a, const struct agent_view *v, struct why *why);
bool leaks_server_is_clean(const struct sim_server *m, struct why *why);

/* evenness.c */
enum err evenness_load(struct truth *t, struct why *why); /* what is stored must be a placement */
void evenness_free(struct truth *t);
/* The list that a host should have, without its pin; appended. */
enum err evenness_list(const struct truth *t, const struct host_row *h, struct str_list *out);
bool evenness_holds(const struct truth *t, struct why *why);

/* moves.c */
void moves_look(struct cluster *c, const struct truth *t);
/* Nothing has befallen it for a while, and nothing does. */
bool network_is_quiet(struct cluster *c);
bool server_is_quiet(const struct sim_server *s);
bool agent_is_quiet(const struct sim_agent *a);

/* cert_rules.c */
void cert_rules_look(struct cluster *c);
bool cert_rules_are_calm(struct cluster *c, bool long_calm, struct why *why);
enum rotation_phase cert_rules_phase(struct cluster *c); /* as the store has it */
/* A server has asked this agent for a new key; the agent goes back to its old certificate. */
void cert_rules_key_asked(struct sim_agent *a, int64_t msid);
void cert_rules_given_up(struct sim_agent *a, const struct cert_info *fresh, const char *sentence);
bool cert_rules_is_lost(const struct sim_agent *a);
void cert_rules_free(struct cluster *c);

/* flights.c */
void flights_look(struct cluster *c);
