#include "server/ca_next.h"

#include "base/mem.h"
#include "base/str.h"
#include "ca/succession.h"
#include "server/rotation.h"

enum err ca_next_get(struct store_tx *tx, struct ca_root_record *out)
{
	struct ca_root_record r = {0};
	enum err e = store_secret_get(tx, CA_SECRET_NEXT_CERT, &r.certificate);

	if (!e && (e = store_secret_get(tx, CA_SECRET_NEXT_KEY, &r.sealed_key)) == ERR_NOT_FOUND)
		e = ERR_DAMAGED;
	if (e)
		ca_root_record_deinit(&r);
	else
		*out = r;
	return e;
}

enum err ca_next_set(struct store_tx *tx, const struct ca_root_record *r)
{
	enum err e = store_secret_set(tx, CA_SECRET_NEXT_CERT, r->certificate);

	return e ? e : store_secret_set(tx, CA_SECRET_NEXT_KEY, r->sealed_key);
}

enum err ca_next_remove(struct store_tx *tx)
{
	enum err e = store_secret_remove(tx, CA_SECRET_NEXT_CERT);

	return e ? e : store_secret_remove(tx, CA_SECRET_NEXT_KEY);
}

static enum err check_provider(struct store_tx *tx, struct why *why)
{
	struct config_row *rows = NULL;
	size_t n = 0;
	bool is_external = false;
	enum err e = store_config_list(tx, &rows, &n);

	for (size_t i = 0; i < n; i++) {
		is_external |=
			str_equal(rows[i].name, "ca.framework.provider.plugin") && str_equal(rows[i].value, "exec");
		config_row_deinit(&rows[i]);
	}
	mem_free(rows);
	if (e || !is_external)
		return e;
	why_set(why,
		"the CA is an external one: it is rotated where it is, and ca.plugin.exec.ca.file names both meanwhile");
	return ERR_REFUSED;
}

/* A key that is sealed under a foreign cluster key would be found out in the middle of a rotation. */
static enum err check_cluster_key(const struct ca_root_record *present, const struct ca_next_wish *w, struct why *why)
{
	struct ca_provider *ca = NULL;
	enum err e = ca_root_open(&ca, present, w->cluster_key, why);

	ca_provider_free(ca);
	return e;
}

static enum err check_present(struct store_tx *tx, const struct ca_next_wish *w, struct why *why)
{
	CLEAN(ca_records_deinit) struct ca_records now = {0};
	struct rotation_row row;
	enum err e = ca_records_read(tx, &now);

	if (e == ERR_NOT_FOUND) {
		why_set(why, "the cluster has no CA yet: without --next this becomes its first one");
		return ERR_REFUSED;
	}
	if (e)
		return e;
	rotation_row_read(&row, now.rotation);
	if (row.phase != ROTATION_NONE) {
		why_set(why,
			"a rotation of the CA is under way (%s): finish it, or take it back, with `muster ca rotate`",
			rotation_phase_name(row.phase));
		return ERR_REFUSED;
	}
	e = check_cluster_key(&now.issuing, w, why);
	return e ? e : ca_may_follow(now.issuing.certificate, w->record->certificate, w->wall_s, why);
}

static enum err check_prepared(struct store_tx *tx, struct ca_next_wish *w, struct why *why)
{
	CLEAN(ca_root_record_deinit) struct ca_root_record there = {0};
	enum err e = ca_next_get(tx, &there);

	w->replaced = false;
	if (e == ERR_NOT_FOUND || e == ERR_DAMAGED)
		return ERR_OK;
	if (e)
		return e;
	if (str_equal(there.certificate, w->record->certificate)) {
		why_set(why, "it is prepared already: `muster ca rotate` begins with it");
		return ERR_REFUSED;
	}
	if (!w->replace) {
		why_set(why,
			"another CA is prepared already (`muster ca rotate --status` shows it): `muster ca rotate --discard` "
			"drops it, --force puts this one in its place");
		return ERR_REFUSED;
	}
	w->replaced = true;
	return ERR_OK;
}

enum err ca_next_prepare(struct store_tx *tx, struct ca_next_wish *w, struct why *why)
{
	enum err e = check_provider(tx, why);

	if (!e)
		e = check_present(tx, w, why);
	if (!e)
		e = check_prepared(tx, w, why);
	return e ? e : ca_next_set(tx, w->record);
}
