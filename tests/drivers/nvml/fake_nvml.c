/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fake NVIDIA Management Library: NVIDIA's symbol names, struct layouts and return codes, GPUs
 * whose power is a closed-form function of time (src/sim/power.h), so that the truth is known to
 * the femtojoule. The layouts are written here again, on purpose: a slip in the driver's own
 * declarations shows as wrong values.
 *
 * ERGON_FAKE_NVML names a script, read at the first nvmlInit:
 *	t0 NS			interval clock at which the power functions begin
 *	driver TEXT		version
 *	fail SYMBOL CODE [FROM TO]	SYMBOL ("*": all but init) answers CODE, in seconds since t0
 *	nth N CODE		the Nth call since the library was loaded answers CODE
 *	slow SYMBOL MS [FROM TO]	SYMBOL sleeps so long in real time
 *	reload AT DOWN CODE	the driver goes at AT and is back DOWN later; older sessions answer CODE
 *	gpu			begins a GPU; the lines below are of it
 *	name, uuid, serial, pci, arch, persistence N, limit POWER, power FUNCTION
 *	counter PERIOD_MS|none	energy counter and sensor move this often
 *	base MJ			counter at t0
 *	seen MS			the sensor sees only the last MS of each period
 *	ring DEPTH STEP_MS LATE_MS|none	power samples; LATE: they turn up so much later
 *	instant yes|no		field 186;	usage yes|no	nvmlDeviceGetPowerUsage
 *	lost FROM TO CODE	the device answers CODE;	back AT MJ	the counter steps back
 *	reasons HEX FROM TO	clocks event reasons;	mig N FROM TO	MIG devices
 *	celsius N PER_S		temperature at t0 and how fast it rises
 * Time comes from the clock page named by ERGON_FAKE_CLOCK (src/base/clock.h), else CLOCK_BOOTTIME.
 * Compiled with FAKE_OLD it has the symbols of an old library only.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"
#include "sim/power.h"

#define EXPORT	  __attribute__((visibility("default")))
#define GPUS_MAX  16
#define RULES_MAX 32
#define MJ_FJ	  ((eg_fj)1000000000000LL)
#define ALWAYS	  1e30

struct rule {
	char symbol[64];
	int code;
	double from, to;
	unsigned slow_ms;
};
struct mig {
	struct gpu *gpu;
	unsigned index;
};
struct gpu {
	unsigned magic; /* first, so that a MIG handle is told from a GPU's */
	char name[96], uuid[96], serial[32];
	unsigned domain, bus, device, arch, persistence, limit_mw;
	struct eg_power power;
	uint64_t counter_ms, seen_ms, base_mj;
	bool has_counter, has_ring, instant, usage;
	uint64_t ring_depth, ring_step_ms, ring_late_ms;
	double lost_from, lost_to, back_at, mig_from, mig_to, reasons_from, reasons_to;
	int lost_code;
	uint64_t back_mj, reasons;
	unsigned n_mig;
	int celsius, celsius_per_s;
	struct mig mig[8];
};
#define GPU_MAGIC 0x4e564d4c

static struct {
	pthread_mutex_t lock;
	unsigned sessions, generation; /* open nvmlInit, and reloads seen by the first of them */
	uint64_t calls;
	uint64_t nth;
	int nth_code;
	uint64_t t0_ns;
	char driver[80];
	double reload_at, reload_down;
	int reload_code;
	const struct eg_clock_page *clock;
	size_t n, n_rules;
	struct gpu gpu[GPUS_MAX];
	struct rule rule[RULES_MAX];
	bool ended; /* its destructor ran: exit() has come this far, or dlclose() */
} f = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- time ---- */

static uint64_t boot_ns(void)
{
	struct timespec ts;

	if (f.clock)
		return __atomic_load_n(&f.clock->boot_ns, __ATOMIC_ACQUIRE);
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * EG_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

EG_UNUSED static uint64_t unix_base_ns(void)
{
	struct timespec ts;

	if (f.clock)
		return __atomic_load_n(&f.clock->unix_base_ns, __ATOMIC_ACQUIRE);
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * EG_NSEC_PER_SEC + (uint64_t)ts.tv_nsec - boot_ns();
}

static uint64_t since_ns(void)
{
	uint64_t now = boot_ns();

	return now > f.t0_ns ? now - f.t0_ns : 0;
}

static double since_s(void)
{
	return (double)since_ns() / 1e9;
}

/* ---- the script ---- */

static bool gpu_line(struct gpu *g, const char *key, const char *arg)
{
	char why[128];

	if (!strcmp(key, "name"))
		return snprintf(g->name, sizeof(g->name), "%s", arg) > 0;
	if (!strcmp(key, "uuid"))
		return snprintf(g->uuid, sizeof(g->uuid), "%s", arg) > 0;
	if (!strcmp(key, "serial"))
		return snprintf(g->serial, sizeof(g->serial), "%s", arg) > 0;
	if (!strcmp(key, "pci"))
		return sscanf(arg, "%x:%x:%x", &g->domain, &g->bus, &g->device) == 3;
	if (!strcmp(key, "arch"))
		return sscanf(arg, "%u", &g->arch) == 1;
	if (!strcmp(key, "persistence"))
		return sscanf(arg, "%u", &g->persistence) == 1;
	if (!strcmp(key, "limit"))
		return sscanf(arg, "%u", &g->limit_mw) == 1;
	if (!strcmp(key, "power"))
		return eg_power_parse(arg, &g->power, why, sizeof(why)) == 0;
	if (!strcmp(key, "counter"))
		return !(g->has_counter = strcmp(arg, "none")) ||
		       sscanf(arg, "%lu", &g->counter_ms) == 1;
	if (!strcmp(key, "base"))
		return sscanf(arg, "%lu", &g->base_mj) == 1;
	if (!strcmp(key, "seen"))
		return sscanf(arg, "%lu", &g->seen_ms) == 1;
	if (!strcmp(key, "ring"))
		return !(g->has_ring = strcmp(arg, "none")) ||
		       sscanf(arg, "%lu %lu %lu", &g->ring_depth, &g->ring_step_ms,
			      &g->ring_late_ms) == 3;
	if (!strcmp(key, "instant"))
		return (g->instant = !strcmp(arg, "yes")) || !strcmp(arg, "no");
	if (!strcmp(key, "usage"))
		return (g->usage = !strcmp(arg, "yes")) || !strcmp(arg, "no");
	if (!strcmp(key, "lost"))
		return sscanf(arg, "%lf %lf %d", &g->lost_from, &g->lost_to, &g->lost_code) == 3;
	if (!strcmp(key, "back"))
		return sscanf(arg, "%lf %lu", &g->back_at, &g->back_mj) == 2;
	if (!strcmp(key, "reasons"))
		return sscanf(arg, "%lx %lf %lf", &g->reasons, &g->reasons_from, &g->reasons_to) ==
		       3;
	if (!strcmp(key, "mig"))
		return sscanf(arg, "%u %lf %lf", &g->n_mig, &g->mig_from, &g->mig_to) == 3 &&
		       g->n_mig <= 8;
	if (!strcmp(key, "celsius"))
		return sscanf(arg, "%d %d", &g->celsius, &g->celsius_per_s) == 2;
	return false;
}

static bool line(const char *key, const char *arg)
{
	struct rule *r = &f.rule[f.n_rules];

	if (!strcmp(key, "gpu")) {
		struct gpu *g = &f.gpu[f.n];

		if (f.n == GPUS_MAX)
			return false;
		*g = (struct gpu){.magic = GPU_MAGIC,
				  .arch = 8,
				  .persistence = 1,
				  .limit_mw = 700000,
				  .counter_ms = 100,
				  .has_counter = true,
				  .instant = true,
				  .usage = true,
				  .base_mj = 1000000,
				  .ring_depth = 119,
				  .ring_step_ms = 20,
				  .has_ring = true,
				  .lost_from = ALWAYS,
				  .back_at = ALWAYS,
				  .celsius = 40};
		for (unsigned i = 0; i < 8; i++)
			g->mig[i] = (struct mig){g, i};
		snprintf(g->name, sizeof(g->name), "Fake H100");
		snprintf(g->uuid, sizeof(g->uuid), "GPU-00000000-0000-0000-0000-%012zu", f.n);
		g->bus = 0x10 + (unsigned)f.n;
		f.n++;
		return true;
	}
	if (!strcmp(key, "t0"))
		return sscanf(arg, "%lu", &f.t0_ns) == 1;
	if (!strcmp(key, "driver"))
		return snprintf(f.driver, sizeof(f.driver), "%s", arg) > 0;
	if (!strcmp(key, "nth"))
		return sscanf(arg, "%lu %d", &f.nth, &f.nth_code) == 2;
	if (!strcmp(key, "reload"))
		return sscanf(arg, "%lf %lf %d", &f.reload_at, &f.reload_down, &f.reload_code) == 3;
	if ((!strcmp(key, "fail") || !strcmp(key, "slow")) && f.n_rules < RULES_MAX) {
		*r = (struct rule){.to = ALWAYS};
		f.n_rules++;
		if (!strcmp(key, "slow"))
			return sscanf(arg, "%63s %u %lf %lf", r->symbol, &r->slow_ms, &r->from,
				      &r->to) >= 2;
		return sscanf(arg, "%63s %d %lf %lf", r->symbol, &r->code, &r->from, &r->to) >= 2;
	}
	return f.n > 0 && gpu_line(&f.gpu[f.n - 1], key, arg);
}

static void read_script(void)
{
	const char *path = getenv("ERGON_FAKE_NVML"), *clock = getenv("ERGON_FAKE_CLOCK");
	FILE *file = path ? fopen(path, "re") : NULL;
	char buf[512], key[32];

	f.reload_at = ALWAYS;
	while (file && fgets(buf, sizeof(buf), file)) {
		int used = 0;

		buf[strcspn(buf, "\n")] = '\0';
		if (sscanf(buf, "%31s %n", key, &used) < 1 || key[0] == '#')
			continue;
		if (!line(key, buf + used)) {
			fprintf(stderr, "fake NVML: bad line: %s\n", buf);
			abort();
		}
	}
	if (file)
		fclose(file);
	if (clock) {
		int fd = open(clock, O_RDONLY | O_CLOEXEC);
		void *p = fd < 0 ? MAP_FAILED :
				   mmap(NULL, sizeof(*f.clock), PROT_READ, MAP_SHARED, fd, 0);

		if (p == MAP_FAILED)
			abort();
		f.clock = p;
		close(fd);
	}
}

/* ---- the GPUs ---- */

static unsigned generation(double s)
{
	return s >= f.reload_at;
}

/* What the sensor shows at the end of period k, as energy over `ns`. */
static eg_fj seen_fj(const struct gpu *g, uint64_t k, uint64_t ns)
{
	uint64_t end = k * g->counter_ms * EG_NSEC_PER_MSEC, seen = g->seen_ms * EG_NSEC_PER_MSEC;

	return eg_power_energy_fj(&g->power, end - seen, end) * (eg_fj)(ns / seen);
}

static eg_fj counted_fj(const struct gpu *g, uint64_t from_ns, uint64_t to_ns)
{
	uint64_t period = g->counter_ms * EG_NSEC_PER_MSEC;
	eg_fj sum = 0;

	if (!g->seen_ms)
		return eg_power_energy_fj(&g->power, from_ns, to_ns);
	for (uint64_t k = from_ns / period + 1; k * period <= to_ns; k++)
		sum += seen_fj(g, k, period);
	return sum;
}

EG_UNUSED static uint64_t counter_mj(const struct gpu *g)
{
	uint64_t period = g->counter_ms * EG_NSEC_PER_MSEC, now = since_ns(), from = 0;
	double s = since_s();
	uint64_t mj = g->base_mj;

	now -= now % period;
	if (s >= f.reload_at) {
		from = (uint64_t)((f.reload_at + f.reload_down) * 1e9);
		mj = 0;
	}
	if (now > from)
		mj += (uint64_t)(counted_fj(g, from, now) / MJ_FJ);
	return s >= g->back_at ? mj - g->back_mj : mj;
}

static uint32_t power_mw(const struct gpu *g, uint64_t t_ns)
{
	return (uint32_t)(eg_power_at_uw(&g->power, t_ns) / 1000 + 0.5L);
}

static uint32_t shown_mw(const struct gpu *g)
{
	uint64_t period = g->counter_ms * EG_NSEC_PER_MSEC, k = since_ns() / period;

	if (g->seen_ms && k > 0)
		return (uint32_t)(seen_fj(g, k, EG_NSEC_PER_SEC) / MJ_FJ);
	return power_mw(g, k * period);
}

/* ---- entering a call ---- */

/* As NVIDIA's: after it, it is as never initialised, whoever still calls. */
__attribute__((destructor)) static void end(void)
{
	pthread_mutex_lock(&f.lock);
	f.ended = true;
	f.sessions = 0;
	pthread_mutex_unlock(&f.lock);
}

static int enter_locked(const char *symbol, bool needs_session)
{
	double s = since_s();

	if (f.ended)
		return 1;

	f.calls++;
	if (f.calls == f.nth)
		return f.nth_code;
	for (size_t i = 0; i < f.n_rules; i++) {
		const struct rule *r = &f.rule[i];

		if (!r->code || s < r->from || s >= r->to)
			continue;
		if (!strcmp(r->symbol, symbol) || (needs_session && !strcmp(r->symbol, "*")))
			return r->code;
	}
	if (needs_session && f.sessions == 0)
		return 1;
	if (needs_session && f.generation != generation(s))
		return f.reload_code;
	return 0;
}

static int enter(const char *symbol)
{
	double s = since_s();
	unsigned slow_ms = 0;
	int rc;

	pthread_mutex_lock(&f.lock);
	rc = enter_locked(symbol, true);
	for (size_t i = 0; i < f.n_rules; i++)
		if (!strcmp(f.rule[i].symbol, symbol) && s >= f.rule[i].from && s < f.rule[i].to)
			slow_ms += f.rule[i].slow_ms;
	pthread_mutex_unlock(&f.lock);
	if (slow_ms)
		nanosleep(&(struct timespec){slow_ms / 1000, slow_ms % 1000 * 1000000L}, NULL);
	return rc;
}

static int enter_gpu(const char *symbol, const void *handle, const struct gpu **ret)
{
	const struct gpu *g = handle;
	double s = since_s();
	int rc = enter(symbol);

	if (rc)
		return rc;
	if (!g || (const struct gpu *)handle < f.gpu || (const struct gpu *)handle >= f.gpu + f.n ||
	    g->magic != GPU_MAGIC)
		return 2;
	if (s >= g->lost_from && s < g->lost_to)
		return g->lost_code;
	*ret = g;
	return 0;
}

/* The MIG device behind a handle, or NULL where the handle is a GPU's. */
static const struct mig *mig_of(const void *handle)
{
	for (size_t i = 0; i < f.n; i++)
		if ((const char *)handle >= (const char *)f.gpu[i].mig &&
		    (const char *)handle < (const char *)(f.gpu[i].mig + 8))
			return handle;
	return NULL;
}

static int put(char *out, unsigned cap, const char *text)
{
	if (strlen(text) >= cap)
		return 7;
	strcpy(out, text);
	return 0;
}

#define GPU(symbol)                             \
	const struct gpu *g;                    \
	int rc = enter_gpu(symbol, handle, &g); \
	if (rc)                                 \
	return rc

/* ---- NVIDIA's symbols ---- */

EXPORT uint64_t fake_nvml_calls(void);
EXPORT uint64_t fake_nvml_calls(void)
{
	uint64_t n;

	pthread_mutex_lock(&f.lock);
	n = f.calls;
	pthread_mutex_unlock(&f.lock);
	return n;
}
EXPORT unsigned fake_nvml_sessions(void);
EXPORT unsigned fake_nvml_sessions(void)
{
	unsigned n;

	pthread_mutex_lock(&f.lock);
	n = f.sessions;
	pthread_mutex_unlock(&f.lock);
	return n;
}

#ifdef FAKE_OLD
#define INIT	 nvmlInit
#define COUNT	 nvmlDeviceGetCount
#define BY_INDEX nvmlDeviceGetHandleByIndex
#define PCI_INFO nvmlDeviceGetPciInfo_v2
#define LIMIT	 nvmlDeviceGetPowerManagementLimit
#define REASONS	 nvmlDeviceGetCurrentClocksThrottleReasons
#else
#define INIT	 nvmlInit_v2
#define COUNT	 nvmlDeviceGetCount_v2
#define BY_INDEX nvmlDeviceGetHandleByIndex_v2
#define PCI_INFO nvmlDeviceGetPciInfo_v3
#define LIMIT	 nvmlDeviceGetEnforcedPowerLimit
#define REASONS	 nvmlDeviceGetCurrentClocksEventReasons
#endif
#define NAME_(x) #x
#define NAME(x)	 NAME_(x)

EXPORT int INIT(void);
EXPORT int INIT(void)
{
	double s;
	int rc;

	pthread_mutex_lock(&f.lock);
	if (!f.clock && !f.n && !f.n_rules)
		read_script();
	s = since_s();
	rc = enter_locked(NAME(INIT), false);
	if (!rc && s >= f.reload_at && s < f.reload_at + f.reload_down)
		rc = 9;
	if (!rc && f.sessions++ == 0)
		f.generation = generation(s);
	pthread_mutex_unlock(&f.lock);
	return rc;
}

#ifndef FAKE_OLD
/* What nvidia-ml-py calls. */
EXPORT int nvmlInitWithFlags(unsigned flags);
EXPORT int nvmlInitWithFlags(unsigned flags)
{
	(void)flags;
	return INIT();
}
#endif

EXPORT int nvmlShutdown(void);
EXPORT int nvmlShutdown(void)
{
	int rc;

	pthread_mutex_lock(&f.lock);
	f.calls++;
	rc = f.sessions ? 0 : 1;
	f.sessions -= f.sessions > 0;
	pthread_mutex_unlock(&f.lock);
	return rc;
}

EXPORT int COUNT(unsigned *out);
EXPORT int COUNT(unsigned *out)
{
	int rc = enter(NAME(COUNT));

	if (!rc)
		*out = (unsigned)f.n;
	return rc;
}

EXPORT int BY_INDEX(unsigned i, const void **out);
EXPORT int BY_INDEX(unsigned i, const void **out)
{
	double s = since_s();
	int rc = enter(NAME(BY_INDEX));

	if (rc)
		return rc;
	if (i >= f.n)
		return 2;
	if (s >= f.gpu[i].lost_from && s < f.gpu[i].lost_to)
		return f.gpu[i].lost_code;
	*out = &f.gpu[i];
	return 0;
}

EXPORT int nvmlDeviceGetName(const void *handle, char *out, unsigned cap);
EXPORT int nvmlDeviceGetName(const void *handle, char *out, unsigned cap)
{
	GPU("nvmlDeviceGetName");
	return put(out, cap, g->name);
}

EXPORT int nvmlDeviceGetUUID(const void *handle, char *out, unsigned cap);
EXPORT int nvmlDeviceGetUUID(const void *handle, char *out, unsigned cap)
{
	const struct mig *m = mig_of(handle);
	char text[128];

	if (m) {
		int r = enter("nvmlDeviceGetUUID");

		if (r)
			return r;
		snprintf(text, sizeof(text), "MIG-%.80s-%u", m->gpu->uuid + 4, m->index);
		return put(out, cap, text);
	}
	GPU("nvmlDeviceGetUUID");
	return put(out, cap, g->uuid);
}

EXPORT int PCI_INFO(const void *handle, char *out);
EXPORT int PCI_INFO(const void *handle, char *out)
{
	GPU(NAME(PCI_INFO));
	snprintf(out, 16, "%04x:%02x:%02x.0", g->domain, g->bus, g->device);
	memcpy(out + 16, &g->domain, 4);
	memcpy(out + 20, &g->bus, 4);
	memcpy(out + 24, &g->device, 4);
#ifdef FAKE_OLD
	memset(out + 28, 0xff, 52 - 28);
#else
	snprintf(out + 36, 32, "%08x:%02x:%02x.0", g->domain, g->bus, g->device);
#endif
	return 0;
}

EXPORT int nvmlDeviceGetPowerUsage(const void *handle, unsigned *out);
EXPORT int nvmlDeviceGetPowerUsage(const void *handle, unsigned *out)
{
	GPU("nvmlDeviceGetPowerUsage");
	if (!g->usage)
		return 3;
	*out = shown_mw(g);
	return 0;
}

EXPORT int LIMIT(const void *handle, unsigned *out);
EXPORT int LIMIT(const void *handle, unsigned *out)
{
	GPU(NAME(LIMIT));
	*out = g->limit_mw;
	return g->limit_mw ? 0 : 3;
}

EXPORT int nvmlDeviceGetMemoryInfo(const void *handle, uint64_t *out);
EXPORT int nvmlDeviceGetMemoryInfo(const void *handle, uint64_t *out)
{
	if (!mig_of(handle)) {
		GPU("nvmlDeviceGetMemoryInfo");
	}
	out[0] = 80ULL << 30;
	out[1] = 60ULL << 30;
	out[2] = 20ULL << 30;
	return 0;
}

static int celsius_now(const struct gpu *g)
{
	return g->celsius + (int)(since_s() * g->celsius_per_s);
}

EXPORT int nvmlDeviceGetTemperature(const void *handle, int sensor, unsigned *out);
EXPORT int nvmlDeviceGetTemperature(const void *handle, int sensor, unsigned *out)
{
	GPU("nvmlDeviceGetTemperature");
	*out = (unsigned)celsius_now(g);
	return sensor == 0 ? 0 : 2;
}

EXPORT int REASONS(const void *handle, uint64_t *out);
EXPORT int REASONS(const void *handle, uint64_t *out)
{
	double s = since_s();

	GPU(NAME(REASONS));
	*out = s >= g->reasons_from && s < g->reasons_to ? g->reasons : 1;
	return 0;
}

#ifndef FAKE_OLD

EXPORT int nvmlSystemGetDriverVersion(char *out, unsigned cap);
EXPORT int nvmlSystemGetDriverVersion(char *out, unsigned cap)
{
	int rc = enter("nvmlSystemGetDriverVersion");

	return rc ? rc : put(out, cap, f.driver);
}

EXPORT int nvmlDeviceGetSerial(const void *handle, char *out, unsigned cap);
EXPORT int nvmlDeviceGetSerial(const void *handle, char *out, unsigned cap)
{
	GPU("nvmlDeviceGetSerial");
	return g->serial[0] ? put(out, cap, g->serial) : 3;
}

EXPORT int nvmlDeviceGetArchitecture(const void *handle, unsigned *out);
EXPORT int nvmlDeviceGetArchitecture(const void *handle, unsigned *out)
{
	GPU("nvmlDeviceGetArchitecture");
	*out = g->arch;
	return 0;
}

EXPORT int nvmlDeviceGetPersistenceMode(const void *handle, unsigned *out);
EXPORT int nvmlDeviceGetPersistenceMode(const void *handle, unsigned *out)
{
	GPU("nvmlDeviceGetPersistenceMode");
	*out = g->persistence;
	return 0;
}

EXPORT int nvmlDeviceGetTotalEnergyConsumption(const void *handle, uint64_t *out);
EXPORT int nvmlDeviceGetTotalEnergyConsumption(const void *handle, uint64_t *out)
{
	GPU("nvmlDeviceGetTotalEnergyConsumption");
	if (!g->has_counter)
		return 3;
	*out = counter_mj(g);
	return 0;
}

/* nvmlFieldValue_t by offsets: id 0, scope 4, us 8, latency 16, type 24, return 28, value 32. */
EXPORT int nvmlDeviceGetFieldValues(const void *handle, int n, char *v);
EXPORT int nvmlDeviceGetFieldValues(const void *handle, int n, char *v)
{
	GPU("nvmlDeviceGetFieldValues");
	for (int i = 0; i < n; i++, v += 40) {
		uint32_t id, scope, type = 1, mw = 0;
		int32_t ret = 0;
		uint64_t us = (unix_base_ns() + boot_ns()) / 1000;

		memcpy(&id, v, 4);
		memcpy(&scope, v + 4, 4);
		if (id == 186 && g->instant && scope == 0)
			mw = shown_mw(g);
		else if (id == 187 && g->limit_mw)
			mw = g->limit_mw / 2;
		else if (id == 188 && g->limit_mw)
			mw = g->limit_mw;
		else
			ret = 3;
		memset(v + 8, 0, 32);
		memcpy(v + 8, &us, 8);
		memcpy(v + 24, &type, 4);
		memcpy(v + 28, &ret, 4);
		memcpy(v + 32, &mw, 4);
	}
	return 0;
}

/* nvmlSample_t by offsets: us 0, value 8. */
EXPORT int nvmlDeviceGetSamples(const void *handle, int kind, uint64_t last_us, int *type,
				unsigned *n, char *v);
EXPORT int nvmlDeviceGetSamples(const void *handle, int kind, uint64_t last_us, int *type,
				unsigned *n, char *v)
{
	uint64_t step, newest, k, count = 0;

	GPU("nvmlDeviceGetSamples");
	if (!g->has_ring || kind != 0)
		return 3;
	if (!v) {
		*n = (unsigned)g->ring_depth;
		return 0;
	}
	if (*n < g->ring_depth)
		return 7;
	*type = 1;
	step = g->ring_step_ms * EG_NSEC_PER_MSEC;
	newest = since_ns();
	newest = newest > g->ring_late_ms * EG_NSEC_PER_MSEC ?
			 (newest - g->ring_late_ms * EG_NSEC_PER_MSEC) / step :
			 0;
	k = newest > g->ring_depth ? newest - g->ring_depth + 1 : 1;
	for (; k <= newest && g->ring_depth; k++) {
		uint64_t us = (unix_base_ns() + f.t0_ns + k * step) / 1000;
		uint32_t mw = power_mw(g, k * step);

		if (us <= last_us)
			continue;
		memset(v + count * 16, 0, 16);
		memcpy(v + count * 16, &us, 8);
		memcpy(v + count * 16 + 8, &mw, 4);
		count++;
	}
	*n = (unsigned)count;
	return count ? 0 : 21;
}

EXPORT int nvmlDeviceGetUtilizationRates(const void *handle, unsigned *out);
EXPORT int nvmlDeviceGetUtilizationRates(const void *handle, unsigned *out)
{
	double s = since_s();

	GPU("nvmlDeviceGetUtilizationRates");
	if (g->n_mig && s >= g->mig_from && s < g->mig_to)
		return 3;
	out[0] = 75;
	out[1] = 50;
	return 0;
}

EXPORT int nvmlDeviceGetClockInfo(const void *handle, int kind, unsigned *out);
EXPORT int nvmlDeviceGetClockInfo(const void *handle, int kind, unsigned *out)
{
	static const unsigned mhz[] = {1980, 1970, 2619, 1500};

	GPU("nvmlDeviceGetClockInfo");
	if (kind < 0 || kind > 3)
		return 2;
	*out = mhz[kind];
	return 0;
}

/* nvmlTemperature_v1_t: version 0, sensor 4, temperature 8. */
EXPORT int nvmlDeviceGetTemperatureV(const void *handle, uint32_t *v);
EXPORT int nvmlDeviceGetTemperatureV(const void *handle, uint32_t *v)
{
	GPU("nvmlDeviceGetTemperatureV");
	if (v[0] != 0x0100000c)
		return 25;
	v[2] = (uint32_t)celsius_now(g);
	return 0;
}

/* nvmlMemory_v2_t: version 0, total 8, reserved 16, free 24, used 32. */
EXPORT int nvmlDeviceGetMemoryInfo_v2(const void *handle, uint64_t *out);
EXPORT int nvmlDeviceGetMemoryInfo_v2(const void *handle, uint64_t *out)
{
	const struct mig *m = mig_of(handle);
	uint32_t version;

	if (!m) {
		GPU("nvmlDeviceGetMemoryInfo_v2");
	}
	memcpy(&version, out, 4);
	if (version != 0x02000028)
		return 25;
	out[1] = m ? 10ULL << 30 : 80ULL << 30;
	out[2] = 1ULL << 30;
	out[3] = m ? 8ULL << 30 : 59ULL << 30;
	out[4] = m ? 1ULL << 30 : 20ULL << 30;
	return 0;
}

static unsigned migs_now(const struct gpu *g)
{
	double s = since_s();

	return s >= g->mig_from && s < g->mig_to ? g->n_mig : 0;
}

EXPORT int nvmlDeviceGetMigMode(const void *handle, unsigned *now, unsigned *pending);
EXPORT int nvmlDeviceGetMigMode(const void *handle, unsigned *now, unsigned *pending)
{
	GPU("nvmlDeviceGetMigMode");
	*now = *pending = migs_now(g) > 0;
	return g->n_mig ? 0 : 3;
}

EXPORT int nvmlDeviceGetMaxMigDeviceCount(const void *handle, unsigned *out);
EXPORT int nvmlDeviceGetMaxMigDeviceCount(const void *handle, unsigned *out)
{
	GPU("nvmlDeviceGetMaxMigDeviceCount");
	*out = 7;
	return 0;
}

/* Every second slot is empty, as on a real GPU after some instances were destroyed. */
EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(const void *handle, unsigned i, const void **out);
EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(const void *handle, unsigned i, const void **out)
{
	GPU("nvmlDeviceGetMigDeviceHandleByIndex");
	if (i % 2 || i / 2 >= migs_now(g))
		return 6;
	*out = &g->mig[i / 2];
	return 0;
}

EXPORT int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(const void *handle, const void **out);
EXPORT int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(const void *handle, const void **out)
{
	const struct mig *m = mig_of(handle);
	int rc = enter("nvmlDeviceGetDeviceHandleFromMigDeviceHandle");

	if (rc || !m)
		return rc ? rc : 2;
	*out = m->gpu;
	return 0;
}

EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, const void **out);
EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, const void **out)
{
	int rc = enter("nvmlDeviceGetHandleByUUID");
	char text[128];

	if (rc)
		return rc;
	for (struct gpu *g = f.gpu; g < f.gpu + f.n; g++) {
		if (!strcmp(g->uuid, uuid)) {
			*out = g;
			return 0;
		}
		for (unsigned i = 0; i < migs_now(g); i++) {
			snprintf(text, sizeof(text), "MIG-%.80s-%u", g->uuid + 4, g->mig[i].index);
			if (!strcmp(text, uuid)) {
				*out = &g->mig[i];
				return 0;
			}
		}
	}
	return 6;
}

EXPORT int nvmlDeviceGetGpuInstanceId(const void *handle, unsigned *out);
EXPORT int nvmlDeviceGetGpuInstanceId(const void *handle, unsigned *out)
{
	const struct mig *m = mig_of(handle);
	int rc = enter("nvmlDeviceGetGpuInstanceId");

	if (rc || !m)
		return rc ? rc : 2;
	*out = m->index + 7;
	return 0;
}

EXPORT int nvmlDeviceGetComputeInstanceId(const void *handle, unsigned *out);
EXPORT int nvmlDeviceGetComputeInstanceId(const void *handle, unsigned *out)
{
	const struct mig *m = mig_of(handle);
	int rc = enter("nvmlDeviceGetComputeInstanceId");

	if (rc || !m)
		return rc ? rc : 2;
	*out = 0;
	return 0;
}

/* nvmlDeviceAttributes_t: SMs 0, GI slices 24, CI slices 28, memory MB 32. */
EXPORT int nvmlDeviceGetAttributes_v2(const void *handle, char *out);
EXPORT int nvmlDeviceGetAttributes_v2(const void *handle, char *out)
{
	uint32_t sms = 16, gi = 1, ci = 1;
	uint64_t mb = 10240;
	int rc = enter("nvmlDeviceGetAttributes_v2");

	if (rc || !mig_of(handle))
		return rc ? rc : 2;
	memset(out, 0, 40);
	memcpy(out, &sms, 4);
	memcpy(out + 24, &gi, 4);
	memcpy(out + 28, &ci, 4);
	memcpy(out + 32, &mb, 8);
	return 0;
}
#endif
