/*
 * Runs a fuzz target on every file of the folders given, so that the corpus is part of the ordinary tests, with any
 * compiler. A target reports a finding by ending the program.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"

#define SIZE_LIMIT (64u * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool run_file(const char *path)
{
	CLEAN(buf_deinit) struct buf content = {0};
	struct why why = WHY_NONE;
	enum err e = file_read(&fs_posix, path, SIZE_LIMIT, &content, &why);
	uint8_t *exact;

	if (e) {
		fprintf(stderr, "%s\n", why_text(&why, e));
		return false;
	}
	/* A block of exactly that size: reading one byte too many is found by the address sanitizer. */
	exact = malloc(content.len ? content.len : 1);
	if (!exact)
		return false;
	if (content.len)
		memcpy(exact, content.data, content.len);
	/* Said before, so that the last line names the file of a crash. */
	printf("%s\n", path);
	fflush(stdout);
	LLVMFuzzerTestOneInput(exact, content.len);
	free(exact);
	return true;
}

static bool run_entry(const char *dir, const char *name, size_t *n_files)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);
	struct stat st;

	if (!path || stat(path, &st) != 0)
		return false;
	if (!S_ISREG(st.st_mode))
		return true;
	++*n_files;
	return run_file(path);
}

/* A folder without files is a mistake: the test would pass without having looked at anything. */
static bool run_folder(const char *dir)
{
	struct dirent **entries;
	int n = scandir(dir, &entries, NULL, alphasort);
	size_t n_files = 0;
	bool is_good = n >= 0;

	for (int i = 0; i < n; i++) {
		is_good = is_good && run_entry(dir, entries[i]->d_name, &n_files);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	if (is_good && !n_files) {
		fprintf(stderr, "%s: no files\n", dir);
		return false;
	}
	return is_good;
}

int main(int argc, char **argv)
{
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++) {
		if (!run_folder(argv[i])) {
			fprintf(stderr, "%s: can't be run\n", argv[i]);
			return 1;
		}
	}
	return 0;
}
