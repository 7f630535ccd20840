/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TODO: what is measured, by which interface, and who documents it.
 *
 * A driver to start from: copy the folder, rename, and replace what is marked TODO;
 * docs/adding-a-driver.md walks through it. It reads an invented interface, a folder a meter:
 * run/template/NAME/energy_uj, microjoules, which starts from 0 again after range_uj.
 */
#include <errno.h>
#include <stdio.h>

#include "core/driver.h"

#define NAME	     "template"
#define DIR	     "run/template" /* TODO: below the injected root, no leading slash */
#define COUNTER	     "energy_uj"
#define RANGE	     "range_uj"
#define CHANNELS_MAX 16

/* What holds for every channel; add() says which one it is. TODO: each field, see channel.h. */
static const struct eg_channel like = {
	.label = "TODO: name of the model, for people",
	.component = EG_COMPONENT_METER,
	.source = EG_SOURCE_OTHER,
	.boundary = EG_BOUNDARY_NODE,
	.provenance = EG_PROVENANCE_MEASURED,
	.quantity = EG_QUANTITY_ENERGY,
	.unit_num = 1, /* a step of the counter is unit_num / unit_den microjoules */
	.unit_den = 1,
	.resolution_uj = 1000,
	.update_ns = 100 * EG_NSEC_PER_MSEC,
	.max_uw = 500000000,
	.part_of = -1,
	.accuracy = {.rel_ppm = 20000, .citation = "TODO: data sheet"},
};

struct eg_instance {
	const struct eg_env *env;
	struct eg_channel ch[CHANNELS_MAX];
	int fd[CHANNELS_MAX]; /* kept open; -1 while the device is away */
	size_t n;
};

static int probe(const struct eg_env *env)
{
	return eg_fs_exists(&env->fs, DIR) ? 0 : -ENODEV;
}

static void close_instance(struct eg_instance *inst)
{
	for (size_t i = 0; inst && i < inst->n; i++)
		eg_fs_close(&inst->env->fs, inst->fd[i]);
	free(inst);
}

/* What a user can do about it: a command, or nothing. */
static const char *cure_of(int r)
{
	return r == -EACCES || r == -EPERM ? "run as root, or chmod g+r it" : "";
}

/* One channel, or a diagnostic that says why not and what helps. */
static void add(struct eg_instance *inst, const char *name, struct eg_diags *diags)
{
	struct eg_channel *ch = &inst->ch[inst->n];
	char path[EG_ORIGIN_MAX];
	uint64_t now_raw;
	int fd, r;

	if ((size_t)snprintf(path, sizeof(path), DIR "/%s/" COUNTER, name) >= sizeof(path))
		return;
	r = fd = eg_fs_open(&inst->env->fs, path);
	if (r >= 0)
		r = eg_fs_pread_u64(&inst->env->fs, fd, &now_raw);
	if (r < 0) {
		eg_fs_close(&inst->env->fs, fd);
		eg_diag_add(diags, eg_diag_code_of(r), NAME, name, cure_of(r),
			    "%s cannot be read: %s", path, eg_errno_text(r));
		return;
	}
	*ch = like;
	eg_copy(ch->domain, sizeof(ch->domain), name);
	snprintf(ch->device, sizeof(ch->device), "template-%.64s", name);
	eg_copy(ch->origin, sizeof(ch->origin), path);
	snprintf(path, sizeof(path), DIR "/%s/" RANGE, name);
	if (eg_fs_read_u64(&inst->env->fs, path, &ch->modulus) < 0)
		ch->modulus = 0; /* not told: a step back is a reset */
	inst->fd[inst->n++] = fd;
}

static int open_instance(const struct eg_env *env, const struct eg_driver_config *cfg,
			 struct eg_instance **ret)
{
	struct eg_instance *inst;
	struct eg_names names;
	int r = eg_fs_list(&env->fs, DIR, &names);

	if (r < 0) {
		eg_diag_add(cfg->diags, eg_diag_code_of(r), NAME, DIR, "TODO: modprobe it",
			    "no meter: %s", eg_errno_text(r));
		return r;
	}
	inst = calloc(1, sizeof(*inst));
	if (inst)
		inst->env = env;
	for (size_t i = 0; inst && i < names.n; i++) {
		if (inst->n < CHANNELS_MAX)
			add(inst, names.name[i], cfg->diags);
		else
			eg_diag_add(cfg->diags, EG_DIAG_NOT_COUNTED, NAME, names.name[i], "",
				    "more than %d meters: left out", CHANNELS_MAX);
	}
	eg_names_free(&names);
	if (!inst || inst->n == 0) {
		r = inst ? -ENODEV : -ENOMEM;
		close_instance(inst);
		return r;
	}
	*ret = inst;
	return 0;
}

static size_t describe(const struct eg_instance *inst, const struct eg_channel **ret)
{
	*ret = inst->ch;
	return inst->n;
}

static void read_channels(struct eg_instance *inst, struct eg_sink *sink, struct eg_diags *diags)
{
	const struct eg_fs *fs = &inst->env->fs;

	for (size_t i = 0; i < inst->n; i++) {
		struct eg_reading reading = {.status = EG_STATUS_OK};
		int r;

		if (inst->fd[i] < 0)
			inst->fd[i] = eg_fs_open(fs, inst->ch[i].origin);
		r = inst->fd[i] < 0 ? inst->fd[i] : eg_fs_pread_u64(fs, inst->fd[i], &reading.raw);
		reading.t_ns = eg_clock_ns(&inst->env->clock); /* next to the read */
		if (r < 0) {
			reading.status = r == -EACCES ? EG_STATUS_DENIED : EG_STATUS_ERROR;
			eg_diag_add(diags, eg_diag_code_of(r), NAME, inst->ch[i].domain, "",
				    "%s: %s", inst->ch[i].origin, eg_errno_text(r));
			eg_fs_close(fs, inst->fd[i]);
			inst->fd[i] = -1; /* opened again at the next read */
		}
		eg_sink_put(sink, i, &reading);
	}
}

const struct eg_driver eg_driver_template = {
	.name = NAME,
	.summary = "TODO: one line, what it measures, by which interface",
	.source = EG_SOURCE_OTHER,
	.maturity = EG_MATURITY_SIMULATED,
	.probe = probe,
	.open = open_instance,
	.describe = describe,
	.read = read_channels,
	.close = close_instance,
};
