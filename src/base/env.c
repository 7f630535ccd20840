/* SPDX-License-Identifier: Apache-2.0 */
/* See env.h. */
#include "base/env.h"

#include <errno.h>
#include <string.h>
#ifdef __linux__
#include <linux/perf_event.h>
#include <sys/syscall.h>
#endif

static int perf_open_machine(const struct eg_env *env, const char *pmu, uint32_t type,
			     uint64_t config, int cpu)
{
#ifdef __linux__
	struct perf_event_attr attr = {.type = type, .size = sizeof(attr), .config = config};
	long fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : (int)fd;
#else
	return -ENOTSUP;
#endif
}

static int perf_open_root(const struct eg_env *env, const char *pmu, uint32_t type, uint64_t config,
			  int cpu)
{
	return eg_fs_openf(&env->fs, "dev/ergon-perf/%s/%llx-%d", pmu, (unsigned long long)config,
			   cpu);
}

int eg_env_open(struct eg_env *env, const char *root)
{
	struct eg_env e = {.clock = eg_clock_system()};
	int r;

	if (!root || !*root)
		root = "/";
	e.root = strdup(root);
	if (!e.root)
		return -ENOMEM;
	r = eg_fs_open_root(&e.fs, root);
	if (r < 0) {
		free(e.root);
		return r;
	}
	e.loader = eg_loader_system(e.root);
	e.perf_open = e.fs.is_machine ? perf_open_machine : perf_open_root;
	*env = e;
	return 0;
}

void eg_env_close(struct eg_env *env)
{
	eg_fs_close_root(&env->fs);
	free(env->root);
	env->root = NULL;
}
