/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts carried from one meter to the next: what counters recover, what becomes a gap, what stays
 * of absent devices; the view that exporters see; and the pauses of a failing slow driver.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/view.h"
#include "rig.h"

#define MODULUS 262143328850ULL

struct kept {
	struct eg_account *a;
	size_t n;
};

/* What a store would hold when the process dies after the last sample. */
static struct kept keep(struct rig *r)
{
	struct eg_view *v;
	struct kept k;

	assert_int_equal(eg_view_new(r->meter, &v), 0);
	eg_view_take(v, r->meter);
	k.n = v->n_accounts;
	k.a = calloc(k.n + 1, sizeof(*k.a));
	assert_non_null(k.a);
	for (size_t i = 0; i < k.n; i++)
		k.a[i] = v->account[i].a;
	eg_view_free(v);
	return k;
}

static const struct eg_account *find(const struct kept *k, const char *device,
				     enum eg_component component, enum eg_provenance provenance)
{
	for (size_t i = 0; i < k->n; i++)
		if (strcmp(k->a[i].device, device) == 0 && k->a[i].component == component &&
		    k->a[i].provenance == provenance)
			return &k->a[i];
	return NULL;
}

static void next_process(struct rig *r, struct kept *k, bool same_boot)
{
	struct eg_meter_config cfg = {.interval_ns = SECOND, .max_accounts = 64};

	r->meter = eg_meter_close(r->meter);
	rig_open(r, &cfg);
	assert_int_equal(eg_meter_restore(r->meter, k->a, k->n, same_boot), 0);
	free(k->a);
}

static struct rig *machine(void)
{
	struct rig *r = rig_new();
	struct rig_channel *c = rig_counter(r, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "100W");

	c->ch.modulus = MODULUS;
	c->ch.resolution_uj = 1;
	c->ch.update_ns = 0;
	c->ch.max_uw = 500000000;
	rig_gauge(r, "gpu-0", "gpu-A", EG_COMPONENT_GPU, "200W");
	rig_open(r, &(struct eg_meter_config){.interval_ns = SECOND, .max_accounts = 64});
	return r;
}

/* The counter goes on exactly, the gauge has a gap; nothing falls. */
static void recovered_and_gap(void **state)
{
	struct rig *r = machine();
	struct kept k;
	const struct eg_account *cpu, *gpu;

	eg_meter_sample(r->meter, false);
	rig_run(r, 10 * SECOND, SECOND);
	eg_meter_sample(r->meter, false);
	k = keep(r);
	cpu = find(&k, "cpu-0", EG_COMPONENT_PACKAGE, EG_PROVENANCE_MEASURED);
	gpu = find(&k, "gpu-A", EG_COMPONENT_GPU, EG_PROVENANCE_MEASURED);
	assert_true(cpu->uj == 1000000000 && gpu->uj == 2000000000);
	assert_true(cpu->last.counter && !gpu->last.counter);
	assert_true(cpu->last.t_ns == RIG_T0 + 10 * SECOND);
	assert_true(cpu->created_unix_ns != 0 && cpu->created_unix_ns == gpu->created_unix_ns);
	assert_string_equal(cpu->channel, "rig/package-0");

	rig_at(r, 70 * SECOND);
	next_process(r, &k, true);
	rig_at(r, 71 * SECOND);
	eg_meter_sample(r->meter, false);
	rig_at(r, 72 * SECOND);
	eg_meter_sample(r->meter, false);
	k = keep(r);
	cpu = find(&k, "cpu-0", EG_COMPONENT_PACKAGE, EG_PROVENANCE_MEASURED);
	gpu = find(&k, "gpu-A", EG_COMPONENT_GPU, EG_PROVENANCE_MEASURED);
	assert_true(cpu->uj == 7200000000);
	assert_true(cpu->recovered_uj == 6100000000);
	assert_true(cpu->gap_ns == 0);
	assert_true(gpu->uj == 2200000000);
	assert_true(gpu->gap_ns == 61 * SECOND);
	assert_true(gpu->recovered_uj == 0);
	free(k.a);
	rig_free(r);
}

/* Back to back through many processes: the sum is the truth to the microjoule, wraps included. */
static void a_hundred_processes(void **state)
{
	struct rig *r = machine();
	struct kept k;
	uint64_t t = 0;

	for (int i = 0; i < 100; i++) {
		for (int s = 0; s < 3; s++) {
			t += SECOND / 3 + 7;
			rig_at(r, t);
			eg_meter_sample(r->meter, false);
		}
		k = keep(r);
		t += 40 * SECOND;
		rig_at(r, t);
		next_process(r, &k, true);
	}
	rig_at(r, t);
	eg_meter_sample(r->meter, false);
	k = keep(r);
	{
		const struct eg_account *cpu =
			find(&k, "cpu-0", EG_COMPONENT_PACKAGE, EG_PROVENANCE_MEASURED);
		double truth = rig_truth_uj(r, 0, SECOND / 3 + 7, t);

		assert_true(fabs((double)cpu->uj - truth) <= 2);
		assert_true(cpu->gap_ns == 0);
		assert_true((double)cpu->uj > (double)MODULUS); /* it wrapped on the way */
	}
	free(k.a);
	rig_free(r);
}

/* Away for longer than the counter can tell: a gap of all of it, and nothing added. */
static void away_too_long(void **state)
{
	struct rig *r = machine();
	struct kept k;
	const struct eg_account *cpu;

	rig_at(r, 0);
	eg_meter_sample(r->meter, false);
	rig_at(r, SECOND);
	eg_meter_sample(r->meter, false);
	k = keep(r);
	rig_at(r, 3001 * SECOND); /* 500 W x 3000 s: several ranges */
	next_process(r, &k, true);
	eg_meter_sample(r->meter, false);
	k = keep(r);
	cpu = find(&k, "cpu-0", EG_COMPONENT_PACKAGE, EG_PROVENANCE_MEASURED);
	assert_true(cpu->uj == 100000000 && cpu->recovered_uj == 0);
	assert_true(cpu->gap_ns == 3000 * SECOND);
	free(k.a);
	rig_free(r);
}

/* Another boot, another unit, a count of the process's own: the time is a gap, never energy. */
static void nothing_goes_on(void **state)
{
	for (int variant = 0; variant < 4; variant++) {
		struct rig *r = machine();
		const struct eg_account *cpu;
		struct kept k;

		r->clock.unix_base_ns = 1700000000 * SECOND;
		rig_at(r, 0);
		eg_meter_sample(r->meter, false);
		rig_at(r, SECOND);
		eg_meter_sample(r->meter, false);
		k = keep(r);
		for (size_t i = 0; i < k.n; i++) {
			if (variant == 1)
				k.a[i].last.unit_den *= 2;
			if (variant == 2)
				snprintf(k.a[i].channel, sizeof(k.a[i].channel), "other/package-0");
			if (variant == 3)
				k.a[i].last.counter = false;
		}
		rig_at(r, 21 * SECOND);
		next_process(r, &k, variant != 0);
		eg_meter_sample(r->meter, false);
		k = keep(r);
		cpu = find(&k, "cpu-0", EG_COMPONENT_PACKAGE, EG_PROVENANCE_MEASURED);
		assert_true(cpu->uj == 100000000);
		assert_true(cpu->gap_ns == 20 * SECOND);
		free(k.a);
		rig_free(r);
	}
}

/* A counter that was reset while nobody looked: what is before is unknown, nothing is invented. */
static void reset_meanwhile(void **state)
{
	struct rig *r = machine();
	const struct eg_account *cpu;
	struct kept k;

	r->c[0].offset = 5000000000;
	rig_at(r, 0);
	eg_meter_sample(r->meter, false);
	rig_at(r, SECOND);
	eg_meter_sample(r->meter, false);
	k = keep(r);
	rig_at(r, 11 * SECOND);
	r->c[0].offset = MODULUS - 1100000000 + 3000000000; /* shows 3 kJ at 11 s: below 5.1 kJ */
	next_process(r, &k, true);
	eg_meter_sample(r->meter, false);
	k = keep(r);
	cpu = find(&k, "cpu-0", EG_COMPONENT_PACKAGE, EG_PROVENANCE_MEASURED);
	assert_true(cpu->uj == 100000000);
	assert_true(cpu->resets == 1 && cpu->gap_ns == 10 * SECOND);
	free(k.a);
	rig_free(r);
}

/* A device that is away keeps its account through as many processes as it takes. */
static void absent_device(void **state)
{
	struct rig *r = machine();
	struct eg_view *v;
	struct kept k;

	rig_at(r, 0);
	eg_meter_sample(r->meter, false);
	rig_at(r, SECOND);
	eg_meter_sample(r->meter, false);
	k = keep(r);
	r->n = 1; /* the GPU is gone */
	rig_at(r, 5 * SECOND);
	next_process(r, &k, true);
	eg_meter_sample(r->meter, false);
	assert_int_equal(eg_view_new(r->meter, &v), 0);
	eg_view_take(v, r->meter);
	for (size_t i = 0; i < v->n_accounts; i++)
		if (v->account[i].a.component == EG_COMPONENT_GPU && v->account[i].a.uj) {
			assert_int_equal(v->account[i].channel, -1);
			assert_true(v->account[i].shown);
			assert_true(v->account[i].a.uj == 200000000);
		}
	eg_view_free(v);
	k = keep(r);
	r->n = 2;
	rig_at(r, 9 * SECOND);
	next_process(r, &k, true);
	eg_meter_sample(r->meter, false);
	rig_at(r, 10 * SECOND);
	eg_meter_sample(r->meter, false);
	k = keep(r);
	assert_true(find(&k, "gpu-A", EG_COMPONENT_GPU, EG_PROVENANCE_MEASURED)->uj == 400000000);
	assert_true(find(&k, "gpu-A", EG_COMPONENT_GPU, EG_PROVENANCE_MEASURED)->gap_ns ==
		    8 * SECOND);
	free(k.a);
	rig_free(r);
}

/* More accounts than there is room for: said, and those of this machine come first. */
static void over_the_ceiling(void **state)
{
	struct rig *r = machine();
	struct eg_account *a = calloc(100, sizeof(*a));
	struct eg_account *now;
	size_t n, refused;

	for (int i = 0; i < 100; i++) {
		snprintf(a[i].device, sizeof(a[i].device), "gone-%d", i);
		a[i].component = EG_COMPONENT_GPU;
		a[i].uj = 1;
	}
	refused = eg_meter_restore(r->meter, a, 100, true);
	assert_int_equal(eg_meter_accounts(r->meter, &now, &n), 0);
	assert_int_equal(n, 64);
	assert_int_equal(refused, 100 - (64 - 4)); /* two channels, each with its held account */
	free(now);
	free(a);
	rig_free(r);
}

/* T15: no reading, no account shown; after the first one it shows 0 at once. */
static void shown_from_the_first_reading(void **state)
{
	struct rig *r = machine();
	struct eg_view *v;

	r->c[0].absent = true;
	rig_at(r, 0);
	assert_int_equal(eg_meter_begin_running(r->meter, EG_METER_SINCE_OPEN), 0);
	assert_int_equal(eg_view_new(r->meter, &v), 0);
	eg_view_take(v, r->meter);
	assert_false(v->account[v->channel[0].account].shown);
	assert_true(v->account[v->channel[1].account].shown);
	assert_true(v->account[v->channel[1].account].a.uj == 0);
	assert_true(v->channel[1].have_uw && v->channel[1].uw == 200000000);
	r->c[0].absent = false;
	for (int s = 1; s <= 20; s++) {
		rig_at(r, (uint64_t)s * SECOND);
		eg_meter_sample(r->meter, false);
		eg_view_take(v, r->meter);
		if (s == 1)
			assert_true(v->account[v->channel[0].account].shown &&
				    v->account[v->channel[0].account].a.uj == 0);
	}
	assert_true(v->account[v->channel[0].account].a.uj == 1900000000);
	assert_true(v->channel[0].uncertainty_uj > 0);
	assert_false(v->account[v->channel[0].est_account].shown);
	eg_view_free(v);
	rig_free(r);
}

/* Held readings have an account of their own, shown once something was held. */
static void held_is_estimated(void **state)
{
	struct rig *r = machine();
	struct eg_view *v;

	assert_int_equal(eg_view_new(r->meter, &v), 0);
	rig_at(r, 0);
	eg_meter_sample(r->meter, false);
	rig_at(r, 30 * SECOND);
	eg_meter_sample(r->meter, false);
	eg_view_take(v, r->meter);
	assert_true(v->account[v->channel[1].account].a.uj == 0);
	assert_true(v->account[v->channel[1].est_account].a.uj == 6000000000);
	assert_true(v->account[v->channel[1].est_account].shown);
	assert_true(v->account[v->channel[1].est_account].held);
	assert_int_equal(v->account[v->channel[1].est_account].a.provenance,
			 EG_PROVENANCE_ESTIMATED);
	eg_view_free(v);
	rig_free(r);
}

/* A slow driver without a value is asked less and less often, and at once again after one. */
static void back_off(void **state)
{
	struct rig *r = rig_new();
	unsigned asked[6] = {0};

	rig_counter(r, "gpu-0", "gpu-A", EG_COMPONENT_GPU, "100W");
	r->driver.blocking_ns = SECOND; /* a worker */
	rig_open(r, &(struct eg_meter_config){.interval_ns = SECOND, .backoff_max_ns = 8 * SECOND});
	r->c[0].absent = true;
	for (int s = 0; s < 60; s++) {
		unsigned before = atomic_load(&r->reads);

		rig_at(r, (uint64_t)s * SECOND);
		eg_meter_sample(r->meter, false);
		for (int i = 0; i < 20; i++) { /* the worker's turn, if it has one */
			nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
			if (atomic_load(&r->reads) != before)
				break;
		}
		nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
		asked[s / 10] += atomic_load(&r->reads) - before;
	}
	assert_in_range(asked[0], 3, 4); /* at 0, 1, 3, 7 s */
	assert_in_range(asked[2], 1, 2); /* every 8 s by now */
	assert_in_range(asked[5], 1, 2);
	r->c[0].absent = false;
	eg_meter_sample(r->meter, true); /* an edge asks all the same */
	for (int s = 60; s < 65; s++) {
		unsigned before = atomic_load(&r->reads);

		rig_at(r, (uint64_t)s * SECOND);
		eg_meter_sample(r->meter, false);
		for (int i = 0; i < 2000 && atomic_load(&r->reads) == before; i++)
			nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
		assert_int_equal(atomic_load(&r->reads), before + 1);
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recovered_and_gap), cmocka_unit_test(a_hundred_processes),
		cmocka_unit_test(away_too_long),     cmocka_unit_test(nothing_goes_on),
		cmocka_unit_test(reset_meanwhile),   cmocka_unit_test(absent_device),
		cmocka_unit_test(over_the_ceiling),  cmocka_unit_test(shown_from_the_first_reading),
		cmocka_unit_test(held_is_estimated), cmocka_unit_test(back_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
