/* SPDX-License-Identifier: Apache-2.0 */
/* See tcp.h. */
#include "export/tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "core/diag.h"

/* A peer that vanished without a word (power, cable) is noticed after 60 + 3 * 10 s. */
#define KEEP_IDLE_S	60
#define KEEP_INTERVAL_S 10
#define KEEP_PROBES	3

union address {
	struct sockaddr any;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
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

int eg_tcp_listen(const char *text, char address[EG_TCP_ADDRESS_MAX], struct eg_strbuf *why)
{
	union address a;
	socklen_t len;
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
	eg_tcp_address(&a.any, address);
	return eg_take_fd(&fd);
}

void eg_tcp_address(const struct sockaddr *sa, char address[EG_TCP_ADDRESS_MAX])
{
	const union address *a = (const union address *)sa;
	char host[INET6_ADDRSTRLEN] = "";

	address[0] = '\0';
	if (sa->sa_family == AF_INET)
		snprintf(address, EG_TCP_ADDRESS_MAX, "%s:%u",
			 inet_ntop(AF_INET, &a->in4.sin_addr, host, sizeof(host)),
			 ntohs(a->in4.sin_port));
	else if (sa->sa_family == AF_INET6)
		snprintf(address, EG_TCP_ADDRESS_MAX, "[%s]:%u",
			 inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof(host)),
			 ntohs(a->in6.sin6_port));
}
