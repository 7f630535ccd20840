/* SPDX-License-Identifier: Apache-2.0 */
/* The driver to start from, and the tests to start from: on a small tree of files. */
#include "../../host/tree.h"

#include <errno.h>

#include "core/driver.h"

extern const struct eg_driver eg_driver_template;
#define DRIVER (&eg_driver_template)

struct record {
	struct eg_sink sink;
	size_t n;
	struct eg_reading r[16];
};

static void put(struct eg_sink *sink, size_t channel, const struct eg_reading *r)
{
	struct record *rec = (struct record *)sink;

	assert_true(channel < 16);
	rec->r[channel] = *r;
	rec->n++;
}

static struct record read_all(struct eg_instance *inst, struct eg_diags *diags)
{
	struct record rec = {.sink.put = put};

	DRIVER->read(inst, &rec.sink, diags);
	return rec;
}

static void values(void **state)
{
	struct eg_instance *inst = NULL;
	const struct eg_channel *ch;
	struct eg_diags diags;
	struct record rec;
	struct tree t;

	tree_open(&t);
	assert_int_equal(eg_diags_init(&diags, 32), 0);
	struct eg_driver_config cfg = {.diags = &diags};

	assert_int_equal(DRIVER->probe(&t.env), -ENODEV);
	assert_int_equal(DRIVER->open(&t.env, &cfg, &inst), -ENOENT);
	assert_int_equal(diags.n, 1);
	tree_write(&t, "run/template/a/energy_uj", "123\n");
	tree_write(&t, "run/template/a/range_uj", "1000\n");
	tree_write(&t, "run/template/b/energy_uj", "7\n");
	tree_write(&t, "run/template/c/energy_uj", "seven\n");
	assert_int_equal(DRIVER->probe(&t.env), 0);
	assert_int_equal(DRIVER->open(&t.env, &cfg, &inst), 0);
	/* The one that talks nonsense is left out, with a reason. */
	assert_int_equal(DRIVER->describe(inst, &ch), 2);
	assert_int_equal(diags.n, 2);
	assert_string_equal(diags.items[1].subject, "c");
	assert_string_equal(ch[0].domain, "a");
	assert_string_equal(ch[1].device, "template-b");
	assert_int_equal(ch[0].modulus, 1000);
	assert_int_equal(ch[1].modulus, 0);
	for (int i = 0; i < 2; i++)
		assert_true(ch[i].max_uw > 0 && ch[i].part_of == -1 && ch[i].unit_den > 0);
	t.clock.boot_ns += 42;
	rec = read_all(inst, &diags);
	assert_int_equal(rec.n, 2);
	assert_int_equal(rec.r[0].raw, 123);
	assert_int_equal(rec.r[1].raw, 7);
	assert_int_equal(rec.r[1].t_ns, t.clock.boot_ns);
	/* Nonsense is an error, not a value; the device that is gone comes back. */
	tree_write(&t, "run/template/a/energy_uj", "");
	rec = read_all(inst, &diags);
	assert_int_equal(rec.r[0].status, EG_STATUS_ERROR);
	assert_int_equal(rec.r[1].status, EG_STATUS_OK);
	tree_unlink(&t, "run/template/a/energy_uj");
	assert_int_equal(read_all(inst, NULL).r[0].status, EG_STATUS_ERROR);
	tree_write(&t, "run/template/a/energy_uj", "456\n");
	rec = read_all(inst, &diags);
	assert_int_equal(rec.r[0].status, EG_STATUS_OK);
	assert_int_equal(rec.r[0].raw, 456);
	DRIVER->close(inst);
	eg_diags_free(&diags);
	tree_close(&t);
}

static void ceiling(void **state)
{
	struct eg_instance *inst = NULL;
	const struct eg_channel *ch;
	struct eg_diags diags;
	struct tree t;

	tree_open(&t);
	assert_int_equal(eg_diags_init(&diags, 32), 0);
	for (int i = 0; i < 20; i++) {
		char path[64];

		snprintf(path, sizeof(path), "run/template/m%d/energy_uj", i);
		tree_write(&t, path, "1\n");
	}
	struct eg_driver_config cfg = {.diags = &diags};

	assert_int_equal(DRIVER->open(&t.env, &cfg, &inst), 0);
	assert_int_equal(DRIVER->describe(inst, &ch), 16);
	assert_int_equal(diags.n, 4); /* each one left out is named */
	DRIVER->close(inst);
	DRIVER->close(NULL);
	eg_diags_free(&diags);
	tree_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),
		cmocka_unit_test(ceiling),
	};

	return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
