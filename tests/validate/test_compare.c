/* SPDX-License-Identifier: Apache-2.0 */
/* Who is compared with whom, and how far apart they may be: over channels made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/compare.h"

#define J 1000000ULL

static const struct eg_driver first = {.name = "first"}, second = {.name = "second"},
			      model = {.name = "model", .estimator = true};

struct machine {
	size_t n;
	struct eg_channel ch[EG_CHANNELS_MAX];
	struct eg_compare_in in[EG_CHANNELS_MAX];
	struct eg_result_channel row[EG_CHANNELS_MAX];
	struct eg_result result;
	struct eg_compare cmp;
};

static struct machine *machine_new(void)
{
	struct machine *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->result.channel = m->row;
	m->result.seconds_ns = EG_NSEC_PER_SEC;
	return m;
}

static size_t add(struct machine *m, const struct eg_driver *driver, const char *device,
		  enum eg_component component, uint64_t uj)
{
	size_t i = m->n++;

	m->ch[i] = (struct eg_channel){.component = component,
				       .source = EG_SOURCE_RAPL,
				       .provenance = driver->estimator ? EG_PROVENANCE_ESTIMATED :
									 EG_PROVENANCE_MEASURED};
	eg_copy(m->ch[i].device, sizeof(m->ch[i].device), device);
	m->in[i] = (struct eg_compare_in){&m->ch[i], driver};
	m->row[i] = (struct eg_result_channel){.ch = &m->ch[i],
					       .driver = driver,
					       .has_value = true,
					       .uj = uj,
					       .uncertainty.accuracy_uj = uj / 20,
					       .uncertainty.total_uj = uj / 20};
	m->result.n = m->n;
	return i;
}

static const struct eg_compare *find(struct machine *m)
{
	eg_compare_find(m->in, m->n, &m->cmp);
	return &m->cmp;
}

static size_t member(const struct eg_compare *c, size_t group, size_t side, size_t i)
{
	return c->member[c->side[c->group[group].first + side].first + i];
}

static void test_accounts(void **state)
{
	struct machine *m = machine_new();
	const struct eg_compare *c;
	size_t a, b, gauge;

	add(m, &first, "cpu-0", EG_COMPONENT_CORE, J); /* alone */
	gauge = add(m, &first, "gpu-0", EG_COMPONENT_GPU, J);
	a = add(m, &first, "cpu-0", EG_COMPONENT_PACKAGE, J);
	b = add(m, &second, "cpu-0", EG_COMPONENT_PACKAGE, J);
	add(m, &second, "cpu-01", EG_COMPONENT_PACKAGE, J);
	add(m, &second, "gpu-0", EG_COMPONENT_GPU, J);
	add(m, &first, "node", EG_COMPONENT_RAIL, J); /* rails are nobody's */
	add(m, &second, "node", EG_COMPONENT_RAIL, J);
	m->ch[gauge].quantity = EG_QUANTITY_POWER;
	c = find(m);
	assert_int_equal(c->n_groups, 2);
	assert_string_equal(c->group[0].what, "gpu");
	assert_int_equal(member(c, 0, 1, 0), gauge); /* the counter is the reference */
	assert_string_equal(c->group[1].what, "package");
	assert_string_equal(c->group[1].device, "cpu-0");
	assert_int_equal(member(c, 1, 0, 0), a);
	assert_int_equal(member(c, 1, 1, 0), b);
	free(m);
}

static void test_dies(void **state)
{
	struct machine *m = machine_new();
	const struct eg_compare *c;
	size_t whole, other;

	add(m, &first, "cpu-0-die-0", EG_COMPONENT_PACKAGE, 4 * J);
	add(m, &first, "cpu-0", EG_COMPONENT_DRAM, J);
	add(m, &first, "cpu-0-die-1", EG_COMPONENT_PACKAGE, 5 * J);
	add(m, &first, "cpu-1-die-0", EG_COMPONENT_PACKAGE, 5 * J); /* its other die is not read */
	whole = add(m, &second, "cpu-0", EG_COMPONENT_PACKAGE, 9 * J);
	other = add(m, &second, "cpu-1", EG_COMPONENT_PACKAGE, 9 * J);
	c = find(m);
	assert_int_equal(c->n_groups, 1);
	assert_int_equal(c->group[0].n, 2);
	assert_int_equal(c->side[c->group[0].first].n, 2); /* the better interface's */
	assert_int_equal(member(c, 0, 0, 1), 2);
	assert_int_equal(member(c, 0, 1, 0), whole);
	(void)other;
	free(m);
}

static void test_machine(void **state)
{
	struct machine *m = machine_new();
	const struct eg_compare *c;

	add(m, &first, "psu-0", EG_COMPONENT_PSU, J);
	add(m, &first, "psu-1", EG_COMPONENT_PSU, J);
	add(m, &second, "node-BAT0", EG_COMPONENT_BATTERY, J);
	add(m, &second, "node-BAT1", EG_COMPONENT_BATTERY, J);
	c = find(m);
	assert_int_equal(c->n_groups, 1);
	assert_string_equal(c->group[0].what, "machine");
	assert_int_equal(c->group[0].n, 2);
	add(m, &second, "chassis", EG_COMPONENT_CHASSIS, J);
	add(m, &first, "node", EG_COMPONENT_CHASSIS, J);
	c = find(m);
	assert_int_equal(c->n_groups, 1); /* not once more as an account */
	assert_int_equal(c->group[0].n, 4);
	free(m);
}

static void test_model(void **state)
{
	struct machine *m = machine_new();
	const struct eg_compare *c;
	size_t est;

	add(m, &first, "cpu-0", EG_COMPONENT_PACKAGE, J);
	add(m, &first, "cpu-0", EG_COMPONENT_CORE, J);
	add(m, &first, "cpu-1-die-0", EG_COMPONENT_PACKAGE, J);
	add(m, &first, "cpu-1", EG_COMPONENT_PACKAGE, J); /* contains the die before it */
	est = add(m, &model, "cpu-model", EG_COMPONENT_PACKAGE, 3 * J);
	c = find(m);
	assert_int_equal(c->n_groups, 1);
	assert_string_equal(c->group[0].device, "all");
	assert_int_equal(c->side[c->group[0].first].n, 2);
	assert_int_equal(member(c, 0, 0, 0), 0);
	assert_int_equal(member(c, 0, 0, 1), 3);
	assert_int_equal(member(c, 0, 1, 0), est);
	free(m);
}

/* As many channels as there may be, all of one account: nothing is written beyond. */
static void test_ceiling(void **state)
{
	struct machine *m = machine_new();
	const struct eg_compare *c;

	for (size_t i = 0; i < EG_CHANNELS_MAX; i++)
		add(m, i % 2 ? &first : &second, i % 3 ? "cpu-0" : "cpu-0-die-1",
		    EG_COMPONENT_PACKAGE, J);
	c = find(m);
	assert_true(c->n_groups >= 2);
	assert_true(c->n_sides <= EG_COMPARE_MAX && c->n_members <= EG_COMPARE_MAX);
	for (size_t s = 0; s < c->n_sides; s++)
		assert_true(c->side[s].first + c->side[s].n <= c->n_members);
	for (size_t k = 0; k < c->n_members; k++)
		assert_true(c->member[k] < m->n);
	free(m);
}

static void test_values(void **state)
{
	struct machine *m = machine_new();
	const struct eg_compare *c;
	struct eg_compare_value v;
	struct eg_compare_sum sum = {0};

	add(m, &first, "cpu-0", EG_COMPONENT_PACKAGE, 100 * J);
	add(m, &second, "cpu-0", EG_COMPONENT_PACKAGE, 103 * J);
	m->row[0].uncertainty.update_uj = 3 * J;
	m->row[1].uncertainty.update_uj = 4 * J;
	c = find(m);
	assert_true(eg_compare_add(c, 0, 1, &m->result, &sum));
	assert_true(sum.one_sensor);
	/* 3 + 4 J of the edges, and the 0.15 J by which 5 % of the two differ. */
	assert_int_equal(eg_compare_joint_uj(&sum), 7 * J + 150000);
	/* Another window of both: the edges by root of squares. */
	assert_true(eg_compare_add(c, 0, 1, &m->result, &sum));
	assert_int_equal(sum.windows, 2);
	assert_int_equal(sum.ns, 2 * EG_NSEC_PER_SEC);
	assert_int_equal(sum.b_uj, 206 * J);
	assert_in_range(eg_compare_joint_uj(&sum), 10199494, 10199496); /* 7 sqrt 2 + 0.3 */
	/* Two sensors: both uncertainties whole. */
	m->ch[1].source = EG_SOURCE_HWMON;
	sum = (struct eg_compare_sum){0};
	assert_true(eg_compare_add(c, 0, 1, &m->result, &sum));
	assert_false(sum.one_sensor);
	assert_in_range(eg_compare_joint_uj(&sum), 12351879, 12351881); /* |3, 5| + |4, 5.15| */

	m->row[1].gap_ns = 1;
	assert_false(eg_compare_add(c, 0, 1, &m->result, &sum));
	assert_int_equal(sum.windows, 1);
	eg_compare_value(c, 1, &m->result, &v);
	assert_true(v.seen && !v.whole && v.gap_ns == 1);
	m->row[1].gap_ns = 0;
	m->row[1].est_uj = J; /* held */
	assert_false(eg_compare_add(c, 0, 1, &m->result, &sum));
	m->row[1].est_uj = 0;
	m->row[1].has_value = false;
	eg_compare_value(c, 1, &m->result, &v);
	assert_false(v.seen || v.whole);
	assert_false(eg_compare_add(c, 0, 1, &m->result, &sum));
	free(m);
}

/* What the weaker class has beyond the stronger stays, also where its watts hide it. */
static void test_classes_of_one_sensor(void **state)
{
	struct machine *m = machine_new();
	const struct eg_compare *c;
	struct eg_compare_sum sum = {0};

	add(m, &first, "gpu-0", EG_COMPONENT_GPU, 20 * J);
	add(m, &first, "gpu-0", EG_COMPONENT_GPU, 21 * J);
	m->ch[0].accuracy = (struct eg_accuracy){.rel_ppm = 50000, .abs_uw = 5 * J};
	m->ch[1].accuracy = (struct eg_accuracy){.rel_ppm = 150000, .abs_uw = 5 * J};
	m->row[0].uncertainty.accuracy_uj = m->row[1].uncertainty.accuracy_uj = 5 * J;
	c = find(m);
	assert_true(eg_compare_add(c, 0, 1, &m->result, &sum));
	assert_in_range(eg_compare_joint_uj(&sum), 2100000, 2100001); /* 10 % of 21 J */
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accounts),
		cmocka_unit_test(test_dies),
		cmocka_unit_test(test_machine),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_ceiling),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_classes_of_one_sensor),
	};

	return cmocka_run_group_tests_name("validate-compare", tests, NULL, NULL);
}
