/*
 * The signed revocation lists (CRLs): what crl.c, which takes over what the store has, and crl_make.c, which makes the
 * next ones, share. Not for others: internal.h has what they need.
 *
 * There is one list of the CA that signs and, while another one is trusted too (a rotation), one of that.
 */
#pragma once

#include "core/backoff.h"
#include "server/internal.h"

#define CRL_LIFE_S (7LL * 24 * 3600)

enum crl_of { CRL_OF_SIGNER, CRL_OF_OTHER, CRLS };

/* The line above a list in the store. */
struct crl_head {
	int64_t covers; /* number of the newest revocation that it knows of */
	int64_t this_s, next_s, n;
	uint64_t number;
	char issuer[FINGERPRINT_TEXT]; /* certificate of the CA that signed */
};
bool crl_head_read(struct crl_head *h, const char *text);
bool crl_head_same(const struct crl_head *a, const struct crl_head *b);
char *crl_head_write(const struct crl_head *h, const char *pem);

struct crl_list {
	bool has;                       /* the store has one that can be read */
	char damaged[FINGERPRINT_TEXT]; /* hash of one there that can't; "": none such */
	struct crl_head head;
	char *pem;               /* owned; the last one that could be read; NULL: none */
	struct buf der;          /* owned */
	char *failed;            /* owned; what the store says of a CA that could not sign; NULL: nothing */
	struct crl_make *making; /* under way */
	struct mono due_since;   /* {0}: it is as it should be */
	struct mono made, said_old;
	struct backoff backoff;            /* of the CA with this fingerprint: */
	char tried_with[FINGERPRINT_TEXT]; /* "": none failed */
};

struct crl {
	bool is_known; /* the store was asked */
	bool reading, again, stale;
	struct crl_list lists[CRLS];
	char *pem;             /* owned; all that are served, one after the other; NULL: none */
	uint64_t joined[CRLS]; /* their numbers; 0: it isn't there */
	uint64_t version;
	struct crl_writing *writing;
	bool write_again;
};

/* The names of its rows in the store, for the CA of that kind. */
const char *crl_secret(enum crl_of of);
const char *crl_secret_failed(enum crl_of of);
/* Who signs it; NULL: there is no such list now. */
struct ca_provider *crl_signer(const struct server *s, enum crl_of of);
/* What the store says of why that one's list can't be signed; NULL: nothing, or it was another CA. */
const char *crl_failure(const struct server *s, enum crl_of of);

/* crl_make.c */
void crl_make_tick(struct server *s, enum crl_of of);
void crl_make_deinit(struct crl_list *l);
