/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listening Unix socket, and who is at the other end of a connection over it.
 */
#include "export/http_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/parse.h"
#include "core/diag.h"

#define GROUP_BUF_BYTES (64u << 10)
/* 0: nothing is in the way any more. A socket file nobody listens on is removed; all else stays. */
static int clear_path(const char *path, const struct sockaddr_un *un, struct eg_strbuf *why)
{
	eg_autoclose int fd = -1;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode)) {
		eg_strbuf_printf(why, "%s is there and is no socket; choose another path", path);
		return -EEXIST;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)un, sizeof(*un)) == 0 || errno == EAGAIN) {
		eg_strbuf_printf(
			why, "another program listens on %s; stop it or choose another path", path);
		return -EADDRINUSE;
	}
	if (errno != ECONNREFUSED)
		return -errno;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

static int find_group(const char *name, gid_t *ret, struct eg_strbuf *why)
{
	struct group g, *found = NULL;
	eg_autofree char *buf = NULL;
	uint64_t number;
	int r;

	if (eg_parse_u64(name, strlen(name), &number) == 0 && number < UINT32_MAX) {
		*ret = (gid_t)number;
		return 0;
	}
	buf = malloc(GROUP_BUF_BYTES);
	if (!buf)
		return -ENOMEM;
	r = getgrnam_r(name, &g, buf, GROUP_BUF_BYTES, &found);
	if (r != 0) {
		eg_strbuf_printf(why, "group %s cannot be looked up: %s; give its number", name,
				 eg_errno_text(-r));
		return -EINVAL;
	}
	if (!found) {
		eg_strbuf_printf(why, "there is no group %s; make it with: groupadd --system %s",
				 name, name);
		return -EINVAL;
	}
	*ret = g.gr_gid;
	return 0;
}

/* Nobody can connect before listen(), so mode and group are set by then. */
static int bind_local(int fd, const struct sockaddr_un *un, const struct eg_http_config *cfg,
		      gid_t gid, struct eg_strbuf *why)
{
	const char *path = cfg->socket;
	int r = 0;

	if (bind(fd, (const struct sockaddr *)un, sizeof(*un)) < 0) {
		r = -errno;
		eg_strbuf_printf(why, "cannot make the socket %s: %s; check its directory", path,
				 eg_errno_text(r));
		return r;
	}
	if (gid != (gid_t)-1 && lchown(path, (uid_t)-1, gid) < 0) {
		r = -errno;
		eg_strbuf_printf(why,
				 "cannot give the socket %s to group %s: %s; be a member of it",
				 path, cfg->socket_group, eg_errno_text(r));
	} else if (fchmodat(AT_FDCWD, path, cfg->socket_mode & 0777, AT_SYMLINK_NOFOLLOW) < 0 ||
		   listen(fd, SOMAXCONN) < 0) {
		r = -errno;
		eg_strbuf_printf(why, "cannot set up the socket %s: %s", path, eg_errno_text(r));
	}
	if (r < 0)
		(void)unlink(path);
	return r;
}

int eg_listen_local(const struct eg_http_config *cfg, uint64_t *ret_dev, uint64_t *ret_ino,
		    struct eg_strbuf *why)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	eg_autoclose int fd = -1;
	gid_t gid = (gid_t)-1;
	struct stat st;
	int r;

	if (eg_copy(un.sun_path, sizeof(un.sun_path), cfg->socket) < 0) {
		eg_strbuf_printf(why, "the path of the socket is longer than %zu bytes: %s",
				 sizeof(un.sun_path) - 1, cfg->socket);
		return -EINVAL;
	}
	if (cfg->socket_group && *cfg->socket_group) {
		r = find_group(cfg->socket_group, &gid, why);
		if (r < 0)
			return r;
	}
	r = clear_path(cfg->socket, &un, why);
	if (r < 0) {
		if (!*eg_strbuf_get(why))
			eg_strbuf_printf(why, "cannot make the socket %s: %s", cfg->socket,
					 eg_errno_text(r));
		return r;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = bind_local(fd, &un, cfg, gid, why);
	if (r < 0)
		return r;
	if (lstat(cfg->socket, &st) < 0)
		return -errno;
	*ret_dev = st.st_dev;
	*ret_ino = st.st_ino;
	return eg_take_fd(&fd);
}

void eg_listen_remove(const char *path, uint64_t dev, uint64_t ino)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_dev == dev && st.st_ino == ino)
		(void)unlink(path);
}

int eg_peer_read(int fd, bool local, struct eg_http_peer *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (!local) {
		*ret = (struct eg_http_peer){.uid = (uid_t)-1, .gid = (gid_t)-1};
		return 0;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*ret = (struct eg_http_peer){
		.local = true, .uid = cred.uid, .gid = cred.gid, .pid = cred.pid};
	return 0;
}

bool eg_http_peer_in_group(const struct eg_http_request *req, gid_t gid)
{
	const struct eg_http_client *c = eg_client_of(req);
	gid_t few[64], *groups = few;
	eg_autofree gid_t *many = NULL;
	socklen_t len = sizeof(few);
	bool member = false;

	if (!req->peer.local || gid == (gid_t)-1)
		return false;
	if (req->peer.gid == gid)
		return true;
	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERGROUPS, few, &len) < 0) {
		if (errno != ERANGE)
			return false;
		groups = many = malloc(len);
		if (!many || getsockopt(c->fd, SOL_SOCKET, SO_PEERGROUPS, many, &len) < 0)
			return false;
	}
	for (size_t i = 0; i < len / sizeof(gid_t); i++)
		member |= groups[i] == gid;
	return member;
}
