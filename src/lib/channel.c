/* SPDX-License-Identifier: Apache-2.0 */
/* Channels, readings and diagnostics as immutable copies. See ergon/channel.h, diagnostic.h. */
#include <errno.h>
#include <string.h>

#include "lib/private.h"

struct ergon_channel {
	struct eg_channel ch;
	const char *driver;
	char name[EG_CHANNEL_NAME_MAX * 2];
};

struct ergon_channel_list {
	size_t n;
	struct ergon_channel item[];
};

int ergon_channels(ergon_context *ctx, ergon_channel_list **ret)
{
	ergon_channel_list *list;
	size_t n;
	int r = lib_check(ctx);

	if (r < 0)
		return r;
	n = eg_meter_count(ctx->meter);
	list = calloc(1, sizeof(*list) + n * sizeof(list->item[0]));
	if (!list)
		return -ENOMEM;
	list->n = n;
	for (size_t i = 0; i < n; i++) {
		list->item[i].ch = *eg_meter_channel(ctx->meter, i);
		list->item[i].driver = eg_meter_driver(ctx->meter, i)->name;
		eg_copy(list->item[i].name, sizeof(list->item[i].name),
			eg_meter_channel_name(ctx->meter, i));
	}
	*ret = list;
	return 0;
}

size_t ergon_channel_list_get_size(const ergon_channel_list *list)
{
	return list->n;
}

const ergon_channel *ergon_channel_list_get(const ergon_channel_list *list, size_t index)
{
	return index < list->n ? &list->item[index] : NULL;
}

void ergon_channel_list_free(ergon_channel_list *list)
{
	free(list);
}

const char *ergon_channel_get_name(const ergon_channel *ch)
{
	return ch->name;
}

const char *ergon_channel_get_driver(const ergon_channel *ch)
{
	return ch->driver;
}

const char *ergon_channel_get_device(const ergon_channel *ch)
{
	return ch->ch.device;
}

const char *ergon_channel_get_label(const ergon_channel *ch)
{
	return ch->ch.label;
}

const char *ergon_channel_get_origin(const ergon_channel *ch)
{
	return ch->ch.origin;
}

const char *ergon_channel_get_component(const ergon_channel *ch)
{
	return eg_component_word(ch->ch.component);
}

const char *ergon_channel_get_source(const ergon_channel *ch)
{
	return eg_source_word(ch->ch.source);
}

const char *ergon_channel_get_boundary(const ergon_channel *ch)
{
	return eg_boundary_word(ch->ch.boundary);
}

const char *ergon_channel_get_provenance(const ergon_channel *ch)
{
	return eg_provenance_word(ch->ch.provenance);
}

const char *ergon_channel_get_quantity(const ergon_channel *ch)
{
	return eg_quantity_word(ch->ch.quantity);
}

int ergon_channel_get_resolution_uj(const ergon_channel *ch, uint64_t *ret_uj)
{
	if (ch->ch.quantity != EG_QUANTITY_ENERGY)
		return -ENODATA;
	*ret_uj = ch->ch.resolution_uj;
	return 0;
}

int ergon_channel_get_update_ns(const ergon_channel *ch, uint64_t *ret_ns)
{
	if (!ch->ch.update_ns)
		return -ENODATA;
	*ret_ns = ch->ch.update_ns;
	return 0;
}

uint32_t ergon_channel_get_accuracy_ppm(const ergon_channel *ch)
{
	return ch->ch.accuracy.rel_ppm;
}

/* ---- readings ---- */

struct ergon_reading {
	struct eg_snapshot_channel s;
};

int ergon_channel_read(ergon_context *ctx, const char *name, ergon_reading **ret)
{
	const struct eg_snapshot *snap;
	ergon_reading *reading;
	size_t i, n;
	int r = lib_check(ctx);

	if (r < 0)
		return r;
	if (!name)
		return -ENOENT;
	n = eg_meter_count(ctx->meter);
	for (i = 0; i < n && strcmp(eg_meter_channel_name(ctx->meter, i), name) != 0; i++)
		;
	if (i == n)
		return -ENOENT;
	reading = calloc(1, sizeof(*reading));
	if (!reading)
		return -ENOMEM;
	eg_meter_sample(ctx->meter, true);
	snap = eg_meter_pin(ctx->meter);
	reading->s = snap->channel[i];
	eg_meter_unpin(ctx->meter, snap);
	if (!reading->s.samples) {
		free(reading);
		return -ENODATA;
	}
	*ret = reading;
	return 0;
}

uint64_t ergon_reading_get_uj(const ergon_reading *r)
{
	return r->s.uj;
}

uint64_t ergon_reading_get_estimated_uj(const ergon_reading *r)
{
	return r->s.est_uj;
}

int ergon_reading_get_power_uw(const ergon_reading *r, uint64_t *ret_uw)
{
	if (!r->s.have_uw)
		return -ENODATA;
	*ret_uw = r->s.uw;
	return 0;
}

uint64_t ergon_reading_get_time_ns(const ergon_reading *r)
{
	return r->s.t_ns;
}

uint64_t ergon_reading_get_gap_ns(const ergon_reading *r)
{
	return r->s.gap_ns;
}

const char *ergon_reading_get_status(const ergon_reading *r)
{
	return eg_status_word(r->s.status);
}

void ergon_reading_free(ergon_reading *r)
{
	free(r);
}

/* ---- diagnostics ---- */

struct ergon_diagnostic {
	struct eg_diag d;
};

struct ergon_diagnostic_list {
	struct eg_diags diags;
};

int ergon_diagnostics(ergon_context *ctx, ergon_diagnostic_list **ret)
{
	ergon_diagnostic_list *list;
	int r = lib_check(ctx);

	if (r < 0)
		return r;
	list = calloc(1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	r = eg_meter_diags(ctx->meter, &list->diags);
	if (r < 0) {
		free(list);
		return r;
	}
	*ret = list;
	return 0;
}

size_t ergon_diagnostic_list_get_size(const ergon_diagnostic_list *list)
{
	return list->diags.n;
}

const ergon_diagnostic *ergon_diagnostic_list_get(const ergon_diagnostic_list *list, size_t index)
{
	/* A diagnostic is its one member, so the array of the one is an array of the other. */
	_Static_assert(sizeof(struct ergon_diagnostic) == sizeof(struct eg_diag), "one member");
	return index < list->diags.n ? (const ergon_diagnostic *)&list->diags.items[index] : NULL;
}

void ergon_diagnostic_list_free(ergon_diagnostic_list *list)
{
	if (!list)
		return;
	eg_diags_free(&list->diags);
	free(list);
}

const char *ergon_diagnostic_get_code(const ergon_diagnostic *d)
{
	return eg_diag_word(d->d.code);
}

const char *ergon_diagnostic_get_driver(const ergon_diagnostic *d)
{
	return d->d.driver;
}

const char *ergon_diagnostic_get_subject(const ergon_diagnostic *d)
{
	return d->d.subject;
}

const char *ergon_diagnostic_get_detail(const ergon_diagnostic *d)
{
	return d->d.detail;
}

const char *ergon_diagnostic_get_cure(const ergon_diagnostic *d)
{
	return d->d.cure;
}

uint64_t ergon_diagnostic_get_count(const ergon_diagnostic *d)
{
	return d->d.count;
}
