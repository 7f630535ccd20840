/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power drawn from the batteries of a machine, by the power_supply class of Linux
 * (Documentation/ABI/testing/sysfs-class-power): power_now, or current_now x voltage_now. It is the
 * draw of the whole machine while, and only while, the battery says that it discharges; at any other
 * time there is nothing to read, which is no error.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "core/driver.h"

#define CLASS_DIR     "sys/class/power_supply"
#define BATTERIES_MAX 8
#define RETRY_NS      (5 * EG_NSEC_PER_SEC)

enum { F_STATUS, F_FIRST, F_SECOND, F_COUNT };

struct battery {
	uint32_t stint; /* counts the times it was not discharging */
	char name[48];
	bool product; /* current x voltage, in pW; else power in uW */
	int fd[F_COUNT];
	bool gone;
	uint64_t retry_ns;
};

struct eg_instance {
	const struct eg_env *env;
	struct battery battery[BATTERIES_MAX];
	struct eg_channel channel[BATTERIES_MAX];
	size_t n;
	uint64_t max_uw;
	bool blocked, may_block;
};

static bool text_is(const struct eg_fs *fs, const char *name, const char *file, const char *want)
{
	char path[EG_PATH_MAX], text[64];

	snprintf(path, sizeof(path), CLASS_DIR "/%s/%s", name, file);
	return eg_fs_read_text(fs, path, text, sizeof(text)) >= 0 && strcmp(text, want) == 0;
}

static bool has(const struct eg_fs *fs, const char *name, const char *file)
{
	char path[EG_PATH_MAX];

	snprintf(path, sizeof(path), CLASS_DIR "/%s/%s", name, file);
	return eg_fs_exists(fs, path);
}

static void close_files(const struct eg_fs *fs, struct battery *b)
{
	for (int i = 0; i < F_COUNT; i++) {
		eg_fs_close(fs, b->fd[i]);
		b->fd[i] = -1;
	}
}

static int open_files(const struct eg_fs *fs, struct battery *b)
{
	const char *file[F_COUNT] = {"status", b->product ? "current_now" : "power_now",
				     b->product ? "voltage_now" : NULL};

	for (int i = 0; i < F_COUNT; i++) {
		int fd;

		if (!file[i])
			continue;
		fd = eg_fs_openf(fs, CLASS_DIR "/%s/%s", b->name, file[i]);
		if (fd < 0) {
			close_files(fs, b);
			return fd;
		}
		b->fd[i] = fd;
	}
	return 0;
}

static bool printable(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 0x7f)
			return false;
	return true;
}

static void describe_channel(const struct eg_instance *in, const char *name, bool product,
			     struct eg_channel *c)
{
	*c = (struct eg_channel){
		.device = "node",
		.component = EG_COMPONENT_BATTERY,
		.source = EG_SOURCE_BATTERY,
		.boundary = EG_BOUNDARY_NODE,
		.provenance = EG_PROVENANCE_MEASURED,
		.quantity = EG_QUANTITY_POWER,
		.unit_num = 1,
		.unit_den = product ? 1000000 : 1, /* uA x uV = pW */
		.update_ns = EG_NSEC_PER_SEC,	   /* fuel gauges renew once a second or slower */
		.max_uw = in->max_uw,
		.part_of = -1,
		.accuracy = {100000, 0, "no published figure: 10 % is our choice, unverified"},
	};
	(void)eg_copy(c->domain, sizeof(c->domain), name);
	(void)eg_copy(c->label, sizeof(c->label), name);
	snprintf(c->origin, sizeof(c->origin), CLASS_DIR "/%s/%s", name,
		 product ? "current_now x voltage_now" : "power_now");
}

static int add_battery(struct eg_instance *in, const char *name, struct eg_diags *diags)
{
	const struct eg_fs *fs = &in->env->fs;
	struct battery *b = &in->battery[in->n];
	int r;

	if (!text_is(fs, name, "type", "Battery") || text_is(fs, name, "scope", "Device"))
		return 0; /* a mouse or a headset has its own */
	if (in->n == BATTERIES_MAX) {
		eg_diag_add(diags, EG_DIAG_CONFIG, "battery", name, "",
			    "more than %d batteries: left out", BATTERIES_MAX);
		return 0;
	}
	*b = (struct battery){.fd = {-1, -1, -1}};
	/* The name is the channel's: what the kernel never gives would break a screen or an export. */
	if (eg_copy(b->name, sizeof(b->name), name) < 0 || !printable(name)) {
		eg_diag_add(diags, EG_DIAG_SENSOR_ERROR, "battery", name, "",
			    "no name of a battery: too long, or not of printable characters");
		return 0;
	}
	if (text_is(fs, name, "present", "0")) {
		eg_diag_add(diags, EG_DIAG_SENSOR_ABSENT, "battery", name, "insert the battery",
			    "the slot is empty");
		return 0;
	}
	b->product = !has(fs, name, "power_now");
	if (!has(fs, name, "status") ||
	    (b->product && (!has(fs, name, "current_now") || !has(fs, name, "voltage_now")))) {
		eg_diag_add(diags, EG_DIAG_SENSOR_UNSUPPORTED, "battery", name, "",
			    "it tells neither power_now nor current_now with voltage_now");
		return 0;
	}
	r = open_files(fs, b);
	if (r < 0) {
		bool denied = r == -EACCES || r == -EPERM;

		in->blocked |= denied;
		eg_diag_add(diags, eg_diag_code_of(r), "battery", name,
			    denied ? "run as root, or let a group read the files: chgrp GROUP FILE "
				     "&& chmod g+r FILE" :
				     "",
			    CLASS_DIR "/%s: %s", name, eg_errno_text(r));
		return r == -ENOMEM || r == -EMFILE || r == -ENFILE ? r : 0;
	}
	describe_channel(in, name, b->product, &in->channel[in->n]);
	in->may_block |= eg_fs_may_block(fs, b->fd[F_FIRST]);
	in->n++;
	return 0;
}

static void battery_close(struct eg_instance *in)
{
	if (!in)
		return;
	for (size_t i = 0; i < in->n; i++)
		close_files(&in->env->fs, &in->battery[i]);
	free(in);
}

static int battery_probe(const struct eg_env *env)
{
	return eg_fs_exists(&env->fs, CLASS_DIR) ? 0 : -ENODEV;
}

static int scan(struct eg_instance *in, struct eg_diags *diags)
{
	struct eg_names names = {0};
	int r = eg_fs_list(&in->env->fs, CLASS_DIR, &names);

	if (r < 0 && r != -ENOENT) {
		eg_diag_add(diags, eg_diag_code_of(r), "battery", CLASS_DIR, "", CLASS_DIR ": %s",
			    eg_errno_text(r));
		return r;
	}
	r = 0;
	for (size_t i = 0; i < names.n && r == 0; i++)
		r = add_battery(in, names.name[i], diags);
	eg_names_free(&names);
	if (r < 0)
		return r;
	if (in->n == 0 && in->blocked)
		return -EACCES;
	if (in->n == 0) {
		eg_diag_add(diags, EG_DIAG_SENSOR_ABSENT, "battery", CLASS_DIR, "",
			    "no battery of the machine in " CLASS_DIR);
		return -ENODEV;
	}
	/* Several batteries share the load: each is an account, and they add up. */
	for (size_t i = 0; in->n > 1 && i < in->n; i++)
		snprintf(in->channel[i].device, sizeof(in->channel[i].device), "node-%s",
			 in->battery[i].name);
	return 0;
}

static int battery_open(const struct eg_env *env, const struct eg_driver_config *cfg,
			struct eg_instance **ret)
{
	const char *text = eg_setting_get(cfg, "battery", "max_watts");
	uint64_t max_w = 500;
	struct eg_instance *in;
	int r;

	if (text && (eg_parse_u64(text, strlen(text), &max_w) != 0 || !max_w || max_w > 1000000)) {
		eg_diag_add(cfg->diags, EG_DIAG_CONFIG, "battery", "max_watts",
			    "give whole watts from 1 to 1000000", "%.60s is no power", text);
		return -EINVAL;
	}
	in = calloc(1, sizeof(*in));
	if (!in)
		return -ENOMEM;
	in->env = env;
	in->max_uw = max_w * 1000000;
	r = scan(in, cfg->diags);
	if (r < 0) {
		battery_close(in);
		return r;
	}
	*ret = in;
	return 0;
}

static size_t battery_describe(const struct eg_instance *in, const struct eg_channel **ret)
{
	*ret = in->channel;
	return in->n;
}

static int read_magnitude(const struct eg_fs *fs, int fd, uint64_t *ret)
{
	char text[64];
	ssize_t n = eg_fs_pread(fs, fd, text, sizeof(text), 0);
	int64_t v;

	if (n < 0)
		return (int)n;
	if (n == (ssize_t)sizeof(text) || eg_parse_i64(text, (size_t)n, &v) != 0)
		return -EPROTO;
	/* The sign of a discharge differs between drivers; the status says which way it flows. */
	*ret = v < 0 ? -(uint64_t)v : (uint64_t)v;
	return 0;
}

/* -ENODATA while the battery is not discharging. */
static int read_status(const struct eg_fs *fs, int fd)
{
	static const char word[] = "Discharging";
	char text[64];
	ssize_t n = eg_fs_pread(fs, fd, text, sizeof(text), 0);

	if (n < 0)
		return (int)n;
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		n--;
	return n == (ssize_t)(sizeof(word) - 1) && memcmp(text, word, sizeof(word) - 1) == 0 ?
		       0 :
		       -ENODATA;
}

static int read_power(const struct eg_fs *fs, const struct battery *b, uint64_t *ret)
{
	uint64_t first, second;
	int r = read_status(fs, b->fd[F_STATUS]);

	if (r == 0)
		r = read_magnitude(fs, b->fd[F_FIRST], &first);
	if (r == 0 && b->product) {
		r = read_magnitude(fs, b->fd[F_SECOND], &second);
		if (r == 0 && __builtin_mul_overflow(first, second, &first))
			r = -ERANGE;
	}
	if (r == 0)
		*ret = first;
	return r;
}

static int open_again(struct eg_instance *in, struct battery *b, uint64_t now_ns)
{
	int r;

	if (now_ns < b->retry_ns)
		return -ENODEV;
	b->retry_ns = now_ns + RETRY_NS;
	r = open_files(&in->env->fs, b);
	if (r == 0)
		b->gone = false;
	return r;
}

static void read_one(struct eg_instance *in, size_t i, struct eg_sink *sink, struct eg_diags *diags)
{
	struct battery *b = &in->battery[i];
	struct eg_reading r = {.status = EG_STATUS_OK};
	int err = b->gone ? open_again(in, b, eg_clock_ns(&in->env->clock)) : 0;

	if (err == 0)
		err = read_power(&in->env->fs, b, &r.raw);
	r.t_ns = eg_clock_ns(&in->env->clock);
	if (err == -EAGAIN || err == -ENODATA) {
		/* What comes after the charger has nothing to do with what was before it. */
		if (err == -ENODATA)
			b->stint++;
		r.status = EG_STATUS_NO_DATA;
	} else if (err != 0) {
		r.status = err == -EACCES || err == -EPERM ? EG_STATUS_DENIED : EG_STATUS_ERROR;
		r.bad = err == -ERANGE;
		eg_diag_add(diags, err == -ERANGE ? EG_DIAG_VALUE_REJECTED : eg_diag_code_of(err),
			    "battery", b->name, "", "%s: %s", in->channel[i].origin,
			    eg_errno_text(err));
		if ((err == -ENODEV || err == -ENXIO || err == -ENOENT) && !b->gone) {
			close_files(&in->env->fs, b);
			b->gone = true;
			b->retry_ns = 0; /* the next read looks for it */
		}
	}
	r.epoch = b->stint;
	eg_sink_put(sink, i, &r);
}

static void battery_read(struct eg_instance *in, struct eg_sink *sink, struct eg_diags *diags)
{
	for (size_t i = 0; i < in->n; i++)
		read_one(in, i, sink, diags);
}

static bool battery_may_block(const struct eg_instance *in)
{
	return in->may_block;
}

static uint32_t battery_flags(const struct eg_instance *in, size_t channel)
{
	return in->battery[channel].gone ? EG_FLAG_BIT(EG_FLAG_LOST) : 0;
}

static const struct eg_option options[] = {
	{"max_watts", EG_OPTION_U64, "500", "highest plausible power of one battery"},
	{0},
};

const struct eg_driver eg_driver_battery = {
	.name = "battery",
	.summary = "the whole machine while it runs from a battery (Linux power_supply)",
	.source = EG_SOURCE_BATTERY,
	.maturity = EG_MATURITY_SIMULATED,
	.blocking_ns = 50 * EG_NSEC_PER_MSEC, /* the embedded controller answers slowly */
	.options = options,
	.probe = battery_probe,
	.open = battery_open,
	.describe = battery_describe,
	.read = battery_read,
	.may_block = battery_may_block,
	.flags = battery_flags,
	.close = battery_close,
};
