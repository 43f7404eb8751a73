/*
 * Scenarios: small texts of what happens to a cluster and what is expected of
 * it (tests/sim/, one a file), and random histories, which are made of the same
 * commands so that a trace reads like a scenario.
 *
 *   servers a b c                   makes and starts them
 *   agents  30                      H1 ... H30, started within a second
 *   set     NAME VALUE [on a]       a setting, through the API of a server; VALUE "default" resets
 *   run     10s                     also ms, m, h
 *   settle  [60s]                   until all is calm (invariants.c), and then a while more
 *   kill, poweroff, start, stop, freeze, thaw  WHO...   a server, an agent, servers, agents, all
 *   renew   WHO...                  an agent gets a new certificate
 *   cut A B | cut-oneway A B        packets (from A to B); several names: joined by commas
 *   freeze  moves | thaw moves      what an operator does: nobody moves who need not
 *   heal                            all cuts
 *   calm                            everything is mended and started
 *   steady  on|off                  from now on no agent may be without a link for a moment
 *   count   moves                   from now on
 *   delete  H3                      the host
 *   drain a [rate=N] [timeout=N] [forced=true] | undrain a [rebalance=false] | shutdown a
 *   weigh a weight=N|zone=Z         what lists make of it
 *   rest a | rest none              counts as weight 0, as while it is restarted
 *   pin H1 a | unpin H1             where it belongs, whatever the algorithm says
 *   certificates                    agents join and have real ones (certs.c); before there are agents
 *   provision H1                    a new certificate, now
 *   revoke H1 | rejoin H1 [keep]    everything that it has; it joins again (keep: what it has stays good)
 *   rotate next|back                a step of the CA's rotation
 *   issue                           a certificate for something else
 *   rebalance                       all agents are told to look for their preferred server
 *   commands 50ms | commands off    one so often to a random host through a random server (flights.c)
 *   store   fails|works|stalls|goes|slow:N  a    (slow: everything takes N times as long; 1: as usual)
 *   disk    full|ok|dies:N|dark:N   WHO   (dies:N at the N-th step of file operations)
 *   clock   WHO +3600s              the wall clock jumps
 *   network latency=1ms jitter=2ms loss=1% names=down tls-bad=5%
 *   expect  agents a=10 b=10 c=10
 *   expect  outdated 0
 *   expect  status Up 30
 *   expect  state a Maintenance
 *   expect  list H1 10.0.0.1,10.0.0.2
 *   expect  resumed 10              at least, with session tickets, by the servers that run
 *   expect  commands >100           answered so far: more than that
 *   expect  renewed 30              new certificates that servers have taken
 *   expect  behind 0                agents that are not on the first of their list that runs; also >N
 *   expect  spread 2                between the servers that run: so many agents at most
 *   expect  moves 0                 from a link that worked to another server's, since they are counted
 *   expect  phase trust             of the CA's rotation
 *   expect  putoffs >0              asked to come back later by the servers that run: more than that
 *   within  5s agents a=15 b=15     an expectation that must come true in that time
 */
#pragma once

#include "sim/cluster.h"

/* One command; ERR_INVALID with a sentence for what it doesn't understand. An
 * unmet expectation is a sim_fail(). */
enum err scenario_command(struct cluster *c, const char *line, struct why *why) MUST_CHECK;
/* A whole text. The sentence has the line's number. */
enum err scenario_run(struct cluster *c, const char *text, struct why *why) MUST_CHECK;

struct history {
	size_t n_servers;
	size_t n_agents;
	size_t n_events;
	bool is_asked; /* so many agents and no others */
};
/* A random life from the cluster's seed, then calm. */
enum err history_run(struct cluster *c, const struct history *h, struct why *why) MUST_CHECK;
