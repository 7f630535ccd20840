/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU facts. The text of proc/cpuinfo is a list of "key : value" lines whose keys each architecture
 * chose for itself (x86 "model name", LoongArch "Model Name", POWER and SPARC "cpu", RISC-V
 * "uarch", s390 "processor 0: ... machine = 2817", Arm only numbers of the core design), so one
 * table of keys reads them all. Where sysfs has the topology it is preferred: it counts what is
 * online, and its lists do not depend on how ids are numbered
 * (Documentation/admin-guide/cputopology.rst).
 */
#include "host/cpu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define LIST_MAX      4096 /* bytes of a CPU list */

#define X_WORD(id, w) [EG_UARCH_##id] = w,
static const char *const uarch_words[] = {EG_UARCHES(X_WORD)};

const char *eg_uarch_word(enum eg_uarch u)
{
	return (unsigned)u < EG_ARRAY_SIZE(uarch_words) ? uarch_words[u] : "?";
}

/* Intel 64 SDM volume 4 table 2-1; family 6. max_stepping: last one of this name, inclusive. */
static const struct {
	uint8_t model, max_stepping;
	enum eg_uarch uarch;
} intel6[] = {
	{26, 255, EG_UARCH_NEHALEM},	    {30, 255, EG_UARCH_NEHALEM},
	{31, 255, EG_UARCH_NEHALEM},	    {46, 255, EG_UARCH_NEHALEM},
	{37, 255, EG_UARCH_WESTMERE},	    {44, 255, EG_UARCH_WESTMERE},
	{47, 255, EG_UARCH_WESTMERE},	    {42, 255, EG_UARCH_SANDYBRIDGE},
	{45, 255, EG_UARCH_SANDYBRIDGE},    {58, 255, EG_UARCH_IVYBRIDGE},
	{62, 255, EG_UARCH_IVYBRIDGE},	    {60, 255, EG_UARCH_HASWELL},
	{63, 255, EG_UARCH_HASWELL},	    {69, 255, EG_UARCH_HASWELL},
	{70, 255, EG_UARCH_HASWELL},	    {61, 255, EG_UARCH_BROADWELL},
	{71, 255, EG_UARCH_BROADWELL},	    {79, 255, EG_UARCH_BROADWELL},
	{86, 255, EG_UARCH_BROADWELL},	    {78, 255, EG_UARCH_SKYLAKE},
	{94, 255, EG_UARCH_SKYLAKE},	    {85, 4, EG_UARCH_SKYLAKE},
	{85, 9, EG_UARCH_CASCADELAKE},	    {85, 255, EG_UARCH_COOPERLAKE},
	{142, 9, EG_UARCH_KABYLAKE},	    {142, 255, EG_UARCH_COFFEELAKE},
	{158, 9, EG_UARCH_KABYLAKE},	    {158, 255, EG_UARCH_COFFEELAKE},
	{165, 255, EG_UARCH_COMETLAKE},	    {166, 255, EG_UARCH_COMETLAKE},
	{106, 255, EG_UARCH_ICELAKE},	    {108, 255, EG_UARCH_ICELAKE},
	{125, 255, EG_UARCH_ICELAKE},	    {126, 255, EG_UARCH_ICELAKE},
	{140, 255, EG_UARCH_TIGERLAKE},	    {141, 255, EG_UARCH_TIGERLAKE},
	{167, 255, EG_UARCH_ROCKETLAKE},    {151, 255, EG_UARCH_ALDERLAKE},
	{154, 255, EG_UARCH_ALDERLAKE},	    {190, 255, EG_UARCH_ALDERLAKE},
	{183, 255, EG_UARCH_RAPTORLAKE},    {186, 255, EG_UARCH_RAPTORLAKE},
	{191, 255, EG_UARCH_RAPTORLAKE},    {170, 255, EG_UARCH_METEORLAKE},
	{172, 255, EG_UARCH_METEORLAKE},    {143, 255, EG_UARCH_SAPPHIRERAPIDS},
	{207, 255, EG_UARCH_EMERALDRAPIDS}, {173, 255, EG_UARCH_GRANITERAPIDS},
	{174, 255, EG_UARCH_GRANITERAPIDS}, {175, 255, EG_UARCH_SIERRAFOREST},
};

/* AMD processor programming references; the server parts are also named EPYC. */
static const struct {
	uint8_t family, first, last;
	enum eg_uarch uarch, server;
} amd[] = {
	{23, 0x01, 0x01, EG_UARCH_ZEN, EG_UARCH_EPYC1},
	{23, 0x08, 0x2f, EG_UARCH_ZEN, EG_UARCH_UNKNOWN},
	{23, 0x31, 0x31, EG_UARCH_ZEN2, EG_UARCH_EPYC2},
	{23, 0x30, 0xaf, EG_UARCH_ZEN2, EG_UARCH_UNKNOWN},
	{25, 0x00, 0x0f, EG_UARCH_ZEN3, EG_UARCH_EPYC3},
	{25, 0x10, 0x1f, EG_UARCH_ZEN4, EG_UARCH_EPYC4},
	{25, 0xa0, 0xaf, EG_UARCH_ZEN4, EG_UARCH_EPYC4},
	{25, 0x60, 0x7f, EG_UARCH_ZEN4, EG_UARCH_UNKNOWN},
	{25, 0x20, 0x5f, EG_UARCH_ZEN3, EG_UARCH_UNKNOWN},
	{26, 0x00, 0x1f, EG_UARCH_ZEN5, EG_UARCH_EPYC5},
	{26, 0x20, 0x7f, EG_UARCH_ZEN5, EG_UARCH_UNKNOWN},
};

/* "CPU implementer" (Arm ARM, MIDR_EL1). */
static const struct {
	uint8_t id;
	const char *name;
} arm_vendors[] = {
	{0x41, "Arm"},	     {0x42, "Broadcom"}, {0x43, "Cavium"}, {0x46, "Fujitsu"},
	{0x48, "HiSilicon"}, {0x4e, "NVIDIA"},	 {0x50, "APM"},	   {0x51, "Qualcomm"},
	{0x53, "Samsung"},   {0x56, "Marvell"},	 {0x61, "Apple"},  {0x69, "Intel"},
	{0x6d, "Microsoft"}, {0x70, "Phytium"},	 {0xc0, "Ampere"},
};

/* "CPU part" of Arm's own designs (their technical reference manuals). */
static const struct {
	uint16_t part;
	enum eg_uarch uarch;
	const char *name;
} arm_parts[] = {
	{0xc07, 0, "Cortex-A7"},
	{0xc09, 0, "Cortex-A9"},
	{0xc0f, 0, "Cortex-A15"},
	{0xd03, 0, "Cortex-A53"},
	{0xd04, 0, "Cortex-A35"},
	{0xd05, 0, "Cortex-A55"},
	{0xd07, 0, "Cortex-A57"},
	{0xd08, 0, "Cortex-A72"},
	{0xd09, 0, "Cortex-A73"},
	{0xd0a, 0, "Cortex-A75"},
	{0xd0b, 0, "Cortex-A76"},
	{0xd0d, 0, "Cortex-A77"},
	{0xd41, 0, "Cortex-A78"},
	{0xd44, 0, "Cortex-X1"},
	{0xd46, 0, "Cortex-A510"},
	{0xd47, 0, "Cortex-A710"},
	{0xd48, 0, "Cortex-X2"},
	{0xd4d, 0, "Cortex-A715"},
	{0xd4e, 0, "Cortex-X3"},
	{0xd0c, EG_UARCH_NEOVERSE_N1, "Neoverse-N1"},
	{0xd40, EG_UARCH_NEOVERSE_V1, "Neoverse-V1"},
	{0xd49, EG_UARCH_NEOVERSE_N2, "Neoverse-N2"},
	{0xd4f, EG_UARCH_NEOVERSE_V2, "Neoverse-V2"},
};

enum eg_uarch eg_uarch_of(const char *vendor, int family, int model, int stepping,
			  const char *model_name)
{
	if (model < 0)
		return EG_UARCH_UNKNOWN;
	if (!strcmp(vendor, "GenuineIntel") && family == 6) {
		for (size_t i = 0; i < EG_ARRAY_SIZE(intel6); i++) {
			bool one_name = intel6[i].max_stepping == 255 &&
					(i == 0 || intel6[i - 1].model != intel6[i].model);

			if (intel6[i].model == model &&
			    (one_name || (stepping >= 0 && stepping <= intel6[i].max_stepping)))
				return intel6[i].uarch;
		}
	} else if (!strcmp(vendor, "AuthenticAMD")) {
		for (size_t i = 0; i < EG_ARRAY_SIZE(amd); i++) {
			if (amd[i].family != family || model < amd[i].first || model > amd[i].last)
				continue;
			return amd[i].server != EG_UARCH_UNKNOWN && strstr(model_name, "EPYC") ?
				       amd[i].server :
				       amd[i].uarch;
		}
	}
	return EG_UARCH_UNKNOWN;
}

/* ---- proc/cpuinfo ---- */

struct scan {
	struct eg_cpu cpu;
	unsigned name_rank;
	uint32_t listed, said; /* processors counted, and as a summary line says */
	int implementer, part; /* Arm; -1 */
	bool mixed;	       /* cores of different design */
	int64_t package, core; /* of the processor being read; -1 */
	bool any_package, all_package, all_core;
	uint64_t *id; /* package << 32 | core */
	size_t n_id;
};

/* Copies printable text with runs of blanks made one. */
static void copy_text(char *dst, size_t cap, const char *s, size_t n)
{
	size_t len = 0;

	for (size_t i = 0; i < n && len + 1 < cap; i++) {
		char c = s[i];

		if (c == ' ' || c == '\t') {
			if (len == 0 || dst[len - 1] == ' ')
				continue;
			c = ' ';
		} else if ((unsigned char)c < 0x20 || (unsigned char)c >= 0x7f) {
			c = '?';
		}
		dst[len++] = c;
	}
	while (len && dst[len - 1] == ' ')
		len--;
	dst[len] = '\0';
}

static void set_name(struct scan *s, unsigned rank, const char *v, size_t n)
{
	if (rank <= s->name_rank || n == 0)
		return;
	copy_text(s->cpu.model_name, sizeof(s->cpu.model_name), v, n);
	s->name_rank = rank;
}

static int64_t number(const char *v, size_t n, int64_t max)
{
	uint64_t u;
	int r = n > 2 && v[0] == '0' && v[1] == 'x' ? eg_parse_hex(v + 2, n - 2, &u) :
						      eg_parse_u64(v, n, &u);

	return r == 0 && u <= (uint64_t)max ? (int64_t)u : -1;
}

static void set_once(int *field, const char *v, size_t n)
{
	if (*field < 0)
		*field = (int)number(v, n, INT32_MAX);
}

static void end_processor(struct scan *s)
{
	if (s->listed == 0)
		return;
	if (s->package < 0) {
		s->all_package = false;
	} else if (s->n_id < EG_CPUS_MAX) {
		s->any_package = true;
		s->all_core = s->all_core && s->core >= 0;
		s->id[s->n_id++] = (uint64_t)s->package << 32 | (uint32_t)s->core;
	}
	s->package = s->core = -1;
}

/* "fpu vme hypervisor lahf_lm": is the whole word there? */
static bool has_word(const char *v, size_t n, const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; i + len <= n; i++) {
		if ((i == 0 || v[i - 1] == ' ') && !memcmp(v + i, word, len) &&
		    (i + len == n || v[i + len] == ' '))
			return true;
	}
	return false;
}

static void s390_processor(struct scan *s, const char *v, size_t n)
{
	static const char key[] = "machine = ";
	const char *m = memmem(v, n, key, sizeof(key) - 1);

	s->listed++;
	if (m && s->name_rank == 0) {
		const char *from = m + sizeof(key) - 1;
		char text[64];

		snprintf(text, sizeof(text), "%s machine %.*s",
			 *s->cpu.vendor ? s->cpu.vendor : "s390", (int)EG_MIN(v + n - from, 16),
			 from);
		set_name(s, 1, text, strlen(text));
	}
}

static void arm_part(struct scan *s, const char *v, size_t n)
{
	int part = (int)number(v, n, UINT16_MAX);

	if (s->part >= 0 && part >= 0 && part != s->part)
		s->mixed = true;
	if (s->part < 0)
		s->part = part;
}

static void line(struct scan *s, const char *k, size_t kn, const char *v, size_t vn)
{
#define KEY(text) (kn == sizeof(text) - 1 && !memcmp(k, text, kn))
	struct eg_cpu *c = &s->cpu;
	int64_t u;

	if (KEY("processor")) {
		end_processor(s);
		s->listed++;
	} else if (kn > 10 && !memcmp(k, "processor ", 10)) {
		s390_processor(s, v, vn);
	} else if (KEY("# processors") || KEY("ncpus active")) {
		u = number(v, vn, EG_CPUS_MAX);
		s->said = u > 0 ? (uint32_t)u : s->said;
	} else if (KEY("vendor_id")) {
		if (!*c->vendor)
			copy_text(c->vendor, sizeof(c->vendor), v, vn);
	} else if (KEY("model name") || KEY("Model Name")) {
		set_name(s, 3, v, vn);
	} else if (KEY("cpu") || KEY("cpu model") || KEY("uarch")) {
		set_name(s, 2, v, vn);
	} else if (KEY("cpu family")) {
		set_once(&c->family, v, vn);
	} else if (KEY("model")) {
		set_once(&c->model, v, vn);
	} else if (KEY("stepping")) {
		set_once(&c->stepping, v, vn);
	} else if (KEY("physical id") || KEY("package")) {
		s->package = number(v, vn, INT32_MAX);
	} else if (KEY("core id") || KEY("core")) {
		s->core = number(v, vn, INT32_MAX);
	} else if (KEY("CPU implementer")) {
		set_once(&s->implementer, v, vn);
	} else if (KEY("CPU part")) {
		arm_part(s, v, vn);
	} else if (KEY("flags")) {
		c->hypervisor = c->hypervisor || has_word(v, vn, "hypervisor");
	}
#undef KEY
}

static int cmp_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void count_topology(struct scan *s)
{
	uint32_t sockets = 0, cores = 0;

	if (!s->any_package || !s->all_package)
		return;
	qsort(s->id, s->n_id, sizeof(*s->id), cmp_u64);
	for (size_t i = 0; i < s->n_id; i++) {
		sockets += i == 0 || s->id[i] >> 32 != s->id[i - 1] >> 32;
		cores += i == 0 || s->id[i] != s->id[i - 1];
	}
	s->cpu.sockets = sockets;
	s->cpu.cores = s->all_core ? cores : 0;
}

static void name_arm(struct scan *s)
{
	struct eg_cpu *c = &s->cpu;
	char text[80];

	if (s->implementer < 0)
		return;
	for (size_t i = 0; i < EG_ARRAY_SIZE(arm_vendors); i++)
		if (arm_vendors[i].id == s->implementer)
			eg_copy(c->vendor, sizeof(c->vendor), arm_vendors[i].name);
	if (s->part < 0)
		return;
	for (size_t i = 0; s->implementer == 0x41 && i < EG_ARRAY_SIZE(arm_parts); i++) {
		if (arm_parts[i].part != s->part)
			continue;
		c->uarch = s->mixed ? EG_UARCH_UNKNOWN : arm_parts[i].uarch;
		snprintf(text, sizeof(text), "%s%s", arm_parts[i].name,
			 s->mixed ? " and others" : "");
		set_name(s, 4, text, strlen(text));
		return;
	}
	snprintf(text, sizeof(text), "%s part 0x%03x%s", *c->vendor ? c->vendor : "CPU",
		 (unsigned)s->part, s->mixed ? " and others" : "");
	set_name(s, 1, text, strlen(text));
}

int eg_cpuinfo_parse(const char *text, size_t n, struct eg_cpu *ret)
{
	eg_autofree uint64_t *id = malloc(EG_CPUS_MAX * sizeof(*id));
	struct scan s = {.cpu = {.family = -1, .model = -1, .stepping = -1},
			 .implementer = -1,
			 .part = -1,
			 .package = -1,
			 .core = -1,
			 .all_package = true,
			 .all_core = true,
			 .id = id};
	const char *end = text + n;

	if (!id)
		return -ENOMEM;
	for (const char *p = text; p < end;) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		const char *stop = nl ? nl : end;
		const char *colon = memchr(p, ':', (size_t)(stop - p));

		if (colon) {
			const char *k_end = colon, *v = colon + 1, *v_end = stop;

			while (k_end > p && (k_end[-1] == ' ' || k_end[-1] == '\t'))
				k_end--;
			while (v < v_end && (*v == ' ' || *v == '\t'))
				v++;
			while (v_end > v && strchr(" \t\r", v_end[-1]) && v_end[-1])
				v_end--;
			line(&s, p, (size_t)(k_end - p), v, (size_t)(v_end - v));
		}
		p = stop + 1;
	}
	end_processor(&s);
	s.cpu.threads = EG_MIN(EG_MAX(s.listed, s.said), EG_CPUS_MAX);
	if (s.cpu.threads == 0)
		return -ENODATA;
	count_topology(&s);
	s.cpu.uarch = eg_uarch_of(s.cpu.vendor, s.cpu.family, s.cpu.model, s.cpu.stepping,
				  s.cpu.model_name);
	name_arm(&s);
	*ret = s.cpu;
	return 0;
}

/* ---- sys/devices/system/cpu ---- */

/* Takes the next range off a CPU list. 1: there was one; 0: end; -EPROTO. */
static int next_range(const char **list, uint32_t *ret_lo, uint32_t *ret_hi)
{
	const char *s = *list;
	size_t n = strcspn(s, ","), dash;
	uint64_t lo, hi;

	if (*s == '\0')
		return 0;
	dash = strcspn(s, "-");
	if (dash >= n) {
		if (eg_parse_u64(s, n, &lo) < 0)
			return -EPROTO;
		hi = lo;
	} else if (eg_parse_u64(s, dash, &lo) < 0 ||
		   eg_parse_u64(s + dash + 1, n - dash - 1, &hi) < 0) {
		return -EPROTO;
	}
	if (lo > hi || hi >= EG_CPUS_MAX || (s[n] == ',' && s[n + 1] == '\0'))
		return -EPROTO;
	*list = s + n + (s[n] == ',');
	*ret_lo = (uint32_t)lo;
	*ret_hi = (uint32_t)hi;
	return 1;
}

int eg_cpulist_count(const char *list, uint32_t *ret_count, uint32_t *ret_first)
{
	uint32_t count = 0, first = UINT32_MAX, lo, hi;
	int r;

	while ((r = next_range(&list, &lo, &hi)) > 0) {
		count += hi - lo + 1;
		first = EG_MIN(first, lo);
		if (count > EG_CPUS_MAX)
			return -EPROTO;
	}
	if (r < 0 || count == 0)
		return -EPROTO;
	*ret_count = count;
	*ret_first = first;
	return 0;
}

/* The first CPU of a topology list of one CPU; either of two names (old and new kernels). */
static int first_of(const struct eg_env *env, uint32_t cpu, const char *name, const char *old_name,
		    uint32_t *ret)
{
	const char *names[] = {name, old_name};
	char path[96], text[LIST_MAX];
	uint32_t count;

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "sys/devices/system/cpu/cpu%u/topology/%s", cpu,
			 names[i]);
		if (eg_fs_read_text(&env->fs, path, text, sizeof(text)) >= 0)
			return eg_cpulist_count(text, &count, ret);
	}
	return -ENOENT;
}

/* Each core and package is counted at the first CPU of its list. All or nothing. */
static int sysfs_topology(const struct eg_env *env, const char *online, struct eg_cpu *ret)
{
	uint32_t sockets = 0, cores = 0, lo, hi, first;
	bool packages = true;
	char path[96], text[32];
	int r;

	while ((r = next_range(&online, &lo, &hi)) > 0) {
		for (uint32_t c = lo; c <= hi; c++) {
			r = first_of(env, c, "core_cpus_list", "thread_siblings_list", &first);
			if (r < 0)
				return r;
			cores += first == c;
			/* -1: the machine has no notion of packages; its lists mean nothing. */
			snprintf(path, sizeof(path),
				 "sys/devices/system/cpu/cpu%u/topology/physical_package_id", c);
			packages = packages &&
				   eg_fs_read_text(&env->fs, path, text, sizeof(text)) > 0 &&
				   text[0] != '-' &&
				   first_of(env, c, "package_cpus_list", "core_siblings_list",
					    &first) == 0;
			sockets += packages && first == c;
		}
	}
	if (r < 0)
		return r;
	ret->cores = cores;
	if (packages)
		ret->sockets = sockets;
	return 0;
}

int eg_cpu_read(const struct eg_env *env, struct eg_cpu *ret)
{
	struct eg_cpu cpu = {.family = -1, .model = -1, .stepping = -1};
	eg_autofree char *text = NULL;
	char online[LIST_MAX];
	uint32_t count, first;
	size_t n;
	int r;

	r = eg_fs_read_all(&env->fs, "proc/cpuinfo", EG_CPUINFO_MAX, &text, &n);
	if (r == 0)
		r = eg_cpuinfo_parse(text, n, &cpu);
	if (eg_fs_read_text(&env->fs, "sys/devices/system/cpu/online", online, sizeof(online)) >
		    0 &&
	    eg_cpulist_count(online, &count, &first) == 0) {
		cpu.threads = count;
		sysfs_topology(env, online, &cpu);
		r = 0;
	}
	if (r < 0)
		return r;
	*ret = cpu;
	return 0;
}

/* ---- proc/stat ---- */

int eg_cpu_time_parse(const char *text, size_t n, struct eg_cpu_time *ret)
{
	const char *nl = memchr(text, '\n', n);
	const char *end = nl ? nl : text + n, *p;
	uint64_t f[8] = {0}; /* user nice system idle iowait irq softirq steal; guests are inside */
	size_t k = 0;

	if (end - text < 4 || memcmp(text, "cpu ", 4) != 0)
		return -EPROTO;
	for (p = text + 4; p < end && k < EG_ARRAY_SIZE(f);) {
		const char *q;

		while (p < end && *p == ' ')
			p++;
		for (q = p; q < end && *q != ' ';)
			q++;
		if (q == p)
			break;
		if (eg_parse_u64(p, (size_t)(q - p), &f[k]) < 0 || f[k] > UINT64_MAX / 16)
			return -EPROTO;
		k++;
		p = q;
	}
	if (k < 4)
		return -EPROTO;
	ret->busy = f[0] + f[1] + f[2] + f[5] + f[6];
	ret->steal = f[7];
	ret->total = ret->busy + f[3] + f[4] + f[7];
	return 0;
}

int eg_cpu_time_pread(const struct eg_fs *fs, int fd, struct eg_cpu_time *ret)
{
	char buf[512];
	ssize_t n = eg_fs_pread(fs, fd, buf, sizeof(buf), 0);

	if (n < 0)
		return (int)n;
	/* A first line longer than the buffer is not proc/stat. */
	if ((size_t)n == sizeof(buf) && !memchr(buf, '\n', sizeof(buf)))
		return -EPROTO;
	return eg_cpu_time_parse(buf, (size_t)n, ret);
}

int eg_cpu_busy_ratio(const struct eg_cpu_time *from, const struct eg_cpu_time *to, double *ret)
{
	if (to->busy < from->busy)
		return -ERANGE;
	/* iowait may step back by a tick (proc(5)), so a total that did not grow is no reset. */
	if (to->total <= from->total)
		return -ENODATA;
	double u = (double)(to->busy - from->busy) / (double)(to->total - from->total);

	*ret = EG_MIN(u, 1.0);
	return 0;
}
