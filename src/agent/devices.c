/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What devices say beside their energy (temperature, memory, utilisation, model), read every ten seconds,
 * twice a second while telemetry is streamed, by a thread of its own: vendor libraries take their time, and none of it is the loop's.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "agent/internal.h"
#include "base/thread.h"

#define PERIOD_MS 10000
#define BRISK_MS  500

struct list {
	size_t n;
	struct eg_attribute item[EG_AGENT_ATTRIBUTES_MAX];
};

struct eg_devices {
	struct eg_meter *meter;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct list *fresh; /* complete, not yet taken; NULL none */
	struct list *shown; /* the loop's */
	bool busy, quit, brisk;
	uint64_t lists;	   /* complete ones so far */
	uint64_t shown_no; /* of the shown one; the loop's */
	uint64_t fresh_no;
};

struct collect {
	struct eg_attribute_sink sink;
	struct list *list;
};

static void put(struct eg_attribute_sink *sink, const struct eg_attribute *attribute)
{
	struct list *l = ((struct collect *)sink)->list;

	if (l->n < EG_AGENT_ATTRIBUTES_MAX)
		l->item[l->n++] = *attribute;
}

static struct timespec after(struct timespec ts, long ms)
{
	ts.tv_nsec += ms % 1000 * 1000000;
	ts.tv_sec += ms / 1000 + ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	return ts;
}

static void *read_devices(void *arg)
{
	struct eg_devices *d = arg;
	struct timespec until, begun;

	pthread_mutex_lock(&d->lock);
	while (!d->quit) {
		struct list *list;
		struct collect c = {.sink.put = put};

		d->busy = true;
		pthread_mutex_unlock(&d->lock);
		list = calloc(1, sizeof(*list)); /* its pages are touched as far as it is filled */
		c.list = list;
		if (list)
			eg_meter_attributes(d->meter, &c.sink);
		pthread_mutex_lock(&d->lock);
		d->busy = false;
		if (list) {
			free(d->fresh);
			d->fresh = list;
			d->fresh_no = ++d->lists;
		}
		clock_gettime(CLOCK_MONOTONIC, &begun);
		for (int r = 0; !d->quit && r == 0;) { /* the pace may change while it waits */
			until = after(begun, d->brisk ? BRISK_MS : PERIOD_MS);
			r = pthread_cond_timedwait(&d->wake, &d->lock, &until);
		}
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

int eg_devices_new(struct eg_meter *m, struct eg_devices **ret)
{
	struct eg_devices *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->meter = m;
	pthread_mutex_init(&d->lock, NULL);
	r = eg_cond_init(&d->wake);
	if (r == 0)
		r = eg_thread_start(&d->thread, read_devices, d);
	if (r < 0) {
		free(d);
		return r;
	}
	*ret = d;
	return 0;
}

bool eg_devices_free(struct eg_devices *d)
{
	if (!d)
		return true;
	pthread_mutex_lock(&d->lock);
	d->quit = true;
	pthread_cond_signal(&d->wake);
	if (d->busy) { /* in a driver that may hang: it is left behind with what it holds */
		pthread_mutex_unlock(&d->lock);
		pthread_detach(d->thread);
		return false;
	}
	pthread_mutex_unlock(&d->lock);
	pthread_join(d->thread, NULL);
	pthread_cond_destroy(&d->wake);
	pthread_mutex_destroy(&d->lock);
	free(d->fresh);
	free(d->shown);
	free(d);
	return true;
}

struct eg_device_facts eg_devices_get(struct eg_devices *d)
{
	pthread_mutex_lock(&d->lock);
	if (d->fresh) {
		free(d->shown);
		d->shown = eg_take_ptr(d->fresh);
		d->shown_no = d->fresh_no;
	}
	pthread_mutex_unlock(&d->lock);
	return (struct eg_device_facts){.n = d->shown ? d->shown->n : 0,
					.attribute = d->shown ? d->shown->item : NULL};
}

uint64_t eg_devices_number(const struct eg_devices *d)
{
	return d->shown_no;
}

void eg_devices_hurry(struct eg_devices *d, bool brisk)
{
	pthread_mutex_lock(&d->lock);
	if (d->brisk != brisk) {
		d->brisk = brisk;
		pthread_cond_signal(&d->wake);
	}
	pthread_mutex_unlock(&d->lock);
}
