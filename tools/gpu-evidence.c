/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu-evidence: what an NVIDIA GPU's energy counter is worth, on the GPU itself. It loads
 * libnvidia-ml.so.1 and libcuda.so.1 at run time (no headers, no toolkit), keeps the GPU busy with
 * a fused-multiply-add kernel, and prints for docs/hardware.md: device and driver, the cost of each
 * NVML call, the period at which the counter really moves, counted joules beside the integral of
 * instant power, and the same seen by a second process at the same time.
 *
 *	gpu-evidence [-s SECONDS] [-d NVML_INDEX]
 *
 * Exit: 0 all was measured; 1 NVML cannot be used; 2 usage; 3 there is no libcuda or it cannot make
 * load: then the same figures are printed for the GPU as it is. It changes no setting.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALLS	  300	    /* timed of each NVML function */
#define STEPS_MAX 2000	    /* counter steps looked at */
#define WATCH_S	  3.0	    /* for the counter's period */
#define SAMPLE_NS 10000000L /* between samples of instant power */

/* ---- NVML ---- */

struct field_value {
	uint32_t id, scope;
	int64_t us, latency_us;
	uint32_t type;
	int32_t ret;
	union {
		uint32_t u32;
		uint64_t u64;
	} value;
};
struct sample {
	uint64_t us;
	union {
		uint32_t u32;
		uint64_t u64;
	} value;
};
struct nvml {
	int (*init)(void);
	int (*shutdown)(void);
	int (*count)(unsigned *);
	int (*handle)(unsigned, void **);
	int (*driver)(char *, unsigned);
	int (*name)(void *, char *, unsigned);
	int (*uuid)(void *, char *, unsigned);
	int (*arch)(void *, unsigned *);
	int (*limit)(void *, unsigned *);
	int (*energy)(void *, uint64_t *);
	int (*usage)(void *, unsigned *);
	int (*fields)(void *, int, struct field_value *);
	int (*samples)(void *, int, uint64_t, int *, unsigned *, struct sample *);
	int (*reasons)(void *, uint64_t *);
	int (*persistence)(void *, unsigned *);
	int (*temperature)(void *, int, unsigned *);
	int (*utilization)(void *, unsigned *);
	int (*memory)(void *, uint64_t *);
	void *dev;
};

static void *symbol(void *lib, const char *newest, const char *older)
{
	void *p = dlsym(lib, newest);

	return p || !older ? p : dlsym(lib, older);
}

/* A function pointer of any type from dlsym's object pointer. */
#define TAKE(member, lib, newest, older)               \
	do {                                           \
		void *p_ = symbol(lib, newest, older); \
		memcpy(&(member), &p_, sizeof(p_));    \
	} while (0)

static int nvml_open(struct nvml *n, unsigned index)
{
	void *lib = dlopen("libnvidia-ml.so.1", RTLD_LAZY);
	unsigned count = 0;
	int rc;

	*n = (struct nvml){0};
	if (!lib) {
		fprintf(stderr, "gpu-evidence: %s\n", dlerror());
		return -1;
	}
	TAKE(n->init, lib, "nvmlInit_v2", "nvmlInit");
	TAKE(n->shutdown, lib, "nvmlShutdown", NULL);
	TAKE(n->count, lib, "nvmlDeviceGetCount_v2", "nvmlDeviceGetCount");
	TAKE(n->handle, lib, "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex");
	TAKE(n->driver, lib, "nvmlSystemGetDriverVersion", NULL);
	TAKE(n->name, lib, "nvmlDeviceGetName", NULL);
	TAKE(n->uuid, lib, "nvmlDeviceGetUUID", NULL);
	TAKE(n->arch, lib, "nvmlDeviceGetArchitecture", NULL);
	TAKE(n->limit, lib, "nvmlDeviceGetEnforcedPowerLimit", NULL);
	TAKE(n->energy, lib, "nvmlDeviceGetTotalEnergyConsumption", NULL);
	TAKE(n->usage, lib, "nvmlDeviceGetPowerUsage", NULL);
	TAKE(n->fields, lib, "nvmlDeviceGetFieldValues", NULL);
	TAKE(n->samples, lib, "nvmlDeviceGetSamples", NULL);
	TAKE(n->reasons, lib, "nvmlDeviceGetCurrentClocksEventReasons",
	     "nvmlDeviceGetCurrentClocksThrottleReasons");
	TAKE(n->persistence, lib, "nvmlDeviceGetPersistenceMode", NULL);
	TAKE(n->temperature, lib, "nvmlDeviceGetTemperature", NULL);
	TAKE(n->utilization, lib, "nvmlDeviceGetUtilizationRates", NULL);
	TAKE(n->memory, lib, "nvmlDeviceGetMemoryInfo", NULL);
	if (!n->init || !n->shutdown || !n->count || !n->handle || !n->usage) {
		fprintf(stderr, "gpu-evidence: the NVML library lacks its basic functions\n");
		return -1;
	}
	rc = n->init();
	if (rc == 0)
		rc = n->count(&count);
	if (rc == 0)
		rc = n->handle(index, &n->dev);
	if (rc != 0) {
		fprintf(stderr, "gpu-evidence: NVML answers %d (%u GPUs, index %u asked for)\n", rc,
			count, index);
		return -1;
	}
	return 0;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void nap(long ns)
{
	nanosleep(&(struct timespec){ns / 1000000000L, ns % 1000000000L}, NULL);
}

static int energy_j(const struct nvml *n, double *ret)
{
	uint64_t mj = 0;
	int rc = n->energy ? n->energy(n->dev, &mj) : 13;

	if (rc == 0)
		*ret = (double)mj / 1e3;
	return rc;
}

/* Field 186, instant power; else nvmlDeviceGetPowerUsage. */
static int instant_w(const struct nvml *n, double *ret)
{
	struct field_value f = {.id = 186};
	unsigned mw = 0;
	int rc;

	if (n->fields && n->fields(n->dev, 1, &f) == 0 && f.ret == 0) {
		*ret = (f.type == 3 ? (double)f.value.u64 : (double)f.value.u32) / 1e3;
		return 0;
	}
	rc = n->usage(n->dev, &mw);
	if (rc == 0)
		*ret = mw / 1e3;
	return rc;
}

/* ---- call costs ---- */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

enum {
	ENERGY,
	FIELD,
	USAGE,
	SAMPLES,
	REASONS,
	PERSISTENCE,
	TEMPERATURE,
	UTILIZATION,
	MEMORY,
	KINDS
};
static const char *const kind_name[KINDS] = {
	"nvmlDeviceGetTotalEnergyConsumption",
	"nvmlDeviceGetFieldValues(186)",
	"nvmlDeviceGetPowerUsage",
	"nvmlDeviceGetSamples(power)",
	"nvmlDeviceGetCurrentClocksEventReasons",
	"nvmlDeviceGetPersistenceMode",
	"nvmlDeviceGetTemperature",
	"nvmlDeviceGetUtilizationRates",
	"nvmlDeviceGetMemoryInfo",
};

static int call(const struct nvml *n, int kind)
{
	static struct sample ring[512];
	struct field_value f = {.id = 186};
	uint64_t v[4];
	unsigned u[4], count = 512;
	int type, rc;

	switch (kind) {
	case ENERGY:
		return n->energy ? n->energy(n->dev, v) : 13;
	case FIELD:
		rc = n->fields ? n->fields(n->dev, 1, &f) : 13;
		return rc ? rc : f.ret;
	case USAGE:
		return n->usage(n->dev, u);
	case SAMPLES:
		return n->samples ? n->samples(n->dev, 0, 0, &type, &count, ring) : 13;
	case REASONS:
		return n->reasons ? n->reasons(n->dev, v) : 13;
	case PERSISTENCE:
		return n->persistence ? n->persistence(n->dev, u) : 13;
	case TEMPERATURE:
		return n->temperature ? n->temperature(n->dev, 0, u) : 13;
	case UTILIZATION:
		return n->utilization ? n->utilization(n->dev, u) : 13;
	default:
		return n->memory ? n->memory(n->dev, v) : 13;
	}
}

static void print_costs(const struct nvml *n, const char *when)
{
	printf("\ncost of a call, us (%s; %d calls each)      median      99 %%       most\n", when,
	       CALLS);
	for (int k = 0; k < KINDS; k++) {
		double us[CALLS];
		int rc = call(n, k);

		for (int i = 0; rc == 0 && i < CALLS; i++) {
			double t = now_s();

			rc = call(n, k);
			us[i] = (now_s() - t) * 1e6;
		}
		if (rc != 0) {
			printf("  %-42s answers %d\n", kind_name[k], rc);
			continue;
		}
		qsort(us, CALLS, sizeof(us[0]), by_size);
		printf("  %-42s %10.1f %10.1f %10.1f\n", kind_name[k], us[CALLS / 2],
		       us[CALLS * 99 / 100], us[CALLS - 1]);
	}
}

/* ---- how often does it move ---- */

static void print_period(const struct nvml *n, const char *what, const char *when,
			 int (*get)(const struct nvml *, double *))
{
	static double gap_ms[STEPS_MAX];
	double last = 0, v = 0, start = now_s(), at = 0;
	unsigned steps = 0, reads = 0;
	bool first = true;

	if (get(n, &last) != 0) {
		printf("  %s: no answer\n", what);
		return;
	}
	while (now_s() - start < WATCH_S && steps < STEPS_MAX) {
		double t;

		if (get(n, &v) != 0)
			break;
		reads++;
		t = now_s();
		if (v != last) {
			if (!first)
				gap_ms[steps++] = (t - at) * 1e3;
			first = false;
			at = t;
			last = v;
		}
		nap(200000);
	}
	if (steps == 0) {
		printf("  %-28s %-10s did not move in %.0f s (%u reads)\n", what, when, WATCH_S,
		       reads);
		return;
	}
	qsort(gap_ms, steps, sizeof(gap_ms[0]), by_size);
	printf("  %-28s %-10s %5u steps, ms between: least %.2f, median %.2f, most %.2f\n", what,
	       when, steps, gap_ms[0], gap_ms[steps / 2], gap_ms[steps - 1]);
}

/* ---- counter against integral ---- */

struct outcome {
	double seconds, counted_j, integral_j, ring_j, longest_s, min_w, max_w;
	unsigned samples, ring_samples;
	int energy_rc;
};

/* Waits for the counter to move, so that a window begins and ends at a step. */
static int await_step(const struct nvml *n, double *ret_j, double *ret_t)
{
	double before = 0, v = 0, until = now_s() + 2;
	int rc = energy_j(n, &before);

	*ret_j = before;
	*ret_t = now_s();
	while (rc == 0 && now_s() < until) {
		rc = energy_j(n, &v);
		*ret_t = now_s();
		*ret_j = v;
		if (v != before)
			break;
	}
	return rc;
}

static double ring_integral(const struct nvml *n, uint64_t *last_us, double *last_w,
			    unsigned *ret_count)
{
	static struct sample ring[512];
	unsigned count = 512;
	int type = 1;
	double j = 0;

	if (!n->samples || n->samples(n->dev, 0, *last_us, &type, &count, ring) != 0 || count > 512)
		return 0;
	for (unsigned i = 0; i < count; i++) {
		double w =
			(type == 3 ? (double)ring[i].value.u64 : (double)ring[i].value.u32) / 1e3;

		if (ring[i].us <= *last_us)
			continue;
		if (*ret_count > 0)
			j += (w + *last_w) / 2 * (double)(ring[i].us - *last_us) / 1e6;
		*last_us = ring[i].us;
		*last_w = w;
		(*ret_count)++;
	}
	return j;
}

static void measure(const struct nvml *n, double seconds, struct outcome *o)
{
	double j0, j1, t0, t1, w = 0, last_w = 0, last_t, ring_w = 0, ring_t;
	struct timespec ts;
	uint64_t ring_us;

	*o = (struct outcome){.min_w = 1e9};
	o->energy_rc = await_step(n, &j0, &t0);
	clock_gettime(CLOCK_REALTIME, &ts);
	ring_us = (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
	ring_t = last_t = t0;
	if (instant_w(n, &last_w) != 0)
		last_w = 0;
	while (now_s() - t0 < seconds) {
		nap(SAMPLE_NS);
		if (instant_w(n, &w) != 0)
			continue;
		t1 = now_s();
		o->integral_j += (w + last_w) / 2 * (t1 - last_t);
		o->longest_s = t1 - last_t > o->longest_s ? t1 - last_t : o->longest_s;
		o->min_w = w < o->min_w ? w : o->min_w;
		o->max_w = w > o->max_w ? w : o->max_w;
		o->samples++;
		last_t = t1;
		last_w = w;
		if (t1 - ring_t > 0.5) {
			o->ring_j += ring_integral(n, &ring_us, &ring_w, &o->ring_samples);
			ring_t = t1;
		}
	}
	if (o->energy_rc == 0)
		o->energy_rc = await_step(n, &j1, &t1);
	else
		t1 = now_s();
	if (instant_w(n, &w) == 0)
		o->integral_j += (w + last_w) / 2 * (t1 - last_t);
	o->ring_j += ring_integral(n, &ring_us, &ring_w, &o->ring_samples);
	o->seconds = t1 - t0;
	if (o->energy_rc == 0)
		o->counted_j = j1 - j0;
}

static void print_outcome(const char *who, const struct outcome *o)
{
	printf("  %-15s %8.3f s  instant power x time %11.3f J (%u samples, longest gap %.1f ms, "
	       "%.1f to %.1f W)\n",
	       who, o->seconds, o->integral_j, o->samples, o->longest_s * 1e3, o->min_w, o->max_w);
	if (o->ring_samples)
		printf("  %-15s             ring of samples      %11.3f J (%u samples)\n", "",
		       o->ring_j, o->ring_samples);
	if (o->energy_rc != 0) {
		printf("  %-15s             counter: answers %d\n", "", o->energy_rc);
		return;
	}
	printf("  %-15s             counter              %11.3f J, mean %.2f W", "", o->counted_j,
	       o->counted_j / o->seconds);
	if (o->integral_j > 0)
		printf(", %+.3f %% of the integral",
		       (o->counted_j - o->integral_j) / o->integral_j * 100);
	printf("\n");
}

/* ---- load, through libcuda ---- */

/*
 * burn(out, n): each thread runs n rounds of four independent chains of fused multiply-adds. The
 * oldest target that a driver still takes is enough: the driver compiles for its own GPU.
 */
#define PTX_BODY                                                             \
	".address_size 64\n"                                                 \
	".visible .entry burn(.param .u64 out, .param .u32 n)\n"             \
	"{\n"                                                                \
	".reg .pred %p<2>;\n"                                                \
	".reg .b32 %r<6>;\n"                                                 \
	".reg .f32 %f<8>;\n"                                                 \
	".reg .b64 %rd<5>;\n"                                                \
	"ld.param.u64 %rd1, [out];\n"                                        \
	"ld.param.u32 %r1, [n];\n"                                           \
	"cvta.to.global.u64 %rd2, %rd1;\n"                                   \
	"mov.u32 %r2, %ctaid.x;\n"                                           \
	"mov.u32 %r3, %ntid.x;\n"                                            \
	"mov.u32 %r4, %tid.x;\n"                                             \
	"mad.lo.s32 %r5, %r2, %r3, %r4;\n"                                   \
	"cvt.rn.f32.u32 %f1, %r5;\n"                                         \
	"mul.rn.f32 %f1, %f1, 0f358637BD;\n"                                 \
	"add.rn.f32 %f2, %f1, 0f3F800000;\n"                                 \
	"add.rn.f32 %f3, %f1, 0f40000000;\n"                                 \
	"add.rn.f32 %f4, %f1, 0f40400000;\n"                                 \
	"ROUND:\n" FMA FMA FMA FMA FMA FMA FMA FMA "add.s32 %r1, %r1, -1;\n" \
	"setp.ne.s32 %p1, %r1, 0;\n"                                         \
	"@%p1 bra ROUND;\n"                                                  \
	"add.rn.f32 %f5, %f1, %f2;\n"                                        \
	"add.rn.f32 %f6, %f3, %f4;\n"                                        \
	"add.rn.f32 %f7, %f5, %f6;\n"                                        \
	"mul.wide.u32 %rd3, %r5, 4;\n"                                       \
	"add.s64 %rd4, %rd2, %rd3;\n"                                        \
	"st.global.f32 [%rd4], %f7;\n"                                       \
	"ret;\n"                                                             \
	"}\n"
#define FMA                                              \
	"fma.rn.f32 %f1, %f1, 0f3F7FBE77, 0f3F000000;\n" \
	"fma.rn.f32 %f2, %f2, 0f3F7FBE77, 0f3F000000;\n" \
	"fma.rn.f32 %f3, %f3, 0f3F7FBE77, 0f3F000000;\n" \
	"fma.rn.f32 %f4, %f4, 0f3F7FBE77, 0f3F000000;\n"

static const char *const ptx[] = {
	".version 6.3\n.target sm_75\n" PTX_BODY,
	".version 5.0\n.target sm_50\n" PTX_BODY,
	".version 4.0\n.target sm_30\n" PTX_BODY,
};

#define BLOCK	 256
#define ROUNDS	 20000u
#define SM_COUNT 16 /* CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT */

struct cuda {
	int (*init)(unsigned);
	int (*version)(int *);
	int (*count)(int *);
	int (*get)(int *, int);
	int (*attribute)(int *, int, int);
	int (*uuid)(unsigned char *, int);
	int (*retain)(void **, int);
	int (*current)(void *);
	int (*load)(void **, const char *);
	int (*function)(void **, void *, const char *);
	int (*alloc)(uint64_t *, size_t);
	int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
		      void *, void **, void **);
	int (*synchronize)(void);
	void *context, *fn;
	int sms;
	uint64_t out;
	atomic_bool stop;
	atomic_int failed;
	atomic_ullong launches;
};

static int cuda_symbols(struct cuda *c, void *lib)
{
	TAKE(c->init, lib, "cuInit", NULL);
	TAKE(c->version, lib, "cuDriverGetVersion", NULL);
	TAKE(c->count, lib, "cuDeviceGetCount", NULL);
	TAKE(c->get, lib, "cuDeviceGet", NULL);
	TAKE(c->attribute, lib, "cuDeviceGetAttribute", NULL);
	TAKE(c->uuid, lib, "cuDeviceGetUuid_v2", "cuDeviceGetUuid");
	TAKE(c->retain, lib, "cuDevicePrimaryCtxRetain", NULL);
	TAKE(c->current, lib, "cuCtxSetCurrent", NULL);
	TAKE(c->load, lib, "cuModuleLoadData", NULL);
	TAKE(c->function, lib, "cuModuleGetFunction", NULL);
	TAKE(c->alloc, lib, "cuMemAlloc_v2", NULL);
	TAKE(c->launch, lib, "cuLaunchKernel", NULL);
	TAKE(c->synchronize, lib, "cuCtxSynchronize", NULL);
	return c->init && c->version && c->count && c->get && c->attribute && c->retain &&
			       c->current && c->load && c->function && c->alloc && c->launch &&
			       c->synchronize ?
		       0 :
		       -1;
}

/* CUDA's number of the GPU that NVML calls uuid; the first where they cannot be compared. */
static int cuda_device(const struct cuda *c, const char *uuid, int *ret)
{
	int count = 0, dev, rc = c->count(&count);

	for (int i = 0; rc == 0 && i < count && c->uuid; i++) {
		unsigned char b[16];
		char text[48] = "GPU-";
		size_t at = 4;

		if (c->get(&dev, i) != 0 || c->uuid(b, dev) != 0)
			continue;
		for (int k = 0; k < 16; k++)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%02x",
					       k == 4 || k == 6 || k == 8 || k == 10 ? "-" : "",
					       b[k]);
		if (strcmp(text, uuid) == 0) {
			*ret = dev;
			return 0;
		}
	}
	if (rc == 0 && count == 0)
		rc = 100; /* CUDA_ERROR_NO_DEVICE */
	return rc ? rc : c->get(ret, 0);
}

static int cuda_open(struct cuda *c, const char *uuid)
{
	void *lib = dlopen("libcuda.so.1", RTLD_NOW), *module = NULL;
	int rc, dev = 0, version = 0;

	if (!lib) {
		printf("\nno load: libcuda.so.1 is not on this machine\n");
		return -1;
	}
	if (cuda_symbols(c, lib) < 0) {
		printf("\nno load: libcuda.so.1 lacks functions of the driver interface\n");
		return -1;
	}
	rc = c->init(0);
	if (rc == 0)
		rc = cuda_device(c, uuid, &dev);
	if (rc == 0)
		rc = c->retain(&c->context, dev);
	if (rc == 0)
		rc = c->current(c->context);
	if (rc == 0)
		rc = c->attribute(&c->sms, SM_COUNT, dev);
	if (rc == 0)
		rc = c->alloc(&c->out, (size_t)c->sms * 8 * BLOCK * sizeof(float));
	for (size_t i = 0; rc == 0 && !module && i < sizeof(ptx) / sizeof(ptx[0]); i++)
		if (c->load(&module, ptx[i]) != 0)
			module = NULL;
	if (rc == 0)
		rc = module ? c->function(&c->fn, module, "burn") :
			      218; /* CUDA_ERROR_INVALID_PTX */
	if (rc != 0) {
		printf("\nno load: CUDA answers %d\n", rc);
		return -1;
	}
	c->version(&version);
	printf("load      fused multiply-add on %d multiprocessors, CUDA driver %d.%d\n", c->sms,
	       version / 1000, version % 1000 / 10);
	return 0;
}

static void *burn(void *arg)
{
	struct cuda *c = arg;
	unsigned rounds = ROUNDS;
	void *args[] = {&c->out, &rounds};
	int rc = c->current(c->context);

	while (rc == 0 && !atomic_load(&c->stop)) {
		for (int i = 0; rc == 0 && i < 4; i++)
			rc = c->launch(c->fn, (unsigned)c->sms * 8, 1, 1, BLOCK, 1, 1, 0, NULL,
				       args, NULL);
		if (rc == 0)
			rc = c->synchronize();
		atomic_fetch_add(&c->launches, 4);
	}
	atomic_store(&c->failed, rc);
	return NULL;
}

/* ---- the second process ---- */

struct second {
	pid_t pid;
	int go, answer; /* pipes */
};

/* Started before any library is loaded: CUDA does not survive a fork. */
static int second_start(struct second *s, unsigned index, double seconds)
{
	int go[2], answer[2];

	fflush(NULL);
	if (pipe(go) < 0 || pipe(answer) < 0)
		return -1;
	s->pid = fork();
	if (s->pid < 0)
		return -1;
	if (s->pid == 0) {
		struct outcome o = {0};
		struct nvml n;
		char c;

		close(go[1]);
		close(answer[0]);
		if (read(go[0], &c, 1) != 1 || nvml_open(&n, index) < 0)
			_exit(1);
		measure(&n, seconds, &o);
		n.shutdown();
		_exit(write(answer[1], &o, sizeof(o)) == sizeof(o) ? 0 : 1);
	}
	close(go[0]);
	close(answer[1]);
	s->go = go[1];
	s->answer = answer[0];
	return 0;
}

static void compare(struct second *s, const struct nvml *n, double seconds, const char *when)
{
	struct outcome mine, other = {.energy_rc = -1};
	int status = 0;

	printf("\ncounter against integral of instant power, two processes at once, %s\n", when);
	fflush(stdout);
	if (write(s->go, "g", 1) != 1)
		printf("  the second process is gone\n");
	measure(n, seconds, &mine);
	print_outcome("first process", &mine);
	if (read(s->answer, &other, sizeof(other)) == sizeof(other))
		print_outcome("second process", &other);
	else
		printf("  second process  no answer\n");
	waitpid(s->pid, &status, 0);
	if (mine.energy_rc == 0 && other.energy_rc == 0 && WIFEXITED(status) &&
	    WEXITSTATUS(status) == 0)
		printf("  mean power of the two by the counter: %.3f and %.3f W\n",
		       mine.counted_j / mine.seconds, other.counted_j / other.seconds);
}

static void print_device(const struct nvml *n, char *uuid, size_t cap)
{
	char text[128] = "?";
	unsigned v = 0;

	uuid[0] = '\0';
	if (n->name && n->name(n->dev, text, sizeof(text)) == 0)
		printf("device    %s\n", text);
	if (n->uuid && n->uuid(n->dev, uuid, (unsigned)cap) == 0)
		printf("uuid      %s\n", uuid);
	if (n->driver && n->driver(text, sizeof(text)) == 0)
		printf("driver    %s\n", text);
	if (n->arch && n->arch(n->dev, &v) == 0)
		printf("arch      %u\n", v);
	if (n->limit && n->limit(n->dev, &v) == 0)
		printf("limit     %.1f W\n", v / 1e3);
	if (n->persistence && n->persistence(n->dev, &v) == 0)
		printf("persist.  %s\n", v ? "on" : "off");
}

int main(int argc, char **argv)
{
	double seconds = 60;
	unsigned index = 0;
	struct cuda c = {0};
	struct second s;
	struct nvml n;
	pthread_t thread;
	char uuid[96];
	bool load;
	int opt;

	while ((opt = getopt(argc, argv, "s:d:h")) != -1) {
		char *end = NULL;

		if (opt == 's')
			seconds = strtod(optarg, &end);
		else if (opt == 'd')
			index = (unsigned)strtoul(optarg, &end, 10);
		if (!end || *end || !(seconds >= 0.5 && seconds <= 3600)) {
			fprintf(stderr,
				"usage: gpu-evidence [-s SECONDS (0.5..3600)] [-d INDEX]\n");
			return 2;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (second_start(&s, index, seconds) < 0) {
		perror("gpu-evidence");
		return 1;
	}
	if (nvml_open(&n, index) < 0)
		return 1;
	print_device(&n, uuid, sizeof(uuid));
	load = cuda_open(&c, uuid) == 0;
	print_costs(&n, "without load");
	printf("\nhow often the values move\n");
	print_period(&n, "total energy", "no load", energy_j);
	print_period(&n, "instant power", "no load", instant_w);
	if (load && pthread_create(&thread, NULL, burn, &c) != 0)
		load = false;
	if (load) {
		sleep(2); /* clocks and power settle */
		print_period(&n, "total energy", "load", energy_j);
		print_period(&n, "instant power", "load", instant_w);
		print_costs(&n, "under load");
	}
	compare(&s, &n, seconds, load ? "under load" : "without load");
	if (load) {
		atomic_store(&c.stop, true);
		pthread_join(thread, NULL);
		printf("\n%llu kernels were run", (unsigned long long)atomic_load(&c.launches));
		if (atomic_load(&c.failed))
			printf("; CUDA ended with %d", atomic_load(&c.failed));
		printf("\n");
		load = atomic_load(&c.failed) == 0;
	}
	n.shutdown();
	return load ? 0 : 3;
}
