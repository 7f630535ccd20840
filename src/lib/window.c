/* SPDX-License-Identifier: Apache-2.0 */
/* Windows and their results. See ergon/window.h; the measuring is in core. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "lib/private.h"

/* A result with copies of the channels it speaks of, so that it outlives its context. */
struct ergon_result {
	struct eg_result *res;
	struct {
		struct eg_channel ch;
		char name[EG_CHANNEL_NAME_MAX * 2];
	} own[];
};

/* Made before the window ends, so that it goes on where there is no memory. */
static ergon_result *new_result(ergon_context *ctx)
{
	ergon_result *r = NULL;

	return calloc(1, sizeof(*r) + eg_meter_count(ctx->meter) * sizeof(r->own[0]));
}

static void fill_result(ergon_result *r, struct eg_result *res)
{
	r->res = res;
	for (size_t i = 0; i < res->n; i++) {
		r->own[i].ch = *res->channel[i].ch;
		eg_copy(r->own[i].name, sizeof(r->own[i].name), res->channel[i].name);
		res->channel[i].ch = &r->own[i].ch;
		res->channel[i].name = r->own[i].name;
	}
}

/* Hands the result out, or frees it where r is an error. */
static int give_result(int r, ergon_result *made, struct eg_result *res, ergon_result **ret)
{
	if (r < 0) {
		free(made);
		return r;
	}
	fill_result(made, res);
	*ret = made;
	return 0;
}

static bool bad_name(const char *name)
{
	return !name || !*name || *name == HIDDEN;
}

/* ---- handles ---- */

static struct ergon_window **find_handle(ergon_context *ctx, const char *name)
{
	struct ergon_window **w = &ctx->windows;

	while (*w && strcmp((*w)->name, name) != 0)
		w = &(*w)->next;
	return w;
}

/*
 * Takes the handle of a running window out of the list, NULL if there is none. Whoever ends a window
 * takes it first: once the window has ended its name may be another's, and so its handle.
 */
static struct ergon_window *take_handle(ergon_context *ctx, const char *name)
{
	struct ergon_window **at, *w;

	pthread_mutex_lock(&ctx->lock);
	at = find_handle(ctx, name);
	w = *at;
	if (w)
		*at = w->next;
	pthread_mutex_unlock(&ctx->lock);
	return w;
}

static struct ergon_window *new_handle(ergon_context *ctx, const char *name)
{
	struct ergon_window *w = calloc(1, sizeof(*w));

	if (w) {
		w->ctx = ctx;
		eg_copy(w->name, sizeof(w->name), name);
	}
	return w;
}

static void add_handle(ergon_context *ctx, struct ergon_window *w)
{
	pthread_mutex_lock(&ctx->lock);
	w->next = ctx->windows;
	ctx->windows = w;
	pthread_mutex_unlock(&ctx->lock);
}

void lib_windows_free(ergon_context *ctx)
{
	while (ctx->windows) {
		struct ergon_window *w = ctx->windows;

		ctx->windows = w->next;
		free(w);
	}
}

/* ---- windows ---- */

int ergon_window_begin(ergon_context *ctx, const char *name, ergon_window **ret)
{
	struct ergon_window *w;
	int r = lib_check(ctx);

	if (r < 0)
		return r;
	if (bad_name(name))
		return -EINVAL;
	w = new_handle(ctx, name);
	if (!w)
		return -ENOMEM;
	r = eg_meter_begin(ctx->meter, name);
	if (r < 0) {
		free(w);
		return r;
	}
	add_handle(ctx, w);
	if (ret)
		*ret = w;
	return 0;
}

int ergon_window_end(ergon_context *ctx, const char *name, ergon_result **ret)
{
	struct eg_result *res = NULL;
	struct ergon_window *w;
	ergon_result *made;
	int r = lib_check(ctx);

	if (r < 0)
		return r;
	w = bad_name(name) ? NULL : take_handle(ctx, name);
	if (!w)
		return -ENOENT;
	made = new_result(ctx);
	r = made ? eg_meter_end(ctx->meter, name, &res) : -ENOMEM;
	if (r < 0)
		add_handle(ctx, w);
	else
		free(w);
	return give_result(r, made, res, ret);
}

int ergon_window_next(ergon_context *ctx, const char *name, const char *next, ergon_result **ret)
{
	struct ergon_window *old, *w;
	struct eg_result *res = NULL;
	ergon_result *made;
	int r = lib_check(ctx);

	if (r < 0)
		return r;
	if (!bad_name(name) && bad_name(next))
		return -EINVAL;
	old = bad_name(name) ? NULL : take_handle(ctx, name);
	if (!old)
		return -ENOENT;
	w = new_handle(ctx, next);
	made = new_result(ctx);
	r = w && made ? eg_meter_next(ctx->meter, name, next, &res) : -ENOMEM;
	if (r == 0) {
		free(old);
		add_handle(ctx, w);
	} else {
		add_handle(ctx, old);
		free(w);
	}
	return give_result(r, made, res, ret);
}

int ergon_window_cancel(ergon_context *ctx, const char *name)
{
	struct ergon_window *w;
	int r = lib_check(ctx);

	if (r < 0)
		return r;
	w = bad_name(name) ? NULL : take_handle(ctx, name);
	if (!w)
		return -ENOENT;
	r = eg_meter_cancel(ctx->meter, name);
	free(w);
	return r;
}

int ergon_window_find(ergon_context *ctx, const char *name, ergon_window **ret)
{
	struct ergon_window *w;
	int r = lib_check(ctx);

	if (r < 0)
		return r;
	if (bad_name(name))
		return -ENOENT;
	pthread_mutex_lock(&ctx->lock);
	w = *find_handle(ctx, name);
	pthread_mutex_unlock(&ctx->lock);
	if (!w)
		return -ENOENT;
	*ret = w;
	return 0;
}

static int peek(ergon_context *ctx, const char *name, ergon_result **ret)
{
	struct eg_result *res = NULL;
	ergon_result *made = new_result(ctx);
	int r = made ? eg_meter_peek(ctx->meter, name, &res) : -ENOMEM;

	return give_result(r, made, res, ret);
}

int ergon_window_peek(ergon_window *window, ergon_result **ret)
{
	int r = window ? lib_check(window->ctx) : -EINVAL;

	return r < 0 ? r : peek(window->ctx, window->name, ret);
}

int ergon_window_add_units(ergon_window *window, const char *unit, uint64_t count)
{
	int r = window ? lib_check(window->ctx) : -EINVAL;

	return r < 0 ? r : eg_meter_add_units(window->ctx->meter, window->name, unit, count);
}

int ergon_totals(ergon_context *ctx, ergon_result **ret)
{
	int r = lib_check(ctx);

	return r < 0 ? r : peek(ctx, TOTALS, ret);
}

/* ---- results ---- */

void ergon_result_free(ergon_result *r)
{
	if (!r)
		return;
	eg_result_free(r->res);
	free(r);
}

uint64_t ergon_result_get_duration_ns(const ergon_result *r)
{
	return r->res->seconds_ns;
}

uint64_t ergon_result_get_begin_unix_ns(const ergon_result *r)
{
	return r->res->begin_unix_ns;
}

uint64_t ergon_result_get_end_unix_ns(const ergon_result *r)
{
	return r->res->end_unix_ns;
}

int ergon_result_has_total(const ergon_result *r)
{
	return r->res->has_total;
}

uint64_t ergon_result_get_total_uj(const ergon_result *r)
{
	return r->res->total_uj;
}

uint64_t ergon_result_get_total_estimated_uj(const ergon_result *r)
{
	return r->res->total_est_uj;
}

uint64_t ergon_result_get_total_uncertainty_uj(const ergon_result *r)
{
	return r->res->total_uncertainty.total_uj;
}

const char *ergon_result_get_total_provenance(const ergon_result *r)
{
	return eg_provenance_word(r->res->total_provenance);
}

int ergon_result_get_mean_uw(const ergon_result *r, uint64_t *ret_uw)
{
	if (!r->res->has_total || !isfinite(r->res->total_mean_w))
		return -ENODATA;
	*ret_uw = (uint64_t)(r->res->total_mean_w * 1e6 + 0.5);
	return 0;
}

static const char *flag_at(uint32_t flags, size_t index)
{
	for (int f = 0; f < EG_FLAG_COUNT; f++)
		if ((flags & EG_FLAG_BIT(f)) && index-- == 0)
			return eg_flag_word((enum eg_flag)f);
	return NULL;
}

const char *ergon_result_get_flag(const ergon_result *r, size_t index)
{
	return flag_at(r->res->flags, index);
}

int ergon_result_get_units(const ergon_result *r, const char *unit, uint64_t *ret_count)
{
	for (size_t i = 0; i < r->res->n_units; i++)
		if (strcmp(r->res->units[i].name, unit) == 0) {
			*ret_count = r->res->units[i].count;
			return 0;
		}
	return -ENOENT;
}

int ergon_result_get_uj_per_unit(const ergon_result *r, const char *unit, double *ret_uj)
{
	uint64_t count;

	if (ergon_result_get_units(r, unit, &count) < 0 || count == 0)
		return -ENOENT;
	if (!r->res->has_total)
		return -ENODATA;
	*ret_uj = (double)r->res->total_uj / (double)count;
	return 0;
}

size_t ergon_result_get_channel_count(const ergon_result *r)
{
	return r->res->n;
}

const char *ergon_result_get_channel_name(const ergon_result *r, size_t i)
{
	return r->own[i].name;
}

const char *ergon_result_get_channel_component(const ergon_result *r, size_t i)
{
	return eg_component_word(r->own[i].ch.component);
}

const char *ergon_result_get_channel_source(const ergon_result *r, size_t i)
{
	return eg_source_word(r->own[i].ch.source);
}

const char *ergon_result_get_channel_boundary(const ergon_result *r, size_t i)
{
	return eg_boundary_word(r->own[i].ch.boundary);
}

const char *ergon_result_get_channel_role(const ergon_result *r, size_t i)
{
	return eg_role_word(r->res->channel[i].role);
}

const char *ergon_result_get_channel_provenance(const ergon_result *r, size_t i)
{
	return eg_provenance_word(r->res->channel[i].provenance);
}

int ergon_result_get_channel_uj(const ergon_result *r, size_t i, uint64_t *ret_uj)
{
	if (!r->res->channel[i].has_value)
		return -ENODATA;
	*ret_uj = r->res->channel[i].uj;
	return 0;
}

uint64_t ergon_result_get_channel_estimated_uj(const ergon_result *r, size_t i)
{
	return r->res->channel[i].est_uj;
}

uint64_t ergon_result_get_channel_uncertainty_uj(const ergon_result *r, size_t i)
{
	return r->res->channel[i].uncertainty.total_uj;
}

uint64_t ergon_result_get_channel_gap_ns(const ergon_result *r, size_t i)
{
	return r->res->channel[i].gap_ns;
}

uint64_t ergon_result_get_channel_samples(const ergon_result *r, size_t i)
{
	return r->res->channel[i].samples;
}

const char *ergon_result_get_channel_flag(const ergon_result *r, size_t i, size_t flag)
{
	return flag_at(r->res->channel[i].flags, flag);
}
