/* SPDX-License-Identifier: Apache-2.0 */
/* See loader.h: dlopen, by soname on the machine, by path below any other root. */
#include "base/loader.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"

/* RTLD_LOCAL: a vendor library's symbols never become the program's. */
static void *load(const char *path)
{
	return dlopen(path, RTLD_LAZY | RTLD_LOCAL);
}

static int machine_open(void *ctx, const char *soname, void **ret_lib)
{
	const char *why;
	void *lib = load(soname);

	if (!lib) {
		/* "cannot open shared object file: No such file" is absent; else it is broken. */
		why = dlerror();
		return why && strstr(why, "No such file") ? -ENOENT : -ENOEXEC;
	}
	*ret_lib = lib;
	return 0;
}

/* The path of an open file with every link resolved, so that dlopen() follows none out of the root. */
static int path_of(int fd, char *path, size_t cap)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, cap);
	if (n < 0)
		return -errno;
	if ((size_t)n >= cap)
		return -ENAMETOOLONG;
	path[n] = '\0';
	return 0;
}

static int root_open(void *ctx, const char *soname, void **ret_lib)
{
	static const char *const folders[] = {"usr/lib",
					      "usr/lib/x86_64-linux-gnu",
					      "usr/lib/aarch64-linux-gnu",
					      "usr/lib64",
					      "usr/local/lib",
					      "lib",
					      "opt/rocm/lib"};
	struct eg_fs fs;
	char path[PATH_MAX];
	void *lib;
	int r = eg_fs_open_root(&fs, ctx);

	if (r < 0)
		return r;
	r = -ENOENT;
	for (size_t i = 0; r == -ENOENT && i < EG_ARRAY_SIZE(folders); i++) {
		int fd = eg_fs_openf(&fs, "%s/%s", folders[i], soname);

		if (fd < 0)
			continue;
		r = path_of(fd, path, sizeof(path));
		eg_fs_close(&fs, fd);
	}
	eg_fs_close_root(&fs);
	if (r < 0)
		return r;
	lib = load(path);
	if (!lib)
		return -ENOEXEC;
	*ret_lib = lib;
	return 0;
}

static void *lib_sym(void *ctx, void *lib, const char *name)
{
	return dlsym(lib, name);
}

static void lib_close(void *ctx, void *lib)
{
	if (lib)
		dlclose(lib);
}

struct eg_loader eg_loader_system(const char *root)
{
	bool machine = !root || strcmp(root, "/") == 0;

	return (struct eg_loader){.open = machine ? machine_open : root_open,
				  .sym = lib_sym,
				  .close = lib_close,
				  .ctx = (void *)(uintptr_t)root};
}
