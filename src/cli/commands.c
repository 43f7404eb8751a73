/*
 * The commands, in the order in which an operator meets them.
 */
#include "cli/cli.h"

/* clang-format off */
static const struct command config_commands[] = {
	{ "list",  cmd_config_list,  NULL, "all settings of the cluster, or those whose name contains a text" },
	{ "get",   cmd_config_get,   NULL, "the value of one setting" },
	{ "set",   cmd_config_set,   NULL, "change a setting, in force everywhere at once" },
	{ "reset", cmd_config_reset, NULL, "back to the default" },
	{ NULL },
};

static const struct command host_commands[] = {
	{ "add",          cmd_host_add,          NULL, "reserve a place for a new host and print its join token" },
	{ "rm",           cmd_host_rm,           NULL, "remove a host and revoke its certificate" },
	{ "reconnect",    cmd_host_reconnect,    NULL, "have an agent drop its link and connect again" },
	{ "check",        cmd_host_check,        NULL, "ask the agent whether it is healthy" },
	{ "stats",        cmd_host_stats,        NULL, "load and memory of the machine, from its agent" },
	{ "rejoin",       cmd_host_rejoin,       NULL, "token for a host that has lost its key or certificate" },
	{ "allow-weaker", cmd_host_allow_weaker, NULL, "let a host back in with a weaker identity than it had" },
	{ "pin",          cmd_host_pin,          NULL, "have a host prefer one server, whatever the algorithm says" },
	{ "unpin",        cmd_host_unpin,        NULL, "let the algorithm place a host again" },
	{ NULL },
};

static const struct command server_commands[] = {
	{ "set",   cmd_server_set,   NULL, "weight and zone of a server in the lists of the agents" },
	{ "token", cmd_server_token, NULL, "token with which another management server joins the cluster" },
	{ "rm",    cmd_server_rm,    NULL, "forget a management server that is down for good" },
	{ NULL },
};

static const struct command token_commands[] = {
	{ "create", cmd_token_create, NULL, "make a join token; it alone is printed on stdout" },
	{ "list",   cmd_token_list,   NULL, "the tokens, without their secret part" },
	{ "revoke", cmd_token_revoke, NULL, "make a token useless" },
	{ NULL },
};

static const struct command cert_commands[] = {
	{ "list",   cmd_cert_list,   NULL, "the certificates, for whom they are and when they end" },
	{ "show",   cmd_cert_show,   NULL, "one certificate, or those of a host, with all that is known" },
	{ "issue",  cmd_cert_issue,  NULL, "a certificate of CloudStack's kind, for names and addresses" },
	{ "renew",  cmd_cert_renew,  NULL, "give hosts new certificates over their links" },
	{ "revoke", cmd_cert_revoke, NULL, "cut and refuse whoever shows a certificate" },
	{ NULL },
};

static const struct command ca_commands[] = {
	{ "rotate", cmd_ca_rotate, NULL, "change the root of the CA, a phase at a time, while everything runs" },
	{ "show", cmd_ca_show, NULL, "who signs: provider, fingerprint, how long it is valid" },
	{ "crl",  cmd_ca_crl,  NULL, "the signed list of revoked certificates, PEM" },
	{ NULL },
};

static const struct command account_commands[] = {
	{ "create", cmd_account_create, NULL, "make an account with keys for the query API" },
	{ "list",   cmd_account_list,   NULL, "the accounts" },
	{ "rm",     cmd_account_rm,     NULL, "remove an account; its keys end at once" },
	{ NULL },
};

const struct command commands[] = {
	{ "status",    cmd_status,    NULL,             "the cluster on one page: servers, hosts, lists" },
	{ "hosts",     cmd_hosts,     NULL,             "every host with its list and where it is connected" },
	{ "servers",   cmd_servers,   NULL,             "the management servers" },
	{ "explain",   cmd_explain,   NULL,             "why a host is where it is" },
	{ "config",    NULL,          config_commands,  "settings of the cluster: list, get, set, reset" },
	{ "plan",      cmd_plan,      NULL,             "compute a placement without doing anything" },
	{ "rebalance", cmd_rebalance, NULL,             "have every agent go to its preferred server now" },
	{ "drain",     cmd_drain,     NULL,             "move all agents away from a management server, for its maintenance" },
	{ "undrain",   cmd_undrain,   NULL,             "take a management server back into service" },
	{ "rolling-restart", cmd_rolling_restart, NULL,  "restart all management servers, one after the other" },
	{ "freeze",    cmd_freeze,    NULL,             "stop all moves that are not needed, during an incident" },
	{ "thaw",      cmd_thaw,      NULL,             "let agents go to their preferred servers again" },
	{ "host",      NULL,          host_commands,    "one host: add, rm, reconnect, check, stats, rejoin, pin ..." },
	{ "server",    NULL,          server_commands,  "one management server: set, token, rm" },
	{ "token",     NULL,          token_commands,   "join tokens: create, list, revoke" },
	{ "cert",      NULL,          cert_commands,    "certificates: list, show, issue, renew, revoke" },
	{ "ca",        NULL,          ca_commands,      "certificate authority of the cluster: show, rotate, crl" },
	{ "account",   NULL,          account_commands, "accounts of the query API: create, list, rm" },
	{ "events",    cmd_events,    NULL,             "what happened, newest last" },
	{ "api",       cmd_api,       NULL,             "send any command to the query API" },
	{ "demo",      cmd_demo,      NULL,             "start servers and agents on this machine and watch them" },
	{ "version",   cmd_version,   NULL,             "version of this program" },
	{ "help",      cmd_help,      NULL,             "this text, or help about a command" },
	{ NULL },
};
/* clang-format on */
