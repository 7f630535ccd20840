/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See sampler.h. Ticks lie on a grid from the first one on; a late one is made at once and those that
 * passed meanwhile are skipped, so that readings stay evenly spaced and never come in a burst. Nothing is
 * allocated for a tick. What devices say beside their energy is read by a second thread: vendor libraries
 * take their time.
 */
#include "monitor/sampler.h"
#include "base/clock.h"
#include "base/thread.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>

#include "core/meter.h"
#include "monitor/telemetry.h"

#define DETAILS_MS	 500
#define DETAILS_WAIT_MS	 1000 /* for the first of them */
#define ATTRIBUTES_MAX	 2048
#define WARM_UP_NS	 (20 * EG_NSEC_PER_MSEC) /* between the first two samples: power needs two */
#define READ_DEADLINE_NS (300 * EG_NSEC_PER_MSEC)
#define OPEN_DEADLINE_NS \
	(30 * EG_NSEC_PER_SEC) /* of a library: many GPUs that slept wake in turn */
#define FIRST_READ_TRIES 500   /* a device that is slow at first is not gone */
#define FIRST_READ_MS	 20    /* between two of them */
#define BACKOFF_MAX_NS	 (10 * EG_NSEC_PER_SEC)
#define SUBJECT		 "monitor"

struct list {
	size_t n;
	uint64_t read_ns; /* interval clock */
	struct eg_attribute item[ATTRIBUTES_MAX];
};

struct eg_sampler {
	const struct eg_monitor_start *start;
	const struct eg_env *env;
	struct eg_file_clock *steered;
	int ready_fd, wake_fd; /* to the loop; to the thread */
	pthread_t thread, details;
	bool has_details;

	/* The thread's own. */
	struct eg_meter *meter;
	struct eg_view *view;
	struct eg_telemetry *telemetry;
	struct eg_memory memory;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t cond;
	bool quit, done, left_behind;
	struct list *fresh, *spare;
	struct eg_sampler_state state;
	size_t first, n;
	size_t len[EG_SAMPLER_QUEUE];
	uint8_t queue[EG_SAMPLER_QUEUE][EG_READING_BYTES_MAX];
};

/* ---- what devices say, on a thread of its own ---- */

struct collect {
	struct eg_attribute_sink sink;
	struct list *list;
};

static void put(struct eg_attribute_sink *sink, const struct eg_attribute *attribute)
{
	struct list *l = ((struct collect *)sink)->list;

	if (l->n < ATTRIBUTES_MAX)
		l->item[l->n++] = *attribute;
}

static void *read_details(void *arg)
{
	struct eg_sampler *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->quit) {
		struct timespec until = eg_clock_deadline(DETAILS_MS * EG_NSEC_PER_MSEC);
		struct list *l = s->spare ? eg_take_ptr(s->spare) : eg_take_ptr(s->fresh);
		struct collect c = {.sink.put = put};

		pthread_mutex_unlock(&s->lock);
		l = l ? l : malloc(sizeof(*l)); /* the first two or three times */
		if (l) {
			l->n = 0;
			c.list = l;
			eg_meter_attributes(s->meter, &c.sink);
			l->read_ns = eg_clock_ns(&s->env->clock);
		}
		pthread_mutex_lock(&s->lock);
		if (l) {
			free(s->spare);
			s->spare = s->fresh;
			s->fresh = l;
			pthread_cond_broadcast(&s->cond);
		}
		while (!s->quit && pthread_cond_timedwait(&s->cond, &s->lock, &until) == 0)
			;
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* The newest list, to be given back; NULL: none since the last one. */
static struct list *take_details(struct eg_sampler *s, long wait_ms)
{
	struct timespec until = eg_clock_deadline((uint64_t)wait_ms * EG_NSEC_PER_MSEC);
	struct list *l;

	pthread_mutex_lock(&s->lock);
	while (!s->fresh && !s->quit && wait_ms &&
	       pthread_cond_timedwait(&s->cond, &s->lock, &until) == 0)
		;
	l = eg_take_ptr(s->fresh);
	pthread_mutex_unlock(&s->lock);
	return l;
}

static void give_back(struct eg_sampler *s, struct list *l)
{
	pthread_mutex_lock(&s->lock);
	if (!s->spare)
		s->spare = eg_take_ptr(l);
	pthread_mutex_unlock(&s->lock);
	free(l);
}

/* ---- to the loop ---- */

static void ring(int fd)
{
	const uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}

static void queue_reading(struct eg_sampler *s, const struct eg_telemetry_reading *r)
{
	uint8_t bytes[EG_READING_BYTES_MAX];
	ssize_t n = eg_encode_reading(r, bytes);
	size_t at;

	if (n < 0)
		return;
	pthread_mutex_lock(&s->lock);
	if (s->n == EG_SAMPLER_QUEUE) { /* energy is cumulative: the oldest is the one to lose */
		s->first = (s->first + 1) % EG_SAMPLER_QUEUE;
		s->n--;
	}
	at = (s->first + s->n++) % EG_SAMPLER_QUEUE;
	memcpy(s->queue[at], bytes, (size_t)n);
	s->len[at] = (size_t)n;
	s->state.readings++;
	pthread_mutex_unlock(&s->lock);
	ring(s->ready_fd);
}

static void fail(struct eg_sampler *s, int status, const char *why)
{
	pthread_mutex_lock(&s->lock);
	s->state.failed = status;
	(void)eg_copy(s->state.why, sizeof(s->state.why), why);
	pthread_mutex_unlock(&s->lock);
	ring(s->ready_fd);
}

/* ---- the thread ---- */

static bool quits(struct eg_sampler *s)
{
	bool quit;

	pthread_mutex_lock(&s->lock);
	quit = s->quit;
	pthread_mutex_unlock(&s->lock);
	return quit;
}

/* Until that time of the interval clock; false: it is to end. */
static bool sleep_until(struct eg_sampler *s, uint64_t t_ns)
{
	struct pollfd p = {.fd = s->wake_fd, .events = POLLIN};

	while (!quits(s)) {
		uint64_t now = eg_clock_ns(&s->env->clock), left = t_ns > now ? t_ns - now : 0;
		struct timespec ts = {.tv_sec = (time_t)(left / EG_NSEC_PER_SEC),
				      .tv_nsec = (long)(left % EG_NSEC_PER_SEC)};

		if (!left)
			return true;
		if (s->steered && eg_file_clock_sleep(s->steered, t_ns, s->wake_fd) != -ECANCELED)
			continue;
		(void)ppoll(&p, 1, &ts, NULL);
	}
	return false;
}

static void make_reading(struct eg_sampler *s)
{
	struct eg_telemetry_reading r;
	uint64_t now, unix_ns;

	eg_view_take(s->view, s->meter);
	now = eg_clock_ns(&s->env->clock);
	unix_ns = eg_clock_unix_ns(&s->env->clock);
	eg_telemetry_read(s->telemetry, s->view, now, unix_ns, eg_memory_used(&s->memory, now), &r);
	queue_reading(s, &r);
}

static int open_meter(struct eg_sampler *s)
{
	const struct eg_monitor_start *st = s->start;
	char select[256];
	struct eg_meter_config cfg = {.allow_estimates = st->allow_estimates,
				      .select = select,
				      .interval_ns = st->interval_ns,
				      .settings = st->settings,
				      .n_settings = st->n_settings,
				      .open_deadline_ns = OPEN_DEADLINE_NS,
				      .read_deadline_ns = READ_DEADLINE_NS,
				      .backoff_max_ns = BACKOFF_MAX_NS};
	const char *why = NULL;
	int r;

	eg_telemetry_select(s->env, st->allow_estimates, select, sizeof(select));
	r = eg_meter_open(s->env, eg_drivers, &cfg, &s->meter, &why);
	if (r < 0) {
		fail(s, r == -EINVAL ? 2 : 1, why ? why : eg_errno_text(r));
		return r;
	}
	r = eg_view_new(s->meter, &s->view);
	if (r == 0)
		r = eg_meter_begin_running(s->meter, EG_METER_SINCE_OPEN);
	if (r < 0)
		fail(s, 1, eg_errno_text(r));
	return r;
}

static void say_rate(const struct eg_sampler *s)
{
	const char *name;
	uint64_t period = eg_telemetry_period_ns(s->telemetry, &name);
	double ms = (double)s->start->interval_ns / 1e6;

	if (s->start->interval_ns < period)
		eg_log(s->start->interval_given ? EG_LOG_WARNING : EG_LOG_INFO, SUBJECT,
		       "an interval of %g ms is finer than %s refreshes (%g ms): readings in "
		       "between repeat its energy",
		       ms, name, (double)period / 1e6);
	if (s->start->interval_ns <= EG_NSEC_PER_MSEC)
		eg_log(EG_LOG_WARNING, SUBJECT,
		       "a reading each %g ms takes a noticeable part of a processor, which is "
		       "measured along",
		       ms);
}

/* Why no better sensor: what the drivers of this machine said, once. */
static void say_diagnostics(struct eg_sampler *s)
{
	struct eg_diags d;

	if (eg_meter_diags(s->meter, &d) < 0)
		return;
	for (size_t i = 0; i < d.n; i++) {
		const struct eg_diag *g = &d.items[i];
		bool blocked = g->code == EG_DIAG_SENSOR_BLOCKED ||
			       g->code == EG_DIAG_SENSOR_TIMEOUT;

		eg_log(g->code == EG_DIAG_SENSOR_ABSENT ? EG_LOG_DEBUG :
		       blocked				? EG_LOG_WARNING :
							  EG_LOG_INFO,
		       g->driver, "%s%s%s%s%s", g->subject, *g->subject ? ": " : "", g->detail,
		       *g->cure ? "; cure: " : "", g->cure);
	}
	eg_diags_free(&d);
}

/* The sample that shows what is here; false: it is to end. */
static bool take_first(struct eg_sampler *s)
{
	struct pollfd p = {.fd = s->wake_fd, .events = POLLIN};

	eg_meter_sample(s->meter, true);
	for (int i = 0; i < FIRST_READ_TRIES && eg_meter_awaits_first(s->meter); i++) {
		(void)poll(&p, 1, FIRST_READ_MS);
		if (quits(s))
			return false;
		eg_meter_sample(s->meter, true);
	}
	return true;
}

static int detect(struct eg_sampler *s)
{
	struct eg_telemetry_config cfg = {.env = s->env,
					  .meter = s->meter,
					  .gpus = s->start->gpus,
					  .visible = s->start->visible,
					  .cpu_as_primary = s->start->cpu_as_primary};
	struct list *l;
	int r;

	s->has_details = pthread_create(&s->details, NULL, read_details, s) == 0;
	l = s->has_details ? take_details(s, DETAILS_WAIT_MS) : NULL;
	if (!sleep_until(s,
			 eg_clock_ns(&s->env->clock) + EG_MIN(s->start->interval_ns, WARM_UP_NS)) ||
	    !take_first(s)) {
		free(l);
		return -ECANCELED;
	}
	eg_view_take(s->view, s->meter);
	say_diagnostics(s);
	r = eg_telemetry_new(&cfg, s->view, l ? l->item : NULL, l ? l->n : 0, &s->telemetry);
	free(l);
	if (r < 0) {
		fail(s, 1, eg_errno_text(r));
		return r;
	}
	say_rate(s);
	pthread_mutex_lock(&s->lock);
	s->state.known = true;
	s->state.healthy = eg_telemetry_healthy(s->telemetry);
	s->state.platform = eg_telemetry_platform(s->telemetry);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static void sample_on(struct eg_sampler *s)
{
	uint64_t interval = s->start->interval_ns, guard = eg_meter_guard_ns(s->meter);
	uint64_t next = s->view->t_ns + interval;

	while (sleep_until(s, EG_MIN(next, s->view->t_ns + EG_MIN(guard, UINT64_MAX / 2)))) {
		uint64_t now = eg_clock_ns(&s->env->clock);
		struct list *l;

		eg_meter_sample(s->meter, true);
		if (now < next) { /* a guard read: counters must be seen before they wrap twice */
			eg_view_take(s->view, s->meter);
			continue;
		}
		l = take_details(s, 0);
		if (l) {
			eg_telemetry_attributes(s->telemetry, l->item, l->n, l->read_ns);
			give_back(s, l);
		}
		make_reading(s);
		if ((now - next) / interval) {
			pthread_mutex_lock(&s->lock);
			s->state.missed += (now - next) / interval;
			pthread_mutex_unlock(&s->lock);
		}
		next += ((now - next) / interval + 1) * interval;
	}
}

static void close_sensors(struct eg_sampler *s)
{
	bool left_behind;

	pthread_mutex_lock(&s->lock);
	s->quit = true;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	/* It may be in a driver that hangs: who waits for us has a deadline. */
	if (s->has_details)
		pthread_join(s->details, NULL);
	eg_telemetry_free(s->telemetry);
	eg_view_free(s->view);
	left_behind = eg_meter_close(s->meter) != NULL;
	eg_memory_close(&s->memory);
	pthread_mutex_lock(&s->lock);
	s->left_behind = left_behind;
	s->done = true;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void *sampler(void *arg)
{
	struct eg_sampler *s = arg;

	prctl(PR_SET_TIMERSLACK, 1UL);
	eg_memory_open(&s->memory, s->env);
	if (open_meter(s) == 0 && detect(s) == 0) {
		make_reading(s);
		sample_on(s);
	}
	close_sensors(s);
	return NULL;
}

/* ---- the loop's side ---- */

int eg_sampler_start(const struct eg_monitor_start *start, const struct eg_env *env,
		     struct eg_file_clock *steered, struct eg_sampler **ret)
{
	struct eg_sampler *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->start = start;
	s->env = env;
	s->steered = steered;
	s->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&s->lock, NULL);
	r = eg_cond_init(&s->cond);
	if (r == 0)
		r = s->ready_fd < 0 || s->wake_fd < 0 ? -EMFILE :
							eg_thread_start(&s->thread, sampler, s);
	if (r < 0) {
		eg_closep(&s->ready_fd);
		eg_closep(&s->wake_fd);
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

int eg_sampler_fd(const struct eg_sampler *s)
{
	return s->ready_fd;
}

void eg_sampler_state(struct eg_sampler *s, struct eg_sampler_state *ret)
{
	pthread_mutex_lock(&s->lock);
	*ret = s->state;
	pthread_mutex_unlock(&s->lock);
}

size_t eg_sampler_take(struct eg_sampler *s, uint8_t ret[EG_READING_BYTES_MAX])
{
	uint64_t count;
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	if (s->n) {
		n = s->len[s->first];
		memcpy(ret, s->queue[s->first], n);
		s->first = (s->first + 1) % EG_SAMPLER_QUEUE;
		s->n--;
	} else {
		(void)!read(s->ready_fd, &count, sizeof(count));
	}
	pthread_mutex_unlock(&s->lock);
	return n;
}

bool eg_sampler_stop(struct eg_sampler *s, uint64_t timeout_ns)
{
	struct timespec until = eg_clock_deadline(timeout_ns);
	bool well;

	if (!s)
		return true;
	ring(s->wake_fd);
	pthread_mutex_lock(&s->lock);
	s->quit = true;
	pthread_cond_broadcast(&s->cond);
	while (!s->done && pthread_cond_timedwait(&s->cond, &s->lock, &until) == 0)
		;
	well = s->done && !s->left_behind;
	pthread_mutex_unlock(&s->lock);
	if (!well)
		return false;
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->cond);
	pthread_mutex_destroy(&s->lock);
	free(s->fresh);
	free(s->spare);
	eg_closep(&s->ready_fd);
	eg_closep(&s->wake_fd);
	free(s);
	return true;
}
