/*
 * Any first bytes of a connection: nothing outside of them is read, a refusal has a sentence, and what is refused or
 * whole stays so when more comes - a hello in pieces is judged as it would be in one.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/tls_look.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static void look_at_pieces(enum tls_look (*look)(struct bytes in, struct why *why), const uint8_t *data, size_t size)
{
	enum tls_look before = TLS_LOOK_PART;
	size_t step = size / 64 + 1;

	for (size_t n = 0;; n = n + step < size ? n + step : size) {
		struct why why = WHY_NONE;
		enum tls_look now = look((struct bytes){.data = data, .len = n}, &why);

		MUST(now == TLS_LOOK_PART || now == TLS_LOOK_WHOLE || now == TLS_LOOK_BAD);
		MUST((why.text[0] != '\0') == (now == TLS_LOOK_BAD));
		MUST(before != TLS_LOOK_BAD || now == TLS_LOOK_BAD);
		MUST(n < 2 * TLS_HELLO_MAX || now != TLS_LOOK_PART); /* it doesn't wait for ever */
		before = now;
		if (n == size)
			break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	look_at_pieces(tls_look_hello, data, size);
	look_at_pieces(tls_look_flight, data, size);
	return 0;
}
