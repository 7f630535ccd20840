/* SPDX-License-Identifier: Apache-2.0 */
/* See landlock.h. */
#include "agent/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* The same numbers on every architecture; libc and kernel headers may be older than Landlock. */
#define CREATE_RULESET 444
#define ADD_RULE       445
#define RESTRICT_SELF  446

#define GET_VERSION    1u /* flag of CREATE_RULESET */
#define PATH_BENEATH   1

/* linux/landlock.h */
#define FS_EXECUTE     (1ULL << 0)
#define FS_WRITE_FILE  (1ULL << 1)
#define FS_REMOVE_DIR  (1ULL << 4)
#define FS_REMOVE_FILE (1ULL << 5)
#define FS_MAKE_CHAR   (1ULL << 6)
#define FS_MAKE_DIR    (1ULL << 7)
#define FS_MAKE_REG    (1ULL << 8)
#define FS_MAKE_SOCK   (1ULL << 9)
#define FS_MAKE_FIFO   (1ULL << 10)
#define FS_MAKE_BLOCK  (1ULL << 11)
#define FS_MAKE_SYM    (1ULL << 12)
#define FS_REFER       (1ULL << 13) /* version 2 */
#define FS_TRUNCATE    (1ULL << 14) /* version 3 */

/* What the agent does in its own directories, and what it does nowhere. */
#define FS_OWN \
	(FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | FS_MAKE_SOCK)
#define FS_NOWHERE (FS_MAKE_CHAR | FS_MAKE_FIFO | FS_MAKE_BLOCK | FS_MAKE_SYM)

struct ruleset_attr {
	uint64_t handled_access_fs;
};
struct path_beneath_attr {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));

/*
 * Devices that are opened for writing to be asked, not to be set: NVML, ROCm and Level Zero ask by
 * ioctl on a descriptor that must be writable. Only those that are there now.
 */
static const char *const devices[] = {"/dev/null", "/dev/nvidia*", "/dev/dri/render*", "/dev/kfd"};

static int allow(int rules, int fd, uint64_t access)
{
	struct path_beneath_attr beneath = {.allowed_access = access, .parent_fd = fd};

	return syscall(ADD_RULE, rules, PATH_BENEATH, &beneath, 0) < 0 ? -errno : 0;
}

static void allow_device(int rules, const char *path)
{
	eg_autoclose int fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode))
		(void)!allow(rules, fd, FS_WRITE_FILE);
}

static void allow_devices(int rules)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(devices); i++) {
		glob_t found;

		if (glob(devices[i], GLOB_NOSORT, NULL, &found) != 0)
			continue;
		for (size_t k = 0; k < found.gl_pathc; k++)
			allow_device(rules, found.gl_pathv[k]);
		globfree(&found);
	}
}

int eg_landlock_rules(const int *dir_fds, size_t n, bool no_exec, int *ret_fd)
{
	long version = syscall(CREATE_RULESET, NULL, 0, GET_VERSION);
	uint64_t own = FS_OWN;
	eg_autoclose int rules = -1;
	struct ruleset_attr attr;

	if (version < 0)
		return -errno;
	own |= (version >= 2 ? FS_REFER : 0) | (version >= 3 ? FS_TRUNCATE : 0);
	attr.handled_access_fs = own | FS_NOWHERE | (no_exec ? FS_EXECUTE : 0);
	rules = (int)syscall(CREATE_RULESET, &attr, sizeof(attr), 0);
	if (rules < 0)
		return -errno;
	for (size_t i = 0; i < n; i++) {
		int r = allow(rules, dir_fds[i], own);

		if (r < 0)
			return r;
	}
	allow_devices(rules);
	*ret_fd = eg_take_fd(&rules);
	return 0;
}

int eg_landlock_restrict(int rules_fd)
{
	return syscall(RESTRICT_SELF, rules_fd, 0) < 0 ? -errno : 0;
}
