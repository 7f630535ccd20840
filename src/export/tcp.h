/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening TCP sockets, for the HTTP and the gRPC server. Options are set once on the listener: Linux
 * hands TCP_NODELAY and the keep-alive times down to accepted sockets.
 */
#ifndef EG_EXPORT_TCP_H
#define EG_EXPORT_TCP_H

#include <sys/socket.h>

#include "base/strbuf.h"

#define EG_TCP_ADDRESS_MAX 64 /* "[IPv6]:PORT" and its NUL */

/*
 * Makes, binds and starts to listen; returns the descriptor. text: "127.0.0.1:9102", "[::1]:0",
 * "localhost:9102". address: what was bound, with the port that was really taken. Negative errno, and
 * why says what is wrong and what helps.
 */
int eg_tcp_listen(const char *text, char address[EG_TCP_ADDRESS_MAX],
		  struct eg_strbuf *why) EG_MUST_CHECK;
/* "127.0.0.1:4711"; "" for other families. */
void eg_tcp_address(const struct sockaddr *sa, char address[EG_TCP_ADDRESS_MAX]);

#endif
