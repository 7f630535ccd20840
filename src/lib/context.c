/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts, and the answers that need no object: version, error texts. See ergon/context.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "lib/private.h"

const char *ergon_version(void)
{
	return EG_VERSION;
}

const char *ergon_error_text(int error)
{
	switch (error) {
	case -ESTALE:
		return "the context belongs to the parent process: open one after fork";
	case -EEXIST:
		return "a window or backend of that name is there already";
	case -ENOENT:
		return "no such window, channel, backend, page or account";
	default:
		return eg_errno_text(error);
	}
}

int lib_check(const ergon_context *ctx)
{
	if (!ctx)
		return -EINVAL;
	return ctx->pid == getpid() ? 0 : -ESTALE;
}

void lib_hidden_name(ergon_context *ctx, char name[EG_WINDOW_NAME_MAX])
{
	pthread_mutex_lock(&ctx->lock);
	snprintf(name, EG_WINDOW_NAME_MAX, "%c%llu", HIDDEN, (unsigned long long)++ctx->hidden);
	pthread_mutex_unlock(&ctx->lock);
}

static int open_meter(ergon_context *ctx, const struct ergon_options *o)
{
	struct eg_meter_config cfg = {.allow_estimates = o->allow_estimates != 0,
				      .select = o->select,
				      .interval_ns = o->interval_ns};
	int r = eg_meter_open(&ctx->env, eg_drivers, &cfg, &ctx->meter, NULL);

	if (r == 0)
		r = eg_meter_begin_running(ctx->meter, TOTALS);
	if (r == 0)
		r = eg_meter_start(ctx->meter);
	return r;
}

int ergon_open(const struct ergon_options *options, ergon_context **ret)
{
	struct ergon_options o = ERGON_OPTIONS_INIT;
	ergon_context *ctx;
	int r;

	if (options)
		memcpy(&o, options, EG_MIN(options->size, sizeof(o)));
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return -ENOMEM;
	ctx->pid = getpid();
	pthread_mutex_init(&ctx->lock, NULL);
	r = eg_env_open(&ctx->env, o.root);
	if (r < 0) {
		pthread_mutex_destroy(&ctx->lock);
		free(ctx);
		return r;
	}
	r = open_meter(ctx, &o);
	if (r == 0) {
		lib_backends_init(ctx);
		r = ergon_backend_select(ctx, o.backend ? o.backend : "auto");
		if (r == -ENOENT) /* an option that names nothing */
			r = -EINVAL;
	}
	if (r < 0) {
		ergon_close(ctx);
		return r;
	}
	*ret = ctx;
	return 0;
}

void ergon_close(ergon_context *ctx)
{
	if (!ctx || ctx->pid != getpid())
		return;
	/* A driver that hangs keeps the meter, and with it the environment. */
	if (eg_meter_close(ctx->meter))
		return;
	lib_windows_free(ctx);
	eg_env_close(&ctx->env);
	pthread_mutex_destroy(&ctx->lock);
	free(ctx);
}
