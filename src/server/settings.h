/*
 * server.properties: what one server has to know before it can ask the store. Everything that concerns the cluster
 * lives in the store and is set with `muster config set` (decision 18).
 */
#pragma once

#include "base/settings.h"
#include "net/tcp_timers.h"

struct server_settings {
	char *name;
	char *address;
	char *listen;
	int64_t port;
	char *store;
	char *cluster_key;
	char *exec_command, *exec_ca_file;
	int64_t exec_timeout;
	char *api_listen;
	int64_t api_port;
	bool api_metrics;
	char *socket;
	char *log_level;
	int64_t max_links;
	int64_t max_anonymous;
	int64_t drain_on_stop;
	struct tcp_timers tcp;
	int64_t max_anonymous_per_address;
};

extern const struct settings_table server_settings_table;
