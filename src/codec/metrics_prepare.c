/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Label texts of the own families, made from a view. They are made again only where an account came,
 * or is fed by another source: what stays the same from scrape to scrape is copied, not formatted.
 */
#include <errno.h>
#include <string.h>

#include "codec/metrics_private.h"

struct eg_span eg_metrics_span_end(struct eg_strbuf *b, size_t begin)
{
	size_t n = eg_expo_labels_end(b, begin);

	if (eg_strbuf_error(b) < 0)
		return (struct eg_span){0};
	return (struct eg_span){(uint32_t)begin, (uint32_t)n};
}

struct twin {
	const char *s;
	struct eg_span *span;
	size_t order;
};

static int compare_twins(const void *a, const void *b)
{
	const struct twin *x = a, *y = b;
	size_t n = EG_MIN(x->span->n, y->span->n);
	int r = memcmp(x->s, y->s, n);

	if (r == 0)
		r = (x->span->n > y->span->n) - (x->span->n < y->span->n);
	return r ? r : (x->order > y->order) - (x->order < y->order);
}

int eg_metrics_drop_twins(const struct eg_strbuf *text, struct eg_span **spans, size_t n)
{
	eg_autofree struct twin *t = calloc(n + 1, sizeof(*t));
	const struct twin *first = NULL;
	size_t k = 0;
	int dropped = 0;

	if (!t)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (spans[i]->n)
			t[k++] = (struct twin){text->s + spans[i]->at, spans[i], i};
	if (k > 1)
		qsort(t, k, sizeof(*t), compare_twins);
	for (size_t i = 0; i < k; i++) {
		if (first && first->span->n == t[i].span->n &&
		    memcmp(first->s, t[i].s, first->span->n) == 0) {
			t[i].span->n = 0;
			dropped++;
		} else {
			first = &t[i];
		}
	}
	return dropped;
}

void eg_metrics_account_labels(struct eg_strbuf *b, const char *device, enum eg_component component,
			       enum eg_source source, enum eg_provenance provenance,
			       enum eg_boundary boundary)
{
	eg_expo_labels_add(b, "device", device);
	eg_expo_labels_add(b, "component", eg_component_word(component));
	eg_expo_labels_add(b, "source", eg_source_word(source));
	eg_expo_labels_add(b, "provenance", eg_provenance_word(provenance));
	eg_expo_labels_add(b, "boundary", eg_boundary_word(boundary));
}

static struct eg_span sensor_labels(struct eg_strbuf *b, const char *driver, const char *channel,
				    const char *device, enum eg_component component,
				    enum eg_source source)
{
	size_t begin = eg_expo_labels_begin(b);

	eg_expo_labels_add(b, "driver", driver);
	eg_expo_labels_add(b, "channel", channel);
	eg_expo_labels_add(b, "device", device);
	eg_expo_labels_add(b, "component", eg_component_word(component));
	eg_expo_labels_add(b, "source", eg_source_word(source));
	return eg_metrics_span_end(b, begin);
}

static void prepare_account(struct eg_metrics *m, const struct eg_view_account *va,
			    struct eg_account_item *item)
{
	const struct eg_account *a = &va->a;
	size_t begin = eg_expo_labels_begin(&m->text);
	const char *slash = strchr(a->channel, '/');
	char driver[EG_CHANNEL_FULL_MAX];

	*item = (struct eg_account_item){
		.source = a->source, .boundary = a->boundary, .channel = va->channel};
	eg_metrics_account_labels(&m->text, a->device, a->component, a->source, a->provenance,
				  a->boundary);
	item->labels = eg_metrics_span_end(&m->text, begin);
	if (va->channel >= 0 || !slash)
		return;
	(void)eg_copy(driver, sizeof(driver), a->channel);
	driver[slash - a->channel] = '\0';
	item->sensor =
		sensor_labels(&m->text, driver, slash + 1, a->device, a->component, a->source);
}

static void prepare_channel(struct eg_metrics *m, const struct eg_view_channel *vc,
			    struct eg_channel_item *item)
{
	const struct eg_channel *ch = vc->ch;
	size_t begin;

	*item = (struct eg_channel_item){0};
	item->sensor = sensor_labels(&m->text, vc->driver->name, ch->domain, ch->device,
				     ch->component, ch->source);
	if (vc->account >= 0 && (size_t)vc->account < m->n_accounts) {
		item->power = m->account[vc->account].labels;
	} else if (ch->component == EG_COMPONENT_RAIL) {
		/* Rails have no account, but each is a device of its own. A cross-check is not: its
		 * power would stand beside the same power once more. */
		begin = eg_expo_labels_begin(&m->text);
		eg_metrics_account_labels(&m->text, ch->device, ch->component, ch->source,
					  ch->provenance, ch->boundary);
		item->power = eg_metrics_span_end(&m->text, begin);
	}
}

/* Of two equal label sets the second goes: that of an account whose channel is back, for one. */
static int drop_twins(struct eg_metrics *m)
{
	size_t n = 0, most = m->n_accounts + m->n_channels;
	eg_autofree struct eg_span **spans = calloc(most + 1, sizeof(*spans));
	int dropped;

	if (!spans)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_accounts; i++)
		spans[n++] = &m->account[i].labels;
	dropped = eg_metrics_drop_twins(&m->text, spans, n);
	if (dropped < 0)
		return dropped;
	m->left_out += (size_t)dropped;
	n = 0;
	for (size_t i = 0; i < m->n_channels; i++)
		spans[n++] = &m->channel[i].sensor;
	dropped = eg_metrics_drop_twins(&m->text, spans, n);
	if (dropped < 0)
		return dropped;
	m->left_out += (size_t)dropped;
	/* Held and measured account of one lost sensor share its labels: no loss. */
	for (size_t i = 0; i < m->n_accounts; i++)
		spans[n++] = &m->account[i].sensor;
	dropped = eg_metrics_drop_twins(&m->text, spans, n);
	if (dropped < 0)
		return dropped;
	n = 0;
	for (size_t i = 0; i < m->n_channels; i++)
		spans[n++] = &m->channel[i].power;
	dropped = eg_metrics_drop_twins(&m->text, spans, n);
	return dropped < 0 ? dropped : 0;
}

static int make_room(struct eg_metrics *m, const struct eg_view *v)
{
	struct eg_account_item *account;

	if (v->n_accounts > m->room_accounts) {
		account = reallocarray(m->account, v->n_accounts, sizeof(*account));
		if (!account)
			return -ENOMEM;
		m->account = account;
		m->room_accounts = v->n_accounts;
	}
	if (m->channel)
		return v->n_channels == m->n_channels ? 0 : -EINVAL; /* of another meter */
	m->n_channels = v->n_channels;
	m->channel = calloc(v->n_channels + 1, sizeof(*m->channel));
	m->smi = calloc(v->n_channels + 1, sizeof(*m->smi));
	m->rapl = calloc(v->n_channels + 1, sizeof(*m->rapl));
	return m->channel && m->smi && m->rapl ? 0 : -ENOMEM;
}

int eg_metrics_prepare(struct eg_metrics *m, const struct eg_view *v)
{
	size_t begin;
	int r = make_room(m, v);

	m->ready = m->facts_ready = false;
	if (r < 0)
		return r;
	eg_strbuf_reset(&m->text);
	m->left_out = 0;
	m->n_accounts = v->n_accounts;
	for (size_t i = 0; i < v->n_accounts; i++)
		prepare_account(m, &v->account[i], &m->account[i]);
	for (size_t i = 0; i < v->n_channels; i++)
		prepare_channel(m, &v->channel[i], &m->channel[i]);
	begin = eg_expo_labels_begin(&m->text);
	eg_expo_labels_add(&m->text, "version", m->version);
	eg_expo_labels_add(&m->text, "revision", m->revision);
	m->build = eg_metrics_span_end(&m->text, begin);
	r = eg_strbuf_error(&m->text);
	if (r == 0)
		r = drop_twins(m);
	if (r == 0)
		r = eg_metrics_prepare_compat(m, v);
	m->ready = r == 0;
	return r;
}

bool eg_metrics_is_prepared(const struct eg_metrics *m, const struct eg_view *v)
{
	if (!m->ready || v->n_accounts != m->n_accounts || v->n_channels != m->n_channels)
		return false;
	for (size_t i = 0; i < m->n_accounts; i++) {
		const struct eg_view_account *va = &v->account[i];
		const struct eg_account_item *item = &m->account[i];

		if (va->a.source != item->source || va->a.boundary != item->boundary ||
		    va->channel != item->channel)
			return false;
	}
	return true;
}
