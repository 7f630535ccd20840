/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS under the gRPC server, behind a table of functions, so that a program can be linked without GnuTLS.
 * Credentials are counted: a reload changes them while old connections keep theirs.
 */
#ifndef EG_GRPC_TLS_H
#define EG_GRPC_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/strbuf.h"

struct eg_grpc_credentials;
struct eg_grpc_session;

/* Where a call would block it answers -EAGAIN; wants_write() says for what. -EPROTO: the peer. */
struct eg_grpc_tls {
	int (*load)(const char *certificate, const char *key, const char *client_ca,
		    struct eg_grpc_credentials **ret, struct eg_strbuf *why);
	void (*unload)(struct eg_grpc_credentials *c); /* takes NULL */
	/* A session over the connected socket; it keeps the credentials, and not the socket. */
	int (*open)(struct eg_grpc_credentials *c, int fd, struct eg_grpc_session **ret);
	void (*close)(struct eg_grpc_session *s);    /* takes NULL */
	int (*handshake)(struct eg_grpc_session *s); /* 0: done, and HTTP/2 was agreed on */
	ssize_t (*read)(struct eg_grpc_session *s, void *buf, size_t n); /* 0: the end */
	/* After -EAGAIN the same bytes must be offered first. */
	ssize_t (*write)(struct eg_grpc_session *s, const void *buf, size_t n);
	void (*bye)(struct eg_grpc_session *s); /* our side sends no more; never waits */
	bool (*wants_write)(const struct eg_grpc_session *s);
	bool (*has_more)(const struct eg_grpc_session *s); /* to read, whatever the socket says */
	/* Who the client is by its certificate; false: it showed none. */
	bool (*client)(struct eg_grpc_session *s, char *user, size_t cap);
};

extern const struct eg_grpc_tls eg_grpc_gnutls;

#endif
