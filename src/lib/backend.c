/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backends (ergon/backend.h): the built-in ones are views of the meter, one for all drivers and one
 * for each; a program's own is a table of functions. Tracking is a window of the library's own.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "lib/private.h"

struct ergon_tracking {
	ergon_context *ctx;
	struct backend b;
	char window[EG_WINDOW_NAME_MAX];
	void *handle;
	uint64_t begin_ns, overhead_ns;
};

struct ergon_validation {
	ergon_tracking *primary, *secondary;
};

/* ---- the list ---- */

static void add_builtin(ergon_context *ctx, const char *name, const struct eg_driver *driver,
			bool null)
{
	struct backend *b = &ctx->backend[ctx->n_backends];

	if (ctx->n_backends == BACKENDS_MAX)
		return;
	*b = (struct backend){.driver = driver, .builtin = true, .null = null};
	eg_copy(b->name, sizeof(b->name), name);
	ctx->n_backends++;
}

void lib_backends_init(ergon_context *ctx)
{
	add_builtin(ctx, "null", NULL, true);
	add_builtin(ctx, "native", NULL, false);
	for (size_t i = 0; eg_drivers[i]; i++)
		add_builtin(ctx, eg_drivers[i]->name, eg_drivers[i], false);
}

/* Index of a backend, or -ENOENT; the context's lock is held. */
static int index_of(const ergon_context *ctx, const char *name)
{
	for (size_t i = 0; name && i < ctx->n_backends; i++)
		if (strcmp(ctx->backend[i].name, name) == 0)
			return (int)i;
	return -ENOENT;
}

/* Copies the entry out, so that it is used without the lock. */
static int find_backend(ergon_context *ctx, const char *name, struct backend *ret,
			size_t *ret_index)
{
	int i;

	pthread_mutex_lock(&ctx->lock);
	i = index_of(ctx, name);
	if (i >= 0) {
		*ret = ctx->backend[i];
		if (ret_index)
			*ret_index = (size_t)i;
	}
	pthread_mutex_unlock(&ctx->lock);
	return EG_MIN(i, 0);
}

int ergon_backend_register(ergon_context *ctx, const char *name,
			   const struct ergon_backend_ops *ops, void *user)
{
	struct backend *b;
	int r = lib_check(ctx);

	if (r < 0)
		return r;
	if (!name || !*name || strlen(name) >= BACKEND_NAME_MAX || strcmp(name, "auto") == 0 ||
	    !ops || ops->size < sizeof(*ops) || !ops->is_available || !ops->get_info ||
	    !ops->start_tracking || !ops->stop_tracking)
		return -EINVAL;
	pthread_mutex_lock(&ctx->lock);
	if (index_of(ctx, name) >= 0)
		r = -EEXIST;
	else if (ctx->n_backends == BACKENDS_MAX)
		r = -ENOSPC;
	if (r == 0) {
		b = &ctx->backend[ctx->n_backends];
		*b = (struct backend){.ops = *ops, .user = user};
		eg_copy(b->name, sizeof(b->name), name);
		ctx->n_backends++;
	}
	pthread_mutex_unlock(&ctx->lock);
	return r;
}

const char *ergon_backend_get_name(ergon_context *ctx, size_t index)
{
	const char *name = NULL;

	if (lib_check(ctx) < 0)
		return NULL;
	pthread_mutex_lock(&ctx->lock);
	if (index < ctx->n_backends)
		name = ctx->backend[index].name;
	pthread_mutex_unlock(&ctx->lock);
	return name;
}

/* ---- what the built-in ones can ---- */

static bool covers(const struct backend *b, const struct eg_driver *driver)
{
	return !b->null && (!b->driver || b->driver == driver);
}

static bool available(ergon_context *ctx, const struct backend *b)
{
	if (!b->builtin)
		return b->ops.is_available(b->user) != 0;
	if (b->null)
		return true;
	for (size_t i = 0; i < eg_meter_count(ctx->meter); i++)
		if (covers(b, eg_meter_driver(ctx->meter, i)))
			return true;
	return false;
}

static enum ergon_method method_of(const struct eg_channel *ch)
{
	if (ch->provenance != EG_PROVENANCE_MEASURED)
		return ERGON_METHOD_ESTIMATION;
	return ch->quantity == EG_QUANTITY_ENERGY ? ERGON_METHOD_HARDWARE_COUNTER :
						    ERGON_METHOD_POWER_POLLING;
}

static uint32_t capabilities_of(const struct eg_channel *ch)
{
	switch (ch->component) {
	case EG_COMPONENT_GPU:
		return ERGON_CAP_GPU_ENERGY | ERGON_CAP_GPU_ENERGY_PER_DEVICE | ERGON_CAP_GPU_POWER;
	case EG_COMPONENT_PACKAGE:
	case EG_COMPONENT_CORE:
	case EG_COMPONENT_UNCORE:
	case EG_COMPONENT_PSYS:
		return ERGON_CAP_CPU_ENERGY | ERGON_CAP_CPU_POWER;
	case EG_COMPONENT_DRAM:
		return ERGON_CAP_DRAM_ENERGY;
	case EG_COMPONENT_SOC:
		return ERGON_CAP_SOC_ENERGY;
	default:
		return 0;
	}
}

static void builtin_info(ergon_context *ctx, const struct backend *b,
			 struct ergon_backend_info *info)
{
	info->name = b->name;
	info->version = EG_VERSION;
	info->hardware = b->null   ? "any; measures nothing" :
			 b->driver ? b->driver->summary :
				     "every interface of this build";
	for (size_t i = 0; i < eg_meter_count(ctx->meter); i++) {
		const struct eg_channel *ch = eg_meter_channel(ctx->meter, i);

		if (!covers(b, eg_meter_driver(ctx->meter, i)))
			continue;
		info->capabilities |= capabilities_of(ch);
		info->method = EG_MAX(info->method, method_of(ch));
		info->accuracy_percent = fmax(info->accuracy_percent, ch->accuracy.rel_ppm / 1e4);
	}
}

int ergon_backend_is_available(ergon_context *ctx, const char *name)
{
	struct backend b;
	int r = lib_check(ctx);

	if (r == 0)
		r = find_backend(ctx, name, &b, NULL);
	return r < 0 ? r : available(ctx, &b);
}

int ergon_backend_get_info(ergon_context *ctx, const char *name, struct ergon_backend_info *ret)
{
	struct ergon_backend_info info = {.size = sizeof(info)};
	struct backend b;
	size_t index = 0;
	int r = lib_check(ctx);

	if (r == 0)
		r = find_backend(ctx, name, &b, &index);
	if (r < 0)
		return r;
	if (b.builtin)
		builtin_info(ctx, &b, &info);
	else
		r = b.ops.get_info(b.user, &info);
	if (r < 0)
		return r;
	info.size = sizeof(info);
	info.name = ctx->backend[index].name; /* entries never move */
	*ret = info;
	return 0;
}

/* ---- selection ---- */

static void choose(ergon_context *ctx, size_t index, const char *why)
{
	pthread_mutex_lock(&ctx->lock);
	ctx->selected = index;
	ctx->why = why;
	pthread_mutex_unlock(&ctx->lock);
}

static int choose_auto(ergon_context *ctx)
{
	struct backend b;
	size_t native = 0, null = 0;

	if (find_backend(ctx, "native", &b, &native) == 0 && available(ctx, &b)) {
		choose(ctx, native, "auto: the machine's own interfaces answer");
		return 0;
	}
	for (size_t i = 0;; i++) {
		const char *name = ergon_backend_get_name(ctx, i);
		size_t index;

		if (!name)
			break;
		if (find_backend(ctx, name, &b, &index) == 0 && !b.builtin && available(ctx, &b)) {
			choose(ctx, index, "auto: the first registered backend that is available");
			return 0;
		}
	}
	(void)find_backend(ctx, "null", &b, &null);
	choose(ctx, null, "auto: nothing here can measure energy");
	return 0;
}

int ergon_backend_select(ergon_context *ctx, const char *name)
{
	struct backend b;
	size_t index = 0;
	int r = lib_check(ctx);

	if (r < 0)
		return r;
	if (!name || strcmp(name, "auto") == 0)
		return choose_auto(ctx);
	r = find_backend(ctx, name, &b, &index);
	if (r < 0)
		return r;
	if (!available(ctx, &b))
		return -ENODEV;
	choose(ctx, index, "named");
	return 0;
}

const char *ergon_backend_get_selected(ergon_context *ctx, const char **ret_why)
{
	const char *name;

	if (lib_check(ctx) < 0)
		return NULL;
	pthread_mutex_lock(&ctx->lock);
	if (ret_why)
		*ret_why = ctx->why;
	name = ctx->backend[ctx->selected].name;
	pthread_mutex_unlock(&ctx->lock);
	return name;
}

/* ---- tracking ---- */

int ergon_tracking_start(ergon_context *ctx, const char *backend, ergon_tracking **ret)
{
	ergon_tracking *t;
	uint64_t before;
	int r = lib_check(ctx);

	if (r < 0)
		return r;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->ctx = ctx;
	r = find_backend(ctx, backend ? backend : ergon_backend_get_selected(ctx, NULL), &t->b,
			 NULL);
	if (r == 0 && !available(ctx, &t->b))
		r = -ENODEV;
	if (r == 0) {
		before = eg_clock_ns(&ctx->env.clock);
		lib_hidden_name(ctx, t->window);
		if (!t->b.builtin)
			r = t->b.ops.start_tracking(t->b.user, &t->handle);
		else if (!t->b.null)
			r = eg_meter_begin(ctx->meter, t->window);
		t->begin_ns = eg_clock_ns(&ctx->env.clock);
		t->overhead_ns = t->begin_ns - before;
	}
	if (r < 0) {
		free(t);
		return r;
	}
	*ret = t;
	return 0;
}

static void add_channel(struct ergon_metrics *m, const struct eg_result_channel *c)
{
	uint64_t uj = c->uj + c->est_uj;

	m->present |= ERGON_METRIC_TOTAL | ERGON_METRIC_UNCERTAINTY;
	m->total_uj += uj;
	m->estimated_uj += c->est_uj;
	m->gap_ns = EG_MAX(m->gap_ns, c->gap_ns);
	m->method = EG_MAX(m->method, method_of(c->ch));
	switch (c->ch->component) {
	case EG_COMPONENT_GPU:
		m->present |= ERGON_METRIC_GPU;
		m->gpu_uj += uj;
		if (m->n_gpus < ERGON_DEVICES_MAX) {
			eg_copy(m->gpu[m->n_gpus].device, sizeof(m->gpu[0].device), c->ch->device);
			m->gpu[m->n_gpus++].uj = uj;
		}
		break;
	case EG_COMPONENT_PACKAGE:
	case EG_COMPONENT_CORE:
	case EG_COMPONENT_UNCORE:
	case EG_COMPONENT_PSYS:
		m->present |= ERGON_METRIC_CPU;
		m->cpu_uj += uj;
		break;
	case EG_COMPONENT_DRAM:
		m->present |= ERGON_METRIC_DRAM;
		m->dram_uj += uj;
		break;
	case EG_COMPONENT_SOC:
		m->present |= ERGON_METRIC_SOC;
		m->soc_uj += uj;
		break;
	default:
		break;
	}
}

/* The channels of one backend, reduced among themselves. */
static int fill_metrics(const struct backend *b, const struct eg_result *res,
			struct ergon_metrics *m)
{
	eg_autofree struct eg_boundary_in *in = calloc(res->n + 1, sizeof(*in));
	eg_autofree struct eg_boundary_out *out = calloc(res->n + 1, sizeof(*out));
	eg_autofree const struct eg_channel **ch = calloc(res->n + 1, sizeof(*ch));
	eg_autofree struct eg_uncertainty *items = calloc(res->n + 1, sizeof(*items));
	enum eg_provenance weakest = EG_PROVENANCE_MEASURED;
	struct eg_uncertainty total;
	size_t n = 0;

	if (!in || !out || !ch || !items)
		return -ENOMEM;
	for (size_t i = 0; i < res->n; i++)
		in[i] = (struct eg_boundary_in){.ch = res->channel[i].ch,
						.rank = (unsigned)i,
						.usable = res->channel[i].has_value &&
							  covers(b, res->channel[i].driver),
						.part_of = res->channel[i].part_of};
	eg_boundary_reduce(in, res->n, out);
	for (size_t i = 0; i < res->n; i++) {
		if (out[i].role != EG_ROLE_TOTAL)
			continue;
		add_channel(m, &res->channel[i]);
		weakest = EG_MAX(weakest, res->channel[i].provenance);
		ch[n] = res->channel[i].ch;
		items[n++] = res->channel[i].uncertainty;
	}
	if (n) {
		m->provenance = eg_provenance_word(weakest);
		eg_uncertainty_total(ch, items, n, &total);
		m->uncertainty_uj = total.total_uj;
	}
	return 0;
}

int ergon_tracking_stop(ergon_tracking *t, struct ergon_metrics *ret)
{
	struct ergon_metrics m = {.size = sizeof(m)};
	struct eg_result *res;
	uint64_t now;
	int r;

	if (!t)
		return 0;
	r = lib_check(t->ctx);
	if (r == 0) {
		now = eg_clock_ns(&t->ctx->env.clock);
		m.duration_ns = now - t->begin_ns;
		if (!t->b.builtin) {
			r = t->b.ops.stop_tracking(t->b.user, t->handle, ret ? &m : NULL);
		} else if (!t->b.null) {
			r = eg_meter_end(t->ctx->meter, t->window, &res);
			if (r == 0) {
				m.duration_ns = res->seconds_ns;
				r = fill_metrics(&t->b, res, &m);
				eg_result_free(res);
			} else if (eg_meter_cancel(t->ctx->meter, t->window) == 0) {
				t->window[0] = '\0';
			}
		}
		m.size = sizeof(m);
		if (r >= 0 && ret) {
			*ret = m;
			r = 0;
		}
	}
	free(t);
	return r;
}

/* ---- two at once ---- */

int ergon_validation_start(ergon_context *ctx, const char *primary, const char *secondary,
			   ergon_validation **ret)
{
	ergon_validation *v;
	int r = lib_check(ctx);

	if (r < 0)
		return r;
	if (!primary || !secondary || strcmp(primary, secondary) == 0)
		return -EINVAL;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	r = ergon_tracking_start(ctx, primary, &v->primary);
	if (r == 0) {
		r = ergon_tracking_start(ctx, secondary, &v->secondary);
		if (r < 0)
			(void)ergon_tracking_stop(v->primary, NULL);
	}
	if (r < 0) {
		free(v);
		return r;
	}
	*ret = v;
	return 0;
}

/* Stops one and notes what its start and stop cost. */
static int stop_timed(ergon_tracking *t, struct ergon_metrics *m, uint64_t *ret_overhead_ns)
{
	const struct eg_clock clock = t->ctx->env.clock;
	uint64_t overhead = t->overhead_ns, before = eg_clock_ns(&clock);
	int r = ergon_tracking_stop(t, m);

	*ret_overhead_ns = overhead + eg_clock_ns(&clock) - before;
	return r;
}

int ergon_validation_stop(ergon_validation *v, struct ergon_crosscheck *ret)
{
	struct ergon_crosscheck c = {.size = sizeof(c), .agree = 1};
	uint64_t a, b, diff = 0;
	ergon_context *ctx = v->primary->ctx;
	char detail[256];
	int r, r2;

	/* The secondary, begun inside the primary's interval, ends inside it. */
	r2 = stop_timed(v->secondary, &c.secondary, &c.secondary_overhead_ns);
	r = stop_timed(v->primary, &c.primary, &c.primary_overhead_ns);
	free(v);
	if (r < 0 || r2 < 0)
		return r < 0 ? r : r2;
	a = c.primary.total_uj;
	b = c.secondary.total_uj;
	c.has_difference = (c.primary.present & c.secondary.present & ERGON_METRIC_TOTAL) != 0;
	if (c.has_difference) {
		diff = a > b ? a - b : b - a;
		c.joint_uncertainty_uj = c.primary.uncertainty_uj + c.secondary.uncertainty_uj;
		c.agree = diff <= c.joint_uncertainty_uj;
		c.difference_percent = a == b ? 0 : ((double)b - (double)a) / (double)a * 100;
	}
	if (!c.agree) {
		snprintf(detail, sizeof(detail),
			 "two backends differ by %.3f J, more than both uncertainties (%.3f J)",
			 (double)diff / 1e6, (double)c.joint_uncertainty_uj / 1e6);
		eg_meter_diagnose(ctx->meter, EG_DIAG_CROSSCHECK, "", "",
				  "find out which is right before you rely on either", detail);
	}
	*ret = c;
	return 0;
}
