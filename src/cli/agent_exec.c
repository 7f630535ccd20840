/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's verbs in `ergon`: they become ergon-agent, the same command line with the agent's
 * libraries, so that `ergon run` does not load those. It lies beside this program (in a build tree)
 * or in the libexec directory that the build was configured for.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/out.h"
#include "core/diag.h"

#define NAME	 "ergon-agent"
#define PATH_LEN 4096

static bool beside_this(char path[PATH_LEN])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_LEN - sizeof(NAME));
	char *slash;

	if (n <= 0)
		return false;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (slash == NULL)
		return false;
	memcpy(slash + 1, NAME, sizeof(NAME));
	return true;
}

static int become_agent(const char *verb, char **words)
{
	char beside[PATH_LEN], installed[] = EG_LIBEXECDIR "/" NAME;
	const char *const paths[] = {beside_this(beside) ? beside : installed, installed};
	int err = -ENOENT;
	size_t n = 0;
	char **argv;

	while (words[n] != NULL)
		n++;
	argv = calloc(n + 3, sizeof(*argv));
	if (argv == NULL) {
		eg_say("%s: %s", verb, eg_errno_text(-ENOMEM));
		return EG_EXIT_FAILURE;
	}
	argv[0] = (char *)NAME;
	argv[1] = (char *)verb;
	memcpy(argv + 2, words, n * sizeof(*argv));
	for (size_t i = 0; i < EG_ARRAY_SIZE(paths) && err == -ENOENT; i++) {
		execv(paths[i], argv);
		err = -errno;
		if (err != -ENOENT)
			eg_say("%s: cannot start %s: %s", verb, paths[i], eg_errno_text(err));
	}
	free(argv);
	if (err == -ENOENT && EG_AGENT_LACKS[0])
		eg_say("%s: this build has no agent, for want of " EG_AGENT_LACKS
		       "; install that and build again",
		       verb);
	else if (err == -ENOENT)
		eg_say("%s: " NAME " is neither beside this program nor in " EG_LIBEXECDIR
		       "; install Ergon again",
		       verb);
	return EG_EXIT_FAILURE;
}

int eg_verb_agent(struct eg_args *args)
{
	return become_agent("agent", args->words);
}

int eg_verb_config(struct eg_args *args)
{
	return become_agent("config", args->words);
}
