/*
 * The door to the two kinds of TLS: credentials come from the world, sessions from the credentials.
 */
#include "net/tls.h"

#include <assert.h>

#include "net/world.h"

enum err tls_creds_new(struct world *w, struct tls_creds **out, const struct tls_material *m, struct why *why)
{
	return w->ops->creds_new(w, out, m, why);
}

struct tls_creds *tls_creds_ref(struct tls_creds *c)
{
	__atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
	return c;
}

struct tls_creds *tls_creds_unref(struct tls_creds *c)
{
	/* Whatever other threads read in it happened before the last of them let go. */
	if (c && __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) == 0)
		c->ops->free(c);
	return NULL;
}

enum err tls_new(struct tls **out, const struct tls_params *p, struct why *why)
{
	assert(p->creds);
	return p->creds->ops->session_new(p->creds, out, p, why);
}

struct tls *tls_free(struct tls *t)
{
	if (t)
		t->ops->free(t);
	return NULL;
}

enum tls_outcome tls_handshake(struct tls *t, struct buf *in, struct buf *out, enum err *error, struct why *why)
{
	return t->ops->handshake(t, in, out, error, why);
}

enum err tls_seal(struct tls *t, const void *plain, size_t n, struct buf *out)
{
	return t->ops->seal(t, plain, n, out);
}

enum err tls_open(struct tls *t, struct bytes records, struct buf *plain, struct why *why)
{
	return t->ops->open(t, records, plain, why);
}

enum err tls_ticket_put(struct tls *t, struct buf *out)
{
	return t->ops->ticket_put ? t->ops->ticket_put(t, out) : ERR_OK;
}

bool tls_ticket_take(struct tls *t, struct buf *out)
{
	return t->ops->ticket_take && t->ops->ticket_take(t, out);
}

bool tls_cert_in_question(const struct tls *t)
{
	return t->ops->cert_in_question && t->ops->cert_in_question(t);
}

const struct tls_peer *tls_peer(const struct tls *t)
{
	return t->ops->peer(t);
}
