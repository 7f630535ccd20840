/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver end to end against stand-ins for powermetrics: shell scripts below a temporary root
 * that replay plists which the test makes from a known power P(t), end, hang, or talk nonsense. The
 * clock of the driver is moved by hand; the test waits only for pipes.
 */
#include "../../host/tree.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "core/counter.h"
#include "core/driver.h"

extern const struct eg_driver eg_driver_powermetrics;
#define DRIVER	 (&eg_driver_powermetrics)
#define RECORDS	 64
#define CHANNELS 4 /* soc, cpu, gpu, ane */

struct record {
	struct eg_sink sink;
	size_t n[CHANNELS];
	struct eg_reading r[CHANNELS][RECORDS];
};

static void put(struct eg_sink *sink, size_t channel, const struct eg_reading *r)
{
	struct record *rec = (struct record *)sink;

	assert_true(channel < CHANNELS);
	assert_true(rec->n[channel] < RECORDS);
	rec->r[channel][rec->n[channel]++] = *r;
}

static void read_into(struct eg_instance *inst, struct record *rec, struct eg_diags *diags)
{
	memset(rec, 0, sizeof(*rec));
	rec->sink.put = put;
	DRIVER->read(inst, &rec->sink, diags);
}

static void pause_ms(unsigned ms)
{
	const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	nanosleep(&t, NULL);
}

/* A stand-in; ROOT in the text becomes the root's path. */
static void install(const struct tree *t, const char *script)
{
	char text[4096] = "#!/bin/sh\nROOT='", full[512];

	snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s'\n%s", t->dir, script);
	tree_write(t, "usr/bin/powermetrics", text);
	tree_path(t, "usr/bin/powermetrics", full, sizeof(full));
	assert_int_equal(chmod(full, 0755), 0);
}

static size_t document(char *buf, size_t cap, uint64_t elapsed_ns, uint64_t cpu_mj, uint64_t gpu_mj,
		       uint64_t ane_mj)
{
	double mw = (double)(cpu_mj + gpu_mj + ane_mj) / ((double)elapsed_ns / 1e9);
	int n = snprintf(
		buf, cap,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC "
		"\"-//Apple//DTD PLIST 1.0//EN\" \"x\">\n<plist version=\"1.0\">\n<dict>\n"
		"<key>is_delta</key><true/>\n<key>elapsed_ns</key><integer>%llu</integer>\n"
		"<key>processor</key>\n<dict>\n<key>clusters</key><array><dict><key>name</key>"
		"<string>E</string></dict></array>\n<key>cpu_energy</key>\n<integer>%llu"
		"</integer>\n<key>gpu_energy</key>\n<integer>%llu</integer>\n"
		"<key>ane_energy</key>\n<integer>%llu</integer>\n<key>combined_power</key>\n"
		"<real>%.9g</real>\n</dict>\n</dict>\n</plist>\n",
		(unsigned long long)elapsed_ns, (unsigned long long)cpu_mj,
		(unsigned long long)gpu_mj, (unsigned long long)ane_mj, mw);

	assert_true(n > 0 && (size_t)n + 1 < cap);
	return (size_t)n + 1; /* with its NUL */
}

struct fixture {
	struct tree t;
	struct eg_diags diags;
	int fifo;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char full[512];

	assert_non_null(f);
	tree_open(&f->t);
	assert_int_equal(eg_diags_init(&f->diags, 32), 0);
	tree_path(&f->t, "fifo", full, sizeof(full));
	assert_int_equal(mkfifo(full, 0600), 0);
	f->fifo = open(full, O_RDWR | O_CLOEXEC);
	assert_true(f->fifo >= 0);
	*state = f;
	return 0;
}

/* No test may leave a child behind, alive or dead. */
static int teardown(void **state)
{
	struct fixture *f = *state;

	errno = 0;
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	close(f->fifo);
	eg_diags_free(&f->diags);
	tree_close(&f->t);
	free(f);
	return 0;
}

static void send_document(const struct fixture *f, uint64_t elapsed_ns, uint64_t cpu_mj,
			  uint64_t gpu_mj, uint64_t ane_mj)
{
	char buf[2048];
	size_t n = document(buf, sizeof(buf), elapsed_ns, cpu_mj, gpu_mj, ane_mj);

	assert_int_equal(write(f->fifo, buf, n), n);
}

static int try_open(struct fixture *f, struct eg_instance **ret)
{
	struct eg_driver_config cfg = {.diags = &f->diags};

	return DRIVER->open(&f->t.env, &cfg, ret);
}

static bool has_diag(const struct fixture *f, enum eg_diag_code code, const char *text,
		     const char *cure)
{
	for (size_t i = 0; i < f->diags.n; i++)
		if (f->diags.items[i].code == code && strstr(f->diags.items[i].detail, text) &&
		    strstr(f->diags.items[i].cure, cure))
			return true;
	return false;
}

/* Reads until the counter of the first channel is newer than `after_ns`; the pipe needs a moment. */
static void read_newer(struct fixture *f, struct eg_instance *inst, uint64_t after_ns,
		       struct record *rec)
{
	for (int i = 0; i < 4000; i++) {
		read_into(inst, rec, &f->diags);
		const struct eg_reading *r = &rec->r[0][rec->n[0] - 1];

		if (rec->n[0] && r->status == EG_STATUS_OK && r->t_ns > after_ns)
			return;
		pause_ms(1);
	}
	fail_msg("no new sample arrived");
}

/* CPU power in W at t seconds, and its integral. */
static double energy_j(double t)
{
	return 6 * t - 4 / 1.7 * cos(1.7 * t);
}

static void truth(void **state)
{
	struct fixture *f = *state;
	struct eg_counter counter = {0};
	struct eg_instance *inst = NULL;
	const struct eg_channel *ch;
	struct record rec;
	uint64_t sum_mj = 0, uj = 0, start_ns, carried_mj = 0;

	install(&f->t, "echo \"$*\" >\"$ROOT/args\"\nls /proc/$$/fd >\"$ROOT/fds\"\n"
		       "exec cat \"$ROOT/fifo\"\n");
	/* A descriptor that a careless program would hand on. */
	int leak = fcntl(f->fifo, F_DUPFD, 50);

	assert_true(leak >= 50);
	send_document(f, 500000000, 1000, 100, 10);
	assert_int_equal(DRIVER->probe(&f->t.env), 0);
	assert_int_equal(try_open(f, &inst), 0);
	close(leak);
	assert_int_equal(DRIVER->describe(inst, &ch), 4);
	assert_string_equal(ch[0].domain, "soc");
	assert_int_equal(ch[0].component, EG_COMPONENT_SOC);
	assert_int_equal(ch[0].part_of, -1);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(ch[i].provenance, EG_PROVENANCE_MODELED);
		assert_string_equal(ch[i].device, "soc-0");
		assert_int_equal(ch[i].part_of, i ? 0 : -1);
		assert_int_equal(ch[i].accuracy.rel_ppm, 100000);
		assert_int_equal(ch[i].update_ns, 500000000);
	}
	start_ns = f->t.clock.boot_ns;
	read_into(inst, &rec, &f->diags);
	assert_int_equal(rec.n[1], 1);
	assert_int_equal(rec.r[1][0].raw, 0);
	assert_int_equal(rec.r[1][0].t_ns, start_ns);
	(void)eg_counter_update(&counter, &ch[1], &rec.r[1][0], start_ns);
	for (int i = 0; i < 200; i++) {
		uint64_t dt_ns = 500000000 + (uint64_t)(i % 7) * 11000000;
		double t0 = (double)(f->t.clock.boot_ns - start_ns) / 1e9;
		/* As the program does: whole millijoules of what is counted so far. */
		uint64_t total_mj =
			(uint64_t)((energy_j(t0 + (double)dt_ns / 1e9) - energy_j(0)) * 1e3);
		uint64_t mj = total_mj - carried_mj;

		carried_mj = total_mj;
		sum_mj += mj;
		f->t.clock.boot_ns += dt_ns;
		send_document(f, dt_ns, mj, 100, 0);
		if (i % 10 != 9) /* several samples wait in the pipe */
			continue;
		for (int k = 0; k < 4000 && counter.t_ns < f->t.clock.boot_ns; k++) {
			read_into(inst, &rec, &f->diags);
			for (size_t j = 0; j < rec.n[1]; j++)
				uj += eg_counter_update(&counter, &ch[1], &rec.r[1][j],
							rec.r[1][j].t_ns)
					      .uj;
			if (counter.t_ns < f->t.clock.boot_ns)
				pause_ms(1);
		}
		/* Stamped with the ends of the samples, the last one now. */
		assert_int_equal(counter.t_ns, f->t.clock.boot_ns);
		assert_int_equal(uj, sum_mj * 1000);
	}
	double true_uj =
		(energy_j((double)(f->t.clock.boot_ns - start_ns) / 1e9) - energy_j(0)) * 1e6;

	print_message("# truth %.0f uJ, counted %llu uJ\n", true_uj, (unsigned long long)uj);
	assert_true(fabs((double)uj - true_uj) <= 1000);
	/* The parts make the whole. */
	const struct eg_reading *soc = &rec.r[0][rec.n[0] - 1];

	assert_true(fabs((double)soc->raw -
			 (double)(rec.r[1][rec.n[1] - 1].raw + rec.r[2][rec.n[2] - 1].raw +
				  rec.r[3][rec.n[3] - 1].raw)) <= 200);
	/* Between two samples: the last one again, with its own time. */
	uint64_t last_ns = soc->t_ns;

	f->t.clock.boot_ns += 100000000;
	read_into(inst, &rec, &f->diags);
	assert_int_equal(rec.n[0], 1);
	assert_int_equal(rec.r[0][0].t_ns, last_ns);
	assert_int_equal(f->diags.n, 0);
	DRIVER->close(inst);

	char full[512];

	tree_path(&f->t, "args", full, sizeof(full));
	eg_autofree char *args = slurp(full, NULL);

	assert_string_equal(args, "--samplers cpu_power,gpu_power,ane_power --sample-rate 500 "
				  "--format plist --hide-cpu-duty-cycle\n");
	tree_path(&f->t, "fds", full, sizeof(full));
	eg_autofree char *fds = slurp(full, NULL);

	/* 0, 1, 2 and the script that the shell itself holds open (10 or 255), or one more. */
	assert_non_null(fds);
	assert_null(strstr(fds, "50\n"));
	assert_true(strncmp(fds, "0\n1\n", 4) == 0);
}

static void ends_and_returns(void **state)
{
	struct fixture *f = *state;
	struct eg_counter counter = {0};
	struct eg_instance *inst = NULL;
	const struct eg_channel *ch;
	struct eg_counter_step step;
	struct record rec;
	char full[512];
	uint32_t epoch;

	/* Each run: one document from a file, then the end. */
	install(&f->t,
		"echo x >>\"$ROOT/runs\"\ncat \"$ROOT/stream\"\nread x <\"$ROOT/fifo\"\nexit 3\n");
	char buf[2048];

	tree_write_bytes(&f->t, "stream", buf, document(buf, sizeof(buf), 500000000, 2000, 0, 0));
	assert_int_equal(try_open(f, &inst), 0);
	DRIVER->describe(inst, &ch);
	uint64_t now_ns = f->t.clock.boot_ns;

	read_into(inst, &rec, &f->diags);
	assert_int_equal(rec.r[1][0].status, EG_STATUS_OK);
	(void)eg_counter_update(&counter, &ch[1], &rec.r[1][0], now_ns);
	/* Now it ends: seen as an error of every channel. */
	assert_int_equal(write(f->fifo, "\n", 1), 1);
	for (int i = 0; i < 4000 && rec.r[1][rec.n[1] - 1].status == EG_STATUS_OK; i++) {
		pause_ms(1);
		read_into(inst, &rec, &f->diags);
	}
	assert_int_equal(rec.r[1][rec.n[1] - 1].status, EG_STATUS_ERROR);
	assert_true(has_diag(f, EG_DIAG_SENSOR_ERROR, "started again", ""));
	epoch = rec.r[1][rec.n[1] - 1].epoch;
	assert_int_equal(epoch, 1);
	/* Not at once: the back-off is a second, then more. */
	tree_path(&f->t, "runs", full, sizeof(full));
	f->t.clock.boot_ns += 900000000;
	for (int i = 0; i < 20; i++) {
		read_into(inst, &rec, &f->diags);
		assert_int_equal(rec.r[1][0].status, EG_STATUS_ERROR);
	}
	eg_autofree char *once = slurp(full, NULL);

	assert_string_equal(once, "x\n");
	f->t.clock.boot_ns += 200000000;
	read_newer(f, inst, now_ns, &rec);
	assert_int_equal(rec.n[1] >= 2, true);
	/* A new epoch, from zero at the beginning of its first sample. */
	assert_int_equal(rec.r[1][0].raw, 0);
	assert_int_equal(rec.r[1][0].epoch, epoch);
	assert_int_equal(rec.r[1][1].raw, 2000000);
	assert_int_equal(rec.r[1][1].t_ns - rec.r[1][0].t_ns, 500000000);
	step = eg_counter_update(&counter, &ch[1], &rec.r[1][0], rec.r[1][0].t_ns);
	assert_int_equal(step.event, EG_COUNTER_RESET);
	assert_int_equal(step.uj, 0);
	assert_true(step.gap_ns > 0);
	step = eg_counter_update(&counter, &ch[1], &rec.r[1][1], rec.r[1][1].t_ns);
	assert_int_equal(step.event, EG_COUNTER_STEP);
	assert_int_equal(step.uj, 2000000);
	eg_autofree char *twice = slurp(full, NULL);

	assert_string_equal(twice, "x\nx\n");
	DRIVER->close(inst);
}

static bool child_alive(void)
{
	siginfo_t info = {0};

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

/* A program that is gone for good: attempts become rare, and its return is found. */
static void back_off_grows(void **state)
{
	struct fixture *f = *state;
	struct eg_instance *inst = NULL;
	struct record rec;
	char full[512];

	install(&f->t, "exec cat \"$ROOT/fifo\"\n");
	send_document(f, 500000000, 10, 0, 0);
	assert_int_equal(try_open(f, &inst), 0);
	install(&f->t, "echo x >>\"$ROOT/runs\"\nexit 1\n");
	tree_path(&f->t, "runs", full, sizeof(full));
	/* It hangs from here on: killed after ten seconds of silence, then each start fails. */
	for (int s = 0; s < 600; s++) {
		f->t.clock.boot_ns += 1000000000;
		read_into(inst, &rec, &f->diags);
		if (s > 15)
			assert_int_equal(rec.r[1][rec.n[1] - 1].status == EG_STATUS_OK, false);
		for (int k = 0; s > 15 && k < 4000 && child_alive(); k++)
			pause_ms(1); /* a run needs real time to end */
	}
	assert_true(has_diag(f, EG_DIAG_SENSOR_TIMEOUT, "gives no samples", ""));
	eg_autofree char *runs = slurp(full, NULL);

	assert_non_null(runs);
	print_message("# %zu starts in 590 s\n", strlen(runs) / 2);
	assert_true(strlen(runs) / 2 >= 8 && strlen(runs) / 2 <= 16);
	install(&f->t, "exec cat \"$ROOT/fifo\"\n");
	send_document(f, 500000000, 20, 0, 0);
	f->t.clock.boot_ns += 61000000000;
	read_newer(f, inst, f->t.clock.boot_ns - 1000000000, &rec);
	assert_int_equal(rec.r[1][rec.n[1] - 1].raw, 20000);
	DRIVER->close(inst);
}

/* A sample without one of the values: a hole in that channel alone, and no joule invented. */
static void missing_value(void **state)
{
	static const char without[] =
		"<plist><dict><key>elapsed_ns</key><integer>500000000</integer>"
		"<key>processor</key><dict><key>gpu_energy</key><integer>50"
		"</integer></dict></dict></plist>";
	struct fixture *f = *state;
	struct eg_instance *inst = NULL;
	struct record rec;
	uint64_t t0;

	install(&f->t, "exec cat \"$ROOT/fifo\"\n");
	send_document(f, 500000000, 10, 10, 0);
	assert_int_equal(try_open(f, &inst), 0);
	t0 = f->t.clock.boot_ns;
	f->t.clock.boot_ns += 500000000;
	assert_int_equal(write(f->fifo, without, sizeof(without)), sizeof(without));
	for (int i = 0; i < 4000; i++) {
		read_into(inst, &rec, &f->diags);
		if (rec.r[2][rec.n[2] - 1].t_ns > t0)
			break;
		pause_ms(1);
	}
	assert_int_equal(rec.r[1][rec.n[1] - 1].status, EG_STATUS_NO_DATA);
	assert_int_equal(rec.r[2][rec.n[2] - 1].status, EG_STATUS_OK);
	assert_int_equal(rec.r[2][rec.n[2] - 1].raw, 50000);
	f->t.clock.boot_ns += 500000000;
	send_document(f, 500000000, 30, 60, 0);
	read_newer(f, inst, t0 + 500000000, &rec);
	assert_int_equal(rec.n[1], 2);
	assert_int_equal(rec.r[1][0].raw, 0);
	assert_int_equal(rec.r[1][0].t_ns, t0 + 500000000);
	assert_int_equal(rec.r[1][1].raw, 30000);
	assert_int_equal(rec.r[1][1].epoch, 1);
	assert_int_equal(rec.r[2][rec.n[2] - 1].raw, 110000);
	assert_int_equal(rec.r[2][rec.n[2] - 1].epoch, 0);
	DRIVER->close(inst);
}

/* Nothing that can be used: a diagnostic with its cure, no instance, no child left. */
static void refused(void **state)
{
	struct fixture *f = *state;
	struct eg_instance *inst = NULL;
	char full[512];

	assert_int_equal(DRIVER->probe(&f->t.env), -ENOENT);
	assert_int_equal(try_open(f, &inst), -ENOENT);
	assert_true(has_diag(f, EG_DIAG_SENSOR_ABSENT, "macOS", ""));
	install(&f->t, "echo 'powermetrics must be invoked as the superuser' >&2\nexit 1\n");
	assert_int_equal(try_open(f, &inst), -EACCES);
	assert_true(has_diag(f, EG_DIAG_SENSOR_BLOCKED, "superuser", "sudo"));
	install(&f->t, "echo 'unrecognized sampler' >&2\nexit 64\n");
	assert_int_equal(try_open(f, &inst), -EPROTO);
	assert_true(has_diag(f, EG_DIAG_SENSOR_ERROR, "status 64", ""));
	install(&f->t,
		"echo '<plist><dict><key>elapsed_ns</key><integer>1000</integer></dict></plist>'\n"
		"exec sleep 100\n");
	assert_int_equal(try_open(f, &inst), -ENOTSUP);
	assert_true(has_diag(f, EG_DIAG_SENSOR_UNSUPPORTED, "no energy", ""));
	/* Endless nonsense ends by its size, silence by time. */
	install(&f->t, "exec cat /dev/zero\n");
	assert_int_equal(try_open(f, &inst), -ETIMEDOUT);
	install(&f->t, "exec sleep 100\n");
	assert_int_equal(try_open(f, &inst), -ETIMEDOUT);
	assert_true(has_diag(f, EG_DIAG_SENSOR_TIMEOUT, "no sample", ""));
	/* No program at all: not executable, no interpreter. */
	tree_path(&f->t, "usr/bin/powermetrics", full, sizeof(full));
	assert_int_equal(chmod(full, 0644), 0);
	assert_int_equal(try_open(f, &inst), -EACCES);
	tree_write(&f->t, "usr/bin/powermetrics", "#!/no/such/shell\n");
	assert_int_equal(chmod(full, 0755), 0);
	assert_int_equal(try_open(f, &inst), -ENOENT);
	assert_null(inst);
	DRIVER->close(NULL);
	struct eg_setting bad = {"powermetrics", "sample_ms", "5"};
	struct eg_driver_config cfg = {.settings = &bad, .n_settings = 1, .diags = &f->diags};

	assert_int_equal(DRIVER->open(&f->t.env, &cfg, &inst), -EINVAL);
	assert_true(has_diag(f, EG_DIAG_CONFIG, "sample_ms", "milliseconds"));
}

/* One that ignores SIGTERM is killed, and reaped, when the driver is closed. */
static void stubborn(void **state)
{
	struct fixture *f = *state;
	struct eg_instance *inst = NULL;
	char full[512];

	install(&f->t, "trap '' TERM\necho $$ >\"$ROOT/pid\"\nhead -c 1000 \"$ROOT/fifo\"\n"
		       "while :; do read x <\"$ROOT/fifo\"; done\n");
	send_document(f, 500000000, 10, 10, 0);
	send_document(f, 500000000, 10, 10, 0);
	assert_int_equal(try_open(f, &inst), 0);
	DRIVER->close(inst);
	tree_path(&f->t, "pid", full, sizeof(full));
	eg_autofree char *pid = slurp(full, NULL);

	assert_non_null(pid);
	assert_int_equal(kill(atoi(pid), 0), -1);
	assert_int_equal(errno, ESRCH);
}

/* A sleep of the machine is in no sample's length: it lies between two of them. */
static void sleeps(void **state)
{
	struct fixture *f = *state;
	struct eg_instance *inst = NULL;
	struct record rec;
	uint64_t t0;

	install(&f->t, "exec cat \"$ROOT/fifo\"\n");
	send_document(f, 500000000, 10, 10, 0);
	assert_int_equal(try_open(f, &inst), 0);
	t0 = f->t.clock.boot_ns;
	f->t.clock.boot_ns += 3600500000000;
	f->t.clock.suspended_ns += 3600000000000;
	send_document(f, 500000000, 30, 0, 0);
	read_newer(f, inst, t0 + 3600000000000, &rec);
	assert_int_equal(rec.r[1][rec.n[1] - 1].t_ns, t0 + 3600500000000);
	assert_int_equal(rec.r[1][rec.n[1] - 1].raw, 30000);
	f->t.clock.boot_ns += 500000000;
	send_document(f, 500000000, 30, 0, 0);
	read_newer(f, inst, t0 + 3600500000000, &rec);
	assert_int_equal(rec.r[1][rec.n[1] - 1].t_ns, t0 + 3601000000000);
	assert_int_equal(rec.r[1][rec.n[1] - 1].epoch, 0);
	DRIVER->close(inst);
}

/* Nonsense between documents, and text on stderr, cost nothing. */
static void noise(void **state)
{
	struct fixture *f = *state;
	struct eg_instance *inst = NULL;
	struct record rec;
	uint64_t t0;

	install(&f->t, "yes warning | head -c 300000 >&2 &\nexec cat \"$ROOT/fifo\"\n");
	send_document(f, 500000000, 10, 10, 0);
	assert_int_equal(try_open(f, &inst), 0);
	t0 = f->t.clock.boot_ns;
	f->t.clock.boot_ns += 1000000000;
	assert_int_equal(write(f->fifo, "\0<<<>>><plist><dict></plist>\0\377\0", 32), 32);
	send_document(f, 1000000000, 77, 0, 0);
	read_newer(f, inst, t0, &rec);
	assert_int_equal(rec.r[1][rec.n[1] - 1].raw, 77000);
	DRIVER->close(inst);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(truth, setup, teardown),
		cmocka_unit_test_setup_teardown(ends_and_returns, setup, teardown),
		cmocka_unit_test_setup_teardown(back_off_grows, setup, teardown),
		cmocka_unit_test_setup_teardown(missing_value, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(stubborn, setup, teardown),
		cmocka_unit_test_setup_teardown(noise, setup, teardown),
		cmocka_unit_test_setup_teardown(sleeps, setup, teardown),
	};

	return cmocka_run_group_tests_name("powermetrics-driver", tests, NULL, NULL);
}
