#include "server/key_command.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "server/key_change.h"

int key_command_words(struct key_command *c, int argc, char **argv)
{
	c->verb = argc < 2 ? "" : argv[1];
	return argc < 2 ? 1 : 2;
}

bool key_command_is_whole(const struct key_command *c)
{
	if (!c->verb || str_equal(c->verb, "change"))
		return true;
	fputs("muster-server: cluster-key: there is only `cluster-key change`\n", stderr);
	return false;
}

/* ---- what the store says ---- */

struct looking {
	struct cluster_key_record record;
	bool has_secrets;
	struct server_row *rows;
	size_t n;
};

static void looking_deinit(struct looking *l)
{
	for (size_t i = 0; i < l->n; i++)
		server_row_deinit(&l->rows[i]);
	l->rows = mem_free(l->rows);
	l->n = 0;
}

static enum err looking_run(struct store_tx *tx, void *arg, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list names = {0};
	struct looking *l = arg;
	enum err e = key_record_get(tx, &l->record);

	looking_deinit(l);
	if (!e)
		e = store_secret_names(tx, &names);
	l->has_secrets = names.n > 0;
	return e ? e : store_server_list(tx, &l->rows, &l->n);
}

static enum err look(struct key_command *c, struct looking *l, struct why *why)
{
	struct store_call call = {.run = looking_run, .arg = l, .read_only = true};
	struct store_call *calls[] = {&call};
	enum err e = store_run(c->store, calls, 1, why);

	if (!e && call.result) {
		*why = call.why;
		e = call.result;
	}
	return e;
}

/* ---- the file ---- */

/* Where the key comes from systemd there is no file of ours that could be written. */
#define INSTEAD                                                                                                          \
	"name the file that it comes from with -s cluster.key.file=FILE (one that is encrypted is decrypted first, and " \
	"encrypted again afterwards, with systemd-creds), then restart the servers"

static enum err find(struct key_command *c, struct cluster_key_place *place, struct why *why)
{
	enum err e = cluster_key_find(place, c->dir, c->setting, c->credentials, why);

	if (e == ERR_INVALID) {
		why_set(why, "the key is a credential (%s), and systemd gives those to its services only: " INSTEAD,
			c->setting);
		return e;
	}
	if (!e && place->is_credential) {
		why_set(why, "%s is a credential, which can't be written: " INSTEAD, place->path);
		return ERR_REFUSED;
	}
	return e;
}

static enum err read_key(uint8_t out[CLUSTER_KEY_SIZE], const char *path, struct why *why)
{
	enum err e = secret_file_check(path, false, why);

	return e ? e : cluster_key_read(out, &fs_posix, path, why);
}

static enum err read_present(uint8_t out[CLUSTER_KEY_SIZE], const char *path, const struct cluster_key_record *r,
			     struct why *why)
{
	char id[CLUSTER_KEY_ID_TEXT];
	enum err e = read_key(out, path, why);

	if (e == ERR_NOT_FOUND) {
		why_set(why,
			"%s: there is no such file. This has to be done where the cluster key is; under systemd it may be a "
			"credential: " INSTEAD,
			path);
		return e;
	}
	if (e)
		return e;
	cluster_key_id(id, out);
	if (!r->id[0] || str_equal(id, r->id))
		return ERR_OK;
	why_set(why,
		"%s is not the cluster's key any more (%s, in force is %s): copy the key file of a server that has it",
		path, id, r->id);
	return ERR_UNTRUSTED;
}

/* ---- the change ---- */

static void say_who(const struct looking *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (n++ == 0)
			printf("Every server needs the new file in its place; those that run read it by themselves:\n");
		str_make_printable(l->rows[i].name);
		printf("  %-24s %-28s %s\n", l->rows[i].name, l->rows[i].address ? l->rows[i].address : "",
		       server_state_name(l->rows[i].state));
	}
	if (n)
		printf("`muster status` shows who does not have it yet. ");
	printf("Keep a copy of the new key in a safe place; the old one opens only backups of the store from before.\n");
}

static enum err change(struct key_command *c, const char *path, const struct looking *l, struct why *why)
{
	struct key_change k = {.store = c->store, .world = c->world, .fs = &fs_posix, .path = path};
	char id[CLUSTER_KEY_ID_TEXT];
	enum err e = read_present(k.from, path, &l->record, why);

	if (!e && c->file)
		e = read_key(k.to, c->file, why);
	else if (!e)
		world_entropy(c->world, k.to, sizeof(k.to));
	if (!e && !l->has_secrets) {
		why_set(why, "nothing in the store is sealed under a cluster key yet: replace the file");
		e = ERR_REFUSED;
	}
	if (!e)
		e = key_change(&k, why);
	if (!e) {
		cluster_key_id(id, k.to);
		printf("The cluster key was changed (it is %s now); %zu secret%s of the store %s sealed under it.\n"
		       "  file      %s\n",
		       id, k.n_again, k.n_again == 1 ? "" : "s", k.n_again == 1 ? "is" : "are", path);
		if (k.n_lost)
			printf("  %zu could not be opened with the old key either, and %s left out.\n", k.n_lost,
			       k.n_lost == 1 ? "is" : "are");
	}
	mem_wipe(k.from, sizeof(k.from));
	mem_wipe(k.to, sizeof(k.to));
	return e;
}

static enum err locked(struct key_command *c, const char *path, struct why *why)
{
	CLEAN(looking_deinit) struct looking l = {0};
	enum key_settled settled = KEY_SETTLED_NOTHING;
	enum err e = look(c, &l, why);

	if (!e)
		e = key_change_settle(&settled, &fs_posix, path, l.record.id, why);
	if (e)
		return e;
	if (settled == KEY_SETTLED_FINISHED) {
		/* Whoever calls this again after a crash wants that change, not one more. */
		printf("The change that had been begun is finished: %s has the new key (%s).\n", path, l.record.id);
		say_who(&l);
		return ERR_OK;
	}
	if (settled == KEY_SETTLED_UNDONE)
		printf("A change that had been begun and was not made has been tidied up.\n");
	e = change(c, path, &l, why);
	if (!e)
		say_who(&l);
	return e;
}

enum err key_command(struct key_command *c, struct why *why)
{
	CLEAN(cluster_key_place_deinit) struct cluster_key_place place = {0};
	int lock;
	enum err e = find(c, &place, why);

	if (e)
		return e;
	/* Before anything is made beside it that would be somebody else's. */
	if (secret_file_check(place.path, false, why) == ERR_REFUSED)
		return ERR_REFUSED;
	lock = cluster_key_lock(place.path);
	if (lock < 0) {
		why_set(why, "%s.lock can't be made: the folder has to be one that this user can write to", place.path);
		return ERR_IO;
	}
	e = locked(c, place.path, why);
	close(lock);
	return e;
}
