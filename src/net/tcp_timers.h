/*
 * How soon the kernel gives up a connection whose peer is silent: the backstop below the heartbeats, and all there is
 * towards a peer that has none (decision 26).
 *
 * Keepalive sees an idle peer that is dead, the user time-out one that data is pending for; each is blind to the
 * other's case. The settings of both daemons come from here, so that range, default and help are written once.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct tcp_timers {
	int64_t idle_s; /* silence before the first probe; 0: no probes */
	int64_t interval_s;
	int64_t count;
	int64_t user_timeout_s; /* 0: the system's own, many minutes */
};

#define TCP_IDLE_S 1
#define TCP_INTERVAL_S 1
#define TCP_COUNT 3
#define TCP_USER_TIMEOUT_S 5

#define TCP_TIMERS_DEFAULT                                                                                             \
	((struct tcp_timers){.idle_s = TCP_IDLE_S,                                                                     \
			     .interval_s = TCP_INTERVAL_S,                                                             \
			     .count = TCP_COUNT,                                                                       \
			     .user_timeout_s = TCP_USER_TIMEOUT_S})

/* clang-format off */
#define TCP_TEXT_OF(number) #number
#define TCP_TEXT(number) TCP_TEXT_OF(number)
#define TCP_ROW(prefix, at, field, text, default_, low, high, sentence)                                \
	{ .name = prefix text, .type = SETTING_NUMBER, .offset = (at) + offsetof(struct tcp_timers, field), \
	  .fallback = TCP_TEXT(default_), .min = (low), .max = (high), .help = sentence }

/*
 * Four rows for a table of settings (base/settings.h): `prefix` before each name, `at` the offset of the struct in
 * the block. The upper bounds are the kernel's; what is beyond them it would refuse in silence.
 */
#define TCP_TIMER_ROWS(prefix, at)                                                                     \
	TCP_ROW(prefix, at, idle_s, "tcp.keepalive.idle", TCP_IDLE_S, 0, 32767,                         \
		"Seconds of silence after which the kernel starts to probe a connection; 0: never"),     \
	TCP_ROW(prefix, at, interval_s, "tcp.keepalive.interval", TCP_INTERVAL_S, 1, 32767,             \
		"Seconds between two such probes"),                                                      \
	TCP_ROW(prefix, at, count, "tcp.keepalive.count", TCP_COUNT, 1, 127,                            \
		"Probes without an answer after which a connection is closed; a user time-out takes the place of this count"), \
	TCP_ROW(prefix, at, user_timeout_s, "tcp.user.timeout", TCP_USER_TIMEOUT_S, 0, 86400,           \
		"Seconds for which what was sent may stay unconfirmed before the kernel closes the connection; 0: the system's own, about 15 minutes")
/* clang-format on */
