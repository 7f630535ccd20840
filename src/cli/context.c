/* SPDX-License-Identifier: Apache-2.0 */
/* Opens the environment and the meter; names what is wrong with the options that describe them. */
#include "cli/context.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "cli/out.h"

static const struct eg_driver *find_driver(const char *name, const char **ret_nearest)
{
	unsigned least = 256;

	for (size_t i = 0; eg_drivers[i]; i++) {
		unsigned d = eg_edit_distance(name, eg_drivers[i]->name);

		if (d == 0)
			return eg_drivers[i];
		if (d < least) {
			least = d;
			*ret_nearest = eg_drivers[i]->name;
		}
	}
	return NULL;
}

static int check_setting(const struct eg_setting *s)
{
	const char *nearest = NULL;
	const struct eg_driver *drv = find_driver(s->driver, &nearest);
	unsigned least = 256;

	if (drv == NULL) {
		eg_say("option --set: no driver '%s' in this build%s%s%s", s->driver,
		       nearest ? "; did you mean " : "", nearest ? nearest : "",
		       nearest ? "?" : "");
		return EG_EXIT_USAGE;
	}
	for (const struct eg_option *o = drv->options; o && o->name; o++) {
		unsigned d = eg_edit_distance(s->name, o->name);

		if (d == 0 && eg_option_wrong(o, s->value) == NULL)
			return 0;
		if (d == 0) {
			eg_say("option --set: %s.%s: '%s' is %s", drv->name, o->name, s->value,
			       eg_option_wrong(o, s->value));
			return EG_EXIT_USAGE;
		}
		if (d < least) {
			least = d;
			nearest = o->name;
		}
	}
	if (least < 256)
		eg_say("option --set: driver %s has no option '%s'; did you mean %s?", drv->name,
		       s->name, nearest);
	else
		eg_say("option --set: driver %s has no options", drv->name);
	return EG_EXIT_USAGE;
}

static int open_env(const struct eg_args *args, struct eg_context *ctx)
{
	int err = eg_env_open(&ctx->env, args->root);

	if (err < 0) {
		eg_say("cannot open the root %s: %s", args->root ? args->root : "/",
		       eg_errno_text(err));
		return EG_EXIT_FAILURE;
	}
	if (args->clock == NULL)
		return 0;
	err = eg_file_clock_attach(args->clock, &ctx->file_clock);
	if (err < 0) {
		eg_say("cannot use the clock %s: %s", args->clock, eg_errno_text(err));
		eg_env_close(&ctx->env);
		return EG_EXIT_FAILURE;
	}
	ctx->env.clock = eg_clock_file(ctx->file_clock);
	return 0;
}

int eg_context_open(const struct eg_args *args, uint64_t interval_ns, struct eg_context *ret)
{
	struct eg_meter_config cfg = {.allow_estimates = args->allow_estimates,
				      .select = args->select,
				      .interval_ns = interval_ns,
				      .settings = args->setting,
				      .n_settings = args->n_settings};
	const char *why = NULL;
	int err;

	*ret = (struct eg_context){0};
	for (size_t i = 0; i < args->n_settings; i++) {
		err = check_setting(&args->setting[i]);
		if (err != 0)
			return err;
	}
	err = open_env(args, ret);
	if (err != 0)
		return err;
	/* In place: the meter borrows the environment, which must not move afterwards. */
	err = eg_meter_open(&ret->env, eg_drivers, &cfg, &ret->meter, &why);
	if (err == 0)
		return 0;
	eg_say("%s", why != NULL ? why : eg_errno_text(err));
	ret->meter = NULL;
	eg_context_close(ret);
	return err == -EINVAL ? EG_EXIT_USAGE : EG_EXIT_FAILURE;
}

void eg_context_close(struct eg_context *ctx)
{
	/* A driver that hangs keeps the meter and may still look at the environment. */
	if (eg_meter_close(ctx->meter) != NULL)
		return;
	eg_file_clock_close(ctx->file_clock);
	eg_env_close(&ctx->env);
	*ctx = (struct eg_context){0};
}

int eg_context_wait(struct eg_context *ctx, const struct eg_signals *signals, uint64_t due_ns)
{
	const struct eg_clock *clock = &ctx->env.clock;
	struct signalfd_siginfo info;

	for (;;) {
		uint64_t next = eg_meter_next_due(ctx->meter, eg_clock_ns(clock));
		int r = eg_wait_until(signals, clock, ctx->file_clock, EG_MIN(next, due_ns), &info);

		if (r < 0)
			return r;
		if (r > 0 && info.ssi_signo != SIGCHLD)
			return 1;
		if (r == 0 && eg_clock_ns(clock) >= due_ns)
			return 0;
		if (r == 0)
			eg_meter_sample(ctx->meter, ctx->file_clock != NULL);
	}
}
