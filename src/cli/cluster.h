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
/* The UUID of the server with that name, UUID or address, and its name; new strings. NULL after a sentence. */
char *server_find(struct cli *c, const char *word, char **name);
/* A host's name, which the API's own commands don't know everywhere, becomes its UUID; what is no name stays. New
 * string; NULL after a sentence. */
char *host_find(struct cli *c, const char *host);
/* Green for Up, yellow for what an operator has asked for, red for Down. */
enum tint server_tint(const char *state);
/* "12 of 30 agents have moved, 2 refused, about 4 s left" of a musterdrain object: a new string. */
char *drain_text(const json_t *drain);
/* Does the server do what it is told, as far as the one that answers knows? */
bool server_is_heard(const json_t *server);
/* A line for each server that is being drained. */
void print_drains(const json_t *servers);
/* Green for Up, and so on. */
enum tint host_tint(const json_t *host);
/* "Up", "Up, reconnecting", "Up, suspect": a new string. */
char *host_status_text(const json_t *host);
/* How many agents are away from their preferred server, and what brings them there; `status` of getMusterStatus. */
void print_off_preferred(const struct cli *c, FILE *to, int64_t n, const json_t *status);
/* Are moves frozen, as a record of the API has it ("musterfrozen")? */
bool is_frozen(const json_t *record);
/* Does one of the array say so? */
bool any_is_frozen(const json_t *records);
/* The small number that people and lists count by. */
int64_t host_number(const json_t *host);
