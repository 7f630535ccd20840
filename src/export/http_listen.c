/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listening sockets, and who is at the other end of a Unix one. TCP options are set once on the
 * listener: Linux hands TCP_NODELAY and the keep-alive times down to accepted sockets.
 */
#include "export/http_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/parse.h"
#include "core/diag.h"

#define GROUP_BUF_BYTES (64u << 10)
/* A peer that vanished without a word (power, cable) is noticed after 60 + 3 * 10 s. */
#define KEEP_IDLE_S	60
#define KEEP_INTERVAL_S 10
#define KEEP_PROBES	3

union address {
	struct sockaddr any;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
};

/* "127.0.0.1:9102", "[::1]:9102", "localhost:9102". Names are not looked up: that could block. */
static int parse_address(const char *text, union address *ret, socklen_t *ret_len,
			 struct eg_strbuf *why)
{
	const char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : 0;
	union address a = {.any.sa_family = AF_UNSPEC};
	char host[INET6_ADDRSTRLEN] = "";
	uint64_t port = 0;

	if (!colon || n == 0) {
		eg_strbuf_printf(why,
				 "\"%s\" is no address to listen on; write ADDRESS:PORT, as "
				 "127.0.0.1:9102, [::1]:9102 or, for all addresses, [::]:9102",
				 text);
		return -EINVAL;
	}
	if (eg_parse_u64(colon + 1, strlen(colon + 1), &port) < 0 || port > UINT16_MAX) {
		eg_strbuf_printf(why, "the port of \"%s\" is not a number from 0 to 65535", text);
		return -EINVAL;
	}
	if (text[0] == '[' && text[n - 1] == ']' && n - 2 < sizeof(host)) {
		memcpy(host, text + 1, n - 2);
		if (inet_pton(AF_INET6, host, &a.in6.sin6_addr) == 1)
			a.any.sa_family = AF_INET6;
	} else if (n < sizeof(host)) {
		memcpy(host, text, n);
		if (strcasecmp(host, "localhost") == 0)
			memcpy(host, "127.0.0.1", sizeof("127.0.0.1"));
		if (inet_pton(AF_INET, host, &a.in4.sin_addr) == 1)
			a.any.sa_family = AF_INET;
	}
	if (a.any.sa_family == AF_UNSPEC) {
		eg_strbuf_printf(why,
				 "\"%.*s\" is no IP address; names are not looked up, and IPv6 "
				 "addresses stand in brackets, as [::1]:9102",
				 (int)n, text);
		return -EINVAL;
	}
	if (a.any.sa_family == AF_INET)
		a.in4.sin_port = htons((uint16_t)port);
	else
		a.in6.sin6_port = htons((uint16_t)port);
	*ret_len = a.any.sa_family == AF_INET ? sizeof(a.in4) : sizeof(a.in6);
	*ret = a;
	return 0;
}

static void set(int fd, int level, int option, int value)
{
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

static int bind_tcp(int fd, const union address *a, socklen_t len, const char *text,
		    struct eg_strbuf *why)
{
	int r;

	set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S);
	set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S);
	set(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_PROBES);
	if (a->any.sa_family == AF_INET6)
		set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	if (bind(fd, &a->any, len) == 0 && listen(fd, SOMAXCONN) == 0)
		return 0;
	r = -errno;
	eg_strbuf_printf(why, "cannot listen on %s: %s%s", text, eg_errno_text(r),
			 r == -EADDRINUSE    ? "; stop the other program or choose another port" :
			 r == -EACCES	     ? "; choose a port from 1024 up" :
			 r == -EADDRNOTAVAIL ? "; this machine does not have that address" :
					       "");
	return r;
}

int eg_listen_tcp(const char *text, bool tls, char url[96], struct eg_strbuf *why)
{
	union address a;
	socklen_t len;
	char host[INET6_ADDRSTRLEN];
	eg_autoclose int fd = -1;
	int r = parse_address(text, &a, &len, why);

	if (r < 0)
		return r;
	fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		r = -errno;
		eg_strbuf_printf(why, "cannot listen on %s: %s", text, eg_errno_text(r));
		return r;
	}
	r = bind_tcp(fd, &a, len, text, why);
	if (r < 0)
		return r;
	if (getsockname(fd, &a.any, &len) < 0)
		return -errno;
	if (a.any.sa_family == AF_INET)
		snprintf(url, 96, "http%s://%s:%u", tls ? "s" : "",
			 inet_ntop(AF_INET, &a.in4.sin_addr, host, sizeof(host)),
			 ntohs(a.in4.sin_port));
	else
		snprintf(url, 96, "http%s://[%s]:%u", tls ? "s" : "",
			 inet_ntop(AF_INET6, &a.in6.sin6_addr, host, sizeof(host)),
			 ntohs(a.in6.sin6_port));
	return eg_take_fd(&fd);
}

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
