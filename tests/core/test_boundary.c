/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boundaries: the machines one meets, by name, and over random sets of channels the property that
 * no joule is counted twice and no channel is forgotten. Overlap is judged by a model of its own:
 * what each channel physically feeds, as a set of bits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "core/boundary.h"
#include "random.h"

#define MAX 24

struct machine {
	struct eg_channel ch[MAX];
	struct eg_boundary_in in[MAX];
	struct eg_boundary_out out[MAX];
	size_t n;
};

/* Adds a usable measured counter; the caller changes what differs. */
static struct eg_channel *add(struct machine *m, enum eg_component component, const char *device)
{
	struct eg_channel *ch = &m->ch[m->n];

	assert_true(m->n < MAX);
	*ch = (struct eg_channel){.component = component,
				  .source = EG_SOURCE_RAPL,
				  .quantity = EG_QUANTITY_ENERGY,
				  .part_of = -1};
	snprintf(ch->device, sizeof(ch->device), "%s", device);
	m->in[m->n++] = (struct eg_boundary_in){.ch = ch, .usable = true, .part_of = -1};
	return ch;
}

/* Roles as one letter each, T P C O U; checks that `of` and `why` belong to them. */
static void expect(struct machine *m, const char *roles)
{
	char got[MAX + 1] = {0};

	memset(m->out, 0x55, sizeof(m->out));
	eg_boundary_reduce(m->in, m->n, m->out);
	for (size_t i = 0; i < m->n; i++) {
		const struct eg_boundary_out *o = &m->out[i];

		got[i] = "TPCOU"[o->role];
		if (o->role == EG_ROLE_PART || o->role == EG_ROLE_CROSSCHECK) {
			assert_in_range(o->of, 0, m->n - 1);
			assert_int_equal(m->out[o->of].role, EG_ROLE_TOTAL);
		} else {
			assert_int_equal(o->of, -1);
		}
		assert_true((o->why != NULL) ==
			    (o->role != EG_ROLE_TOTAL && o->role != EG_ROLE_UNUSABLE));
	}
	assert_string_equal(got, roles);
}

static void test_laptop(void **state)
{
	struct machine m = {0};

	add(&m, EG_COMPONENT_PACKAGE, "cpu-0");
	add(&m, EG_COMPONENT_CORE, "cpu-0");
	add(&m, EG_COMPONENT_UNCORE, "cpu-0");
	add(&m, EG_COMPONENT_PSYS, "node");
	expect(&m, "PPPT");
	assert_int_equal(m.out[1].of, 3); /* parts of what is counted, not of each other */
	m.in[3].usable = false; /* defect D3: the package is 40 J, psys another boundary */
	expect(&m, "TPPU");
	m.in[0].usable = false;
	expect(&m, "UTTU");
}

static void test_server_of_two_sockets(void **state)
{
	struct machine m = {0};

	add(&m, EG_COMPONENT_PACKAGE, "cpu-0");
	add(&m, EG_COMPONENT_DRAM, "cpu-0");
	add(&m, EG_COMPONENT_PACKAGE, "cpu-1");
	add(&m, EG_COMPONENT_DRAM, "cpu-1");
	add(&m, EG_COMPONENT_CORE, "cpu-1");
	expect(&m, "TTTTP");
	assert_int_equal(m.out[4].of, 2);
	m.in[2].usable = false; /* its core takes its place */
	expect(&m, "TTUTT");
}

static void test_dies_of_one_socket(void **state)
{
	struct machine m = {0};

	add(&m, EG_COMPONENT_PACKAGE, "cpu-0-die-0");
	add(&m, EG_COMPONENT_PACKAGE, "cpu-0-die-1");
	add(&m, EG_COMPONENT_CORE, "cpu-0");
	add(&m, EG_COMPONENT_PACKAGE, "cpu-01");
	expect(&m, "TTPT");
	add(&m, EG_COMPONENT_PACKAGE, "cpu-0");
	expect(&m, "PPPTT");
	/* By a lesser interface that cannot tell dies apart it may be one die alone. */
	m.in[4].rank = 1;
	expect(&m, "TTPTO");
	m.in[0].rank = m.in[1].rank = 1000; /* the dies have holes */
	expect(&m, "PPPTT");
}

static void test_psys_and_discrete_gpu(void **state)
{
	struct machine m = {0};
	struct eg_channel *gpu;

	add(&m, EG_COMPONENT_PSYS, "node");
	add(&m, EG_COMPONENT_PACKAGE, "cpu-0");
	add(&m, EG_COMPONENT_DRAM, "cpu-0");
	gpu = add(&m, EG_COMPONENT_GPU, "gpu-GPU-1");
	gpu->source = EG_SOURCE_NVML;
	expect(&m, "OTTT");
	m.in[3].usable = false;
	expect(&m, "TPPU");
	m.in[3].usable = true;
	gpu->integrated_gpu = true;
	expect(&m, "TPPP");
	/* An estimate of a GPU is no measured GPU. */
	gpu->integrated_gpu = false;
	gpu->provenance = EG_PROVENANCE_ESTIMATED;
	expect(&m, "TPPO");
	/* Fans and disks beside psys: inside or not, nobody says. */
	add(&m, EG_COMPONENT_STORAGE, "nvme0");
	expect(&m, "TPPOO");
	m.in[0].usable = false;
	expect(&m, "UTTOT");
}

static void test_several_psys(void **state)
{
	struct machine m = {0};

	add(&m, EG_COMPONENT_PSYS, "cpu-0");
	add(&m, EG_COMPONENT_PSYS, "cpu-1");
	add(&m, EG_COMPONENT_PACKAGE, "cpu-0");
	expect(&m, "OOT");
}

static void test_two_interfaces_to_one_counter(void **state)
{
	struct machine m = {0};

	add(&m, EG_COMPONENT_PACKAGE, "cpu-0"); /* perf_rapl, rank 1 */
	add(&m, EG_COMPONENT_PACKAGE, "cpu-0"); /* rapl, rank 0 */
	add(&m, EG_COMPONENT_CORE, "cpu-0");
	add(&m, EG_COMPONENT_CORE, "cpu-0");
	m.in[0].rank = 1;
	m.in[2].rank = 1;
	expect(&m, "CTPP");
	assert_int_equal(m.out[0].of, 1);
	assert_int_equal(m.out[2].of, 1);
	m.in[1].usable = false;
	expect(&m, "TUPP");
	m.in[1].usable = true;
	m.ch[1].quantity = EG_QUANTITY_POWER; /* counter before gauge, whatever the rank */
	expect(&m, "TCPP");
	m.ch[0].provenance = EG_PROVENANCE_MODELED; /* a weaker one never stands for a stronger */
	expect(&m, "CTPP");
	m.ch[0].provenance = EG_PROVENANCE_ESTIMATED;
	expect(&m, "OTPP");
}

static void test_chassis_and_all(void **state)
{
	struct machine m = {0};

	add(&m, EG_COMPONENT_PACKAGE, "cpu-0");
	add(&m, EG_COMPONENT_GPU, "gpu-0");
	add(&m, EG_COMPONENT_PSYS, "node");
	add(&m, EG_COMPONENT_PSU, "psu-0");
	add(&m, EG_COMPONENT_FAN, "fan-0");
	add(&m, EG_COMPONENT_RAIL, "i2c-1");
	add(&m, EG_COMPONENT_CHASSIS, "node")->quantity = EG_QUANTITY_POWER;
	add(&m, EG_COMPONENT_BATTERY, "BAT0")->boundary = EG_BOUNDARY_NODE;
	add(&m, EG_COMPONENT_OUTLET, "pdu-1-7")->boundary = EG_BOUNDARY_FACILITY;
	add(&m, EG_COMPONENT_CHASSIS, "bmc"); /* another name, the same machine, a counter */
	expect(&m, "PPPPPPCOOT");
	m.in[9].usable = false;
	expect(&m, "PPPPPPTOOU");
	m.in[6].usable = false; /* then the power supply */
	expect(&m, "PPPTPPUOOU");
	m.in[3].usable = false; /* then the parts, and psys beside a GPU is not counted */
	expect(&m, "TTOUTOUOOU");
}

static void test_power_supplies(void **state)
{
	struct machine m = {0};

	add(&m, EG_COMPONENT_PSU, "psu-1");
	add(&m, EG_COMPONENT_PSU, "psu-2");
	add(&m, EG_COMPONENT_PACKAGE, "cpu-0");
	expect(&m, "TTP");
	m.in[1].usable = false; /* half of the supplies is not the machine */
	expect(&m, "OUT");
	m.in[2].usable = false;
	expect(&m, "OUU");
	/* Its other interface answers: the pair is whole again. */
	add(&m, EG_COMPONENT_PSU, "psu-2");
	expect(&m, "TUUT");
}

static void test_battery(void **state)
{
	struct machine m = {0};

	add(&m, EG_COMPONENT_BATTERY, "BAT0");
	add(&m, EG_COMPONENT_BATTERY, "BAT1");
	add(&m, EG_COMPONENT_RAIL, "i2c-1");
	expect(&m, "TTO");
	add(&m, EG_COMPONENT_PACKAGE, "cpu-0");
	expect(&m, "OOOT");
	m.ch[3].provenance = EG_PROVENANCE_ESTIMATED; /* an estimate does not replace it */
	expect(&m, "TTOO");
}

static void test_jetson(void **state)
{
	struct machine m = {0};

	add(&m, EG_COMPONENT_RAIL, "ina3221-1");
	add(&m, EG_COMPONENT_SOC, "module");
	add(&m, EG_COMPONENT_RAIL, "ina3221-2");
	add(&m, EG_COMPONENT_GPU, "gpu");
	add(&m, EG_COMPONENT_RAIL, "ina3221-2"); /* two rails of one chip are two rails */
	for (size_t i = 0; i < m.n; i++)
		m.in[i].part_of = i == 1 ? -1 : 1;
	m.in[4].part_of = 2; /* a part of a part */
	expect(&m, "PTPPP");
	assert_int_equal(m.out[4].of, 1);
	m.in[1].usable = false; /* VDD_IN is gone: rails are never counted, the GPU is */
	expect(&m, "OUOTO");
	m.in[1].usable = true;
	m.in[2].usable = false; /* a hole in the middle of the chain */
	expect(&m, "PTUPP");
}

static void test_apple(void **state)
{
	struct machine m = {0};

	add(&m, EG_COMPONENT_SOC, "soc");
	add(&m, EG_COMPONENT_PACKAGE, "cpu-0");
	add(&m, EG_COMPONENT_GPU, "gpu-0");
	add(&m, EG_COMPONENT_ANE, "ane-0");
	add(&m, EG_COMPONENT_DRAM, "dram-0");
	for (size_t i = 0; i < m.n; i++) {
		m.ch[i].source = EG_SOURCE_POWERMETRICS;
		m.ch[i].provenance = EG_PROVENANCE_MODELED;
	}
	expect(&m, "TPPPP");
	m.in[0].usable = false;
	expect(&m, "UTTTT");
	m.in[0].usable = true;
	m.ch[2].source = EG_SOURCE_NVML; /* a GPU from elsewhere: inside or not, nobody says */
	expect(&m, "TPOPP");
}

static void test_gpus(void **state)
{
	struct machine m = {0};
	struct eg_channel *igpu;

	add(&m, EG_COMPONENT_GPU, "pci-0000:03:00.0");
	add(&m, EG_COMPONENT_GPU_MEMORY, "pci-0000:03:00.0");
	add(&m, EG_COMPONENT_GPU, "pci-0000:03:00.0-tile-0");
	add(&m, EG_COMPONENT_GPU, "pci-0000:04:00.0");
	igpu = add(&m, EG_COMPONENT_GPU, "pci-0000:00:02.0");
	igpu->integrated_gpu = true;
	expect(&m, "TPPTT");
	add(&m, EG_COMPONENT_UNCORE, "cpu-0"); /* on clients the same silicon */
	expect(&m, "TPPTPT");
	add(&m, EG_COMPONENT_PACKAGE, "cpu-0");
	expect(&m, "TPPTPPT");
	m.in[0].usable = false; /* the card's memory overlaps its tile: not both */
	expect(&m, "UPTTPPT");
}

static void test_estimates(void **state)
{
	struct machine m = {0};

	add(&m, EG_COMPONENT_PACKAGE, "cpu-0")->provenance = EG_PROVENANCE_ESTIMATED;
	add(&m, EG_COMPONENT_CORE, "cpu-0")->provenance = EG_PROVENANCE_ESTIMATED;
	expect(&m, "TP");
	add(&m, EG_COMPONENT_RAIL, "i2c-0");
	expect(&m, "TPO");
	add(&m, EG_COMPONENT_DRAM, "cpu-0");
	expect(&m, "OOOT");
	m.in[3].usable = false;
	expect(&m, "TPOU");
}

static void test_whole_node_by_boundary(void **state)
{
	struct machine m = {0};

	add(&m, EG_COMPONENT_PACKAGE, "cpu-0");
	add(&m, EG_COMPONENT_GPU, "gpu-0")->source = EG_SOURCE_NVML;
	add(&m, EG_COMPONENT_SOC, "module")->boundary = EG_BOUNDARY_NODE;
	expect(&m, "PPT");
	add(&m, EG_COMPONENT_SOC, "carrier")->boundary = EG_BOUNDARY_NODE;
	expect(&m, "PPTO");
	add(&m, EG_COMPONENT_CHASSIS, "node");
	expect(&m, "PPPPT");
}

static void test_part_of_loops(void **state)
{
	struct machine m = {0};

	add(&m, EG_COMPONENT_GPU, "a");
	add(&m, EG_COMPONENT_FAN, "b");
	add(&m, EG_COMPONENT_DRAM, "c");
	m.in[0].part_of = 1;
	m.in[1].part_of = 0;
	m.in[2].part_of = 2;
	expect(&m, "OOT");
	m.in[2].part_of = 99; /* no such channel */
	expect(&m, "OOT");
}

static void test_nothing(void **state)
{
	struct machine m = {0};

	expect(&m, "");
	add(&m, EG_COMPONENT_PACKAGE, "cpu-0");
	m.in[0].usable = false;
	expect(&m, "U");
	assert_string_equal(eg_role_word(EG_ROLE_TOTAL), "total");
	assert_string_equal(eg_role_word(EG_ROLE_UNUSABLE), "unusable");
	assert_string_equal(eg_role_word((enum eg_role)99), "?");
}

static void test_ceiling_of_channels(void **state)
{
	static struct eg_channel ch[EG_CHANNELS_MAX + 3];
	static struct eg_boundary_in in[EG_CHANNELS_MAX + 3];
	static struct eg_boundary_out out[EG_CHANNELS_MAX + 3];

	for (size_t i = 0; i < EG_ARRAY_SIZE(ch); i++) {
		ch[i].component = EG_COMPONENT_GPU;
		snprintf(ch[i].device, sizeof(ch[i].device), "gpu-%zu", i);
		in[i] = (struct eg_boundary_in){.ch = &ch[i], .usable = true, .part_of = -1};
	}
	eg_boundary_reduce(in, EG_ARRAY_SIZE(ch), out);
	for (size_t i = 0; i < EG_ARRAY_SIZE(ch); i++)
		assert_int_equal(out[i].role, i < EG_CHANNELS_MAX ? EG_ROLE_TOTAL : EG_ROLE_OTHER);
	assert_non_null(out[EG_CHANNELS_MAX].why);
}

/*
 * The kinds of channel of the random machines and all that each may feed. Bits: 0-2 core, graphics
 * and the rest of socket 0, 3-5 of socket 1, 6-7 memory of each, 8-9 core and memory of a card,
 * 10 fan, 11 disk, 12 losses, 13-15 an accelerator and two rails.
 */
#define SOCKET_0 07u
#define SOCKET_1 070u
#define MEMORY	 0300u
#define CARD	 01400u
#define MACHINE	 0xffffu

static const struct kind {
	enum eg_component component;
	const char *device;
	uint32_t feeds;
	bool integrated;
} kinds[] = {
	{EG_COMPONENT_PACKAGE, "cpu-0", SOCKET_0, false},
	{EG_COMPONENT_PACKAGE, "cpu-1", SOCKET_1, false},
	{EG_COMPONENT_CORE, "cpu-0", 01, false},
	{EG_COMPONENT_CORE, "cpu-1", 010, false},
	{EG_COMPONENT_UNCORE, "cpu-0", 02, false},
	{EG_COMPONENT_DRAM, "cpu-0", 0100, false},
	{EG_COMPONENT_DRAM, "cpu-1", 0200, false},
	{EG_COMPONENT_GPU, "pci-0000:00:02.0", 02, true},
	{EG_COMPONENT_GPU, "gpu-GPU-1", CARD, false},
	{EG_COMPONENT_GPU_MEMORY, "gpu-GPU-1", 01000, false},
	{EG_COMPONENT_FAN, "fan-1", 1u << 10, false},
	{EG_COMPONENT_STORAGE, "nvme0", 1u << 11, false},
	{EG_COMPONENT_PSYS, "node", SOCKET_0 | SOCKET_1 | MEMORY | CARD | 3u << 10, false},
	{EG_COMPONENT_CHASSIS, "node", MACHINE, false},
	{EG_COMPONENT_CHASSIS, "bmc", MACHINE, false},
	{EG_COMPONENT_BATTERY, "BAT0", MACHINE, false},
	{EG_COMPONENT_RAIL, "i2c-1", 1u << 14 | 01, false},
	{EG_COMPONENT_OUTLET, "pdu-1", MACHINE, false},
};

static void random_machine(uint64_t *rng, struct machine *m, uint32_t *feeds)
{
	size_t n = random_below(rng, 16);

	m->n = 0;
	for (size_t i = 0; i < n; i++) {
		const struct kind *k = &kinds[random_below(rng, EG_ARRAY_SIZE(kinds))];
		struct eg_channel *ch = add(m, k->component, k->device);

		ch->integrated_gpu = k->integrated;
		ch->quantity = random_below(rng, 2) ? EG_QUANTITY_ENERGY : EG_QUANTITY_POWER;
		ch->source = (enum eg_source)random_below(rng, EG_SOURCE_COUNT);
		if (random_below(rng, 5) == 0)
			ch->provenance = (enum eg_provenance)random_below(rng, EG_PROVENANCE_COUNT);
		m->in[i].rank = (unsigned)random_below(rng, 5);
		m->in[i].usable = random_below(rng, 6) != 0;
		feeds[i] = k->feeds;
		if (k->component == EG_COMPONENT_RAIL && i && random_below(rng, 2))
			m->in[i].part_of = (int32_t)random_below(rng, i);
	}
}

static void test_no_joule_twice(void **state)
{
	uint64_t rng = 21, cases = soak_cases(200000), roles[EG_ROLE_UNUSABLE + 1] = {0};
	static struct machine m;
	uint32_t feeds[MAX];

	for (uint64_t done = 0; done < cases; done++) {
		uint32_t counted = 0;
		bool measured = false, estimated = false, any = false;

		random_machine(&rng, &m, feeds);
		eg_boundary_reduce(m.in, m.n, m.out);
		for (size_t i = 0; i < m.n; i++) {
			const struct eg_boundary_out *o = &m.out[i];

			roles[o->role]++;
			assert_int_equal(o->role == EG_ROLE_UNUSABLE, !m.in[i].usable);
			if (o->role == EG_ROLE_TOTAL) {
				if (counted & feeds[i])
					fail_msg("case %ju: channel %zu counted twice",
						 (uintmax_t)done, i);
				counted |= feeds[i];
				if (m.ch[i].provenance == EG_PROVENANCE_ESTIMATED)
					estimated = true;
				else
					measured = true;
				assert_true(m.ch[i].component != EG_COMPONENT_RAIL);
			} else if (o->role == EG_ROLE_PART || o->role == EG_ROLE_CROSSCHECK) {
				assert_int_equal(m.out[o->of].role, EG_ROLE_TOTAL);
				assert_non_null(o->why);
			} else if (o->role == EG_ROLE_OTHER) {
				assert_non_null(o->why);
			}
			if (o->role == EG_ROLE_CROSSCHECK)
				assert_int_equal(feeds[i], feeds[o->of]);
			/* Which socket has the integrated graphics is not known: any may. */
			if (o->role == EG_ROLE_PART && m.in[i].part_of < 0 &&
			    !m.ch[i].integrated_gpu)
				assert_int_equal(feeds[i] & ~feeds[o->of], 0);
			any |= m.in[i].usable && m.ch[i].component != EG_COMPONENT_RAIL &&
			       m.ch[i].component != EG_COMPONENT_OUTLET;
		}
		assert_false(measured && estimated);
		assert_int_equal(any, measured || estimated);
		/* What is usable and not counted lies in what is counted, or says why not. */
		for (size_t i = 0; i < m.n; i++)
			if (m.in[i].usable && m.out[i].role == EG_ROLE_OTHER &&
			    m.ch[i].component != EG_COMPONENT_RAIL &&
			    m.ch[i].component != EG_COMPONENT_OUTLET &&
			    m.ch[i].component != EG_COMPONENT_BATTERY &&
			    m.ch[i].provenance != EG_PROVENANCE_ESTIMATED)
				assert_true(m.ch[i].component == EG_COMPONENT_PSYS ||
					    m.ch[i].component == EG_COMPONENT_FAN ||
					    m.ch[i].component == EG_COMPONENT_STORAGE);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(roles); i++) {
		print_message("# %s: %ju channels\n", eg_role_word((enum eg_role)i),
			      (uintmax_t)roles[i]);
		assert_true(roles[i] > cases / 20);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_laptop),
		cmocka_unit_test(test_server_of_two_sockets),
		cmocka_unit_test(test_dies_of_one_socket),
		cmocka_unit_test(test_psys_and_discrete_gpu),
		cmocka_unit_test(test_several_psys),
		cmocka_unit_test(test_two_interfaces_to_one_counter),
		cmocka_unit_test(test_chassis_and_all),
		cmocka_unit_test(test_power_supplies),
		cmocka_unit_test(test_battery),
		cmocka_unit_test(test_jetson),
		cmocka_unit_test(test_apple),
		cmocka_unit_test(test_gpus),
		cmocka_unit_test(test_estimates),
		cmocka_unit_test(test_whole_node_by_boundary),
		cmocka_unit_test(test_part_of_loops),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_ceiling_of_channels),
		cmocka_unit_test(test_no_joule_twice),
	};

	return cmocka_run_group_tests_name("core-boundary", tests, NULL, NULL);
}
