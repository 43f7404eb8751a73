#include "server/cluster_key.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

#define IN_CREDENTIALS "$" CREDENTIALS_VARIABLE "/"

void cluster_key_place_deinit(struct cluster_key_place *p)
{
	mem_free(p->path);
	*p = (struct cluster_key_place){0};
}

static enum err find_credential(struct cluster_key_place *out, const char *name, const char *credentials,
				struct why *why)
{
	if (!credentials) {
		why_set(why,
			"cluster.key.file is a credential, and systemd has given none: LoadCredential=%s:PATH in the unit",
			name);
		return ERR_INVALID;
	}
	if (!name[0] || strchr(name, '/')) {
		why_set(why, "cluster.key.file: \"%s\" is no name of a credential", name);
		return ERR_INVALID;
	}
	out->path = path_join(credentials, name);
	out->is_credential = true;
	return out->path ? ERR_OK : ERR_NOMEM;
}

enum err cluster_key_find(struct cluster_key_place *out, const char *dir, const char *setting, const char *credentials,
			  struct why *why)
{
	CLEAN(mem_freep) char *given = NULL;
	struct stat st;

	*out = (struct cluster_key_place){0};
	if (str_is_blank(credentials))
		credentials = NULL;
	if (str_starts(setting, IN_CREDENTIALS))
		return find_credential(out, setting + strlen(IN_CREDENTIALS), credentials, why);
	out->path = setting[0] == '/' ? mem_strdup(setting) : path_join(dir, setting);
	if (!out->path)
		return ERR_NOMEM;
	if (!credentials || lstat(out->path, &st) == 0)
		return ERR_OK;
	given = path_join(credentials, CLUSTER_KEY_CREDENTIAL);
	if (!given) {
		cluster_key_place_deinit(out);
		return ERR_NOMEM;
	}
	if (lstat(given, &st) != 0)
		return ERR_OK;
	mem_free(out->path);
	out->path = STEAL(given);
	out->is_credential = true;
	return ERR_OK;
}

int cluster_key_lock(const char *path)
{
	CLEAN(mem_freep) char *lock = mem_printf("%s.lock", path);
	int fd = lock ? open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;

	if (fd >= 0 && flock(fd, LOCK_EX)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

enum err secret_file_check(const char *path, bool is_credential, struct why *why)
{
	unsigned others = is_credential ? 07 : 077;
	struct stat st;

	if (stat(path, &st)) {
		why_set(why, "%s: %s", path, strerror(errno));
		return errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
	}
	if (!S_ISREG(st.st_mode)) {
		why_set(why, "%s is no file", path);
		return ERR_REFUSED;
	}
	if (st.st_uid != 0 && st.st_uid != geteuid()) {
		why_set(why,
			"%s belongs to another user (uid %u), who can read and change it: chown it to this one (uid %u)",
			path, (unsigned)st.st_uid, (unsigned)geteuid());
		return ERR_REFUSED;
	}
	if (st.st_mode & others) {
		why_set(why, "%s is a secret that others may read or change (mode %04o): chmod 600 %s", path,
			(unsigned)st.st_mode & 07777, path);
		return ERR_REFUSED;
	}
	return ERR_OK;
}
