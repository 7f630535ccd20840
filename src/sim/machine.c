/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See machine.h. Sensors run on awake time: a suspended machine counts nothing. Each sensor keeps
 * the exact energy since its last reset and shows what its register would: whole units, modulo
 * its range, refreshed at whole update periods.
 */
#include "sim/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/strbuf.h"
#include "sim/tree.h"

/* Start or end of an event. */
struct edge {
	uint64_t t_ns;
	size_t event;
	bool end;
};

struct chan {
	const struct eg_sim_channel *c;
	int fd[EG_TREE_ROLES];
	char path[EG_TREE_PATH_MAX];
	eg_fj acc_fj;	       /* true energy since the last reset */
	uint64_t acc_awake_ns; /* up to here */
	eg_fj spent_fj;	       /* never reset: batteries */
	uint64_t start_raw;
	uint64_t latch; /* number of the last refresh */
	uint64_t shown; /* raw counter, or uW */
	uint64_t average_uw;
	bool fresh; /* shown is not in the files yet */
	bool gone, garbled, charging;
	/* Perf counters that fold: what the kernel has, and the register when it last looked. */
	uint64_t folded, fold_latch;
	uint32_t fold_raw;
	int watch;
};

struct eg_sim {
	const struct eg_scenario *sc;
	int root;
	int inotify;
	uint64_t t0_ns, now_ns; /* boot time */
	struct edge *edge;
	size_t n_edges, next_edge;
	struct chan *chan;
	int stat_fd, uptime_fd;
	uint64_t stat_latch;
	unsigned boots;
	struct eg_strbuf text;
};

static uint64_t awake_at(const struct eg_sim *sim, uint64_t t_ns)
{
	t_ns -= sim->t0_ns;
	return t_ns - eg_scenario_suspended_ns(sim->sc, t_ns);
}

/* ---- what a sensor shows ---- */

static eg_fj with_gain(eg_fj e, int32_t gain_ppm)
{
	return e + e * gain_ppm / 1000000;
}

/* The register of a perf counter: 32 bits of 2^-unit_bits J. */
static uint64_t perf_units(const struct chan *ch)
{
	return (uint64_t)((with_gain(ch->acc_fj, ch->c->gain_ppm) << ch->c->unit_bits) /
			  EG_FJ_PER_J);
}

/* The kernel adds the signed difference of two 32-bit readings (drivers, perf `power`). */
static void fold(struct chan *ch)
{
	uint32_t raw = (uint32_t)perf_units(ch);
	int64_t delta = (int32_t)(raw - ch->fold_raw);

	ch->folded += (uint64_t)delta << (32 - ch->c->unit_bits);
	ch->fold_raw = raw;
}

static uint64_t perf_count(const struct chan *ch)
{
	int64_t delta;

	if (!ch->c->fold_ns)
		return perf_units(ch) << (32 - ch->c->unit_bits);
	delta = (int32_t)((uint32_t)perf_units(ch) - ch->fold_raw);
	return ch->folded + ((uint64_t)delta << (32 - ch->c->unit_bits));
}

static uint64_t counter_raw(const struct chan *ch)
{
	const struct eg_sim_channel *c = ch->c;
	eg_fj units = with_gain(ch->acc_fj, c->gain_ppm) / ((eg_fj)c->unit_nj * 1000000);

	units += ch->start_raw;
	return c->modulus_raw ? (uint64_t)(units % (eg_fj)c->modulus_raw) : (uint64_t)units;
}

static uint64_t round_to(long double uw, uint64_t step)
{
	if (uw < 0)
		uw = 0;
	return (uint64_t)(uw / (long double)step + 0.5L) * step;
}

static long double meter_error_uw(const struct eg_sim *sim, const struct chan *ch)
{
	uint64_t n = ch->c->meter_noise_uw, h;

	if (!n)
		return 0;
	h = eg_sim_hash(sim->sc->seed + (uint64_t)(ch - sim->chan), ch->latch);
	return (long double)(h % (2 * n + 1)) - (long double)n;
}

static void gauge(const struct eg_sim *sim, struct chan *ch)
{
	const struct eg_sim_channel *c = ch->c;
	uint64_t t = ch->acc_awake_ns;
	long double gain = 1.0L + (long double)c->gain_ppm / 1e6L;
	long double uw = eg_power_at_uw(&c->power, t);

	ch->shown = round_to(uw * gain + meter_error_uw(sim, ch), c->resolution_uw);
	if (!c->average_ns)
		return;
	if (t) {
		uint64_t from = t > c->average_ns ? t - c->average_ns : 0;

		uw = (long double)eg_power_energy_fj(&c->power, from, t) / (long double)(t - from);
	}
	ch->average_uw = round_to(uw * gain + meter_error_uw(sim, ch), c->resolution_uw);
}

/* Brings a sensor to the refresh that is due at an awake time. */
static void refresh(struct eg_sim *sim, struct chan *ch, uint64_t awake_ns)
{
	const struct eg_sim_channel *c = ch->c;
	uint64_t latch = awake_ns / c->update_ns, t = latch * c->update_ns;
	eg_fj e;

	if (latch == ch->latch || t < ch->acc_awake_ns)
		return;
	e = eg_power_energy_fj(&c->power, ch->acc_awake_ns, t);
	ch->acc_fj += e;
	ch->spent_fj += ch->charging ? -e : e;
	ch->acc_awake_ns = t;
	ch->latch = latch;
	ch->fresh = true;
	if (c->kind == EG_SIM_PERF) {
		ch->shown = perf_count(ch);
		if (c->fold_ns && t / c->fold_ns != ch->fold_latch) {
			ch->fold_latch = t / c->fold_ns;
			fold(ch);
			ch->shown = ch->folded;
		}
	} else if (c->kind == EG_SIM_CGROUP) {
		ch->shown = (uint64_t)(ch->acc_fj / EG_FJ_PER_UJ);
	} else if (c->unit_nj) {
		ch->shown = counter_raw(ch);
	} else {
		gauge(sim, ch);
	}
}

/* A timer that folds runs at its own times, whoever looks: go through each of them. */
static void refresh_folding(struct eg_sim *sim, struct chan *ch, uint64_t awake_ns)
{
	uint64_t step = ch->c->fold_ns;

	while (step && (ch->fold_latch + 1) * step <= awake_ns)
		refresh(sim, ch, (ch->fold_latch + 1) * step + ch->c->update_ns - 1);
	refresh(sim, ch, awake_ns);
}

/* ---- files ---- */

static int put_number(int fd, uint64_t v)
{
	char text[EG_TREE_WIDTH + 2];
	ssize_t n;

	if (fd < 0)
		return 0;
	snprintf(text, sizeof(text), "%-*" PRIu64 "\n", EG_TREE_WIDTH, v);
	n = pwrite(fd, text, EG_TREE_WIDTH + 1, 0);
	return n < 0 ? -errno : 0;
}

static int put_signed(int fd, uint64_t v, bool negative)
{
	char text[EG_TREE_WIDTH + 2];
	ssize_t n;

	if (fd < 0)
		return 0;
	snprintf(text, sizeof(text), "%-*" PRId64 "\n", EG_TREE_WIDTH,
		 negative ? -(int64_t)v : (int64_t)v);
	n = pwrite(fd, text, EG_TREE_WIDTH + 1, 0);
	return n < 0 ? -errno : 0;
}

static int write_battery(struct chan *ch)
{
	const struct eg_sim_channel *c = ch->c;
	/* 1 uWh = 3.6 mJ. The cell is full or empty at its ends. */
	int64_t left = (int64_t)c->energy_start_uwh -
		       (int64_t)(ch->spent_fj / ((eg_fj)3600 * EG_FJ_PER_UJ));
	char status[16];
	int r;

	left = EG_MAX(0, EG_MIN(left, (int64_t)c->energy_full_uwh));
	if (c->by_current)
		r = put_signed(ch->fd[EG_TREE_VALUE],
			       (ch->shown * 1000000 + c->volts_uv / 2) / c->volts_uv,
			       c->negative_current && !ch->charging);
	else
		r = put_number(ch->fd[EG_TREE_VALUE], ch->shown);
	if (r == 0)
		r = put_number(ch->fd[EG_TREE_LEFT], (uint64_t)left);
	snprintf(status, sizeof(status), "%-11s\n", ch->charging ? "Charging" : "Discharging");
	if (r == 0 && pwrite(ch->fd[EG_TREE_STATUS], status, 12, 0) < 0)
		r = -errno;
	return r;
}

static int write_channel(struct chan *ch)
{
	const struct eg_sim_channel *c = ch->c;
	char text[96];
	int r;

	ch->fresh = false;
	if (ch->gone || ch->garbled)
		return 0;
	switch (c->kind) {
	case EG_SIM_RAPL:
	case EG_SIM_HWMON_ENERGY:
		return put_number(ch->fd[EG_TREE_VALUE],
				  (uint64_t)((unsigned __int128)ch->shown * c->unit_nj / 1000));
	case EG_SIM_PERF:
		return pwrite(ch->fd[EG_TREE_VALUE], &ch->shown, 8, 0) < 0 ? -errno : 0;
	case EG_SIM_HWMON_POWER:
		r = put_number(ch->fd[EG_TREE_VALUE], ch->shown);
		return r < 0 ? r : put_number(ch->fd[EG_TREE_AVERAGE], ch->average_uw);
	case EG_SIM_HWMON_RAIL:
		return put_number(ch->fd[EG_TREE_VALUE],
				  (ch->shown * 1000 + c->volts_uv / 2) / c->volts_uv);
	case EG_SIM_BATTERY:
		return write_battery(ch);
	case EG_SIM_CGROUP:
		snprintf(text, sizeof(text),
			 "usage_usec %-20" PRIu64 "\nuser_usec %-20" PRIu64 "\nsystem_usec 0\n",
			 ch->shown, ch->shown);
		return pwrite(ch->fd[EG_TREE_VALUE], text, strlen(text), 0) < 0 ? -errno : 0;
	case EG_SIM_HWMON:
	case EG_SIM_PMU:
		break;
	}
	return 0;
}

static bool has_value(const struct eg_sim_channel *c)
{
	return c->kind != EG_SIM_HWMON && c->kind != EG_SIM_PMU;
}

static int create_channel(struct eg_sim *sim, struct chan *ch)
{
	int r = eg_tree_channel(sim->root, sim->sc, ch->c);
	char path[EG_TREE_PATH_MAX];

	for (int role = 0; r == 0 && has_value(ch->c) && role < EG_TREE_ROLES; role++) {
		r = eg_tree_path(sim->sc, ch->c, role, path, sizeof(path));
		if (r == 0 && *path)
			r = eg_tree_put(sim->root, path, (unsigned)ch->c->mode, NULL, 0,
					&ch->fd[role]);
		if (r == 0 && *path && !ch->path[0])
			memcpy(ch->path, path, sizeof(path));
	}
	ch->gone = false;
	if (r == 0 && ch->c->kind == EG_SIM_PERF && ch->c->fold_ns) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", ch->fd[EG_TREE_VALUE]);
		ch->watch = inotify_add_watch(sim->inotify, path, IN_ACCESS);
		if (ch->watch < 0)
			return -errno;
	}
	return r < 0 ? r : write_channel(ch);
}

/* A descriptor that a reader kept reads empty from now on: no value, as ENODEV in sysfs. */
static void remove_channel(struct eg_sim *sim, struct chan *ch)
{
	for (int role = 0; role < EG_TREE_ROLES; role++) {
		if (ch->fd[role] < 0)
			continue;
		if (ftruncate(ch->fd[role], 0) < 0) {
			/* The name goes all the same. */
		}
		close(ch->fd[role]);
		ch->fd[role] = -1;
	}
	eg_tree_remove(sim->root, sim->sc, ch->c);
	ch->gone = true;
}

/* /proc/stat: every processor is as busy as the scenario says; 100 ticks a second. */
static int write_stat(struct eg_sim *sim, uint64_t awake_ns)
{
	const struct eg_scenario *sc = sim->sc;
	uint64_t latch = awake_ns / sc->proc_update_ns, t = latch * sc->proc_update_ns;
	uint64_t busy, all = t / 10000000;
	char uptime[64];

	if (sim->stat_fd < 0 || latch == sim->stat_latch)
		return 0;
	sim->stat_latch = latch;
	busy = (uint64_t)(eg_power_energy_fj(&sc->utilization, 0, t) / 1000000 / 10000000);
	eg_strbuf_reset(&sim->text);
	eg_strbuf_printf(&sim->text, "cpu  %-14" PRIu64 " 0 0 %-14" PRIu64 " 0 0 0 0 0 0\n",
			 busy * sc->cpus, (all - busy) * sc->cpus);
	for (unsigned i = 0; i < sc->cpus; i++)
		eg_strbuf_printf(&sim->text,
				 "cpu%u %-14" PRIu64 " 0 0 %-14" PRIu64 " 0 0 0 0 0 0\n", i, busy,
				 all - busy);
	eg_strbuf_puts(&sim->text, "intr 0\nctxt 0\nbtime 1700000000\nprocesses 1\n"
				   "procs_running 1\nprocs_blocked 0\n");
	if (eg_strbuf_error(&sim->text) < 0)
		return eg_strbuf_error(&sim->text);
	if (pwrite(sim->stat_fd, sim->text.s, sim->text.len, 0) < 0)
		return -errno;
	snprintf(uptime, sizeof(uptime), "%" PRIu64 ".%02" PRIu64, (uint64_t)(t / EG_NSEC_PER_SEC),
		 t / 10000000 % 100);
	eg_strbuf_reset(&sim->text);
	eg_strbuf_printf(&sim->text, "%-16s %-16s\n", uptime, uptime);
	return pwrite(sim->uptime_fd, sim->text.s, sim->text.len, 0) < 0 ? -errno : 0;
}

/* ---- events ---- */

static int reset_channel(struct eg_sim *sim, struct chan *ch, uint64_t raw)
{
	ch->acc_fj = 0;
	ch->acc_awake_ns = awake_at(sim, sim->now_ns);
	ch->start_raw = ch->c->modulus_raw ? raw % ch->c->modulus_raw : raw;
	ch->folded = 0;
	ch->fold_raw = 0;
	ch->shown = ch->c->unit_nj ? ch->start_raw : ch->shown;
	if (ch->c->kind == EG_SIM_PERF || ch->c->kind == EG_SIM_CGROUP)
		ch->shown = 0;
	return write_channel(ch);
}

static int garble(struct chan *ch, const struct eg_sim_event *e, bool end)
{
	ssize_t n;

	ch->garbled = !end;
	if (ch->gone)
		return 0;
	if (end) {
		if (ftruncate(ch->fd[EG_TREE_VALUE], 0) < 0)
			return -errno;
		return write_channel(ch);
	}
	if (ftruncate(ch->fd[EG_TREE_VALUE], 0) < 0)
		return -errno;
	n = pwrite(ch->fd[EG_TREE_VALUE], e->text, strlen(e->text), 0);
	return n < 0 ? -errno : 0;
}

static int set_mode(struct chan *ch, unsigned mode)
{
	for (int role = 0; role < EG_TREE_ROLES; role++)
		if (ch->fd[role] >= 0 && fchmod(ch->fd[role], mode) < 0)
			return -errno;
	return 0;
}

static int set_range(struct eg_sim *sim, struct chan *ch, bool there)
{
	char path[EG_TREE_PATH_MAX + 32], dir[EG_TREE_PATH_MAX];
	int r = eg_tree_dir(sim->sc, ch->c, dir, sizeof(dir));

	if (r < 0 || ch->gone || ch->c->kind != EG_SIM_RAPL)
		return r;
	snprintf(path, sizeof(path), "%s/max_energy_range_uj", dir);
	if (there)
		return eg_tree_putf(sim->root, path, "%" PRIu64 "\n", ch->c->range_uj);
	return unlinkat(sim->root, path, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int reboot(struct eg_sim *sim)
{
	char id[40];
	int r;

	eg_copy(id, sizeof(id), sim->sc->boot_id);
	sim->boots++;
	/* The last digits of the id count the boots. */
	if (strlen(id) >= 4)
		snprintf(id + strlen(id) - 4, 5, "%04x", (0x1000 + sim->boots) & 0xffff);
	r = eg_tree_putf(sim->root, "proc/sys/kernel/random/boot_id", "%s\n", id);
	for (size_t i = 0; r == 0 && i < sim->sc->n_channels; i++)
		if (has_value(sim->chan[i].c))
			r = reset_channel(sim, &sim->chan[i], 0);
	return r;
}

static int apply_to(struct eg_sim *sim, struct chan *ch, const struct eg_sim_event *e, bool end)
{
	switch (e->kind) {
	case EG_SIM_RESET:
		return reset_channel(sim, ch, e->value);
	case EG_SIM_EACCES:
		return set_mode(ch, end ? (unsigned)ch->c->mode : 0);
	case EG_SIM_VANISH:
		if (end)
			return create_channel(sim, ch);
		remove_channel(sim, ch);
		return 0;
	case EG_SIM_RELOAD:
		if (!end)
			remove_channel(sim, ch);
		if (end || !e->for_ns) {
			int r = reset_channel(sim, ch, 0);

			return r < 0 ? r : create_channel(sim, ch);
		}
		return 0;
	case EG_SIM_GARBAGE:
		return garble(ch, e, end);
	case EG_SIM_NO_RANGE:
		return set_range(sim, ch, end);
	case EG_SIM_CHARGE:
		ch->charging = !end;
		return write_channel(ch);
	default:
		return 0; /* eio, hang: nothing that files can show */
	}
}

/* A zone takes its sub-zones with it. */
static bool below(const struct eg_sim_channel *c, const struct eg_sim_channel *parent)
{
	size_t n = strlen(parent->node);

	return c->kind == EG_SIM_RAPL && parent->kind == EG_SIM_RAPL && c != parent &&
	       strncmp(c->node, parent->node, n) == 0 && c->node[n] == ':';
}

static int apply(struct eg_sim *sim, const struct edge *edge)
{
	const struct eg_sim_event *e = &sim->sc->event[edge->event];
	bool family = e->kind == EG_SIM_VANISH || e->kind == EG_SIM_RELOAD;
	int r;

	if (e->kind == EG_SIM_REBOOT)
		return reboot(sim);
	if (e->channel < 0)
		return 0; /* suspend: awake time does it; clock steps are the clock's */
	r = 0;
	/* Children go before their parent, and come back after it. */
	for (size_t i = 0; family && !edge->end && r == 0 && i < sim->sc->n_channels; i++)
		if (below(sim->chan[i].c, &sim->sc->channel[e->channel]))
			r = apply_to(sim, &sim->chan[i], e, edge->end);
	if (r == 0)
		r = apply_to(sim, &sim->chan[e->channel], e, edge->end);
	for (size_t i = 0; family && edge->end && r == 0 && i < sim->sc->n_channels; i++)
		if (below(sim->chan[i].c, &sim->sc->channel[e->channel]))
			r = apply_to(sim, &sim->chan[i], e, edge->end);
	return r;
}

static int compare_edges(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;

	if (x->t_ns != y->t_ns)
		return x->t_ns < y->t_ns ? -1 : 1;
	/* What ends, ends before what begins at the same time; else as written. */
	if (x->end != y->end)
		return x->end ? -1 : 1;
	return x->event < y->event ? -1 : x->event > y->event;
}

static int make_edges(struct eg_sim *sim)
{
	const struct eg_scenario *sc = sim->sc;

	sim->edge = calloc(2 * sc->n_events + 1, sizeof(*sim->edge));
	if (!sim->edge)
		return -ENOMEM;
	for (size_t i = 0; i < sc->n_events; i++) {
		const struct eg_sim_event *e = &sc->event[i];

		sim->edge[sim->n_edges++] = (struct edge){sim->t0_ns + e->at_ns, i, false};
		if (e->for_ns)
			sim->edge[sim->n_edges++] =
				(struct edge){sim->t0_ns + e->at_ns + e->for_ns, i, true};
	}
	qsort(sim->edge, sim->n_edges, sizeof(*sim->edge), compare_edges);
	return 0;
}

/* ---- the machine ---- */

static int start_channel(struct eg_sim *sim, size_t i)
{
	struct chan *ch = &sim->chan[i];

	ch->c = &sim->sc->channel[i];
	for (int role = 0; role < EG_TREE_ROLES; role++)
		ch->fd[role] = -1;
	ch->start_raw = ch->shown = ch->c->start_raw;
	ch->charging = ch->c->charging;
	ch->watch = -1;
	if (has_value(ch->c) && !ch->c->unit_nj && ch->c->kind != EG_SIM_PERF &&
	    ch->c->kind != EG_SIM_CGROUP)
		gauge(sim, ch);
	return create_channel(sim, ch);
}

static int start(struct eg_sim *sim)
{
	const struct eg_scenario *sc = sim->sc;
	int r = eg_tree_machine(sim->root, sc);

	if (r == 0)
		r = make_edges(sim);
	if (r == 0 && sc->has_proc) {
		sim->stat_latch = UINT64_MAX;
		r = eg_tree_put(sim->root, "proc/stat", 0444, NULL, 0, &sim->stat_fd);
		if (r == 0)
			r = eg_tree_put(sim->root, "proc/uptime", 0444, NULL, 0, &sim->uptime_fd);
		if (r == 0)
			r = write_stat(sim, 0);
	}
	for (size_t i = 0; r == 0 && i < sc->n_channels; i++)
		r = start_channel(sim, i);
	return r < 0 ? r : eg_sim_advance(sim, sim->t0_ns);
}

int eg_sim_open(const struct eg_scenario *sc, const char *dir, uint64_t t0_ns, struct eg_sim **ret)
{
	struct eg_sim *sim = calloc(1, sizeof(*sim));
	int r = 0;

	if (!sim)
		return -ENOMEM;
	*sim = (struct eg_sim){.sc = sc,
			       .root = -1,
			       .stat_fd = -1,
			       .uptime_fd = -1,
			       .t0_ns = t0_ns,
			       .now_ns = t0_ns,
			       .text = EG_STRBUF_INIT(64 * 1024)};
	sim->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	sim->chan = calloc(sc->n_channels + 1, sizeof(*sim->chan));
	for (size_t i = 0; sim->chan && i < sc->n_channels; i++)
		for (int role = 0; role < EG_TREE_ROLES; role++)
			sim->chan[i].fd[role] = -1;
	if (!sim->chan)
		r = -ENOMEM;
	else if (sim->inotify < 0 || (mkdir(dir, 0755) < 0 && errno != EEXIST))
		r = -errno;
	if (r == 0) {
		sim->root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = sim->root < 0 ? -errno : start(sim);
	}
	if (r < 0) {
		eg_sim_close(sim);
		return r;
	}
	*ret = sim;
	return 0;
}

/* Reads seen since the last move: each folded its counter at the time the tree stood at. */
static void drain_reads(struct eg_sim *sim)
{
	char buf[4096] __attribute__((aligned(8)));
	ssize_t n;

	while ((n = read(sim->inotify, buf, sizeof(buf))) > 0)
		for (char *p = buf; p < buf + n;) {
			const struct inotify_event *e = (const struct inotify_event *)p;

			for (size_t i = 0; i < sim->sc->n_channels; i++)
				if (sim->chan[i].watch == e->wd && (e->mask & IN_ACCESS))
					fold(&sim->chan[i]);
			p += sizeof(*e) + e->len;
		}
}

void eg_sim_note_read(struct eg_sim *sim, size_t channel)
{
	if (sim->chan[channel].c->kind == EG_SIM_PERF && sim->chan[channel].c->fold_ns)
		fold(&sim->chan[channel]);
}

static void refresh_all(struct eg_sim *sim, uint64_t t_ns)
{
	uint64_t awake_ns = awake_at(sim, t_ns);

	for (size_t i = 0; i < sim->sc->n_channels; i++)
		if (has_value(sim->chan[i].c))
			refresh_folding(sim, &sim->chan[i], awake_ns);
	sim->now_ns = t_ns;
}

int eg_sim_advance(struct eg_sim *sim, uint64_t t_ns)
{
	int r = 0;

	if (t_ns < sim->now_ns)
		return -EINVAL;
	drain_reads(sim);
	while (r == 0 && sim->next_edge < sim->n_edges && sim->edge[sim->next_edge].t_ns <= t_ns) {
		const struct edge *e = &sim->edge[sim->next_edge++];

		refresh_all(sim, e->t_ns);
		r = apply(sim, e);
	}
	refresh_all(sim, t_ns);
	for (size_t i = 0; r == 0 && i < sim->sc->n_channels; i++)
		if (sim->chan[i].fresh)
			r = write_channel(&sim->chan[i]);
	return r < 0 ? r : write_stat(sim, awake_at(sim, t_ns));
}

uint64_t eg_sim_next_ns(const struct eg_sim *sim)
{
	uint64_t awake = awake_at(sim, sim->now_ns), wait = UINT64_MAX, next;

	for (size_t i = 0; i < sim->sc->n_channels; i++) {
		const struct eg_sim_channel *c = sim->chan[i].c;

		if (has_value(c))
			wait = EG_MIN(wait, c->update_ns - awake % c->update_ns);
	}
	if (sim->stat_fd >= 0)
		wait = EG_MIN(wait, sim->sc->proc_update_ns - awake % sim->sc->proc_update_ns);
	next = wait == UINT64_MAX ? UINT64_MAX : sim->now_ns + wait;
	if (sim->next_edge < sim->n_edges)
		next = EG_MIN(next, sim->edge[sim->next_edge].t_ns);
	return next;
}

eg_fj eg_sim_true_energy_fj(const struct eg_sim *sim, size_t channel, uint64_t t0_ns,
			    uint64_t t1_ns)
{
	return eg_scenario_true_energy_fj(sim->sc, channel, t0_ns - sim->t0_ns, t1_ns - sim->t0_ns);
}

uint64_t eg_sim_true_energy_uj(const struct eg_sim *sim, const char *channel_id, uint64_t t0_ns,
			       uint64_t t1_ns)
{
	int i = eg_scenario_channel(sim->sc, channel_id);

	if (i < 0)
		return 0;
	return (uint64_t)((eg_sim_true_energy_fj(sim, (size_t)i, t0_ns, t1_ns) + EG_FJ_PER_UJ / 2) /
			  EG_FJ_PER_UJ);
}

long double eg_sim_true_power_uw(const struct eg_sim *sim, size_t channel, uint64_t t_ns)
{
	return eg_power_at_uw(&sim->sc->channel[channel].power, awake_at(sim, t_ns));
}

uint64_t eg_sim_shown(const struct eg_sim *sim, size_t channel)
{
	return sim->chan[channel].shown;
}

size_t eg_sim_faults(const struct eg_sim *sim, struct eg_fault *ret, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < sim->sc->n_events; i++) {
		const struct eg_sim_event *e = &sim->sc->event[i];
		struct eg_fault f = {.from_ns = sim->t0_ns + e->at_ns};

		if (e->kind != EG_SIM_EIO && e->kind != EG_SIM_HANG && e->kind != EG_SIM_EACCES)
			continue;
		f.pattern = sim->chan[e->channel].path;
		f.to_ns = e->for_ns ? f.from_ns + e->for_ns : 0;
		f.kind = e->kind == EG_SIM_HANG ? EG_FAULT_HANG : EG_FAULT_ERROR;
		f.error = e->kind == EG_SIM_EIO ? EIO : EACCES;
		/* A mode is checked when a file is opened; a kept descriptor goes on. */
		f.on = e->kind == EG_SIM_EACCES ? EG_FAULT_OPEN : EG_FAULT_READ;
		f.hang_ns = e->for_ns ? e->for_ns : 3600 * EG_NSEC_PER_SEC;
		if (n < cap)
			ret[n] = f;
		n++;
	}
	return n;
}

const char *eg_sim_path(const struct eg_sim *sim, size_t channel)
{
	return sim->chan[channel].path;
}

const struct eg_scenario *eg_sim_scenario(const struct eg_sim *sim)
{
	return sim->sc;
}

struct eg_sim *eg_sim_close(struct eg_sim *sim)
{
	if (!sim)
		return NULL;
	for (size_t i = 0; sim->chan && i < sim->sc->n_channels; i++)
		for (int role = 0; role < EG_TREE_ROLES; role++)
			if (sim->chan[i].fd[role] >= 0)
				close(sim->chan[i].fd[role]);
	if (sim->stat_fd >= 0)
		close(sim->stat_fd);
	if (sim->uptime_fd >= 0)
		close(sim->uptime_fd);
	if (sim->inotify >= 0)
		close(sim->inotify);
	if (sim->root >= 0)
		close(sim->root);
	eg_strbuf_free(&sim->text);
	free(sim->edge);
	free(sim->chan);
	free(sim);
	return NULL;
}
