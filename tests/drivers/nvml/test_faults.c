/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call of the library failing in turn, every function missing in turn, and several users of
 * the library in one process and in two (measurement contract M16).
 */
#include "rig.h"

#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>

#define TWO_GPUS                                                 \
	"gpu\ncounter 10\npower 300W\nmig 2 0 99\nbase 123456\n" \
	"gpu\narch 4\ncounter none\npower square low=50W high=150W period=400ms duty=0.5\n"

static void ignore(struct eg_attribute_sink *sink, const struct eg_attribute *a)
{
	(void)sink;
	assert_true(a->name[0]);
	assert_true(a->device[0]);
}

/*
 * A whole life: open, eight samples over 4 s, attributes, close. No channel may ever show more than
 * its GPU used, whatever fails. Returns the calls it made; *ret_uj the first GPU's joules.
 */
static uint64_t live(struct rig *r, uint64_t *ret_uj, unsigned *ret_sessions)
{
	struct eg_attribute_sink sink = {.put = ignore};
	struct eg_meter_config cfg = {.interval_ns = 500 * EG_NSEC_PER_MSEC};
	uint64_t (*calls)(void) = NULL, n = 0;
	unsigned (*sessions)(void) = NULL;
	struct eg_meter *m = NULL;
	const struct eg_snapshot *s;

	rig_at(r, 0.02);
	assert_int_equal(eg_meter_open(&r->env, r->drivers, &cfg, &m, NULL), 0);
	for (int k = 0; k <= 8; k++) {
		rig_at(r, 0.02 + k * 0.5);
		eg_meter_sample(m, true);
	}
	eg_meter_attributes(m, &sink);
	s = eg_meter_pin(m);
	*ret_uj = 0;
	for (size_t i = 0; s && i < s->n; i++) {
		const struct eg_channel *ch = eg_meter_channel(m, i);
		bool first = strcmp(ch->domain, "gpu-0") == 0;
		double truth = first ? 1200e6 : 400e6;
		double slack = ch->quantity == EG_QUANTITY_ENERGY ? 3.1e6 : 25e6;

		if ((double)s->channel[i].uj > truth + slack)
			fail_msg("%s: %.6f J of %.6f J", ch->domain, (double)s->channel[i].uj / 1e6,
				 truth / 1e6);
		if (first)
			*ret_uj = s->channel[i].uj;
	}
	eg_meter_unpin(m, s);
	/* Looked up only now: the driver may have loaded the library anew. */
	if (symbol_of(r, "fake_nvml_calls", &calls, sizeof(calls)))
		n = calls();
	*ret_sessions = 0;
	if (symbol_of(r, "fake_nvml_sessions", &sessions, sizeof(sessions)))
		*ret_sessions = sessions();
	assert_null(eg_meter_close(m));
	return n;
}

static void test_each_call_fails(void **state)
{
	static const int codes[] = {1, 2, 3, 4, 6, 9, 15, 16, 18, 21, 999};
	struct rig r;
	uint64_t clean, uj, runs = 0, whole = 0;
	unsigned sessions;

	(void)state;
	rig_start(&r, "FAKE_NVML", TWO_GPUS);
	clean = live(&r, &uj, &sessions);
	assert_true(clean > 100);
	assert_int_equal(uj, 1200000000);
	assert_int_equal(sessions, 1);
	for (size_t c = 0; c < EG_ARRAY_SIZE(codes); c++)
		for (uint64_t n = 1; n <= clean; n++) {
			char script[512];

			snprintf(script, sizeof(script), TWO_GPUS "nth %llu %d\n",
				 (unsigned long long)n, codes[c]);
			rig_script(&r, script);
			live(&r, &uj, &sessions);
			runs++;
			whole += uj == 1200000000;
			/* After a false "uninitialised" one init more than needed is right. */
			assert_in_range(sessions, 0, codes[c] == 1 ? 2 : 1);
		}
	print_message("# %llu calls, each failing in turn with %zu codes: %llu runs, %llu of them "
		      "with every joule of the first GPU\n",
		      (unsigned long long)clean, EG_ARRAY_SIZE(codes), (unsigned long long)runs,
		      (unsigned long long)whole);
	/* One failed call costs a reading, not the joules: all but the runs without that channel,
	 * or whose first or last sample failed. */
	assert_true(whole * 10 >= runs * 8);
	rig_end(&r);
}

/* ---- functions missing ---- */

struct hiding {
	struct eg_loader loader;
	const char *hidden;
	bool only; /* hide all but those listed */
	const char *const *list;
};

static void *hiding_sym(void *ctx, void *lib, const char *name)
{
	struct hiding *h = ctx;

	if (h->hidden && strcmp(name, h->hidden) == 0)
		return NULL;
	for (size_t i = 0; h->only; i++) {
		if (!h->list[i])
			return NULL;
		if (strcmp(h->list[i], name) == 0)
			break;
	}
	return h->loader.sym(h->loader.ctx, lib, name);
}
static int hiding_open(void *ctx, const char *soname, void **ret)
{
	struct hiding *h = ctx;

	return h->loader.open(h->loader.ctx, soname, ret);
}
static void hiding_close(void *ctx, void *lib)
{
	struct hiding *h = ctx;

	h->loader.close(h->loader.ctx, lib);
}

static void hide(struct rig *r, struct hiding *h)
{
	h->loader = r->env.loader;
	r->env.loader = (struct eg_loader){hiding_open, hiding_sym, hiding_close, h};
}

static void test_each_function_missing(void **state)
{
#define NAMES(member, args, newest, older) newest,
	static const char *const names[] = {EG_NVML_FUNCTIONS(NAMES)};
#undef NAMES
	struct rig r;
	uint64_t uj;
	unsigned sessions;

	(void)state;
	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++) {
		struct hiding h = {.hidden = names[i]};

		rig_start(&r, "FAKE_NVML", TWO_GPUS);
		hide(&r, &h);
		live(&r, &uj, &sessions);
		r.env.loader = h.loader;
		rig_end(&r);
	}
}

/* The least a library must have: init, shutdown, count, handle and one of energy and power. */
static void test_minimum(void **state)
{
	static const char *const energy[] = {"nvmlInit_v2",
					     "nvmlShutdown",
					     "nvmlDeviceGetCount_v2",
					     "nvmlDeviceGetHandleByIndex_v2",
					     "nvmlDeviceGetTotalEnergyConsumption",
					     NULL};
	static const char *const power[] = {"nvmlInit_v2",
					    "nvmlShutdown",
					    "nvmlDeviceGetCount_v2",
					    "nvmlDeviceGetHandleByIndex_v2",
					    "nvmlDeviceGetPowerUsage",
					    NULL};
	static const char *const none[] = {"nvmlInit_v2",	    "nvmlShutdown",
					   "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2",
					   "nvmlDeviceGetName",	    NULL};
	static const char *const *const lists[] = {energy, power, none};
	struct rig r;
	struct opened o;

	(void)state;
	for (size_t i = 0; i < EG_ARRAY_SIZE(lists); i++) {
		struct hiding h = {.only = true, .list = lists[i]};

		rig_start(&r, "FAKE_NVML", "gpu\npower 300W\n");
		hide(&r, &h);
		assert_int_equal(rig_open(&r, &o), i < 2 ? 0 : -EPROTO);
		if (i < 2) {
			assert_int_equal(o.n, 1);
			assert_string_equal(o.ch[0].device, "gpu-nvml-0");
			assert_int_equal(o.ch[0].quantity,
					 i ? EG_QUANTITY_POWER : EG_QUANTITY_ENERGY);
			assert_int_equal(o.ch[0].max_uw, 1500000000);
		} else {
			assert_non_null(find_diag(&o.diags, EG_DIAG_SENSOR_UNSUPPORTED, NULL));
		}
		rig_close(&o);
		r.env.loader = h.loader;
		rig_end(&r);
	}
}

/* ---- several users ---- */

static void test_two_instances(void **state)
{
	static struct readings rd;
	struct rig r;
	struct opened a, b;
	unsigned (*sessions)(void) = NULL;

	(void)state;
	rig_start(&r, "FAKE_NVML", "gpu\ncounter 10\npower 300W\n");
	assert_int_equal(rig_open(&r, &a), 0);
	assert_int_equal(rig_open(&r, &b), 0);
	assert_true(symbol_of(&r, "fake_nvml_sessions", &sessions, sizeof(sessions)));
	assert_int_equal(sessions(), 2);
	rig_close(&a);
	assert_int_equal(sessions(), 1);
	rig_at(&r, 1);
	rig_read(&b, &rd);
	assert_int_equal(rd.n, 1);
	assert_int_equal(rd.item[0].r.status, EG_STATUS_OK);
	assert_int_equal(rd.item[0].r.raw, 1300000);
	rig_close(&b);
	assert_false(symbol_of(&r, "fake_nvml_sessions", &sessions, sizeof(sessions)));
	rig_end(&r);
}

struct thread {
	struct rig *r;
	int rounds;
	uint64_t bad;
	pthread_t id;
};

static void count_bad(struct eg_sink *sink, size_t channel, const struct eg_reading *rd)
{
	struct {
		struct eg_sink sink;
		uint64_t bad;
	} *s = (void *)sink;

	(void)channel;
	s->bad += rd->status != EG_STATUS_OK;
}

/* Opens, reads, asks for attributes and closes, again and again. */
static void *come_and_go(void *arg)
{
	struct thread *t = arg;
	struct eg_attribute_sink attributes = {.put = ignore};
	struct {
		struct eg_sink sink;
		uint64_t bad;
	} s = {.sink.put = count_bad};

	for (int k = 0; k < t->rounds; k++) {
		struct eg_driver_config cfg = {0};
		struct eg_instance *inst = NULL;
		struct eg_diags d;

		if (eg_diags_init(&d, 16) < 0)
			break;
		cfg.diags = &d;
		if (eg_driver_nvml.open(&t->r->env, &cfg, &inst) < 0)
			t->bad++;
		for (int i = 0; inst && i < 5; i++) {
			eg_driver_nvml.read(inst, &s.sink, &d);
			eg_driver_nvml.attributes(inst, &attributes);
			eg_driver_nvml.flags(inst, 0);
		}
		eg_driver_nvml.close(inst);
		eg_diags_free(&d);
	}
	t->bad += s.bad;
	return NULL;
}

/* Sessions end while other threads read: none of them ends another's. */
static void test_threads(void **state)
{
	struct thread t[4];
	struct rig r;

	(void)state;
	rig_start(&r, "FAKE_NVML", TWO_GPUS);
	rig_at(&r, 1);
	for (size_t i = 0; i < EG_ARRAY_SIZE(t); i++) {
		t[i] = (struct thread){.r = &r, .rounds = 100};
		assert_int_equal(pthread_create(&t[i].id, NULL, come_and_go, &t[i]), 0);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(t); i++) {
		pthread_join(t[i].id, NULL);
		assert_int_equal(t[i].bad, 0);
	}
	rig_end(&r);
}

static void *ask_attributes(void *arg)
{
	struct eg_attribute_sink sink = {.put = ignore};

	for (int k = 0; k < 200; k++)
		eg_driver_nvml.attributes(arg, &sink);
	return NULL;
}

/* One instance: attributes asked by one thread while read() loses and finds the GPU again. */
static void test_attributes_beside_read(void **state)
{
	static struct readings rd;
	struct rig r;
	struct opened o;
	pthread_t id;

	(void)state;
	rig_start(&r, "FAKE_NVML", "gpu\ncounter 10\npower 300W\nmig 2 0 9999\nlost 100 400 15\n");
	assert_int_equal(rig_open(&r, &o), 0);
	assert_int_equal(pthread_create(&id, NULL, ask_attributes, o.inst), 0);
	for (int k = 0; k < 600; k++) {
		rig_at(&r, k);
		rig_read(&o, &rd);
		eg_driver_nvml.flags(o.inst, 0);
	}
	pthread_join(id, NULL);
	assert_int_equal(rd.item[0].r.status, EG_STATUS_OK);
	rig_close(&o);
	rig_end(&r);
}

/* Two processes at once read the same counter. */
static void test_two_processes(void **state)
{
	static struct readings rd;
	struct rig r;
	struct opened o;
	pid_t pid;
	int status;

	(void)state;
	rig_start(&r, "FAKE_NVML", "gpu\ncounter 10\npower 300W\n");
	rig_at(&r, 2);
	assert_int_equal(rig_open(&r, &o), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct opened child;
		bool good = rig_open(&r, &child) == 0;

		if (good)
			rig_read(&child, &rd);
		_exit(good && rd.n == 1 && rd.item[0].r.raw == 1600000 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	rig_read(&o, &rd);
	assert_int_equal(rd.item[0].r.status, EG_STATUS_OK);
	assert_int_equal(rd.item[0].r.raw, 1600000);
	rig_close(&o);
	rig_end(&r);
}

/* A GPU that stays lost is looked for ever more seldom. */
static void test_back_off(void **state)
{
	static struct readings rd;
	struct rig r;
	struct opened o;
	uint64_t (*calls)(void) = NULL, before;

	(void)state;
	rig_start(&r, "FAKE_NVML", "gpu\ncounter 10\npower 300W\nlost 1 99999 15\n");
	assert_int_equal(rig_open(&r, &o), 0);
	rig_at(&r, 1);
	rig_read(&o, &rd);
	assert_true(symbol_of(&r, "fake_nvml_calls", &calls, sizeof(calls)));
	before = calls();
	for (int k = 0; k < 36000; k++) { /* an hour, ten times a second */
		rig_at(&r, 1 + k * 0.1);
		rig_read(&o, &rd);
		assert_int_equal(rd.n, 1);
		assert_int_equal(rd.item[0].r.status, EG_STATUS_ERROR);
	}
	print_message("# a GPU lost for an hour: %llu calls in 36000 reads\n",
		      (unsigned long long)(calls() - before));
	/* 1, 2, 4 ... 60 s: 65 tries of a handful of calls. */
	assert_true(calls() - before < 800);
	rig_close(&o);
	rig_end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_call_fails),
		cmocka_unit_test(test_each_function_missing),
		cmocka_unit_test(test_minimum),
		cmocka_unit_test(test_two_instances),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_attributes_beside_read),
		cmocka_unit_test(test_two_processes),
		cmocka_unit_test(test_back_off),
	};

	return cmocka_run_group_tests_name("nvml-faults", tests, NULL, NULL);
}
