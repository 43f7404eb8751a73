/*
 * The programs behind one name: muster-agent [join | takeover | explain], and how they end (agent-protocol 4.1.9).
 */
#pragma once

#define EXIT_REJECTED 1 /* by the server */
#define EXIT_USAGE 2
#define EXIT_CONFIG 66
#define EXIT_START 67

/* One file a subcommand; argv[0] is its name. */
int join_main(int argc, char **argv);
int takeover_main(int argc, char **argv);
int explain_main(int argc, char **argv);
