/* SPDX-License-Identifier: Apache-2.0 */
/*
 * macOS powermetrics: the driver starts the program, reads its samples without blocking, and keeps
 * per channel a counter of microjoules, each reading stamped with the end of its sample. Apple
 * computes these figures with a model, so they are `modeled`.
 *
 * The samples of one run follow each other without a hole, whatever we do: when we do not read, the
 * program waits and its next sample is longer. When the program ends or hangs it is started again,
 * later each time; what was used in between is unknown, so each start is a new epoch from zero.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "core/driver.h"
#include "drivers/powermetrics/child.h"
#include "drivers/powermetrics/decoder.h"

#define NAME	       "powermetrics"
#define PROGRAM	       "usr/bin/powermetrics"
#define SAMPLE_MS      500
#define SAMPLE_MIN_MS  20
#define SAMPLE_MAX_MS  60000
#define FIRST_WAIT_MS  3000	      /* for the first sample, beyond one sample's length */
#define FIRST_MAX      (1u << 20)     /* bytes before the first sample */
#define PATIENCE_MS    100	      /* between SIGTERM and SIGKILL */
#define SILENCE_MIN_NS 10000000000ULL /* without a sample for so long: it hangs */
#define SLEEP_MIN_NS   100000000ULL   /* the two clocks are read one after the other */
#define BACKOFF_MIN_NS 1000000000ULL
#define BACKOFF_MAX_NS 60000000000ULL
#define READS_MAX      64 /* of 16 KiB in one call: a full pipe many times over */
#define ROOT_CURE      "run as root: sudo; powermetrics refuses everybody else"

struct eg_instance {
	const struct eg_env *env;
	struct eg_channel ch[EG_POWERMETRICS_FIELDS];
	enum eg_powermetrics_field field[EG_POWERMETRICS_FIELDS]; /* of a channel */
	size_t n;
	char path[EG_PATH_MAX], rate[16];
	uint64_t period_ns;
	struct eg_child child;
	struct eg_powermetrics_decoder decoder;

	uint64_t uj[EG_POWERMETRICS_FIELDS];  /* since the program's start */
	uint64_t uw[EG_POWERMETRICS_FIELDS];  /* that the last sample told, by field; UINT64_MAX */
	uint64_t end_ns;		      /* of the last sample; 0 none in this run */
	bool missing[EG_POWERMETRICS_FIELDS]; /* a sample of this run lacked it */
	uint32_t epoch[EG_POWERMETRICS_FIELDS];
	uint64_t heard_ns;  /* awake clock: when it was started or last gave a sample */
	uint64_t asleep_ns; /* of the machine since boot */
	uint64_t retry_ns, backoff_ns;
};

static int probe(const struct eg_env *env)
{
	return eg_fs_exists(&env->fs, PROGRAM) ? 0 : -ENOENT;
}

static void close_instance(struct eg_instance *inst)
{
	if (!inst)
		return;
	eg_child_stop(&inst->child, PATIENCE_MS);
	free(inst);
}

static int start(struct eg_instance *inst)
{
	const char *const argv[] = {inst->path,
				    "--samplers",
				    "cpu_power,gpu_power,ane_power",
				    "--sample-rate",
				    inst->rate,
				    "--format",
				    "plist",
				    "--hide-cpu-duty-cycle",
				    NULL};

	eg_powermetrics_reset(&inst->decoder);
	memset(inst->uj, 0, sizeof(inst->uj));
	memset(inst->missing, 0, sizeof(inst->missing));
	inst->end_ns = 0;
	inst->heard_ns = eg_clock_awake_ns(&inst->env->clock);
	return eg_child_start(&inst->child, inst->path, argv);
}

/* Is this the refusal of a program that wants root? */
static bool wants_root(const struct eg_child *c)
{
	return strstr(c->said, "superuser") || strstr(c->said, "root") ||
	       strstr(c->said, "ermission") || strstr(c->said, "not permitted");
}

/* ---- open: the first sample tells which channels there are ---- */

static int say_no_start(struct eg_diags *diags, const char *path, int err)
{
	eg_diag_add(diags, eg_diag_code_of(err), NAME, PROGRAM,
		    err == -EACCES || err == -EPERM ? ROOT_CURE : "", "%s cannot be started: %s",
		    path, eg_errno_text(err));
	return err;
}

static int say_ended(struct eg_instance *inst, struct eg_diags *diags)
{
	int status = eg_child_stop(&inst->child, PATIENCE_MS);

	if (wants_root(&inst->child)) {
		eg_diag_add(diags, EG_DIAG_SENSOR_BLOCKED, NAME, PROGRAM, ROOT_CURE,
			    "powermetrics refused: %.120s", inst->child.said);
		return -EACCES;
	}
	eg_diag_add(diags, EG_DIAG_SENSOR_ERROR, NAME, PROGRAM,
		    "run powermetrics by hand to see what it says",
		    "powermetrics ended with status %d before its first sample: %.120s", status,
		    inst->child.said);
	return -EPROTO;
}

/* Waits for one sample; real time, because another program makes it. */
static int first_sample(struct eg_instance *inst, struct eg_diags *diags,
			struct eg_powermetrics_sample *ret)
{
	int left_ms = FIRST_WAIT_MS + (int)(inst->period_ns / EG_NSEC_PER_MSEC);
	size_t taken = 0;
	char c;

	while (left_ms > 0 && taken < FIRST_MAX) {
		struct pollfd p = {.fd = inst->child.out_fd, .events = POLLIN};
		bool done = false;
		ssize_t n = 0;

		/* Byte by byte, so that nothing of the second sample is taken with the first. */
		for (; !done && taken < FIRST_MAX; taken++) {
			n = eg_child_read(&inst->child, &c, 1);
			if (n != 1 || eg_powermetrics_feed(&inst->decoder, &c, 1, ret, &done) != 1)
				break;
		}
		if (done)
			return 0;
		if (n != -EAGAIN && n != 1)
			return say_ended(inst, diags);
		if (poll(&p, 1, 50) == 0)
			left_ms -= 50;
	}
	eg_diag_add(diags, EG_DIAG_SENSOR_TIMEOUT, NAME, PROGRAM,
		    "run powermetrics by hand to see what it says",
		    "powermetrics gave no sample in time (%llu documents without use): %.120s",
		    (unsigned long long)inst->decoder.dropped, inst->child.said);
	return -ETIMEDOUT;
}

static const struct {
	const char *domain, *device, *label;
	enum eg_component component;
} kinds[EG_POWERMETRICS_FIELDS] = {
	[EG_POWERMETRICS_SOC] = {"soc", "soc-0", "CPU, GPU and ANE", EG_COMPONENT_SOC},
	[EG_POWERMETRICS_CPU] = {"cpu", "soc-0", "CPU clusters", EG_COMPONENT_PACKAGE},
	[EG_POWERMETRICS_GPU] = {"gpu", "soc-0", "GPU", EG_COMPONENT_GPU},
	[EG_POWERMETRICS_ANE] = {"ane", "soc-0", "neural engine", EG_COMPONENT_ANE},
	[EG_POWERMETRICS_PACKAGE] = {"package-0", "cpu-0", "Intel package", EG_COMPONENT_PACKAGE},
};

static void describe_channels(struct eg_instance *inst, unsigned have)
{
	bool soc = have & 1u << EG_POWERMETRICS_SOC;

	for (int f = 0; f < EG_POWERMETRICS_FIELDS; f++) {
		struct eg_channel *ch = &inst->ch[inst->n];

		if (!(have & 1u << f))
			continue;
		*ch = (struct eg_channel){
			.component = kinds[f].component,
			.source = EG_SOURCE_POWERMETRICS,
			.boundary = EG_BOUNDARY_COMPONENT,
			.provenance = EG_PROVENANCE_MODELED,
			.quantity = EG_QUANTITY_ENERGY,
			.unit_num = 1,
			.unit_den = 1,
			.zero_based = true,
			.own_count = true,
			.resolution_uj = 1000,
			.update_ns = inst->period_ns,
			.max_uw = 500000000, /* above any Mac's power supply's share for the chip */
			/* Combined is the sum of the three; it is the first channel. */
			.part_of = soc && f != EG_POWERMETRICS_SOC && f != EG_POWERMETRICS_PACKAGE ?
					   0 :
					   -1,
			.accuracy = {.rel_ppm = 100000,
				     .citation = "no published figure: 10 % by choice"},
		};
		eg_copy(ch->domain, sizeof(ch->domain), kinds[f].domain);
		eg_copy(ch->device, sizeof(ch->device), kinds[f].device);
		eg_copy(ch->label, sizeof(ch->label), kinds[f].label);
		eg_copy(ch->origin, sizeof(ch->origin), PROGRAM);
		inst->field[inst->n++] = (enum eg_powermetrics_field)f;
	}
}

static int configure(struct eg_instance *inst, const struct eg_driver_config *cfg)
{
	const char *v = eg_setting_get(cfg, NAME, "sample_ms");
	uint64_t ms = SAMPLE_MS;
	int n;

	if (v &&
	    (eg_parse_u64(v, strlen(v), &ms) < 0 || ms < SAMPLE_MIN_MS || ms > SAMPLE_MAX_MS)) {
		eg_diag_add(cfg->diags, EG_DIAG_CONFIG, NAME, "sample_ms",
			    "give milliseconds from 20 to 60000", "sample_ms is out of range");
		return -EINVAL;
	}
	inst->period_ns = ms * EG_NSEC_PER_MSEC;
	snprintf(inst->rate, sizeof(inst->rate), "%u", (unsigned)ms);
	n = snprintf(inst->path, sizeof(inst->path), "%s%s%s", inst->env->root,
		     inst->env->root[strlen(inst->env->root) - 1] == '/' ? "" : "/", PROGRAM);
	return (size_t)n < sizeof(inst->path) ? 0 : -ENAMETOOLONG;
}

static int open_instance(const struct eg_env *env, const struct eg_driver_config *cfg,
			 struct eg_instance **ret)
{
	struct eg_powermetrics_sample s;
	struct eg_instance *inst;
	int r = probe(env);

	if (r < 0) {
		eg_diag_add(cfg->diags, EG_DIAG_SENSOR_ABSENT, NAME, PROGRAM, "",
			    "no powermetrics here: it comes with macOS");
		return r;
	}
	inst = calloc(1, sizeof(*inst));
	if (!inst)
		return -ENOMEM;
	inst->env = env;
	inst->child = EG_CHILD_INIT;
	inst->backoff_ns = BACKOFF_MIN_NS;
	r = configure(inst, cfg);
	if (r == 0) {
		r = start(inst);
		if (r < 0)
			say_no_start(cfg->diags, inst->path, r);
	}
	if (r == 0)
		r = first_sample(inst, cfg->diags, &s);
	if (r == 0 && s.have == 0) {
		eg_diag_add(cfg->diags, EG_DIAG_SENSOR_UNSUPPORTED, NAME, PROGRAM, "",
			    "powermetrics of this machine tells no energy");
		r = -ENOTSUP;
	}
	if (r < 0) {
		close_instance(inst);
		return r;
	}
	describe_channels(inst, s.have);
	memcpy(inst->uw, s.uw, sizeof(inst->uw));
	inst->end_ns = eg_clock_ns(&env->clock);
	inst->heard_ns = eg_clock_awake_ns(&env->clock);
	inst->asleep_ns = inst->end_ns - inst->heard_ns;
	*ret = inst;
	return 0;
}

static size_t describe(const struct eg_instance *inst, const struct eg_channel **ret)
{
	*ret = inst->ch;
	return inst->n;
}

/* ---- read ---- */

static void put_one(struct eg_instance *inst, size_t i, enum eg_status status, struct eg_sink *sink)
{
	struct eg_reading r = {.t_ns = inst->end_ns, .epoch = inst->epoch[i], .status = status};

	if (status == EG_STATUS_OK && inst->missing[i])
		r.status = EG_STATUS_NO_DATA;
	if (r.status == EG_STATUS_OK)
		r.raw = inst->uj[i];
	else
		r.t_ns = eg_clock_ns(&inst->env->clock);
	eg_sink_put(sink, i, &r);
}

static void put_all(struct eg_instance *inst, struct eg_sink *sink, enum eg_status status)
{
	for (size_t i = 0; i < inst->n; i++)
		put_one(inst, i, status, sink);
}

/*
 * A sample ends where the one before ended plus its length; never in the future. The first of a run
 * ends when it arrives, and began its length before. A channel that begins, or that a sample before
 * lacked, starts from zero at the beginning of this one.
 */
static void take_sample(struct eg_instance *inst, const struct eg_powermetrics_sample *s,
			struct eg_sink *sink)
{
	uint64_t now_ns = eg_clock_ns(&inst->env->clock);
	bool first = inst->end_ns == 0;

	if (first)
		inst->end_ns = now_ns > s->elapsed_ns ? now_ns - s->elapsed_ns : 1;
	for (size_t i = 0; i < inst->n; i++) {
		bool have = s->have & 1u << inst->field[i];

		if (have && inst->missing[i]) {
			inst->epoch[i]++;
			inst->uj[i] = 0;
		}
		if (have && (first || inst->missing[i])) {
			inst->missing[i] = false;
			put_one(inst, i, EG_STATUS_OK, sink);
		}
		inst->missing[i] = !have;
		inst->uj[i] += have ? s->uj[inst->field[i]] : 0;
	}
	memcpy(inst->uw, s->uw, sizeof(inst->uw));
	inst->end_ns = EG_MIN(inst->end_ns + s->elapsed_ns, now_ns);
	put_all(inst, sink, EG_STATUS_OK);
	inst->heard_ns = eg_clock_awake_ns(&inst->env->clock);
	inst->backoff_ns = BACKOFF_MIN_NS;
}

/* Takes what is there; 0, or -EPIPE when the program's output ended. */
static int drain(struct eg_instance *inst, struct eg_sink *sink, bool *ret_any)
{
	char buf[16384];

	for (int i = 0; i < READS_MAX; i++) {
		ssize_t n = eg_child_read(&inst->child, buf, sizeof(buf));
		size_t at = 0;

		if (n == -EAGAIN)
			return 0;
		if (n <= 0)
			return -EPIPE;
		while (at < (size_t)n) {
			struct eg_powermetrics_sample s;
			bool done;

			at += eg_powermetrics_feed(&inst->decoder, buf + at, (size_t)n - at, &s,
						   &done);
			if (done) {
				take_sample(inst, &s, sink);
				*ret_any = true;
			}
		}
	}
	return 0;
}

/* Ends the run; the next one begins after the back-off, in a new epoch. */
static void end_run(struct eg_instance *inst, uint64_t now_ns)
{
	eg_child_stop(&inst->child, PATIENCE_MS);
	for (size_t i = 0; i < inst->n; i++)
		inst->epoch[i]++;
	memset(inst->uw, 0xff, sizeof(inst->uw));
	inst->end_ns = 0;
	inst->retry_ns = now_ns + inst->backoff_ns;
	inst->backoff_ns = EG_MIN(2 * inst->backoff_ns, BACKOFF_MAX_NS);
}

/* The samples' own lengths leave out a sleep of the machine: the next one begins after it. */
static void note_sleep(struct eg_instance *inst, uint64_t now_ns)
{
	uint64_t asleep_ns = now_ns - eg_clock_awake_ns(&inst->env->clock);

	if (asleep_ns <= inst->asleep_ns + SLEEP_MIN_NS)
		return;
	if (inst->end_ns)
		inst->end_ns += asleep_ns - inst->asleep_ns;
	inst->asleep_ns = asleep_ns;
}

static bool silent(const struct eg_instance *inst)
{
	return eg_clock_awake_ns(&inst->env->clock) - inst->heard_ns >
	       EG_MAX(8 * inst->period_ns, SILENCE_MIN_NS);
}

static void read_channels(struct eg_instance *inst, struct eg_sink *sink, struct eg_diags *diags)
{
	uint64_t now_ns = eg_clock_ns(&inst->env->clock);
	bool any = false;

	note_sleep(inst, now_ns);
	if (inst->child.pid == 0 && now_ns >= inst->retry_ns) {
		int r = start(inst);

		if (r < 0) {
			say_no_start(diags, inst->path, r);
			end_run(inst, now_ns);
		}
	}
	if (inst->child.pid == 0) {
		put_all(inst, sink, EG_STATUS_ERROR);
		return;
	}
	if (drain(inst, sink, &any) < 0) {
		end_run(inst, now_ns);
		eg_diag_add(diags, EG_DIAG_SENSOR_ERROR, NAME, PROGRAM,
			    wants_root(&inst->child) ? ROOT_CURE : "",
			    "powermetrics ended and is started again: %.120s", inst->child.said);
		put_all(inst, sink, EG_STATUS_ERROR);
	} else if (any) {
		return;
	} else if (silent(inst)) {
		uint64_t dropped = inst->decoder.dropped;

		end_run(inst, now_ns);
		eg_diag_add(diags, EG_DIAG_SENSOR_TIMEOUT, NAME, PROGRAM, "",
			    "powermetrics gives no samples (%llu documents without use) and is "
			    "started again",
			    (unsigned long long)dropped);
		put_all(inst, sink, EG_STATUS_ERROR);
	} else {
		/* Between two samples: the last one again, with its own time. */
		put_all(inst, sink, inst->end_ns ? EG_STATUS_OK : EG_STATUS_NO_DATA);
	}
}

/* powermetrics tells it beside the energy, as the mean over a sample. */
static int power(const struct eg_instance *inst, size_t channel, uint64_t *ret_uw)
{
	uint64_t uw = inst->uw[inst->field[channel]];

	if (uw == UINT64_MAX)
		return -ENODATA;
	*ret_uw = uw;
	return 0;
}

static const struct eg_option options[] = {
	{"sample_ms", EG_OPTION_U64, "500", "length of powermetrics' samples, 20 to 60000"},
	{NULL},
};

const struct eg_driver eg_driver_powermetrics = {
	.name = NAME,
	.summary = "macOS: CPU, GPU and neural engine energy by powermetrics",
	.source = EG_SOURCE_POWERMETRICS,
	.maturity = EG_MATURITY_FAKED,
	.blocking_ns = 250 * EG_NSEC_PER_MSEC,
	.options = options,
	.probe = probe,
	.open = open_instance,
	.describe = describe,
	.read = read_channels,
	.power = power,
	.close = close_instance,
};
