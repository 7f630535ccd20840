/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vendor libraries at run time. On the machine itself the dynamic linker's own search is used; with
 * another root only that root's library folders are searched, so that a captured machine never
 * loads a library of the machine it is examined on.
 */
#ifndef EG_BASE_LOADER_H
#define EG_BASE_LOADER_H

#include "base/util.h"

struct eg_loader {
	/* Opens a library by its soname. 0, -ENOENT (absent), -ENOEXEC (there, but not loadable). */
	int (*open)(void *ctx, const char *soname, void **ret_lib);
	/* The address of a symbol, NULL if the library has none of that name. */
	void *(*sym)(void *ctx, void *lib, const char *name);
	void (*close)(void *ctx, void *lib);
	void *ctx;
};

/* root: NULL or "/" for the machine; borrowed for the loader's lifetime. */
struct eg_loader eg_loader_system(const char *root);

#endif
