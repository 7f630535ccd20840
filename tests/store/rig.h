/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the store share: a directory in memory, accounts, and a kernel that fails or dies
 * where it is told to. Dying is seen from the disk's side: after so many bytes nothing is written any
 * more, whatever the store does.
 */
#ifndef RIG_H
#define RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "store/internal.h"

#define BOOT_A			    "11111111-2222-3333-4444-555555555555"
#define BOOT_B			    "99999999-2222-3333-4444-555555555555"
#define T0			    (1800000000 * EG_NSEC_PER_SEC) /* Unix time of the tests */

#define assert_ok(e)		    assert_int_equal(e, 0)
#define assert_contains(text, part) assert_non_null(strstr(text, part))

enum rig_op {
	RIG_OPEN,
	RIG_READ,
	RIG_WRITE,
	RIG_DATASYNC,
	RIG_SYNC,
	RIG_TRUNCATE,
	RIG_ALLOCATE,
	RIG_RENAME,
	RIG_UNLINK,
	RIG_OPS
};

struct rig {
	struct eg_io io; /* of this kernel */
	char dir[128];
	pthread_mutex_t mutex; /* of what follows */
	/* Units until it dies: a byte written is one, any other change is one. -1: never. */
	int64_t budget;
	uint64_t spent;
	bool dead;
	bool kill_process;  /* dying is SIGKILL */
	int fail[RIG_OPS];  /* errno, negative */
	int times[RIG_OPS]; /* so often; -1 for ever */
	unsigned long calls[RIG_OPS];
	bool lazy; /* syncs are believed, not done: speed */
	/* ledger.log as a loss of power leaves it at least. */
	uint8_t *durable;
	size_t n_durable;
	uint8_t *pending; /* of a new log that was synced but has no name yet */
	size_t n_pending;
};

struct rig *rig_new(void);
struct rig *rig_free(struct rig *r);
int rig_setup(void **state); /* a rig in *state, for cmocka */
int rig_teardown(void **state);

/* A file of the directory. */
void rig_path(const struct rig *r, const char *name, char buf[256]);
uint8_t *rig_load(const struct rig *r, const char *name, size_t *ret_n);
void rig_save(const struct rig *r, const char *name, const void *data, size_t n);
void rig_remove(const struct rig *r, const char *name);
void rig_empty(const struct rig *r); /* removes everything in the directory */
uint64_t rig_size(const struct rig *r, const char *name);

struct eg_account rig_account(const char *device, uint64_t uj);
/* Total of a device in a store as it was opened; UINT64_MAX: no such account. */
uint64_t rig_restored(const struct eg_store *s, const char *device);

/* Opens by this rig's kernel; the error's text goes to why. */
int rig_open_at(struct rig *r, const char *boot, uint64_t unix_ns, uint64_t log_max,
		struct eg_store **ret, struct eg_strbuf *why);
/* The same, started for n accounts, and asserts that it went well. */
struct eg_store *rig_start(struct rig *r, const char *boot, size_t n);
/* A flush and its end; returns how it ended. */
int rig_flush(struct eg_store *s, const struct eg_account *a, size_t n, uint64_t unix_ns);
/* Ends as if it was killed. */
void rig_kill(struct eg_store *s);
/* Ends in order. */
void rig_close(struct eg_store *s, const struct eg_account *a, size_t n, uint64_t unix_ns);

/* xorshift64*: the same on every machine. */
uint64_t rig_random(uint64_t *state);

#endif
