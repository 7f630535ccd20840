/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS credentials of a server: certificate, key and, where clients must show one of their own, the
 * authority that signed theirs. libmicrohttpd, or src/grpc/tls.c, runs the records and handshakes; we
 * give each new session our own credentials, counted, so that a reload changes them while old
 * connections go on.
 */
#ifndef EG_EXPORT_HTTP_TLS_H
#define EG_EXPORT_HTTP_TLS_H

#include <stdbool.h>

#include "base/strbuf.h"

/* TLS 1.2 and 1.3 only. */
#define EG_TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

struct eg_tls;
/* -ENOTSUP: this program was built without TLS. */
int eg_tls_new(const char *certificate, const char *key, const char *client_ca, struct eg_tls **ret,
	       struct eg_strbuf *why) EG_MUST_CHECK;
struct eg_tls *eg_tls_ref(struct eg_tls *t);
struct eg_tls *eg_tls_unref(struct eg_tls *t); /* takes NULL */
/* session: a gnutls_session_t before its handshake. False: refuse the connection. */
bool eg_tls_attach(struct eg_tls *t, void *session);
bool eg_tls_wants_client(const struct eg_tls *t);
/*
 * Who the verified client is: the common name of its certificate, or "sha256:" and the start of the
 * fingerprint where the name is missing, too long or not printable. False: no certificate.
 */
bool eg_tls_client(void *session, char *user, size_t cap);
/* MHD_OPTION_HTTPS_CERT_CALLBACK: libmicrohttpd's own credentials are never used. */
void *eg_tls_no_certificate(void);

#endif
