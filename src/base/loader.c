/* SPDX-License-Identifier: Apache-2.0 */
/* See loader.h: dlopen, by soname on the machine, by path below any other root. */
#include "base/loader.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

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

static int root_open(void *ctx, const char *soname, void **ret_lib)
{
	static const char *const folders[] = {"usr/lib", "usr/lib/x86_64-linux-gnu",
					      "usr/lib/aarch64-linux-gnu", "usr/lib64",
					      "usr/local/lib", "lib", "opt/rocm/lib"};
	const char *root = ctx;
	void *lib;

	for (size_t i = 0; i < EG_ARRAY_SIZE(folders); i++) {
		char path[PATH_MAX];
		int n = snprintf(path, sizeof(path), "%s/%s/%s", root, folders[i], soname);

		if (n < 0 || (size_t)n >= sizeof(path) || access(path, F_OK) < 0)
			continue;
		lib = load(path);
		if (!lib)
			return -ENOEXEC;
		*ret_lib = lib;
		return 0;
	}
	return -ENOENT;
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
