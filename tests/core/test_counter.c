/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters: each event with the ranges of real hardware, 24 hours with guard reads, a comparison
 * with an independent 128-bit model, and that totals never fall whatever a counter does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "core/counter.h"
#include "random.h"

#define SEC EG_NSEC_PER_SEC
#define W   1000000ULL

typedef unsigned __int128 u128;

/* Ranges of max_energy_range_uj plus one unit (2^-14 J, 2^-16 J, 15.3 uJ). */
#define RANGE_262  (262143328850ULL + 61)
#define RANGE_65   (65532610987ULL + 15)
#define RANGE_DRAM (65712999613ULL + 15)

static struct eg_channel rapl_channel(uint64_t modulus)
{
	return (struct eg_channel){.domain = "package-0",
				   .source = EG_SOURCE_RAPL,
				   .unit_num = 1,
				   .unit_den = 1,
				   .modulus = modulus,
				   .resolution_uj = 61,
				   .update_ns = EG_NSEC_PER_MSEC,
				   .max_uw = 500 * W,
				   .guard_ns = 30 * SEC};
}

/* The perf power PMU: 2^-32 J in 64 bits; a 32-bit register in the same unit. */
static struct eg_channel perf_channel(uint64_t modulus)
{
	struct eg_channel ch = rapl_channel(modulus);

	ch.unit_num = 1000000;
	ch.unit_den = 1ULL << 32;
	return ch;
}

/* nvmlDeviceGetTotalEnergyConsumption: millijoules since the driver was loaded. */
static struct eg_channel nvml_channel(void)
{
	return (struct eg_channel){.domain = "gpu-0",
				   .source = EG_SOURCE_NVML,
				   .unit_num = 1000,
				   .unit_den = 1,
				   .zero_based = true,
				   .resolution_uj = 1000,
				   .update_ns = 100 * EG_NSEC_PER_MSEC,
				   .max_uw = 1000 * W};
}

static struct eg_counter_step feed_epoch(struct eg_counter *c, const struct eg_channel *ch,
					 uint64_t raw, uint64_t t_ns, uint64_t slept_ns,
					 uint32_t epoch)
{
	struct eg_reading r = {.raw = raw, .t_ns = t_ns, .status = EG_STATUS_OK, .epoch = epoch};

	return eg_counter_update(c, ch, &r, t_ns - slept_ns);
}

static struct eg_counter_step feed(struct eg_counter *c, const struct eg_channel *ch, uint64_t raw,
				   uint64_t t_ns)
{
	return feed_epoch(c, ch, raw, t_ns, 0, 0);
}

static void expect(struct eg_counter_step s, enum eg_counter_event event, uint64_t uj,
		   uint64_t gap_ns)
{
	assert_int_equal(s.event, event);
	assert_int_equal(s.uj, uj);
	assert_int_equal(s.gap_ns, gap_ns);
}

static void test_first_reading_is_no_energy(void **state)
{
	struct eg_channel ch = rapl_channel(RANGE_262);
	struct eg_counter c = {0};
	struct eg_counter_step s = feed(&c, &ch, 200000000000, 5 * SEC);

	expect(s, EG_COUNTER_FIRST, 0, 0);
	assert_int_equal(s.dt_ns, 0);
}

static void test_step_forward(void **state)
{
	struct eg_channel ch = rapl_channel(RANGE_262);
	struct eg_counter c = {0};
	struct eg_counter_step s;

	feed(&c, &ch, 1000, SEC);
	s = feed(&c, &ch, 1000 + 300 * W, 2 * SEC);
	expect(s, EG_COUNTER_STEP, 300 * W, 0);
	assert_int_equal(s.dt_ns, SEC);
	expect(feed(&c, &ch, 1000 + 300 * W, 3 * SEC), EG_COUNTER_STEP, 0, 0);
}

static void test_wrap_of_each_real_range(void **state)
{
	static const uint64_t ranges[] = {RANGE_262, RANGE_65, RANGE_DRAM};

	for (size_t i = 0; i < EG_ARRAY_SIZE(ranges); i++) {
		struct eg_channel ch = rapl_channel(ranges[i]);
		struct eg_counter c = {0};

		/* 61 uJ below the end, then 299.999939 J past it. */
		feed(&c, &ch, ranges[i] - 61, SEC);
		expect(feed(&c, &ch, 300 * W - 61, 2 * SEC), EG_COUNTER_WRAP, 300 * W, 0);
		/* The highest value and then zero: one step of one. */
		feed(&c, &ch, 0, 3 * SEC);
		feed(&c, &ch, 100 * W, 4 * SEC);
		c.raw = ranges[i] - 1;
		expect(feed(&c, &ch, 0, 5 * SEC), EG_COUNTER_WRAP, 1, 0);
	}
}

/* Defects D1 and D2: a wrap just after, or just inside, a short window. */
static void test_d1_d2_wrap_in_short_windows(void **state)
{
	struct eg_channel ch = rapl_channel(RANGE_262);
	struct eg_counter c = {0};
	uint64_t raw = RANGE_262 - 20 * W, sum = 0;

	feed(&c, &ch, raw, SEC);
	for (int i = 1; i <= 50; i++) {
		raw = (raw + 35 * W) % RANGE_262;
		struct eg_counter_step s = feed(&c, &ch, raw, SEC + i * (SEC / 10));

		assert_int_equal(s.uj, 35 * W);
		assert_int_equal(s.event, i == 1 ? EG_COUNTER_WRAP : EG_COUNTER_STEP);
		sum += s.uj;
	}
	assert_int_equal(sum, 1750 * W);
}

static void test_wrap_of_32_bit_perf(void **state)
{
	struct eg_channel ch = perf_channel(1ULL << 32); /* wraps each joule */
	struct eg_counter c = {0};
	uint64_t sum = 0, raw = 0;

	ch.max_uw = 10 * W;
	ch.update_ns = 0;
	ch.resolution_uj = 1;
	assert_int_equal(eg_counter_guard_ns(&ch), SEC / 20);
	for (uint64_t i = 0; i <= 1000; i++) { /* 9.3 W: 0.465 J per 50 ms */
		sum += feed(&c, &ch, (uint32_t)raw, SEC + i * (SEC / 20)).uj;
		raw += 1997159793; /* 0.465 J in 2^-32 J */
	}
	raw = 1000ULL * 1997159793;
	assert_int_equal(sum, (uint64_t)(((u128)raw * 1000000) >> 32));
}

static void test_64_bit_perf_scales_without_loss(void **state)
{
	struct eg_channel ch = perf_channel(0);
	struct eg_counter c = {0};
	uint64_t sum = 0, raw = 12345;

	for (uint64_t i = 0; i <= 100000; i++, raw += 4321987) /* 1 006 uJ and a fraction */
		sum += feed(&c, &ch, raw, SEC + i * EG_NSEC_PER_MSEC).uj;
	assert_int_equal(sum, (uint64_t)(((u128)100000 * 4321987 * 1000000) >> 32));
}

static void test_ambiguous_when_two_wraps_fit(void **state)
{
	struct eg_channel ch = rapl_channel(RANGE_65);
	struct eg_counter c = {0};
	/* 500 W x 131.1 s is one whole range: from there on a step can hide a wrap. */
	uint64_t dt = 140 * SEC;

	feed(&c, &ch, 1000, SEC);
	expect(feed(&c, &ch, 2000, SEC + dt), EG_COUNTER_AMBIGUOUS, 0, dt);
	/* The baseline was taken again: the next step counts. */
	expect(feed(&c, &ch, 2000 + 10 * W, 2 * SEC + dt), EG_COUNTER_STEP, 10 * W, 0);
	/* Backward: wrapped once or twice. */
	expect(feed(&c, &ch, 1000, 2 * SEC + 3 * dt), EG_COUNTER_AMBIGUOUS, 0, 2 * dt);
	/* A step so large that one more wrap does not fit is known. */
	expect(feed(&c, &ch, 1000 + 30000 * W, 2 * SEC + 4 * dt), EG_COUNTER_STEP, 30000 * W, 0);
}

static void test_implausible_step_is_a_gap(void **state)
{
	struct eg_channel ch = rapl_channel(RANGE_262);
	struct eg_counter c = {0};

	feed(&c, &ch, 0, SEC);
	/* 500 W x (1 s + 1 ms) + slack is the most. */
	expect(feed(&c, &ch, 501 * W, 2 * SEC), EG_COUNTER_IMPLAUSIBLE, 0, SEC);
	expect(feed(&c, &ch, 1001 * W + 500000, 3 * SEC), EG_COUNTER_STEP, 500 * W + 500000, 0);
}

static void test_reset_of_a_wrapping_counter(void **state)
{
	struct eg_channel ch = rapl_channel(RANGE_262);
	struct eg_counter c = {0};

	feed(&c, &ch, 100000 * W, SEC);
	expect(feed(&c, &ch, 50 * W, 2 * SEC), EG_COUNTER_RESET, 0, SEC);
	expect(feed(&c, &ch, 60 * W, 3 * SEC), EG_COUNTER_STEP, 10 * W, 0);
}

/* Defect D12: the range cannot be read. */
static void test_d12_no_range_means_reset(void **state)
{
	struct eg_channel ch = rapl_channel(0);
	struct eg_counter c = {0};

	feed(&c, &ch, 200000 * W, SEC);
	expect(feed(&c, &ch, 1000 * W, 11 * SEC), EG_COUNTER_RESET, 0, 10 * SEC);
	expect(feed(&c, &ch, 1100 * W, 12 * SEC), EG_COUNTER_STEP, 100 * W, 0);
}

static void test_reset_of_a_zero_based_counter(void **state)
{
	struct eg_channel ch = nvml_channel();
	struct eg_counter c = {0};

	feed(&c, &ch, 5000000000, SEC);
	/* 250 J since the driver came back; how much was lost before is not known. */
	expect(feed(&c, &ch, 250000, 3 * SEC), EG_COUNTER_RESET, 250 * W, 2 * SEC);
	expect(feed(&c, &ch, 550000, 4 * SEC), EG_COUNTER_STEP, 300 * W, 0);
}

/* amdsmi issues 22 and 115: a 64-bit counter that steps back a little is not restarted. */
static void test_small_step_back_adds_nothing(void **state)
{
	struct eg_channel ch = nvml_channel();
	struct eg_counter c = {0};

	feed(&c, &ch, 5000000000, SEC);
	expect(feed(&c, &ch, 4999999990, 2 * SEC), EG_COUNTER_RESET, 0, SEC);
	expect(feed(&c, &ch, 5000299990, 3 * SEC), EG_COUNTER_STEP, 300 * W, 0);
}

static void test_nvml_near_the_end_of_64_bits(void **state)
{
	struct eg_channel ch = nvml_channel();
	struct eg_counter c = {0};

	feed(&c, &ch, UINT64_MAX - 300000, SEC);
	expect(feed(&c, &ch, UINT64_MAX, 2 * SEC), EG_COUNTER_STEP, 300 * W, 0);
}

static void test_epoch_change_is_a_reset(void **state)
{
	struct eg_channel ch = rapl_channel(RANGE_262), gpu = nvml_channel();
	struct eg_counter c = {0}, g = {0};

	feed(&c, &ch, 100 * W, SEC);
	expect(feed_epoch(&c, &ch, 200 * W, 2 * SEC, 0, 1), EG_COUNTER_RESET, 0, SEC);
	expect(feed_epoch(&c, &ch, 300 * W, 3 * SEC, 0, 1), EG_COUNTER_STEP, 100 * W, 0);
	/* Zero-based: more than before is so much more used, whether it began at zero or went on. */
	feed(&g, &gpu, 1000, SEC);
	expect(feed_epoch(&g, &gpu, 40000, 2 * SEC, 0, 1), EG_COUNTER_RESET, 39 * W, SEC);
	/* More than the time allows was used before the gap: nothing is added. */
	expect(feed_epoch(&g, &gpu, 40000000, 3 * SEC, 0, 2), EG_COUNTER_RESET, 0, SEC);
}

static void test_old_readings_are_ignored(void **state)
{
	struct eg_channel ch = rapl_channel(RANGE_262);
	struct eg_counter c = {0}, before;

	feed(&c, &ch, 100 * W, 10 * SEC);
	before = c;
	expect(feed(&c, &ch, 90 * W, 9 * SEC), EG_COUNTER_OLD, 0, 0);
	expect(feed(&c, &ch, 110 * W, 10 * SEC), EG_COUNTER_OLD, 0, 0);
	assert_memory_equal(&c, &before, sizeof(c));
	expect(feed(&c, &ch, 120 * W, 11 * SEC), EG_COUNTER_STEP, 20 * W, 0);
}

static void test_failed_reads_leave_a_longer_step(void **state)
{
	struct eg_channel ch = rapl_channel(RANGE_262);
	struct eg_counter c = {0};
	struct eg_counter_step s;

	/* D11: one reading is missing; nothing is invented and nothing is lost. */
	feed(&c, &ch, 0, SEC);
	s = feed(&c, &ch, 4500 * W, 31 * SEC);
	expect(s, EG_COUNTER_STEP, 4500 * W, 0);
	assert_int_equal(s.dt_ns, 30 * SEC);
}

static void test_suspend(void **state)
{
	struct eg_channel ch = rapl_channel(RANGE_262);
	struct eg_counter c = {0};

	/* 100 ms of difference is the two clocks being read one after the other. */
	feed(&c, &ch, 100000 * W, SEC);
	expect(feed_epoch(&c, &ch, 100010 * W, 2 * SEC, SEC / 10, 0), EG_COUNTER_STEP, 10 * W, 0);
	/* 60 s asleep, 100 010 J cannot have come in 1 s awake: the step counts, sleep is a gap. */
	expect(feed_epoch(&c, &ch, 100050 * W, 63 * SEC, 60 * SEC + SEC / 10, 0), EG_COUNTER_STEP,
	       40 * W, 60 * SEC);
	/* The sleep is over: no more gap. */
	expect(feed_epoch(&c, &ch, 100060 * W, 64 * SEC, 60 * SEC + SEC / 10, 0), EG_COUNTER_STEP,
	       10 * W, 0);
	/* Back at nearly 0 although no wrap fits: a reset. */
	expect(feed_epoch(&c, &ch, 20 * W, 125 * SEC, 120 * SEC, 0), EG_COUNTER_RESET, 0, 61 * SEC);
	/* 300 J after 1 s awake: forward from 20 J, or from 0 after a reset. Nobody knows. */
	expect(feed_epoch(&c, &ch, 300 * W, 186 * SEC, 180 * SEC, 0), EG_COUNTER_AMBIGUOUS, 0,
	       61 * SEC);
	/* A wrap that a reset explains as well. */
	c.raw = RANGE_262 - 10 * W;
	expect(feed_epoch(&c, &ch, 20 * W, 247 * SEC, 240 * SEC, 0), EG_COUNTER_AMBIGUOUS, 0,
	       61 * SEC);
}

static void test_value_outside_its_range(void **state)
{
	struct eg_channel ch = rapl_channel(RANGE_65);
	struct eg_counter c = {0};

	/* The declared range is wrong: a step back is no wrap of it. */
	feed(&c, &ch, RANGE_65 + 500 * W, SEC);
	expect(feed(&c, &ch, RANGE_65 + 600 * W, 2 * SEC), EG_COUNTER_STEP, 100 * W, 0);
	expect(feed(&c, &ch, 10 * W, 3 * SEC), EG_COUNTER_RESET, 0, SEC);
}

static void test_extreme_values(void **state)
{
	struct eg_channel ch = {.unit_num = UINT64_MAX,
				.unit_den = 1,
				.max_uw = UINT64_MAX,
				.update_ns = UINT64_MAX,
				.resolution_uj = UINT64_MAX,
				.modulus = UINT64_MAX};
	struct eg_counter c = {0};

	feed(&c, &ch, 0, 1);
	expect(feed(&c, &ch, 1, 2), EG_COUNTER_STEP, UINT64_MAX, 0);
	expect(feed(&c, &ch, UINT64_MAX - 1, UINT64_MAX), EG_COUNTER_IMPLAUSIBLE, 0,
	       UINT64_MAX - 2);
	ch.unit_den = 0; /* not a unit: no energy, no crash */
	c = (struct eg_counter){0};
	feed(&c, &ch, 0, 1);
	assert_int_equal(feed(&c, &ch, 1, 2).uj, 0);
	ch.unit_num = 0;
	assert_int_equal(feed(&c, &ch, 2, 3).uj, 0);
}

static void test_guard(void **state)
{
	struct eg_channel ch = rapl_channel(RANGE_262);

	assert_int_equal(eg_counter_guard_ns(&ch), 30 * SEC);
	ch.guard_ns = 0;
	assert_int_equal(eg_counter_guard_ns(&ch), RANGE_262 * 1000 / 500 / 2);
	ch.max_uw = 350 * W; /* 749 s a wrap */
	assert_int_equal(eg_counter_guard_ns(&ch) / SEC, 374);
	ch.modulus = 0;
	assert_true(eg_counter_guard_ns(&ch) == UINT64_MAX);
	ch.guard_ns = 30 * SEC;
	assert_int_equal(eg_counter_guard_ns(&ch), 30 * SEC);
	ch = perf_channel(1);
	ch.guard_ns = 0;
	ch.max_uw = UINT64_MAX;
	assert_int_equal(eg_counter_guard_ns(&ch), 1);
	ch = (struct eg_channel){
		.unit_num = UINT64_MAX, .unit_den = 1, .modulus = UINT64_MAX, .max_uw = 1};
	assert_true(eg_counter_guard_ns(&ch) == UINT64_MAX);
}

static void test_scale_carry(void **state)
{
	uint64_t rem = 0, sum = 0;

	for (int i = 0; i < 3; i++)
		sum += eg_scale_carry(1, 1, 3, &rem);
	assert_int_equal(sum, 1);
	assert_int_equal(rem, 0);
	rem = UINT64_MAX - 1;
	assert_true(eg_scale_carry(UINT64_MAX, UINT64_MAX, UINT64_MAX, &rem) == UINT64_MAX);
	assert_true(rem == UINT64_MAX - 1);
	rem = 0;
	assert_true(eg_scale_carry(UINT64_MAX, 1000, 1, &rem) == UINT64_MAX); /* saturates */
	assert_int_equal(eg_scale_carry(5, 1, 0, &rem), 0);
}

/* What the hardware shows at a time: constant power, in steps of q, folded at its range. */
static uint64_t hardware(uint64_t uw, uint64_t t_ns, uint64_t q_uj, uint64_t range)
{
	uint64_t uj = (uint64_t)((u128)uw * t_ns / SEC);

	return (uj / q_uj * q_uj) % range;
}

/*
 * 24 h of two packages at 300 W and two DRAM zones at 25 W with ranges of 262143.328850 J: asked at
 * 1, 15 and 60 s, with the guard reads of eg_counter_guard_ns in between, the total is off by
 * nothing beyond the resolution. 60 s is above RAPL's 30 s guard.
 */
static void test_24_hours(void **state)
{
	static const uint64_t interval[] = {SEC, 15 * SEC, 60 * SEC};
	static const uint64_t power[] = {300 * W, 300 * W, 25 * W, 25 * W};
	const uint64_t start = 1234567891, end = start + 86400 * SEC;

	for (size_t k = 0; k < EG_ARRAY_SIZE(interval); k++) {
		for (size_t z = 0; z < EG_ARRAY_SIZE(power); z++) {
			struct eg_channel ch = rapl_channel(RANGE_262);
			uint64_t guard = eg_counter_guard_ns(&ch), due = start, total = 0;
			uint64_t offset = 86399 * z * 1000000, wraps = 0, reads = 0;
			struct eg_counter c = {0};

			for (uint64_t t = start; t <= end; t = EG_MIN(due, t + guard)) {
				uint64_t raw = (hardware(power[z], t, 61, UINT64_MAX) + offset) %
					       RANGE_262;
				struct eg_counter_step s = feed(&c, &ch, raw, t);

				assert_int_equal(s.gap_ns, 0);
				total += s.uj;
				wraps += s.event == EG_COUNTER_WRAP;
				reads++;
				if (t == due)
					due += interval[k];
			}
			uint64_t truth = power[z] * 86400;
			int64_t error = (int64_t)(total - truth);

			assert_in_range(error + 61, 0, 122);
			assert_in_range(wraps, truth / RANGE_262, truth / RANGE_262 + 1);
			if (z % 2 == 0)
				print_message(
					"# 24 h, %2d s, %3d W: error %d uJ, %d wraps, %d reads\n",
					(int)(interval[k] / SEC), (int)(power[z] / W), (int)error,
					(int)wraps, (int)reads);
		}
	}
}

/* An independent reading of the rules: every number of wraps is tried, in 128 bits. */
static struct eg_counter_step model(const struct eg_channel *ch, const struct eg_counter *c,
				    uint64_t raw, uint64_t t_ns, uint32_t epoch)
{
	uint64_t dt = t_ns - c->t_ns, m = ch->modulus;
	struct eg_counter_step s = {.event = EG_COUNTER_RESET, .dt_ns = dt, .gap_ns = dt};
	u128 most_uj = (u128)ch->max_uw * ((u128)dt + ch->update_ns) / SEC + 1 +
		       (u128)2 * ch->resolution_uj;
	u128 limit = most_uj * ch->unit_den / ch->unit_num + 1;
	__int128 fits[2] = {0};
	bool since_zero;
	uint64_t since;
	unsigned n = 0;

	if (m && (c->raw >= m || raw >= m))
		m = 0;
	for (unsigned wraps = 0; wraps <= (m ? 2 : 0); wraps++) {
		__int128 d = (__int128)raw - c->raw + (__int128)m * wraps;

		if (d >= 0 && d <= (__int128)limit && n++ == 0)
			fits[0] = d;
	}
	if (epoch == c->epoch) {
		if (n > 1)
			s.event = EG_COUNTER_AMBIGUOUS;
		else if (n == 1)
			s.event = fits[0] == (__int128)raw - c->raw ? EG_COUNTER_STEP :
								      EG_COUNTER_WRAP;
		else if (raw > c->raw)
			s.event = EG_COUNTER_IMPLAUSIBLE;
	}
	since = raw < c->raw ? raw : raw - c->raw;
	since_zero = s.event == EG_COUNTER_RESET && ch->zero_based && since <= limit;
	if (s.event == EG_COUNTER_STEP || s.event == EG_COUNTER_WRAP)
		s.gap_ns = 0;
	else if (since_zero)
		fits[0] = since;
	else
		fits[0] = 0;
	s.uj = (uint64_t)(((u128)fits[0] * ch->unit_num + c->rem) / ch->unit_den);
	if (s.event != EG_COUNTER_STEP && s.event != EG_COUNTER_WRAP && !since_zero)
		s.uj = 0;
	return s;
}

static void test_differential(void **state)
{
	static const uint64_t moduli[] = {0, RANGE_262, RANGE_65, RANGE_DRAM, 1ULL << 32, 1000};
	uint64_t rng = 1, cases = soak_cases(1000000), seen[EG_COUNTER_OLD] = {0};

	for (uint64_t done = 0; done < cases;) {
		struct eg_channel ch = random_below(&rng, 2) ? perf_channel(0) : rapl_channel(0);
		struct eg_counter c = {0};
		uint64_t raw, t = 1 + random_below(&rng, SEC);
		uint32_t epoch = 0;

		ch.modulus = moduli[random_below(&rng, EG_ARRAY_SIZE(moduli))];
		ch.zero_based = random_below(&rng, 2);
		ch.max_uw = 1 + random_below(&rng, 1000 * W);
		raw = random_below(&rng, ch.modulus ? ch.modulus : 1ULL << 50);
		feed_epoch(&c, &ch, raw, t, 0, epoch);
		for (int i = 0; i < 50; i++, done++) {
			uint64_t dt = 1 + random_any(&rng) % (1000 * SEC);
			uint64_t most =
				(uint64_t)((u128)ch.max_uw * dt / SEC * ch.unit_den / ch.unit_num) +
				2;
			struct eg_counter before = c;
			struct eg_counter_step want, got;

			t += dt;
			if (random_below(&rng, 20) == 0)
				raw = random_any(&rng) % 1000000;
			else
				raw += random_below(&rng, most + most / 50 + 1);
			if (ch.modulus && random_below(&rng, 50))
				raw %= ch.modulus;
			epoch += random_below(&rng, 50) == 0;
			got = feed_epoch(&c, &ch, raw, t, 0, epoch);
			want = model(&ch, &before, raw, t, epoch);
			if (got.event != want.event || got.uj != want.uj ||
			    got.gap_ns != want.gap_ns || got.dt_ns != want.dt_ns)
				fail_msg("case %ju: event %d for %d, uj %ju for %ju",
					 (uintmax_t)done, got.event, want.event, (uintmax_t)got.uj,
					 (uintmax_t)want.uj);
			assert_true(c.rem < ch.unit_den);
			seen[got.event]++;
		}
	}
	for (int e = EG_COUNTER_STEP; e < EG_COUNTER_OLD; e++) {
		print_message("# event %d: %ju cases\n", e, (uintmax_t)seen[e]);
		assert_true(seen[e] > cases / 1000);
	}
}

/*
 * A machine with a known truth that wraps, resets, vanishes, suspends and returns at random: the
 * total never falls, never passes the truth, and with what was reported as a gap it is whole.
 */
static void test_totals_never_fall(void **state)
{
	uint64_t rng = 7, cases = soak_cases(1000000), total_resets = 0, total_wraps = 0;

	for (uint64_t done = 0; done < cases;) {
		struct eg_channel ch = rapl_channel(random_below(&rng, 2) ? RANGE_262 : RANGE_65);
		struct eg_counter c = {0};
		uint64_t t = SEC, slept = 0, total = 0, before, hidden = 0, truth = 0, known = 0;
		uint64_t raw = random_below(&rng, ch.modulus);
		uint32_t epoch = 0;

		feed_epoch(&c, &ch, raw, t, slept, epoch);
		for (int i = 0; i < 200; i++, done++) {
			uint64_t dt = 1 + random_any(&rng) % (40 * SEC);
			uint64_t uj = (uint64_t)((u128)random_below(&rng, 490 * W) * dt / SEC);
			struct eg_counter_step s;

			t += dt;
			truth += uj;
			hidden += uj;
			raw = (raw + uj) % ch.modulus;
			switch (random_below(&rng, 30)) {
			case 0: /* driver reload */
				epoch++;
				raw = random_below(&rng, 1000);
				break;
			case 1: /* the counter is cleared and nobody says so, on wake-up */
				t += 3600 * SEC;
				slept += 3600 * SEC;
				raw = 0;
				break;
			case 2: /* vanished: not read */
				continue;
			default:
				break;
			}
			s = feed_epoch(&c, &ch, raw, t, slept, epoch);
			before = total;
			total += s.uj;
			assert_true(total >= before);
			assert_true(total <= truth);
			if (s.gap_ns == 0) {
				assert_int_equal(s.uj, hidden);
				known += hidden;
			} else {
				assert_int_equal(s.uj, 0);
			}
			hidden = 0;
			total_resets += s.event == EG_COUNTER_RESET;
			total_wraps += s.event == EG_COUNTER_WRAP;
		}
		assert_int_equal(total, known);
	}
	print_message("# %ju resets, %ju wraps\n", (uintmax_t)total_resets, (uintmax_t)total_wraps);
	assert_true(total_resets > 1000 && total_wraps > 1000);
}

/*
 * Windows are differences of totals: each is within a microjoule of its truth, and back to back
 * they sum to the one around them, which is the truth itself, rounded down once.
 */
static void test_windows_sum(void **state)
{
	uint64_t rng = 11, cases = soak_cases(1000000), wraps = 0;

	for (uint64_t done = 0; done < cases;) {
		struct eg_channel ch = random_below(&rng, 2) ? perf_channel(1ULL << 40) :
							       rapl_channel(RANGE_65);
		uint64_t guard = eg_counter_guard_ns(&ch), raw = random_below(&rng, ch.modulus);
		uint64_t t = SEC, total = 0, windows_uj = 0, begin_uj = 0;
		struct eg_counter c = {0};
		u128 truth_raw = 0, window_raw = 0;

		feed(&c, &ch, raw, t);
		for (int i = 0; i < 100; i++, done++) {
			uint64_t dt = 1 + random_below(&rng, guard);
			uint64_t uj = (uint64_t)((u128)random_below(&rng, 500 * W) * dt / SEC);
			uint64_t d = (uint64_t)((u128)uj * ch.unit_den / ch.unit_num);
			struct eg_counter_step s;

			t += dt;
			raw = (raw + d) % ch.modulus;
			truth_raw += d;
			window_raw += d;
			s = feed(&c, &ch, raw, t);
			total += s.uj;
			wraps += s.event == EG_COUNTER_WRAP;
			if (i < 99 && random_below(&rng, 3)) /* the window goes on */
				continue;
			uint64_t window_uj = total - begin_uj;
			uint64_t exact = (uint64_t)(window_raw * ch.unit_num / ch.unit_den);

			assert_in_range(window_uj, exact, exact + 1);
			windows_uj += window_uj;
			begin_uj = total;
			window_raw = 0;
		}
		assert_int_equal(windows_uj, (uint64_t)(truth_raw * ch.unit_num / ch.unit_den));
	}
	print_message("# %ju wraps\n", (uintmax_t)wraps);
	assert_true(wraps > cases / 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_reading_is_no_energy),
		cmocka_unit_test(test_step_forward),
		cmocka_unit_test(test_wrap_of_each_real_range),
		cmocka_unit_test(test_d1_d2_wrap_in_short_windows),
		cmocka_unit_test(test_wrap_of_32_bit_perf),
		cmocka_unit_test(test_64_bit_perf_scales_without_loss),
		cmocka_unit_test(test_ambiguous_when_two_wraps_fit),
		cmocka_unit_test(test_implausible_step_is_a_gap),
		cmocka_unit_test(test_reset_of_a_wrapping_counter),
		cmocka_unit_test(test_d12_no_range_means_reset),
		cmocka_unit_test(test_reset_of_a_zero_based_counter),
		cmocka_unit_test(test_small_step_back_adds_nothing),
		cmocka_unit_test(test_nvml_near_the_end_of_64_bits),
		cmocka_unit_test(test_epoch_change_is_a_reset),
		cmocka_unit_test(test_old_readings_are_ignored),
		cmocka_unit_test(test_failed_reads_leave_a_longer_step),
		cmocka_unit_test(test_suspend),
		cmocka_unit_test(test_value_outside_its_range),
		cmocka_unit_test(test_extreme_values),
		cmocka_unit_test(test_guard),
		cmocka_unit_test(test_scale_carry),
		cmocka_unit_test(test_24_hours),
		cmocka_unit_test(test_differential),
		cmocka_unit_test(test_totals_never_fall),
		cmocka_unit_test(test_windows_sum),
	};

	return cmocka_run_group_tests_name("core-counter", tests, NULL, NULL);
}
