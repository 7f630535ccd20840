/* SPDX-License-Identifier: Apache-2.0 */
/* See rig.h. */
#include "rig.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct rig *the_rig; /* open() has no other way to find it */

static int rig_drv_open(const struct eg_env *env, const struct eg_driver_config *cfg,
			struct eg_instance **ret)
{
	while (atomic_load(&the_rig->hang_open))
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	*ret = (struct eg_instance *)the_rig;
	atomic_fetch_add(&the_rig->opened, 1);
	return 0;
}

static size_t rig_drv_describe(const struct eg_instance *inst, const struct eg_channel **ret)
{
	const struct rig *r = (const struct rig *)inst;

	*ret = r->described;
	return r->n;
}

static uint64_t shown_counter(const struct rig_channel *c, uint64_t t)
{
	uint64_t latch = t;
	long double raw;

	if (c->ch.update_ns) { /* last refresh at or before t */
		uint64_t since = (t + c->phase_ns) % c->ch.update_ns;

		latch = t > since ? t - since : 0;
	}
	raw = (long double)eg_power_energy_fj(&c->power, 0, latch) / EG_FJ_PER_UJ * c->gain;
	raw = raw * c->ch.unit_den / c->ch.unit_num;
	if (c->ch.resolution_uj > 1)
		raw = floorl(raw / c->ch.resolution_uj) * c->ch.resolution_uj;
	return c->ch.modulus ? (c->offset + (uint64_t)raw) % c->ch.modulus :
			       c->offset + (uint64_t)raw;
}

static void rig_drv_read(struct eg_instance *inst, struct eg_sink *sink, struct eg_diags *diags)
{
	struct rig *r = (struct rig *)inst;

	while (atomic_load(&r->hang))
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	if (r->slow_ns)
		nanosleep(&(struct timespec){.tv_nsec = r->slow_ns}, NULL);
	r->reads++;
	for (size_t i = 0; i < r->n; i++) {
		const struct rig_channel *c = &r->c[i];
		uint64_t now = eg_clock_ns(&r->env.clock) - c->lag_ns, t = now - RIG_T0;
		struct eg_reading rd = {.t_ns = now, .status = EG_STATUS_OK, .epoch = c->epoch};

		if (c->absent)
			rd.status = EG_STATUS_NO_DATA;
		else if (c->bad_value != 0)
			eg_reading_from_double(&rd, c->bad_value, 1);
		else if (c->ch.quantity == EG_QUANTITY_ENERGY)
			rd.raw = shown_counter(c, t);
		else
			rd.raw = (uint64_t)(eg_power_at_uw(&c->power, t) * c->gain);
		eg_sink_put(sink, i, &rd);
	}
}

static uint32_t rig_drv_flags(const struct eg_instance *inst, size_t channel)
{
	return ((const struct rig *)inst)->flags;
}

static int rig_drv_temperature(const struct eg_instance *inst, size_t channel, double *ret)
{
	const struct rig *r = (const struct rig *)inst;

	if (isnan(r->celsius))
		return -ENODATA;
	*ret = r->celsius;
	return 0;
}

static void rig_drv_close(struct eg_instance *inst)
{
}

struct rig *rig_new(void)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->clock = (struct eg_manual_clock){.boot_ns = RIG_T0, .unix_base_ns = 1700000000 * SECOND};
	assert_int_equal(eg_env_open(&r->env, NULL), 0);
	r->env.clock = eg_clock_manual(&r->clock);
	r->celsius = NAN;
	r->driver = (struct eg_driver){.name = "rig",
				       .summary = "channels with a known truth",
				       .source = EG_SOURCE_RAPL,
				       .open = rig_drv_open,
				       .describe = rig_drv_describe,
				       .read = rig_drv_read,
				       .flags = rig_drv_flags,
				       .temperature = rig_drv_temperature,
				       .close = rig_drv_close};
	r->drivers[0] = &r->driver;
	the_rig = r;
	return r;
}

static struct rig_channel *add(struct rig *r, const char *domain, const char *device,
			       enum eg_component component, const char *power)
{
	struct rig_channel *c = &r->c[r->n++];
	char why[128];

	assert_true(r->n <= RIG_CHANNELS);
	*c = (struct rig_channel){.gain = 1};
	assert_int_equal(eg_power_parse(power, &c->power, why, sizeof(why)), 0);
	eg_copy(c->ch.domain, sizeof(c->ch.domain), domain);
	eg_copy(c->ch.device, sizeof(c->ch.device), device);
	c->ch.component = component;
	c->ch.source = EG_SOURCE_RAPL;
	c->ch.boundary = component == EG_COMPONENT_CHASSIS || component == EG_COMPONENT_PSYS ?
				 EG_BOUNDARY_NODE :
				 EG_BOUNDARY_COMPONENT;
	c->ch.unit_num = c->ch.unit_den = 1;
	c->ch.max_uw = 750000000;
	c->ch.part_of = -1;
	c->ch.accuracy = (struct eg_accuracy){.rel_ppm = 50000, .citation = "test"};
	return c;
}

struct rig_channel *rig_counter(struct rig *r, const char *domain, const char *device,
				enum eg_component component, const char *power)
{
	struct rig_channel *c = add(r, domain, device, component, power);

	c->ch.quantity = EG_QUANTITY_ENERGY;
	c->ch.modulus = 262143328911;
	c->ch.resolution_uj = 62;
	c->ch.update_ns = 1000000;
	c->ch.guard_ns = 30 * SECOND;
	return c;
}

struct rig_channel *rig_gauge(struct rig *r, const char *domain, const char *device,
			      enum eg_component component, const char *power)
{
	struct rig_channel *c = add(r, domain, device, component, power);

	c->ch.quantity = EG_QUANTITY_POWER;
	return c;
}

void rig_open(struct rig *r, const struct eg_meter_config *cfg)
{
	const struct eg_meter_config none = {0};

	for (size_t i = 0; i < r->n; i++)
		r->described[i] = r->c[i].ch;
	assert_int_equal(eg_meter_open(&r->env, r->drivers, cfg ? cfg : &none, &r->meter, NULL), 0);
}

void rig_at(struct rig *r, uint64_t t_ns)
{
	__atomic_store_n(&r->clock.boot_ns, RIG_T0 + t_ns, __ATOMIC_RELAXED);
}

void rig_run(struct rig *r, uint64_t until_ns, uint64_t step_ns)
{
	for (uint64_t t = r->clock.boot_ns - RIG_T0 + step_ns; t < until_ns; t += step_ns) {
		rig_at(r, t);
		eg_meter_sample(r->meter, false);
	}
	rig_at(r, until_ns);
}

double rig_truth_uj(const struct rig *r, size_t channel, uint64_t t0_ns, uint64_t t1_ns)
{
	return (double)eg_power_energy_fj(&r->c[channel].power, t0_ns, t1_ns) / EG_FJ_PER_UJ;
}

void rig_free(struct rig *r)
{
	assert_null(eg_meter_close(r->meter));
	eg_env_close(&r->env);
	free(r);
}
