/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AMD graphics cards and accelerators: one channel a card, by the best interface it has. Best first:
 * the energy counter of AMD SMI or ROCm SMI (smi.c), the one of the kernel's gpu_metrics table
 * (gpu_metrics.c), then power by hwmon, gpu_metrics, SMI. Cards are found in sysfs, so that a vendor
 * library is loaded only where a card is.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "core/driver.h"
#include "drivers/amdgpu/gpu_metrics.h"
#include "drivers/amdgpu/smi.h"

#define DRM_DIR	    "sys/class/drm"
#define HWMON_DIR   "sys/class/hwmon"
#define CARDS_MAX   128
#define NUMBERS_MAX 256 /* cardN and hwmonN looked at for a card that came back */
#define DIR_MAX	    64
#define RETRY_NS    (5 * EG_NSEC_PER_SEC)

enum method { BY_SMI_ENERGY, BY_METRICS_ENERGY, BY_HWMON, BY_METRICS_POWER, BY_SMI_POWER };

struct card {
	char bdf[EG_SMI_BDF_MAX]; /* "" unknown */
	char drm[DIR_MAX];	  /* "sys/class/drm/card0/device", "" none */
	char hwmon[DIR_MAX];	  /* "sys/class/hwmon/hwmon3", "" none */
	const char *power_file;	  /* of hwmon */
	enum method method;
	int smi; /* its index there, -1 none */
	bool apu;
	int fd;		/* of gpu_metrics or of the power file */
	int celsius_fd; /* of temp1_input (edge) of hwmon, -1 none */
	double celsius; /* at the last read; NaN unknown */
	bool gone;
	uint64_t retry_ns;
	uint32_t epoch;
};

struct eg_instance {
	const struct eg_env *env;
	struct eg_smi *smi;
	struct card card[CARDS_MAX];
	struct eg_channel channel[CARDS_MAX];
	size_t n;
	uint64_t max_uw;
	bool may_block, blocked;
};

/* ---- finding cards ---- */

static bool is_bdf(const char *s)
{
	static const char shape[] = "xxxx:xx:xx.x";

	for (size_t i = 0; i < sizeof(shape); i++) {
		if (shape[i] == 'x' ? !strchr("0123456789abcdef", s[i]) || !s[i] : s[i] != shape[i])
			return false;
	}
	return true;
}

/* The PCI address behind a `device`: of the link, else of its uevent; "" where neither tells. */
static void bdf_of(const struct eg_fs *fs, const char *device, char ret[EG_SMI_BDF_MAX])
{
	char path[EG_PATH_MAX], text[EG_PATH_MAX];
	const char *p;
	ssize_t n = eg_fs_readlink(fs, device, text, sizeof(text) - 1);

	ret[0] = '\0';
	if (n > 0) {
		text[n] = '\0';
		p = strrchr(text, '/');
		p = p ? p + 1 : text;
		if (is_bdf(p))
			(void)eg_copy(ret, EG_SMI_BDF_MAX, p);
		if (ret[0])
			return;
	}
	snprintf(path, sizeof(path), "%s/uevent", device);
	if (eg_fs_read_text(fs, path, text, sizeof(text)) < 0)
		return;
	p = strstr(text, "PCI_SLOT_NAME=");
	if (!p || (p != text && p[-1] != '\n'))
		return;
	p += strlen("PCI_SLOT_NAME=");
	if (strlen(p) >= 12) {
		char bdf[13];

		memcpy(bdf, p, 12);
		bdf[12] = '\0';
		if (is_bdf(bdf))
			(void)eg_copy(ret, EG_SMI_BDF_MAX, bdf);
	}
}

/* A drm card of AMD: fills its folder and address. */
static bool drm_card(const struct eg_fs *fs, const char *entry, char dir[DIR_MAX],
		     char bdf[EG_SMI_BDF_MAX])
{
	char path[EG_PATH_MAX], text[32];
	const char *digits = entry + 4;

	if (strncmp(entry, "card", 4) != 0 || !digits[0] || strlen(digits) > 6 ||
	    strspn(digits, "0123456789") != strlen(digits))
		return false; /* "card0-DP-1" is a connector */
	snprintf(dir, DIR_MAX, DRM_DIR "/%.10s/device", entry);
	snprintf(path, sizeof(path), "%s/vendor", dir);
	if (eg_fs_read_text(fs, path, text, sizeof(text)) < 0 || strcmp(text, "0x1002") != 0)
		return false;
	bdf_of(fs, dir, bdf);
	return true;
}

/* A hwmon chip of amdgpu. */
static bool hwmon_chip(const struct eg_fs *fs, const char *entry, char dir[DIR_MAX],
		       char bdf[EG_SMI_BDF_MAX])
{
	char path[EG_PATH_MAX], text[32];

	if (strlen(entry) > 32)
		return false;
	snprintf(dir, DIR_MAX, HWMON_DIR "/%.32s", entry);
	snprintf(path, sizeof(path), "%s/name", dir);
	if (eg_fs_read_text(fs, path, text, sizeof(text)) < 0 || strcmp(text, "amdgpu") != 0)
		return false;
	snprintf(path, sizeof(path), "%s/device", dir);
	bdf_of(fs, path, bdf);
	return true;
}

static struct card *card_at(struct eg_instance *in, const char *bdf)
{
	for (size_t i = 0; bdf[0] && i < in->n; i++)
		if (strcmp(in->card[i].bdf, bdf) == 0)
			return &in->card[i];
	return NULL;
}

static struct card *add_card(struct eg_instance *in, const char *bdf, struct eg_diags *diags)
{
	struct card *c = card_at(in, bdf);

	if (c)
		return c;
	if (in->n == CARDS_MAX) {
		eg_diag_add(diags, EG_DIAG_CONFIG, "amdgpu", bdf, "",
			    "more than %d cards: the rest is left out", CARDS_MAX);
		return NULL;
	}
	c = &in->card[in->n++];
	*c = (struct card){.smi = -1, .fd = -1, .celsius_fd = -1, .celsius = NAN};
	(void)eg_copy(c->bdf, sizeof(c->bdf), bdf);
	return c;
}

static int list_dir(struct eg_instance *in, const char *dir, struct eg_names *ret,
		    struct eg_diags *diags)
{
	int r = eg_fs_list(&in->env->fs, dir, ret);

	if (r == 0 || r == -ENOENT)
		return 0;
	eg_diag_add(diags, eg_diag_code_of(r), "amdgpu", dir, "", "%s: %s", dir, eg_errno_text(r));
	return r;
}

/*
 * A chip or a card whose address is unknown could be one of those found already: counted twice is
 * worse than shown once. A card that has its chip is no candidate.
 */
static bool may_be_known(struct eg_instance *in, const char *bdf)
{
	for (size_t i = 0; i < in->n; i++)
		if (in->card[i].drm[0] && !in->card[i].hwmon[0] && (!bdf[0] || !in->card[i].bdf[0]))
			return !card_at(in, bdf);
	return false;
}

static void add_chips(struct eg_instance *in, const struct eg_names *names, bool with_address,
		      struct eg_diags *diags)
{
	char dir[DIR_MAX], bdf[EG_SMI_BDF_MAX];

	for (size_t i = 0; i < names->n; i++) {
		struct card *c;

		if (!hwmon_chip(&in->env->fs, names->name[i], dir, bdf) || !bdf[0] == with_address)
			continue;
		if (may_be_known(in, bdf)) {
			eg_diag_add(diags, EG_DIAG_NOT_COUNTED, "amdgpu", dir, "",
				    "which card it belongs to is not told: it may be one that is "
				    "counted already");
			continue;
		}
		c = add_card(in, bdf, diags);
		if (c && !c->hwmon[0])
			(void)eg_copy(c->hwmon, sizeof(c->hwmon), dir);
	}
}

static int find_cards(struct eg_instance *in, struct eg_diags *diags)
{
	char dir[DIR_MAX], bdf[EG_SMI_BDF_MAX];
	struct eg_names names = {0};
	struct card *c;
	int r = list_dir(in, DRM_DIR, &names, diags);

	for (size_t i = 0; r == 0 && i < names.n; i++) {
		if (!drm_card(&in->env->fs, names.name[i], dir, bdf))
			continue;
		c = add_card(in, bdf, diags);
		if (c && !c->drm[0])
			(void)eg_copy(c->drm, sizeof(c->drm), dir);
	}
	eg_names_free(&names);
	if (r == 0)
		r = list_dir(in, HWMON_DIR, &names, diags);
	if (r == 0) {
		add_chips(in, &names, true, diags);
		add_chips(in, &names, false, diags);
	}
	eg_names_free(&names);
	return r;
}

/* ---- choosing how to read a card ---- */

/* Reads the table through a descriptor into a decoded value. */
static int read_metrics(const struct eg_fs *fs, int fd, struct eg_amdgpu_metrics *ret,
			bool *ret_apu)
{
	uint8_t table[EG_AMDGPU_METRICS_MAX];
	ssize_t n = eg_fs_pread(fs, fd, table, sizeof(table), 0);

	if (n < 0)
		return (int)n;
	if (ret_apu)
		*ret_apu = eg_amdgpu_metrics_is_apu(table, (size_t)n);
	return eg_amdgpu_metrics_decode(table, (size_t)n, ret);
}

static void report(struct eg_instance *in, const struct card *c, const char *what, int err,
		   struct eg_diags *diags)
{
	bool denied = err == -EACCES || err == -EPERM;

	in->blocked |= denied;
	eg_diag_add(diags, eg_diag_code_of(err), "amdgpu", c->bdf[0] ? c->bdf : c->hwmon,
		    denied ? "run as root, or join the groups render and video" : "", "%s: %s",
		    what, eg_errno_text(err));
}

static int open_file(const struct eg_fs *fs, struct card *c)
{
	bool hwmon = c->method == BY_HWMON;
	int fd = hwmon ? eg_fs_openf(fs, "%s/%s", c->hwmon, c->power_file) :
			 eg_fs_openf(fs, "%s/gpu_metrics", c->drm);

	if (fd < 0)
		return fd;
	c->fd = fd;
	return 0;
}

static void close_file(const struct eg_fs *fs, struct card *c)
{
	eg_fs_close(fs, c->fd);
	c->fd = -1;
}

/* The chip may have another number since the card was found; then it has no temperature. */
static void open_celsius(const struct eg_fs *fs, struct card *c)
{
	char dir[DIR_MAX], bdf[EG_SMI_BDF_MAX];

	eg_fs_close(fs, c->celsius_fd);
	c->celsius_fd = -1;
	if (c->hwmon[0] && hwmon_chip(fs, c->hwmon + sizeof(HWMON_DIR), dir, bdf) &&
	    strcmp(bdf, c->bdf) == 0)
		c->celsius_fd = eg_fs_openf(fs, "%s/temp1_input", c->hwmon);
}

/* Millidegrees, below zero too. NaN: not told. */
static double read_celsius(const struct eg_fs *fs, int fd)
{
	char text[32];
	ssize_t n = fd >= 0 ? eg_fs_pread(fs, fd, text, sizeof(text), 0) : -ENODATA;
	int64_t v;

	if (n < 0 || n == (ssize_t)sizeof(text) || eg_parse_i64(text, (size_t)n, &v) != 0 ||
	    v < -273150 || v > 1000000)
		return NAN;
	return (double)v / 1000;
}

/* What each interface of a card showed once, at open. */
struct offer {
	bool has[BY_SMI_POWER + 1];
	bool any_energy, any_power; /* something above zero was seen */
};

static void try_smi(struct eg_instance *in, struct card *c, struct offer *o, struct eg_diags *diags)
{
	uint64_t v;
	int r;

	if (!in->smi || !c->bdf[0])
		return;
	c->smi = eg_smi_find(in->smi, c->bdf);
	if (c->smi < 0)
		return;
	r = eg_smi_energy(in->smi, c->smi, &v);
	if (r == 0)
		o->has[BY_SMI_ENERGY] = true, o->any_energy |= v > 0;
	else if (r != -ENOTSUP && r != -ENODATA)
		report(in, c, eg_smi_energy_symbol(in->smi), r, diags);
	r = eg_smi_power_uw(in->smi, c->smi, &v);
	if (r == 0)
		o->has[BY_SMI_POWER] = true, o->any_power |= v > 0;
}

static void try_metrics(struct eg_instance *in, struct card *c, struct offer *o,
			struct eg_diags *diags)
{
	const struct eg_fs *fs = &in->env->fs;
	struct eg_amdgpu_metrics m;
	char what[DIR_MAX + 16];
	int r;

	if (!c->drm[0])
		return;
	snprintf(what, sizeof(what), "%s/gpu_metrics", c->drm);
	c->method = BY_METRICS_ENERGY;
	r = open_file(fs, c);
	if (r == -ENOENT)
		return; /* an old card or kernel */
	if (r == 0) {
		r = read_metrics(fs, c->fd, &m, &c->apu);
		close_file(fs, c);
	}
	if (r != 0) {
		report(in, c, what, r, diags);
		return;
	}
	o->has[BY_METRICS_ENERGY] = m.have_energy;
	o->has[BY_METRICS_POWER] = m.have_power;
	o->any_energy |= m.have_energy && m.energy > 0;
	o->any_power |= m.have_power && m.power_uw > 0;
}

static void try_hwmon(struct eg_instance *in, struct card *c, struct offer *o,
		      struct eg_diags *diags)
{
	static const char *const files[] = {"power1_average", "power1_input"};
	const struct eg_fs *fs = &in->env->fs;

	if (!c->hwmon[0])
		return;
	for (size_t i = 0; i < EG_ARRAY_SIZE(files) && !o->has[BY_HWMON]; i++) {
		char what[DIR_MAX + 16];
		uint64_t uw;
		int r;

		c->method = BY_HWMON;
		c->power_file = files[i];
		snprintf(what, sizeof(what), "%s/%s", c->hwmon, files[i]);
		r = open_file(fs, c);
		if (r == -ENOENT)
			continue;
		if (r == 0) {
			r = eg_fs_pread_u64(fs, c->fd, &uw);
			close_file(fs, c);
		}
		/* A card asleep has no value now; one that cannot has none ever. */
		if (r == 0 || r == -EAGAIN || r == -ENODATA) {
			o->has[BY_HWMON] = true;
			o->any_power |= r == 0 && uw > 0;
		} else if (r != -EOPNOTSUPP && r != -EINVAL) {
			report(in, c, what, r, diags);
		}
	}
}

static uint64_t max_uw_of(const struct eg_instance *in, const struct card *c)
{
	char path[EG_PATH_MAX];
	uint64_t uw;

	snprintf(path, sizeof(path), "%s/power1_cap_max", c->hwmon);
	if (c->hwmon[0] && eg_fs_read_u64(&in->env->fs, path, &uw) == 0 && uw > 0 &&
	    uw < 100000000000ULL)
		return uw + uw / 2;
	return in->max_uw;
}

/* PCI address, else "card0" or "hwmon3". */
static void place_of(const struct card *c, char ret[DIR_MAX])
{
	const char *from = c->drm[0] ? c->drm + sizeof(DRM_DIR) : c->hwmon + sizeof(HWMON_DIR);

	if (c->bdf[0])
		(void)eg_copy(ret, DIR_MAX, c->bdf);
	else
		snprintf(ret, DIR_MAX, "%.*s", (int)strcspn(from, "/"), from);
}

static void describe_channel(const struct eg_instance *in, const struct card *c, unsigned number,
			     struct eg_channel *ch)
{
	bool energy = c->method == BY_SMI_ENERGY || c->method == BY_METRICS_ENERGY;
	char place[DIR_MAX];

	*ch = (struct eg_channel){
		.component = EG_COMPONENT_GPU,
		.source = EG_SOURCE_AMD_SMI,
		.boundary = EG_BOUNDARY_COMPONENT,
		.provenance = EG_PROVENANCE_MEASURED,
		.quantity = energy ? EG_QUANTITY_ENERGY : EG_QUANTITY_POWER,
		.unit_num = energy ? 15625 : 1, /* 2^-16 J = 15625/1024 uJ */
		.unit_den = energy ? 1024 : 1,
		.integrated_gpu = c->apu,
		.resolution_uj = energy ? 16 : 0,
		.max_uw = max_uw_of(in, c),
		.part_of = -1,
		.accuracy = {100000, 0, "no published figure: 10 % is our choice, unverified"},
	};
	place_of(c, place);
	snprintf(ch->domain, sizeof(ch->domain), "gpu-%u", number);
	snprintf(ch->device, sizeof(ch->device), "%s%s", c->bdf[0] ? "pci-" : "gpu-", place);
	snprintf(ch->label, sizeof(ch->label), "AMD %s %.40s", c->apu ? "APU" : "GPU", place);
	switch (c->method) {
	case BY_SMI_ENERGY:
	case BY_SMI_POWER:
		snprintf(ch->origin, sizeof(ch->origin), "%s %s", eg_smi_name(in->smi),
			 energy ? eg_smi_energy_symbol(in->smi) : eg_smi_power_symbol(in->smi));
		break;
	case BY_METRICS_ENERGY:
	case BY_METRICS_POWER:
		snprintf(ch->origin, sizeof(ch->origin), "%s/gpu_metrics", c->drm);
		break;
	case BY_HWMON:
		snprintf(ch->origin, sizeof(ch->origin), "%s/%s", c->hwmon, c->power_file);
		break;
	}
}

/* Decides how the card is read and opens it. -ENODEV: not at all, said why. */
static int set_up(struct eg_instance *in, struct card *c, bool alone, struct eg_diags *diags)
{
	struct offer o = {0};
	const char *subject;
	int m, r = 0;

	try_smi(in, c, &o, diags);
	try_metrics(in, c, &o, diags);
	try_hwmon(in, c, &o, diags);
	subject = c->bdf[0] ? c->bdf : c->hwmon[0] ? c->hwmon : c->drm;
	for (m = BY_SMI_ENERGY; m <= BY_SMI_POWER && !o.has[m]; m++)
		;
	if (m > BY_SMI_POWER) {
		eg_diag_add(diags, EG_DIAG_SENSOR_UNSUPPORTED, "amdgpu", subject,
			    "install ROCm, or use a newer kernel",
			    "the card tells neither energy nor power");
		return -ENODEV;
	}
	/*
	 * The second die of a two-die card (MI250): its sensors stand at zero, what it draws is in
	 * the counter of the first.
	 */
	if (!alone && !o.any_energy && !o.any_power &&
	    (o.has[BY_HWMON] || o.has[BY_METRICS_POWER] || o.has[BY_SMI_POWER])) {
		eg_diag_add(diags, EG_DIAG_NOT_COUNTED, "amdgpu", subject, "",
			    "energy and power are 0: the second die of a card is in the counter of "
			    "the first");
		return -ENODEV;
	}
	c->method = (enum method)m;
	if (m != BY_SMI_ENERGY && m != BY_SMI_POWER) {
		r = open_file(&in->env->fs, c);
		if (r < 0)
			report(in, c, m == BY_HWMON ? c->hwmon : c->drm, r, diags);
		else
			in->may_block |= eg_fs_may_block(&in->env->fs, c->fd);
	}
	if (r == 0)
		open_celsius(&in->env->fs, c);
	return r;
}

static int choose(struct eg_instance *in, struct eg_diags *diags)
{
	size_t found = in->n, kept = 0;

	for (size_t i = 0; i < found; i++) {
		struct card c = in->card[i];
		int r = set_up(in, &c, found == 1, diags);

		if (r == -ENOMEM || r == -EMFILE || r == -ENFILE) {
			in->n = kept;
			return r;
		}
		if (r < 0)
			continue;
		describe_channel(in, &c, (unsigned)kept, &in->channel[kept]);
		in->card[kept++] = c;
	}
	in->n = kept;
	return 0;
}

/* ---- the driver ---- */

static void amdgpu_close(struct eg_instance *in)
{
	if (!in)
		return;
	for (size_t i = 0; i < in->n; i++) {
		close_file(&in->env->fs, &in->card[i]);
		eg_fs_close(&in->env->fs, in->card[i].celsius_fd);
	}
	eg_smi_close(in->smi);
	free(in);
}

static int amdgpu_probe(const struct eg_env *env)
{
	return eg_fs_exists(&env->fs, DRM_DIR) || eg_fs_exists(&env->fs, HWMON_DIR) ? 0 : -ENODEV;
}

static int start(struct eg_instance *in, const struct eg_driver_config *cfg)
{
	int r = find_cards(in, cfg->diags);

	if (r < 0) {
		in->n = 0;
		return r;
	}
	if (in->n == 0) {
		eg_diag_add(cfg->diags, EG_DIAG_SENSOR_ABSENT, "amdgpu", DRM_DIR,
			    "load the amdgpu kernel driver where there is an AMD card",
			    "no AMD card in " DRM_DIR " or " HWMON_DIR);
		return -ENODEV;
	}
	r = eg_smi_open(&in->env->loader, cfg->diags, &in->smi);
	if (r == -ENOMEM) {
		in->n = 0;
		return r;
	}
	r = choose(in, cfg->diags);
	if (r < 0)
		return r;
	if (in->n == 0)
		return in->blocked ? -EACCES : -ENODEV;
	return 0;
}

static int amdgpu_open(const struct eg_env *env, const struct eg_driver_config *cfg,
		       struct eg_instance **ret)
{
	const char *text = eg_setting_get(cfg, "amdgpu", "max_watts");
	uint64_t max_w = 1500;
	struct eg_instance *in;
	int r;

	if (text && (eg_parse_u64(text, strlen(text), &max_w) != 0 || !max_w || max_w > 1000000)) {
		eg_diag_add(cfg->diags, EG_DIAG_CONFIG, "amdgpu", "max_watts",
			    "give whole watts from 1 to 1000000", "%.60s is no power", text);
		return -EINVAL;
	}
	in = calloc(1, sizeof(*in));
	if (!in)
		return -ENOMEM;
	in->env = env;
	in->max_uw = max_w * 1000000;
	r = start(in, cfg);
	if (r < 0) {
		amdgpu_close(in);
		return r;
	}
	*ret = in;
	return 0;
}

static size_t amdgpu_describe(const struct eg_instance *in, const struct eg_channel **ret)
{
	*ret = in->channel;
	return in->n;
}

/* ---- reading ---- */

/* Where the card's files are now: a driver loaded again may number them anew. */
static bool locate(struct eg_instance *in, struct card *c)
{
	const struct eg_fs *fs = &in->env->fs;
	bool hwmon = c->method == BY_HWMON;
	char *where = hwmon ? c->hwmon : c->drm;
	char entry[32], dir[DIR_MAX], bdf[EG_SMI_BDF_MAX];

	for (unsigned i = 0; c->bdf[0] && i < NUMBERS_MAX; i++) {
		bool found;

		snprintf(entry, sizeof(entry), "%s%u", hwmon ? "hwmon" : "card", i);
		found = hwmon ? hwmon_chip(fs, entry, dir, bdf) : drm_card(fs, entry, dir, bdf);
		if (found && strcmp(bdf, c->bdf) == 0) {
			(void)eg_copy(where, DIR_MAX, dir);
			return true;
		}
	}
	return !c->bdf[0] && eg_fs_exists(fs, where);
}

static int find_again(struct eg_instance *in, struct card *c, uint64_t now_ns)
{
	int r;

	if (now_ns < c->retry_ns)
		return -ENODEV;
	c->retry_ns = now_ns + RETRY_NS;
	r = locate(in, c) ? open_file(&in->env->fs, c) : -ENODEV;
	if (r < 0)
		return r;
	open_celsius(&in->env->fs, c);
	c->gone = false;
	c->epoch++;
	return 0;
}

static int read_raw(const struct eg_instance *in, const struct card *c, uint64_t *ret)
{
	struct eg_amdgpu_metrics m;
	int r;

	switch (c->method) {
	case BY_SMI_ENERGY:
		return eg_smi_energy(in->smi, c->smi, ret);
	case BY_SMI_POWER:
		return eg_smi_power_uw(in->smi, c->smi, ret);
	case BY_HWMON:
		return eg_fs_pread_u64(&in->env->fs, c->fd, ret);
	case BY_METRICS_ENERGY:
	case BY_METRICS_POWER:
		r = read_metrics(&in->env->fs, c->fd, &m, NULL);
		if (r < 0)
			return r;
		if (c->method == BY_METRICS_ENERGY ? !m.have_energy : !m.have_power)
			return -ENODATA;
		*ret = c->method == BY_METRICS_ENERGY ? m.energy : m.power_uw;
		return 0;
	}
	return -ENOTSUP;
}

static bool by_file(const struct card *c)
{
	return c->method != BY_SMI_ENERGY && c->method != BY_SMI_POWER;
}

static void read_one(struct eg_instance *in, size_t i, struct eg_sink *sink, struct eg_diags *diags)
{
	struct card *c = &in->card[i];
	struct eg_reading r = {.status = EG_STATUS_OK};
	int err = c->gone && by_file(c) ? find_again(in, c, eg_clock_ns(&in->env->clock)) : 0;

	if (err == 0)
		err = read_raw(in, c, &r.raw);
	r.t_ns = eg_clock_ns(&in->env->clock);
	if (err == 0 && c->gone) { /* a library that answers again */
		c->gone = false;
		c->epoch++;
	}
	r.epoch = c->epoch;
	c->celsius = err == 0 ? read_celsius(&in->env->fs, c->celsius_fd) : NAN;
	if (err == -EAGAIN || err == -ENODATA) {
		r.status = EG_STATUS_NO_DATA;
	} else if (err != 0) {
		r.status = err == -EACCES || err == -EPERM ? EG_STATUS_DENIED : EG_STATUS_ERROR;
		r.bad = err == -ERANGE && in->channel[i].quantity == EG_QUANTITY_POWER;
		eg_diag_add(diags, eg_diag_code_of(err), "amdgpu", in->channel[i].domain, "",
			    "%s: %s", in->channel[i].origin, eg_errno_text(err));
		if ((err == -ENODEV || err == -ENXIO || err == -ENOENT) && !c->gone) {
			close_file(&in->env->fs, c);
			c->gone = true;
			c->retry_ns = 0; /* the next read looks for it */
		}
	}
	eg_sink_put(sink, i, &r);
}

static void amdgpu_read(struct eg_instance *in, struct eg_sink *sink, struct eg_diags *diags)
{
	for (size_t i = 0; i < in->n; i++)
		read_one(in, i, sink, diags);
}

static bool amdgpu_may_block(const struct eg_instance *in)
{
	return in->may_block;
}

static uint32_t amdgpu_flags(const struct eg_instance *in, size_t channel)
{
	return in->card[channel].gone ? EG_FLAG_BIT(EG_FLAG_LOST) : 0;
}

static int amdgpu_temperature(const struct eg_instance *in, size_t channel, double *ret_celsius)
{
	if (isnan(in->card[channel].celsius))
		return -ENODATA;
	*ret_celsius = in->card[channel].celsius;
	return 0;
}

/* ---- attributes ---- */

static void put_number(struct eg_attribute_sink *sink, const char *device, const char *name,
		       double value)
{
	struct eg_attribute a = {.value = value};

	(void)eg_copy(a.device, sizeof(a.device), device);
	(void)eg_copy(a.name, sizeof(a.name), name);
	sink->put(sink, &a);
}

static void put_text(struct eg_attribute_sink *sink, const char *device, const char *name,
		     const char *text)
{
	struct eg_attribute a = {.is_text = true};

	if (!text[0])
		return;
	(void)eg_copy(a.device, sizeof(a.device), device);
	(void)eg_copy(a.name, sizeof(a.name), name);
	(void)eg_copy(a.text, sizeof(a.text), text);
	for (char *p = a.text; *p; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
	sink->put(sink, &a);
}

static const struct {
	const char *name, *file;
	bool hwmon;
	double per; /* of the file's unit in one of the attribute */
} numbers[] = {
	{"utilization_ratio", "gpu_busy_percent", false, 100},
	{"memory_utilization_ratio", "mem_busy_percent", false, 100},
	{"memory_total_bytes", "mem_info_vram_total", false, 1},
	{"memory_used_bytes", "mem_info_vram_used", false, 1},
	{"clock_graphics_hz", "freq1_input", true, 1},
	{"clock_memory_hz", "freq2_input", true, 1},
	{"power_limit_watts", "power1_cap", true, 1e6},
	{"power_limit_min_watts", "power1_cap_min", true, 1e6},
	{"power_limit_max_watts", "power1_cap_max", true, 1e6},
};
static const struct {
	const char *name, *file;
} texts[] = {{"name", "product_name"}, {"serial", "serial_number"}, {"unique_id", "unique_id"}};

static void put_card(const struct eg_fs *fs, const struct card *c, const char *device,
		     struct eg_attribute_sink *sink)
{
	double celsius = read_celsius(fs, c->celsius_fd);
	char path[EG_PATH_MAX], text[128];

	put_text(sink, device, "pci_id", c->bdf);
	if (c->gone)
		return;
	for (size_t i = 0; i < EG_ARRAY_SIZE(texts) && c->drm[0]; i++) {
		snprintf(path, sizeof(path), "%s/%s", c->drm, texts[i].file);
		if (eg_fs_read_text(fs, path, text, sizeof(text)) > 0)
			put_text(sink, device, texts[i].name, text);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(numbers); i++) {
		const char *dir = numbers[i].hwmon ? c->hwmon : c->drm;
		uint64_t v;

		snprintf(path, sizeof(path), "%s/%s", dir, numbers[i].file);
		if (dir[0] && eg_fs_read_u64(fs, path, &v) == 0)
			put_number(sink, device, numbers[i].name, (double)v / numbers[i].per);
	}
	if (!isnan(celsius))
		put_number(sink, device, "temperature_celsius", celsius);
}

static void amdgpu_attributes(struct eg_instance *in, struct eg_attribute_sink *sink)
{
	for (size_t i = 0; i < in->n; i++)
		put_card(&in->env->fs, &in->card[i], in->channel[i].device, sink);
}

static const struct eg_option options[] = {
	{"max_watts", EG_OPTION_U64, "1500",
	 "highest plausible power of a card that states no limit (power1_cap_max)"},
	{0},
};

const struct eg_driver eg_driver_amdgpu = {
	.name = "amdgpu",
	.summary = "AMD cards by AMD SMI, ROCm SMI, gpu_metrics or hwmon: the best each has",
	.source = EG_SOURCE_AMD_SMI,
	.maturity = EG_MATURITY_FAKED,
	.blocking_ns = 200 * EG_NSEC_PER_MSEC, /* a vendor library; a card asleep */
	.options = options,
	.probe = amdgpu_probe,
	.open = amdgpu_open,
	.describe = amdgpu_describe,
	.read = amdgpu_read,
	.attributes = amdgpu_attributes,
	.may_block = amdgpu_may_block,
	.flags = amdgpu_flags,
	.temperature = amdgpu_temperature,
	.close = amdgpu_close,
};
