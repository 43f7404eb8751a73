/*
 * What several commands say about the cluster in the same words.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "cli/cli.h"
#include "cli/table.h"

/* "address:port" of a server of getMusterStatus, in brackets where needed; a new string. */
char *server_address_text(const json_t *server);
/* Green for Up, and so on. */
enum tint host_tint(const json_t *host);
/* "Up", "Up, reconnecting", "Up, suspect": a new string. */
char *host_status_text(const json_t *host);
/* How many agents are away from their preferred server, and what brings them there. */
void print_off_preferred(const struct cli *c, FILE *to, int64_t n, int64_t interval);
/* The small number that people and lists count by. */
int64_t host_number(const json_t *host);
