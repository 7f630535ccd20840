/* SPDX-License-Identifier: Apache-2.0 */
/* See sigbus.h. The handler only reads atomics, maps memory and sets a flag. */
#include "store/sigbus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

struct guard {
	_Atomic(uintptr_t) base; /* 0: free */
	size_t bytes;
	atomic_bool *lost;
};

static struct guard guards[EG_SIGBUS_GUARDS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows, and of changes above */
static unsigned n_guards;
static struct sigaction before;

/* True: the page is there again, and the access can be repeated. */
static bool replace(uintptr_t at)
{
	for (size_t i = 0; i < EG_SIGBUS_GUARDS_MAX; i++) {
		uintptr_t base = atomic_load_explicit(&guards[i].base, memory_order_acquire);

		if (!base || at < base || at - base >= guards[i].bytes)
			continue;
		if (mmap((void *)base, guards[i].bytes, PROT_READ | PROT_WRITE, /* NOLINT */
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			return false;
		atomic_store(guards[i].lost, true);
		return true;
	}
	return false;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int err = errno;
	bool sent = info->si_code <= 0; /* by kill(2), not by a fault */

	if (!sent && replace((uintptr_t)info->si_addr)) {
		errno = err;
		return;
	}
	errno = err;
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(sig, info, context);
	} else if (before.sa_handler == SIG_IGN && sent) {
		return;
	} else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(sig);
	} else {
		/* Nobody else: a fault happens again when this returns, a sent one is sent again. */
		sigaction(sig, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
		if (sent)
			raise(sig);
	}
}

int eg_sigbus_guard(void *base, size_t bytes, atomic_bool *lost)
{
	struct sigaction sa = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	int r = -ENOSPC;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; r < 0 && i < EG_SIGBUS_GUARDS_MAX; i++) {
		struct guard *g = &guards[i];

		if (atomic_load_explicit(&g->base, memory_order_relaxed))
			continue;
		if (n_guards == 0 && sigaction(SIGBUS, &sa, &before) < 0) {
			r = -errno;
			break;
		}
		g->bytes = bytes;
		g->lost = lost;
		atomic_store_explicit(&g->base, (uintptr_t)base, memory_order_release);
		n_guards++;
		r = 0;
	}
	pthread_mutex_unlock(&lock);
	return r;
}

void eg_sigbus_release(void *base)
{
	struct sigaction now;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < EG_SIGBUS_GUARDS_MAX; i++) {
		if (atomic_load_explicit(&guards[i].base, memory_order_relaxed) != (uintptr_t)base)
			continue;
		atomic_store_explicit(&guards[i].base, 0, memory_order_release);
		/* The last one puts back what was there, unless somebody came after us. */
		if (--n_guards == 0 && sigaction(SIGBUS, NULL, &now) == 0 &&
		    (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_sigbus)
			sigaction(SIGBUS, &before, NULL);
		break;
	}
	pthread_mutex_unlock(&lock);
}
