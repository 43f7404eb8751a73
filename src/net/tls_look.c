#include "net/tls_look.h"

#define RECORD_CHANGE_CIPHER 20
#define RECORD_HANDSHAKE 22
#define RECORD_APPLICATION 23
#define RECORD_MAX (16384 + 2048)
#define RECORDS_MAX 64 /* in which a hello may come; one is usual */
#define HANDSHAKE_HELLO 1
#define HANDSHAKE_HEADER 4

static enum tls_look bad(struct why *why, const char *what)
{
	why_set(why, "TLS handshake: %s", what);
	return TLS_LOOK_BAD;
}

/* What there is of the next record. A byte that can't be is refused before the next one has come. */
static enum tls_look record_get(struct bytes *in, uint8_t *type, struct bytes *payload, struct why *why)
{
	uint8_t version[2] = {3, 0};
	uint16_t n;

	if (!bytes_get_u8(in, type))
		return TLS_LOOK_PART;
	if (*type < RECORD_CHANGE_CIPHER || *type > RECORD_APPLICATION)
		return bad(why, "no TLS record (is it TLS at all?)");
	if (bytes_get_u8(in, &version[0]) && version[0] != 3)
		return bad(why, "no TLS record (is it TLS at all?)");
	if (!bytes_get_u8(in, &version[1]) || !bytes_get_u16(in, &n))
		return TLS_LOOK_PART;
	/* Only application data may be empty, and there is none yet. */
	if (n == 0)
		return bad(why, "an empty record");
	if (n > RECORD_MAX)
		return bad(why, "a record over the limit (is it TLS at all?)");
	if (bytes_get(in, n, payload))
		return TLS_LOOK_WHOLE;
	*payload = *in;
	in->len = 0;
	return TLS_LOOK_PART;
}

/* The first bytes of the handshake message, collected over records. */
struct message {
	uint8_t header[HANDSHAKE_HEADER];
	size_t n; /* bytes so far, the header's among them */
};

static void message_put(struct message *m, struct bytes payload)
{
	for (size_t i = 0; i < payload.len && m->n + i < HANDSHAKE_HEADER; i++)
		m->header[m->n + i] = payload.data[i];
	m->n += payload.len;
}

static enum tls_look message_look(const struct message *m, struct why *why)
{
	size_t n;

	if (m->n > 0 && m->header[0] != HANDSHAKE_HELLO)
		return bad(why, "it does not begin with a hello");
	if (m->n < HANDSHAKE_HEADER)
		return TLS_LOOK_PART;
	n = (size_t)m->header[1] << 16 | (size_t)m->header[2] << 8 | m->header[3];
	if (n > TLS_HELLO_MAX)
		return bad(why, "the hello is over the limit");
	return m->n >= HANDSHAKE_HEADER + n ? TLS_LOOK_WHOLE : TLS_LOOK_PART;
}

enum tls_look tls_look_hello(struct bytes in, struct why *why)
{
	struct message m = {0};

	if (in.len > TLS_HELLO_MAX)
		return bad(why, "the hello is over the limit");
	for (int i = 0; i < RECORDS_MAX; i++) {
		struct bytes payload = {0};
		uint8_t type = RECORD_HANDSHAKE;
		enum tls_look record = record_get(&in, &type, &payload, why), message;

		if (record == TLS_LOOK_BAD)
			return record;
		if (type != RECORD_HANDSHAKE)
			return bad(why, "it does not begin with a hello");
		message_put(&m, payload);
		message = message_look(&m, why);
		/* A hello that is there but whose record is not holds something behind it: GnuTLS wants it whole. */
		if (message == TLS_LOOK_BAD || record == TLS_LOOK_PART)
			return message == TLS_LOOK_BAD ? message : TLS_LOOK_PART;
		if (message == TLS_LOOK_WHOLE)
			return message;
	}
	return bad(why, "the hello comes in too many records");
}

enum tls_look tls_look_flight(struct bytes in, struct why *why)
{
	struct bytes payload;
	uint8_t type;

	return record_get(&in, &type, &payload, why);
}
