/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine FILE COMMAND...: the parts of a systemd unit that setpriv(1) has not, for tests. Allows the
 * system calls that FILE names (a word each; those this machine does not have are passed over), lets
 * all others fail with EPERM, forbids memory that is writable and executable, and starts COMMAND.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef PR_SET_MDWE /* Linux 6.3 */
#define PR_SET_MDWE		 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

static int allow_all(scmp_filter_ctx ctx, FILE *f)
{
	char name[64];
	int n = 0;

	while (fscanf(f, "%63s", name) == 1) {
		int nr = seccomp_syscall_resolve_name(name);

		if (nr < 0)
			continue;
		if (seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0) < 0)
			return -1;
		n++;
	}
	return n;
}

int main(int argc, char **argv)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	FILE *f = argc > 2 ? fopen(argv[1], "r") : NULL;

	if (ctx == NULL || f == NULL || allow_all(ctx, f) < 100) {
		fprintf(stderr, "confine: no list of system calls\n");
		return 99;
	}
	fclose(f);
	if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) < 0)
		fprintf(stderr, "confine: this kernel has no PR_SET_MDWE\n");
	if (seccomp_load(ctx) < 0) {
		fprintf(stderr, "confine: no filter of system calls here\n");
		return 98;
	}
	seccomp_release(ctx);
	execv(argv[2], argv + 2);
	fprintf(stderr, "confine: %s: %s\n", argv[2], strerror(errno));
	return 97;
}
