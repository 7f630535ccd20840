/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One log line for each change of state: a channel that stops answering or answers again, a diagnostic
 * that is new, the ledger's log that cannot be written. What repeats is said at its 1st, 2nd, 4th, 8th
 * ... time, so that a flapping sensor costs lines by the logarithm.
 */
#include <errno.h>
#include <string.h>

#include "agent/internal.h"

struct seen {
	enum eg_diag_code code;
	char driver[24], subject[96];
	uint64_t said; /* count at which it was said */
};

struct eg_watch {
	size_t n;
	uint64_t diag_events;
	struct {
		enum eg_status status;
		bool answered; /* ever */
		bool away;     /* said that it does not answer */
		uint64_t since_ns, times;
	} * channel;
	struct seen *seen;
	size_t n_seen;
	bool log_failing, checkpoint_lost;
};

int eg_watch_new(const struct eg_view *v, struct eg_watch **ret)
{
	struct eg_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->n = v->n_channels;
	w->channel = calloc(w->n + 1, sizeof(*w->channel));
	w->seen = calloc(EG_DIAGS_MAX, sizeof(*w->seen));
	if (!w->channel || !w->seen) {
		eg_watch_free(w);
		return -ENOMEM;
	}
	*ret = w;
	return 0;
}

struct eg_watch *eg_watch_free(struct eg_watch *w)
{
	if (w) {
		free(w->channel);
		free(w->seen);
		free(w);
	}
	return NULL;
}

static bool is_power_of_two(uint64_t n)
{
	return n && (n & (n - 1)) == 0;
}

static const struct eg_diag *latest_about(const struct eg_diags *d, const struct eg_view_channel *c)
{
	const struct eg_diag *of_driver = NULL;

	for (size_t i = 0; i < d->n; i++) {
		if (strcmp(d->items[i].driver, c->driver->name) != 0)
			continue;
		if (strcmp(d->items[i].subject, c->ch->domain) == 0)
			return &d->items[i];
		if (!d->items[i].subject[0])
			of_driver = &d->items[i];
	}
	return of_driver;
}

static void look_at_channel(struct eg_watch *w, size_t i, const struct eg_view *v,
			    const struct eg_diags *d)
{
	const struct eg_view_channel *c = &v->channel[i];
	bool ok = c->status == EG_STATUS_OK;
	const struct eg_diag *why;

	if (ok && w->channel[i].away) {
		w->channel[i].away = false;
		if (is_power_of_two(w->channel[i].times))
			eg_log(EG_LOG_INFO, c->name, "answers again after %.0f s",
			       (double)(v->t_ns - w->channel[i].since_ns) / 1e9);
	} else if (!ok && w->channel[i].answered && !w->channel[i].away) {
		w->channel[i].away = true;
		w->channel[i].since_ns = v->t_ns;
		w->channel[i].times++;
		why = latest_about(d, c);
		if (is_power_of_two(w->channel[i].times))
			eg_log(EG_LOG_WARNING, c->name, "does not answer (%s): %s%s%s",
			       eg_status_word(c->status), why ? why->detail : "no reason given",
			       why && why->cure[0] ? "; cure: " : "", why ? why->cure : "");
	}
	w->channel[i].answered |= ok;
	w->channel[i].status = c->status;
}

static struct seen *find_seen(struct eg_watch *w, const struct eg_diag *d)
{
	for (size_t i = 0; i < w->n_seen; i++)
		if (w->seen[i].code == d->code && strcmp(w->seen[i].driver, d->driver) == 0 &&
		    strcmp(w->seen[i].subject, d->subject) == 0)
			return &w->seen[i];
	if (w->n_seen == EG_DIAGS_MAX)
		return NULL;
	w->seen[w->n_seen].code = d->code;
	memcpy(w->seen[w->n_seen].driver, d->driver, sizeof(d->driver));
	memcpy(w->seen[w->n_seen].subject, d->subject, sizeof(d->subject));
	return &w->seen[w->n_seen++];
}

/* Failing reads are told by the channel's own line; these are events. */
static bool is_event(enum eg_diag_code code)
{
	return code != EG_DIAG_SENSOR_ERROR && code != EG_DIAG_SENSOR_TIMEOUT;
}

static enum eg_log_level level_of(enum eg_diag_code code)
{
	switch (code) {
	case EG_DIAG_SENSOR_ABSENT:
	case EG_DIAG_NOT_COUNTED:
	case EG_DIAG_ESTIMATOR:
		return EG_LOG_DEBUG;
	case EG_DIAG_CONFIG:
	case EG_DIAG_SENSOR_UNSUPPORTED:
		return EG_LOG_INFO;
	default:
		return EG_LOG_WARNING;
	}
}

static void look_at_diag(struct eg_watch *w, const struct eg_diag *d)
{
	struct seen *s = find_seen(w, d);

	if (!s || s->said == d->count)
		return;
	if ((s->said == 0 || is_event(d->code)) && (s->said == 0 || is_power_of_two(d->count)))
		eg_log(level_of(d->code), d->driver, "%s%s%s%s%s", d->subject,
		       d->subject[0] ? ": " : "", d->detail, d->cure[0] ? "; cure: " : "", d->cure);
	s->said = d->count;
}

void eg_watch_look(struct eg_watch *w, const struct eg_view *v, struct eg_meter *m)
{
	struct eg_diags d = {0};
	bool changed = v->diag_events != w->diag_events;

	for (size_t i = 0; i < w->n && !changed; i++)
		changed = v->channel[i].status != w->channel[i].status;
	if (!changed)
		return;
	if (eg_meter_diags(m, &d) < 0)
		return; /* no memory now: the next tick tries again */
	for (size_t i = 0; i < w->n; i++)
		look_at_channel(w, i, v, &d);
	for (size_t i = 0; i < d.n; i++)
		look_at_diag(w, &d.items[i]);
	eg_diags_free(&d);
	w->diag_events = v->diag_events;
}

const char *eg_watch_flush_text(int err)
{
	return err == -EPROTO ? "another file lies in its place" : eg_errno_text(err);
}

void eg_watch_store(struct eg_watch *w, struct eg_store *s)
{
	struct eg_store_status st;

	if (!s)
		return;
	eg_store_get_status(s, &st);
	if (st.last_error && !w->log_failing)
		eg_log(EG_LOG_ERROR, "ledger",
		       "the log cannot be written: %s; nothing is lost, it is tried again at each "
		       "flush; cure: free space or make the state directory writable",
		       eg_watch_flush_text(st.last_error));
	else if (!st.last_error && w->log_failing)
		eg_log(EG_LOG_INFO, "ledger",
		       "the log can be written again; all pending energy is in it");
	w->log_failing = st.last_error != 0;
	if (st.checkpoint_lost && !w->checkpoint_lost)
		eg_log(EG_LOG_ERROR, "ledger",
		       "the checkpoint was cut or cannot be read under us; a crash may now cost what "
		       "was used since the last flush; cure: see the disk, then restart the agent");
	w->checkpoint_lost = st.checkpoint_lost;
}
