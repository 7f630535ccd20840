/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small helpers that every file uses: scoped cleanup, attributes, array sizes.
 * Cleanup attributes (as in systemd's and GLib's C) free a local on every way out of its scope,
 * so an error path is a plain return.
 */
#ifndef EG_BASE_UTIL_H
#define EG_BASE_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define EG_MUST_CHECK	 __attribute__((warn_unused_result))
#define EG_PRINTF(f, a)	 __attribute__((format(printf, f, a)))
#define EG_UNUSED	 __attribute__((unused))
#define EG_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define EG_CLEANUP(fn)	 __attribute__((cleanup(fn)))
#define EG_MIN(a, b)	 ((a) < (b) ? (a) : (b))
#define EG_MAX(a, b)	 ((a) > (b) ? (a) : (b))

#define EG_NSEC_PER_SEC	 1000000000ULL
#define EG_NSEC_PER_MSEC 1000000ULL
#define EG_UJ_PER_J	 1000000ULL

static inline void eg_freep(void *p)
{
	free(*(void **)p);
}

static inline void eg_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* `eg_autofree char *s = ...;` frees s, `eg_autoclose int fd = ...;` closes fd, at scope end. */
#define eg_autofree  EG_CLEANUP(eg_freep)
#define eg_autoclose EG_CLEANUP(eg_closep)

/* Hands an owned pointer or descriptor out of a scope that would release it. */
#define eg_take_ptr(p)                   \
	({                               \
		__auto_type take_ = (p); \
		(p) = NULL;              \
		take_;                   \
	})
static inline int eg_take_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

/* A total that reached the end of its range stays there: it never falls. */
static inline uint64_t eg_add_sat(uint64_t total, uint64_t more)
{
	return __builtin_add_overflow(total, more, &total) ? UINT64_MAX : total;
}

/* Copies a string into a fixed array, always terminated; returns -ERANGE where it was cut. */
int eg_copy(char *dst, size_t cap, const char *src);

#endif
