/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of our own, and what they wait by. */
#ifndef EG_BASE_THREAD_H
#define EG_BASE_THREAD_H

#include <pthread.h>

#include "base/util.h"

/* A condition whose timed waits take eg_clock_deadline(). Negative errno. */
int eg_cond_init(pthread_cond_t *c) EG_MUST_CHECK;
/* Starts a thread that takes no signals: they belong to the program. Negative errno. */
int eg_thread_start(pthread_t *t, void *(*fn)(void *), void *arg) EG_MUST_CHECK;

#endif
