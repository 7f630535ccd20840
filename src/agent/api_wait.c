/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for windows that cannot be answered at once.
 *
 * The window of a peer who may see only coarsely begins, is looked at or ends on a coarse sample: on one
 * taken for him where one may be taken now, else on the next. So he learns nothing that is not in
 * the coarse view, and windows back to back sum to what that view shows.
 *
 * A peer with full access has his sample taken: in the loop, where no driver makes one wait; else by
 * one thread, which does nothing but the meter's windows and samples, and hands each answer back through
 * an eventfd. The thread knows ids and results; requests and peers are the loop's.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "agent/api_internal.h"
#include "base/thread.h"

struct eg_api_thread {
	struct eg_meter *meter;
	pthread_t id;
	bool runs;
	int fd; /* readable: something is in done */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* Under the lock. */
	bool quit;
	bool sample, sampled; /* eg_api_sample() wants one; it has been taken */
	struct eg_api_queue todo, done;
};

static void push(struct eg_api_queue *q, struct eg_api_wait *w)
{
	w->next = NULL;
	*(q->first ? q->last : &q->first) = w;
	q->last = &w->next;
	q->n++;
}

static struct eg_api_wait *pop(struct eg_api_queue *q)
{
	struct eg_api_wait *w = q->first;

	if (w) {
		q->first = w->next;
		q->n--;
	}
	return w;
}

/* ---- tasks ---- */

/* On a fresh sample. */
static int do_task(struct eg_meter *m, enum eg_api_task task, const char *id,
		   struct eg_result **ret)
{
	int r;

	switch (task) {
	case EG_API_PEEK:
		return eg_meter_peek(m, id, ret);
	case EG_API_END:
		return eg_meter_end(m, id, ret);
	default:
		r = eg_meter_begin(m, id);
		if (r == 0) {
			r = eg_meter_peek_last(m, id, ret); /* for the time of its begin */
			if (r < 0)
				(void)!eg_meter_cancel(m, id);
		}
		return r;
	}
}

int eg_api_task_at(struct eg_api *api, enum eg_api_task task, const char *id, uint64_t t_ns,
		   struct eg_result **ret)
{
	struct eg_meter *m = api->host.meter;
	struct eg_result *result = NULL;
	bool is_last;
	int r = task == EG_API_BEGIN ? eg_meter_begin_last(m, id) : 0;

	if (r < 0)
		return r;
	r = eg_meter_peek_last(m, id, &result);
	is_last = r == 0 && (task == EG_API_BEGIN ? result->begin_ns : result->end_ns) == t_ns;
	if (r == 0 && !is_last)
		r = -EAGAIN;
	/* An end takes the window away; a begin that missed its sample as well. */
	if ((task == EG_API_END && r == 0) || (task == EG_API_BEGIN && r < 0)) {
		int gone = eg_meter_cancel(m, id);

		r = r == 0 ? gone : r;
	}
	if (r < 0) {
		eg_result_free(result);
		return r;
	}
	*ret = result;
	return 0;
}

/* ---- waiting ---- */

static void peer_gone(void *arg, struct eg_http_request *req)
{
	((struct eg_api_wait *)arg)->req = NULL;
}

/* Answers, and forgets the wait. */
static void finish(struct eg_api *api, struct eg_api_wait *w)
{
	struct eg_http_request *req = w->req;

	w->req = NULL;
	eg_api_window_done(api, req, w->task, w->id, &w->owner, w->r, w->result);
	for (size_t i = 0; i < api->n_waits; i++)
		if (api->waits[i] == w) {
			api->waits[i] = api->waits[--api->n_waits];
			break;
		}
	free(w);
}

static size_t jobs(struct eg_api *api)
{
	size_t n;

	pthread_mutex_lock(&api->thread->lock);
	n = api->thread->todo.n;
	pthread_mutex_unlock(&api->thread->lock);
	return n;
}

/* May one more wait? If not, says so. */
static bool may_wait(struct eg_api_call *c, const struct eg_api_owner *owner, bool job)
{
	static const struct eg_api_problem busy = {503, "busy", "try again in a second",
						   .retry_after_s = 1};
	struct eg_api *api = c->api;
	size_t own = 0;

	for (size_t i = 0; i < api->n_waits; i++)
		own += eg_api_same_owner(&api->waits[i]->owner, owner);
	if (own >= EG_API_WAITS_PEER) {
		eg_api_fail(c->req,
			    &(struct eg_api_problem){429, "too_many_requests",
						     "wait for their answers", .retry_after_s = 1},
			    "%zu of your requests wait already", own);
		return false;
	}
	if (api->n_waits < EG_API_WAITS_MAX && (!job || jobs(api) < EG_API_JOBS_MAX))
		return true;
	eg_api_fail(c->req, &busy, "too many requests wait");
	return false;
}

static void to_thread(struct eg_api_thread *t, struct eg_api_wait *w)
{
	pthread_mutex_lock(&t->lock);
	push(&t->todo, w);
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
}

/* A begin that will not be: its place in the list goes, and the request was answered. */
static void give_up(struct eg_api *api, enum eg_api_task task, const char *id,
		    const struct eg_api_owner *owner)
{
	if (task == EG_API_BEGIN)
		eg_api_window_done(api, NULL, task, id, owner, -ECANCELED, NULL);
}

/*
 * Does a coarse task if the coarse view can be renewed now. A renewal that was there before the request
 * is no edge for it: work would be left out, or counted that was done before.
 */
static bool do_coarse_now(struct eg_api *api, struct eg_http_request *req, enum eg_api_task task,
			  const char *id, const struct eg_api_owner *owner)
{
	uint64_t now_ns = eg_api_now_ns(api);
	const struct eg_view *v = api->host.view(api->host.arg, EG_ACCESS_COARSE, false);
	struct eg_result *result = NULL;
	int r;

	if (!v || v->t_ns < now_ns)
		return false;
	r = eg_api_task_at(api, task, id, v->t_ns, &result);
	if (r == -EAGAIN)
		return false;
	eg_api_window_done(api, req, task, id, owner, r, result);
	return true;
}

void eg_api_window_task(struct eg_api_call *c, enum eg_api_task task, const char *id)
{
	struct eg_api *api = c->api;
	bool job = c->access == EG_ACCESS_FULL;
	struct eg_result *result = NULL;
	struct eg_api_owner owner;
	struct eg_api_wait *w;
	int r;

	eg_api_owner_of(&c->req->peer, &owner);
	if (job && !api->thread) {
		r = do_task(api->host.meter, task, id, &result);
		eg_api_window_done(api, c->req, task, id, &owner, r, result);
		return;
	}
	if (!job && do_coarse_now(api, c->req, task, id, &owner))
		return;
	if (!may_wait(c, &owner, job)) {
		give_up(api, task, id, &owner);
		return;
	}
	w = calloc(1, sizeof(*w));
	if (!w) {
		eg_api_fail_memory(c->req);
		give_up(api, task, id, &owner);
		return;
	}
	*w = (struct eg_api_wait){.api = api, .req = c->req, .task = task, .owner = owner};
	memcpy(w->id, id, sizeof(w->id));
	api->waits[api->n_waits++] = w;
	eg_http_defer(c->req, peer_gone, w);
	if (job)
		to_thread(api->thread, w);
	else
		push(&api->coarse, w);
}

void eg_api_wait_coarse(struct eg_api *api, const struct eg_view *v)
{
	struct eg_api_queue now = api->coarse;
	struct eg_api_wait *w;

	api->coarse = (struct eg_api_queue){0};
	while ((w = pop(&now))) {
		w->r = eg_api_task_at(api, w->task, w->id, v->t_ns, &w->result);
		if (w->r == -EAGAIN && ++w->missed < EG_API_MISSED_MAX)
			push(&api->coarse, w);
		else
			finish(api, w);
	}
}

/* ---- the thread ---- */

static void *work(void *arg)
{
	struct eg_api_thread *t = arg;
	uint64_t one = 1;

	pthread_mutex_lock(&t->lock);
	while (!t->quit) {
		bool sample = t->sample;
		struct eg_api_wait *w = sample ? NULL : pop(&t->todo);

		if (!w && !sample) {
			pthread_cond_wait(&t->wake, &t->lock);
			continue;
		}
		t->sample = false;
		pthread_mutex_unlock(&t->lock);
		if (sample)
			eg_meter_sample(t->meter, true);
		else
			w->r = do_task(t->meter, w->task, w->id, &w->result);
		pthread_mutex_lock(&t->lock);
		if (sample)
			t->sampled = true;
		else
			push(&t->done, w);
		/* Cannot fail but where it is readable already. */
		if (write(t->fd, &one, sizeof(one)) < 0)
			continue;
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

int eg_api_wait_new(struct eg_api *api)
{
	struct eg_api_thread *t;
	int r;

	if (!eg_meter_has_slow(api->host.meter))
		return 0;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->meter = api->host.meter;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wake, NULL);
	api->thread = t; /* eg_api_free() clears up */
	t->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->fd < 0)
		return -errno;
	r = eg_thread_start(&t->id, work, t);
	t->runs = r == 0;
	return r;
}

bool eg_api_sample(struct eg_api *api)
{
	struct eg_api_thread *t = api->thread;

	if (!t)
		return false;
	pthread_mutex_lock(&t->lock);
	t->sample = true;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
	return true;
}

bool eg_api_sampled(struct eg_api *api)
{
	struct eg_api_thread *t = api->thread;
	bool sampled = false;

	if (t) {
		pthread_mutex_lock(&t->lock);
		sampled = t->sampled;
		t->sampled = false;
		pthread_mutex_unlock(&t->lock);
	}
	return sampled;
}

int eg_api_fd(const struct eg_api *api)
{
	return api->thread ? api->thread->fd : -1;
}

void eg_api_run(struct eg_api *api)
{
	struct eg_api_thread *t = api->thread;
	struct eg_api_queue done;
	struct eg_api_wait *w;
	uint64_t n;

	if (!t)
		return;
	if (read(t->fd, &n, sizeof(n)) < 0) /* nothing new: then done is empty as well */
		n = 0;
	pthread_mutex_lock(&t->lock);
	done = t->done;
	t->done = (struct eg_api_queue){0};
	pthread_mutex_unlock(&t->lock);
	while ((w = pop(&done)))
		finish(api, w);
}

/* Nobody waits any more: what is done is answered, the rest is told that the agent stops. */
void eg_api_wait_free(struct eg_api *api)
{
	struct eg_api_thread *t = api->thread;
	struct eg_api_queue *queues[] = {&api->coarse, t ? &t->todo : NULL};
	struct eg_api_wait *w;

	if (t && t->runs) {
		pthread_mutex_lock(&t->lock);
		t->quit = true;
		pthread_cond_signal(&t->wake);
		pthread_mutex_unlock(&t->lock);
		pthread_join(t->id, NULL);
		eg_api_run(api);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(queues); i++)
		while (queues[i] && (w = pop(queues[i]))) {
			w->r = -ECANCELED;
			finish(api, w);
		}
	if (!t)
		return;
	if (t->fd >= 0)
		close(t->fd);
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	free(t);
	api->thread = NULL;
}

bool eg_api_waits_coarse(const struct eg_api *api)
{
	return api->coarse.n > 0;
}
