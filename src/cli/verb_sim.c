/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ergon sim`: the simulated machine on the command line. It parses its own words, because each of
 * its sub-commands takes others; docs/simulator.md tells what they do.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/strbuf.h"
#include "cli/args.h"
#include "cli/out.h"
#include "codec/json.h"
#include "core/diag.h"
#include "sim/machine.h"
#include "sim/mount.h"
#include "sim/run.h"
#include "sim/scenario.h"

#define STAMP	     "ERGON-SIM"     /* written last: the machine is there */
#define STAMP_TEXT   "ERGON-SIM.scn" /* the scenario, for `truth --dir` */
#define OUTPUT_MAX   (1024 * 1024)
#define ATTACH_TRIES 1000 /* of 10 ms: until the simulator has made its clock */

static const char help_text[] =
	"Usage: ergon sim node --dir DIR [--scenario FILE|NAME] [--speed X] [--clock FILE]\n"
	"                      [--duration TIME] [--fuse] [--clean]\n"
	"       ergon sim truth (--scenario FILE|NAME | --dir DIR) --from TIME --to TIME [--json]\n"
	"       ergon sim list\n"
	"       ergon sim show NAME\n"
	"       ergon sim sleep --clock FILE SECONDS\n"
	"\n"
	"A machine that does not exist, with sensors whose true energy is known. `node` writes it\n"
	"below DIR and keeps its counters going until an interrupt or for TIME; measure it with\n"
	"--root DIR. `truth` tells the true joules of each sensor between two times.\n"
	"\n"
	"  --dir DIR        where the machine is (made, or left by an earlier run)\n"
	"  --scenario S     a file, or one of `ergon sim list`; default: default\n"
	"  --speed X        machine seconds a second, 0.001 to 1000000; default 1\n"
	"  --clock FILE     time passes only while every program that shares FILE sleeps\n"
	"  --duration TIME  end after so much time of the machine: 30s, 24h\n"
	"  --fuse           mount the machine, so that reads can fail and hang\n"
	"  --clean          remove the machine at the end\n"
	"  --from, --to T   seconds since the start, a time such as 5m, or with --dir a stamp of the\n"
	"                   interval clock such as 1000000000000ns\n"
	"  --json           write JSON\n"
	"\n"
	"The scenario format is in docs/simulator.md.\n";

struct words {
	const char *dir, *scenario, *speed, *clock, *duration, *from, *to;
	bool fuse, clean, json, help;
	const char *rest;
};

static const struct {
	const char *name;
	bool flag;
	size_t offset;
} options[] = {
	{"--dir", false, offsetof(struct words, dir)},
	{"--scenario", false, offsetof(struct words, scenario)},
	{"--speed", false, offsetof(struct words, speed)},
	{"--clock", false, offsetof(struct words, clock)},
	{"--duration", false, offsetof(struct words, duration)},
	{"--from", false, offsetof(struct words, from)},
	{"--to", false, offsetof(struct words, to)},
	{"--fuse", true, offsetof(struct words, fuse)},
	{"--clean", true, offsetof(struct words, clean)},
	{"--json", true, offsetof(struct words, json)},
	{"--help", true, offsetof(struct words, help)},
};

static int usage(const char *fmt, ...) EG_PRINTF(1, 2);
static int usage(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	eg_say("sim: %s (see `ergon sim --help`)", text);
	return EG_EXIT_USAGE;
}

static int failure(const char *what, const char *on, int r)
{
	eg_say("sim: %s %s: %s", what, on, eg_errno_text(r));
	return EG_EXIT_FAILURE;
}

static int unknown_option(const char *word)
{
	const char *near = NULL;
	unsigned best = 5;

	for (size_t i = 0; i < EG_ARRAY_SIZE(options); i++) {
		unsigned d = eg_edit_distance(word, options[i].name);

		if (d < best) {
			best = d;
			near = options[i].name;
		}
	}
	return near ? usage("unknown option '%s'; did you mean '%s'?", word, near) :
		      usage("unknown option '%s'", word);
}

/* The words after the sub-command; those it takes are named in `allowed`, separated by blanks. */
static int parse(int argc, char **argv, const char *allowed, struct words *w)
{
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i], *value = NULL, *eq = strchr(word, '=');
		size_t n = eq ? (size_t)(eq - word) : strlen(word), o = 0;
		char name[32], padded[40];

		if (word[0] != '-' || !word[1]) {
			if (w->rest)
				return usage("'%s' after '%s' means nothing", word, w->rest);
			w->rest = word;
			continue;
		}
		snprintf(name, sizeof(name), "%.*s", (int)EG_MIN(n, sizeof(name) - 1), word);
		if (strcmp(name, "-h") == 0)
			eg_copy(name, sizeof(name), "--help");
		while (o < EG_ARRAY_SIZE(options) && strcmp(options[o].name, name) != 0)
			o++;
		if (o == EG_ARRAY_SIZE(options))
			return unknown_option(name);
		snprintf(padded, sizeof(padded), " %s ", name);
		if (strcmp(name, "--help") != 0 && !strstr(allowed, padded))
			return usage("%s means nothing here", name);
		if (options[o].flag) {
			if (eq)
				return usage("%s takes no value", name);
			*(bool *)((char *)w + options[o].offset) = true;
			continue;
		}
		value = eq ? eq + 1 : i + 1 < argc ? argv[++i] : NULL;
		if (!value || !*value)
			return usage("%s needs a value", name);
		*(const char **)((char *)w + options[o].offset) = value;
	}
	return 0;
}

static int load(const char *what, struct eg_scenario **ret, char **ret_text)
{
	eg_autofree char *text = NULL;
	struct eg_scenario_error e;
	const char *near = NULL;
	unsigned best = 6;
	size_t len;
	int r = eg_scenario_read(what, &text, &len);

	if (r == -ENOENT && !strpbrk(what, "/.")) {
		for (const struct eg_shipped_scenario *s = eg_shipped_scenarios; s->name; s++)
			if (eg_edit_distance(what, s->name) < best) {
				best = eg_edit_distance(what, s->name);
				near = s->name;
			}
		return near ? usage("no scenario '%s'; did you mean '%s'?", what, near) :
			      usage("no scenario '%s'; `ergon sim list` names them", what);
	}
	if (r < 0)
		return failure("cannot read", what, r);
	r = eg_scenario_parse(text, len, what, ret, &e);
	if (r == -EINVAL && e.line)
		eg_say("%s:%u: %s", what, e.line, e.message);
	else if (r == -EINVAL)
		eg_say("%s: %s", what, e.message);
	else if (r < 0)
		return failure("cannot read", what, r);
	if (r == 0 && ret_text)
		*ret_text = eg_take_ptr(text);
	return r < 0 ? EG_EXIT_USAGE : 0;
}

/* ---- node ---- */

struct node {
	const struct words *w;
	struct eg_sim_run run;
	const struct eg_scenario *sc;
	const char *text;
	int dirfd; /* the folder itself, also under a mount */
};

/* A folder of somebody else is not written to. */
static int check_dir(const char *dir)
{
	char stamp[4096];
	struct dirent *e;
	bool empty = true;
	DIR *d = opendir(dir);

	if (!d)
		return errno == ENOENT ? 0 : failure("cannot open", dir, -errno);
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			empty = false;
	closedir(d);
	snprintf(stamp, sizeof(stamp), "%s/%s", dir, STAMP_TEXT);
	if (!empty && access(stamp, F_OK) < 0) {
		eg_say("sim: %s is not empty and holds no simulated machine; nothing was changed",
		       dir);
		return EG_EXIT_FAILURE;
	}
	return 0;
}

static int put_text(int dirfd, const char *name, const char *text)
{
	char fresh[64];
	int fd, r;

	snprintf(fresh, sizeof(fresh), "%s.new", name);
	fd = openat(dirfd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	r = eg_write_all(fd, text, strlen(text));
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r == 0 && renameat(dirfd, fresh, dirfd, name) < 0 ? -errno : r;
}

/* The last file: whoever waits for it finds the machine running. */
static int put_stamp(void *ctx)
{
	struct node *n = ctx;
	struct eg_clock clock = eg_clock_system();
	char text[512];

	snprintf(text, sizeof(text),
		 "boot_ns = %" PRIu64 "\nunix_ns = %" PRIu64
		 "\nscenario = %s\nspeed = %.9g\npid = %d\n",
		 n->run.t0_ns, n->w->clock ? (uint64_t)EG_SIM_UNIX_NS : eg_clock_unix_ns(&clock),
		 n->sc->name, n->run.speed, (int)getpid());
	return put_text(n->dirfd, STAMP, text);
}

/* What this run cannot show, told before anything is written. */
static int check_events(const struct eg_scenario *sc, const struct words *w)
{
	for (size_t i = 0; i < sc->n_events; i++) {
		enum eg_sim_event_kind k = sc->event[i].kind;

		if ((k == EG_SIM_SUSPEND || k == EG_SIM_CLOCK_STEP) && !w->clock) {
			eg_say("sim: line %u: %s needs --clock FILE: the clock of this machine cannot be "
			       "moved",
			       sc->event[i].line, k == EG_SIM_SUSPEND ? "suspend" : "clock-step");
			return EG_EXIT_FAILURE;
		}
		if ((k == EG_SIM_EIO || k == EG_SIM_HANG) && !w->fuse) {
			eg_say("sim: line %u: %s needs --fuse: plain files do not fail (%s)",
			       sc->event[i].line, k == EG_SIM_EIO ? "eio" : "hang",
			       eg_sim_mount_built() ? "this build has it" :
						      "left out of this build");
			return EG_EXIT_FAILURE;
		}
	}
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int node_go(struct node *n)
{
	const char *dir = n->w->dir;
	struct eg_sim_mount *mount = NULL;
	int r;

	if (n->w->fuse) {
		r = eg_sim_mount_open(n->run.sim, n->dirfd, dir, n->w->clock ? NULL : &n->run,
				      &mount);
		if (r < 0)
			return r == -ENOTSUP ?
				       usage("--fuse was left out of this build (libfuse3)") :
				       failure("cannot mount", dir, r);
	}
	if (n->w->clock) {
		r = eg_sim_run_clock(&n->run, n->w->clock, put_stamp, n);
	} else {
		r = put_stamp(n);
		if (r == 0)
			r = mount ? eg_sim_mount_run(mount) : eg_sim_run_real(&n->run);
	}
	eg_sim_mount_close(mount);
	return r < 0 ? failure("cannot run", dir, r) : EG_EXIT_OK;
}

static int node_start(struct node *n)
{
	const char *dir = n->w->dir;
	struct eg_clock clock = eg_clock_system();
	int r;

	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return failure("cannot make", dir, -errno);
	n->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (n->dirfd < 0)
		return failure("cannot open", dir, -errno);
	/* Before the first file: this folder is ours from now on. */
	r = put_text(n->dirfd, STAMP_TEXT, n->text);
	if (r < 0)
		return failure("cannot write", dir, r);
	unlinkat(n->dirfd, STAMP, 0);
	n->run.t0_ns = n->w->clock ? EG_SIM_BOOT_NS : eg_clock_ns(&clock);
	r = eg_sim_open(n->sc, dir, n->run.t0_ns, &n->run.sim);
	if (r < 0)
		return failure("cannot write", dir, r);
	r = node_go(n);
	eg_sim_close(n->run.sim);
	if (n->w->clean && nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0)
		return failure("cannot remove", dir, -errno);
	return r;
}

static int node_options(const struct words *w, struct eg_sim_run *run)
{
	run->speed = 1;
	run->stop_fd = -1;
	if (w->rest)
		return usage("'%s' means nothing here", w->rest);
	if (w->speed && (eg_parse_double(w->speed, strlen(w->speed), &run->speed) < 0 ||
			 run->speed < 0.001 || run->speed > 1e6))
		return usage("--speed takes a number from 0.001 to 1000000, not '%s'", w->speed);
	if (w->speed && w->clock)
		return usage("--speed means nothing with --clock, which goes as fast as it can");
	if (w->fuse && w->clock)
		return usage("--fuse and --clock do not go together");
	if (w->duration &&
	    (eg_parse_duration(w->duration, EG_NSEC_PER_SEC, &run->duration_ns) < 0 ||
	     !run->duration_ns || run->duration_ns > 10 * EG_POWER_NS_MAX))
		return usage("--duration takes a time such as 30s, not '%s'", w->duration);
	return 0;
}

static int node(int argc, char **argv)
{
	struct words w = {0};
	struct node n = {.w = &w, .dirfd = -1};
	struct eg_scenario *sc = NULL;
	eg_autofree char *text = NULL;
	struct signalfd_siginfo taken;
	sigset_t set, old;
	int r = parse(argc, argv, " --dir --scenario --speed --clock --duration --fuse --clean ",
		      &w);

	if (r == 0 && w.help)
		return fputs(help_text, stdout) < 0;
	if (r == 0 && !w.dir)
		return usage("node needs --dir DIR");
	if (r == 0)
		r = node_options(&w, &n.run);
	if (r == 0)
		r = load(w.scenario ? w.scenario : "default", &sc, &text);
	if (r == 0)
		r = check_events(sc, &w);
	if (r == 0)
		r = check_dir(w.dir);
	if (r) {
		eg_scenario_free(sc);
		return r;
	}
	n.sc = sc;
	n.text = text;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, &old);
	n.run.stop_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	r = n.run.stop_fd < 0 ? failure("cannot wait for", "signals", -errno) : node_start(&n);
	/* The signal that ended it is taken, or it would still strike when unblocked. */
	while (n.run.stop_fd >= 0 && read(n.run.stop_fd, &taken, sizeof(taken)) > 0)
		;
	if (n.run.stop_fd >= 0)
		close(n.run.stop_fd);
	if (n.dirfd >= 0)
		close(n.dirfd);
	sigprocmask(SIG_SETMASK, &old, NULL);
	eg_scenario_free(sc);
	return r;
}

/* ---- truth ---- */

struct stamp {
	uint64_t boot_ns;
	double speed;
};

/* "key = value" lines of the stamp file. */
static int read_stamp(const char *dir, struct stamp *ret)
{
	char path[4096], line[256];
	struct stamp s = {.speed = 1};
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, STAMP);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "boot_ns = ", 10) == 0)
			found = eg_parse_u64(line + 10, strlen(line + 10), &s.boot_ns) == 0;
		if (strncmp(line, "speed = ", 8) == 0 &&
		    eg_parse_double(line + 8, strlen(line + 8), &s.speed) < 0)
			found = false;
	}
	fclose(f);
	if (!found)
		return -EPROTO;
	*ret = s;
	return 0;
}

/* Time of the machine since its start. */
static int parse_time(const char *s, const struct stamp *stamp, uint64_t *ret_ns)
{
	size_t n = strlen(s);
	uint64_t v = 0;

	if (stamp && n > 2 && strcmp(s + n - 2, "ns") == 0) {
		if (eg_parse_u64(s, n - 2, &v) < 0 || v < stamp->boot_ns)
			return -EINVAL;
		v -= stamp->boot_ns;
		*ret_ns = stamp->speed == 1.0 ? v : (uint64_t)((long double)v * stamp->speed);
		return *ret_ns > 10 * EG_POWER_NS_MAX ? -ERANGE : 0;
	}
	if (eg_parse_duration(s, EG_NSEC_PER_SEC, &v) < 0 || v > 10 * EG_POWER_NS_MAX)
		return -EINVAL;
	*ret_ns = v;
	return 0;
}

static const char *const kind_names[] = {
	[EG_SIM_RAPL] = "rapl",
	[EG_SIM_PERF] = "perf",
	[EG_SIM_HWMON_ENERGY] = "hwmon_energy",
	[EG_SIM_HWMON_POWER] = "hwmon_power",
	[EG_SIM_HWMON_RAIL] = "hwmon_rail",
	[EG_SIM_BATTERY] = "battery",
	[EG_SIM_CGROUP] = "cgroup",
	[EG_SIM_HWMON] = NULL,
	[EG_SIM_PMU] = NULL,
};

static void truth_text(struct eg_strbuf *out, const struct eg_scenario *sc, uint64_t t0,
		       uint64_t t1)
{
	eg_strbuf_printf(out, "%-36s %18s %14s\n", "CHANNEL", "JOULES", "MEAN WATTS");
	for (size_t i = 0; i < sc->n_channels; i++) {
		eg_fj e = eg_scenario_true_energy_fj(sc, i, t0, t1);
		const struct eg_sim_channel *c = &sc->channel[i];

		if (!kind_names[c->kind])
			continue;
		eg_strbuf_printf(out, "%-36s %18.6Lf", c->id, eg_fj_to_joules(e));
		if (t1 > t0)
			eg_strbuf_printf(out, " %14.6Lf",
					 eg_fj_to_joules(e) * 1e9L / (long double)(t1 - t0));
		eg_strbuf_puts(out, c->kind == EG_SIM_CGROUP ? "  (processor seconds)\n" : "\n");
	}
}

static int truth_json(struct eg_strbuf *out, const struct eg_scenario *sc, uint64_t t0, uint64_t t1)
{
	struct eg_json j;

	eg_json_init(&j, out, true);
	eg_json_object(&j, NULL);
	eg_json_text(&j, "schema", "ergon.sim.truth.v1");
	eg_json_text(&j, "scenario", sc->name);
	eg_json_nano(&j, "from_seconds", t0);
	eg_json_nano(&j, "to_seconds", t1);
	eg_json_array(&j, "channels");
	for (size_t i = 0; i < sc->n_channels; i++) {
		eg_fj e = eg_scenario_true_energy_fj(sc, i, t0, t1);
		const struct eg_sim_channel *c = &sc->channel[i];

		if (!kind_names[c->kind])
			continue;
		eg_json_object(&j, NULL);
		eg_json_text(&j, "id", c->id);
		eg_json_text(&j, "kind", kind_names[c->kind]);
		if (c->name[0])
			eg_json_text(&j, "name", c->name);
		eg_json_micro(&j, c->kind == EG_SIM_CGROUP ? "cpu_seconds" : "joules",
			      (uint64_t)((e + EG_FJ_PER_UJ / 2) / EG_FJ_PER_UJ));
		eg_json_end(&j);
	}
	eg_json_end(&j);
	eg_json_end(&j);
	return eg_json_finish(&j);
}

static int truth(int argc, char **argv)
{
	struct words w = {0};
	struct stamp stamp = {.speed = 1};
	struct eg_scenario *sc = NULL;
	struct eg_strbuf out = EG_STRBUF_INIT(OUTPUT_MAX);
	char path[4096];
	uint64_t t0, t1;
	int r = parse(argc, argv, " --dir --scenario --from --to --json ", &w);

	if (r == 0 && w.help)
		return fputs(help_text, stdout) < 0;
	if (r)
		return r;
	if (w.rest)
		return usage("'%s' means nothing here", w.rest);
	if (!w.dir == !w.scenario)
		return usage("truth needs either --scenario or --dir");
	if (!w.from || !w.to)
		return usage("truth needs --from TIME and --to TIME");
	if (w.dir) {
		r = read_stamp(w.dir, &stamp);
		if (r < 0)
			return failure("no simulated machine in", w.dir, r);
	}
	if (parse_time(w.from, w.dir ? &stamp : NULL, &t0) < 0)
		return usage("--from takes a time such as 12.5 or 5m, not '%s'", w.from);
	if (parse_time(w.to, w.dir ? &stamp : NULL, &t1) < 0)
		return usage("--to takes a time such as 12.5 or 5m, not '%s'", w.to);
	if (t1 < t0)
		return usage("--to lies before --from");
	snprintf(path, sizeof(path), "%s/%s", w.dir ? w.dir : "", STAMP_TEXT);
	r = load(w.dir ? path : w.scenario, &sc, NULL);
	if (r)
		return r;
	if (w.json)
		r = truth_json(&out, sc, t0, t1);
	else
		truth_text(&out, sc, t0, t1);
	r = r < 0 ? failure("cannot write", "JSON", r) : eg_out_stdout(&out, NULL);
	eg_strbuf_free(&out);
	eg_scenario_free(sc);
	return r;
}

/* ---- list, show, sleep ---- */

static int list(int argc, char **argv)
{
	struct eg_strbuf out = EG_STRBUF_INIT(OUTPUT_MAX);
	struct words w = {0};
	int r = parse(argc, argv, "", &w);

	if (r == 0 && w.help)
		return fputs(help_text, stdout) < 0;
	if (r)
		return r;
	if (w.rest)
		return usage("'%s' means nothing here", w.rest);
	for (const struct eg_shipped_scenario *s = eg_shipped_scenarios; s->name; s++) {
		struct eg_scenario *sc;

		if (eg_scenario_named(s->name, &sc) < 0)
			continue;
		eg_strbuf_printf(&out, "%-22s %s%s%s\n", s->name, sc->title,
				 sc->needs[0] ? "; needs " : "", sc->needs);
		eg_scenario_free(sc);
	}
	r = eg_out_stdout(&out, NULL);
	eg_strbuf_free(&out);
	return r;
}

static int show(int argc, char **argv)
{
	struct eg_strbuf out = EG_STRBUF_INIT(OUTPUT_MAX);
	struct eg_scenario *sc = NULL;
	eg_autofree char *text = NULL;
	struct words w = {0};
	int r = parse(argc, argv, "", &w);

	if (r == 0 && w.help)
		return fputs(help_text, stdout) < 0;
	if (r)
		return r;
	if (!w.rest)
		return usage("show needs a NAME");
	r = load(w.rest, &sc, &text);
	if (r)
		return r;
	eg_strbuf_puts(&out, text);
	r = eg_out_stdout(&out, NULL);
	eg_strbuf_free(&out);
	eg_scenario_free(sc);
	return r;
}

static int sleep_shared(int argc, char **argv)
{
	struct words w = {0};
	struct eg_file_clock *fc = NULL;
	struct eg_clock clock;
	struct timespec nap = {.tv_nsec = 10000000};
	uint64_t ns;
	int r = parse(argc, argv, " --clock ", &w);

	if (r == 0 && w.help)
		return fputs(help_text, stdout) < 0;
	if (r)
		return r;
	if (!w.clock || !w.rest)
		return usage("sleep needs --clock FILE and SECONDS");
	if (eg_parse_duration(w.rest, EG_NSEC_PER_SEC, &ns) < 0)
		return usage("'%s' is no time such as 10 or 5m", w.rest);
	for (int i = 0; i < ATTACH_TRIES; i++) {
		r = eg_file_clock_attach(w.clock, &fc);
		if (r != -ENOENT)
			break;
		nanosleep(&nap, NULL);
	}
	if (r < 0)
		return failure("cannot use the clock", w.clock, r);
	clock = eg_clock_file(fc);
	r = eg_clock_sleep_until(&clock, eg_clock_ns(&clock) + ns);
	/* The place in the clock is kept, awake, until the process has been waited for: so time stands
	 * still between the end of the sleep and the moment its parent sees it. */
	return r < 0 ? failure("the simulator of", w.clock, r) : EG_EXIT_OK;
}

int eg_verb_sim(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} verbs[] = {{"node", node},
		     {"truth", truth},
		     {"list", list},
		     {"show", show},
		     {"sleep", sleep_shared}};
	const char *near = NULL;
	unsigned best = 3;

	if (argc < 2)
		return usage("one of node, truth, list, show, sleep");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return fputs(help_text, stdout) < 0;
	for (size_t i = 0; i < EG_ARRAY_SIZE(verbs); i++) {
		unsigned d = eg_edit_distance(argv[1], verbs[i].name);

		if (d == 0)
			return verbs[i].run(argc - 2, argv + 2);
		if (d < best) {
			best = d;
			near = verbs[i].name;
		}
	}
	return near ? usage("unknown sub-command '%s'; did you mean '%s'?", argv[1], near) :
		      usage("unknown sub-command '%s': node, truth, list, show, sleep", argv[1]);
}
