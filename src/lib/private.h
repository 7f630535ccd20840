/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of libergon share. The public objects are thin: the meter does the work. */
#ifndef EG_LIB_PRIVATE_H
#define EG_LIB_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include <ergon/ergon.h>

#include "core/meter.h"

#define BACKENDS_MAX	 48 /* built-in ones included */
#define BACKEND_NAME_MAX 48

/* Names of windows that the library opens for itself start with this byte; users' may not. */
#define HIDDEN		 '\x01'
#define TOTALS		 "\x01totals"

struct ergon_window {
	ergon_context *ctx;
	struct ergon_window *next;
	char name[EG_WINDOW_NAME_MAX];
};

struct backend {
	char name[BACKEND_NAME_MAX];
	const struct eg_driver *driver; /* built-in: its driver; NULL: all, or none for null */
	bool builtin, null;
	struct ergon_backend_ops ops; /* of a program's own */
	void *user;
};

struct ergon_context {
	pid_t pid; /* whoever opened it; another one is a forked child */
	struct eg_env env;
	struct eg_meter *meter;
	pthread_mutex_t lock; /* guards what follows */
	struct ergon_window *windows;
	struct backend backend[BACKENDS_MAX];
	size_t n_backends;
	size_t selected;
	const char *why; /* static text */
	uint64_t hidden; /* names given out */
};

/* -ESTALE in a forked child, else 0. */
int lib_check(const ergon_context *ctx);
/* A name for a window of the library's own. */
void lib_hidden_name(ergon_context *ctx, char name[EG_WINDOW_NAME_MAX]);
void lib_backends_init(ergon_context *ctx);
void lib_windows_free(ergon_context *ctx);

#endif
