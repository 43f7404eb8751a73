/*
 * The rows of server.properties. A key of the cluster's configuration in this file is an error that says where it
 * belongs.
 */
#include "server/settings.h"

#include <stddef.h>

#include "base/mem.h"

#define AT(field) offsetof(struct server_settings, field)

/* clang-format off */
static const struct setting rows[] = {
	{ .name = "name", .type = SETTING_TEXT, .offset = AT(name),
	  .help = "Name of this server in lists and events; default: the host name" },
	{ .name = "address", .type = SETTING_TEXT, .offset = AT(address),
	  .help = "Address or name under which agents and other servers reach this one; default: `listen`" },
	{ .name = "listen", .type = SETTING_TEXT, .offset = AT(listen), .fallback = "127.0.0.1",
	  .help = "Address of the agent port; :: for all" },
	{ .name = "port", .type = SETTING_NUMBER, .offset = AT(port), .fallback = "8250", .min = 0, .max = 65535,
	  .help = "Agent port; 0: any free one" },
	{ .name = "store", .type = SETTING_TEXT, .offset = AT(store), .fallback = "muster.db",
	  .help = "SQLite file of the cluster's store; a relative path is relative to this server's folder" },
	{ .name = "cluster.key.file", .type = SETTING_TEXT, .offset = AT(cluster_key), .fallback = "cluster.key",
	  .help = "File with the key that protects the CA's key in the store, for nobody else to read; made at the first start of a cluster. $CREDENTIALS_DIRECTORY/NAME: a credential that systemd gives; one called cluster.key is taken where there is no file" },
	{ .name = "ca.plugin.exec.command", .type = SETTING_TEXT, .offset = AT(exec_command),
	  .help = "Command that signs when ca.framework.provider.plugin is exec: an absolute path and its arguments, double quotes around one with blanks; no shell. Unset: this server does not sign" },
	{ .name = "ca.plugin.exec.ca.file", .type = SETTING_TEXT, .offset = AT(exec_ca_file),
	  .help = "PEM file with the CA certificates that are believed then; the first is the one up to which that command's certificates must lead" },
	{ .name = "ca.plugin.exec.timeout", .type = SETTING_NUMBER, .offset = AT(exec_timeout), .fallback = "30", .min = 1, .max = 600,
	  .help = "Seconds for that command; then it is killed" },
	{ .name = "api.listen", .type = SETTING_TEXT, .offset = AT(api_listen), .fallback = "127.0.0.1",
	  .help = "Address of the query API" },
	{ .name = "api.port", .type = SETTING_NUMBER, .offset = AT(api_port), .fallback = "8080", .min = 0, .max = 65535,
	  .help = "Port of the query API; 0: off" },
	{ .name = "api.metrics", .type = SETTING_BOOL, .offset = AT(api_metrics), .fallback = "true",
	  .help = "Answer /metrics, /healthz and /livez on that port, without a signature; the local socket always does" },
	{ .name = "socket", .type = SETTING_TEXT, .offset = AT(socket), .fallback = "muster.sock",
	  .help = "Local socket for `muster` as root or as the user of the server; needs no keys" },
	{ .name = "log.level", .type = SETTING_CHOICE, .offset = AT(log_level), .fallback = "info", .choices = "error,warn,info,debug",
	  .help = "What is logged: error, warn, info, debug" },
	{ .name = "links.max", .type = SETTING_NUMBER, .offset = AT(max_links), .fallback = "18000", .min = 10, .max = 1000000,
	  .help = "Links held at most; above it new connections are closed at once" },
	{ .name = "links.anonymous", .type = SETTING_NUMBER, .offset = AT(max_anonymous), .fallback = "4096", .min = 16, .max = 1000000,
	  .help = "Connections that have not yet shown a certificate, at most; then the longest silent one makes room for a newcomer" },
	{ .name = "links.anonymous.per.address", .type = SETTING_NUMBER, .offset = AT(max_anonymous_per_address), .fallback = "256", .min = 1, .max = 1000000,
	  .help = "Connections that have not yet sent a startup, at most from one address" },
	{ .name = "drain.on.stop", .type = SETTING_NUMBER, .offset = AT(drain_on_stop), .fallback = "10", .min = 0, .max = 3600,
	  .help = "Seconds that agents get to move to other servers when this one is told to stop (SIGTERM); 0: it stops at once" },
	TCP_TIMER_ROWS("", AT(tcp)),
};
/* clang-format on */

const struct settings_table server_settings_table = {
	.rows = rows,
	.n = ARRAY_SIZE(rows),
	.unknown_is_error = true,
};
