/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS under the gRPC server by GnuTLS: the credentials of export/http_tls.h, and one session a connection
 * over a socket that never blocks. HTTP/2 must be agreed on by ALPN (RFC 7301, RFC 9113 3.2).
 */
#include "grpc/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export/http_tls.h"

#ifdef EG_HAVE_GNUTLS
#include <gnutls/gnutls.h>

/* The credentials are those of the HTTP server; the name only hides them. */
static struct eg_tls *tls_of(struct eg_grpc_credentials *c)
{
	return (struct eg_tls *)(void *)c;
}

struct eg_grpc_session {
	gnutls_session_t session;
	struct eg_tls *tls;
	bool retry; /* a record waits inside GnuTLS for the socket */
};

static int tls_load(const char *certificate, const char *key, const char *client_ca,
		    struct eg_grpc_credentials **ret, struct eg_strbuf *why)
{
	struct eg_tls *t;
	int r = eg_tls_new(certificate, key, client_ca, &t, why);

	if (r == 0)
		*ret = (struct eg_grpc_credentials *)(void *)t;
	return r;
}

static void tls_unload(struct eg_grpc_credentials *c)
{
	eg_tls_unref(tls_of(c));
}

static void tls_close(struct eg_grpc_session *s)
{
	if (!s)
		return;
	if (s->session)
		gnutls_deinit(s->session);
	eg_tls_unref(s->tls);
	free(s);
}

static int tls_open(struct eg_grpc_credentials *c, int fd, struct eg_grpc_session **ret)
{
	static const gnutls_datum_t h2 = {(unsigned char *)(uintptr_t) "h2", 2};
	struct eg_grpc_session *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	if (gnutls_init(&s->session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0) {
		s->session = NULL;
		tls_close(s);
		return -ENOMEM;
	}
	s->tls = eg_tls_ref(tls_of(c));
	if (gnutls_priority_set_direct(s->session, EG_TLS_PRIORITIES, NULL) < 0 ||
	    gnutls_alpn_set_protocols(s->session, &h2, 1, GNUTLS_ALPN_MANDATORY) < 0 ||
	    !eg_tls_attach(s->tls, s->session)) {
		tls_close(s);
		return -EIO;
	}
	gnutls_transport_set_int(s->session, fd);
	*ret = s;
	return 0;
}

static int tls_handshake(struct eg_grpc_session *s)
{
	gnutls_datum_t protocol;
	int r = gnutls_handshake(s->session);

	if (r == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED)
		return -EAGAIN;
	if (r < 0 && !gnutls_error_is_fatal(r))
		return -EAGAIN;
	if (r < 0) {
		/* Says why; whether it leaves does not matter. */
		(void)gnutls_alert_send_appropriate(s->session, r);
		return -EPROTO;
	}
	/* A client that offers nothing is not an error to GnuTLS. */
	if (gnutls_alpn_get_selected_protocol(s->session, &protocol) < 0)
		return -EPROTO;
	return 0;
}

static ssize_t tls_read(struct eg_grpc_session *s, void *buf, size_t n)
{
	ssize_t r = gnutls_record_recv(s->session, buf, n);

	if (r >= 0)
		return r;
	if (r == GNUTLS_E_REHANDSHAKE || gnutls_error_is_fatal((int)r))
		return -EPROTO;
	return -EAGAIN;
}

/* A record that could not leave is kept by GnuTLS, which then wants to be called without one. */
static ssize_t tls_write(struct eg_grpc_session *s, const void *buf, size_t n)
{
	ssize_t r = s->retry ? gnutls_record_send(s->session, NULL, 0) :
			       gnutls_record_send(s->session, buf, n);

	s->retry = r < 0 && !gnutls_error_is_fatal((int)r);
	if (r >= 0)
		return r;
	return s->retry ? -EAGAIN : -EPIPE;
}

static void tls_bye(struct eg_grpc_session *s)
{
	(void)gnutls_bye(s->session, GNUTLS_SHUT_WR);
}

static bool tls_wants_write(const struct eg_grpc_session *s)
{
	return gnutls_record_get_direction(s->session) == 1;
}

static bool tls_has_more(const struct eg_grpc_session *s)
{
	return gnutls_record_check_pending(s->session) > 0;
}

static bool tls_client(struct eg_grpc_session *s, char *user, size_t cap)
{
	return eg_tls_wants_client(s->tls) && eg_tls_client(s->session, user, cap);
}

const struct eg_grpc_tls eg_grpc_gnutls = {
	.load = tls_load,
	.unload = tls_unload,
	.open = tls_open,
	.close = tls_close,
	.handshake = tls_handshake,
	.read = tls_read,
	.write = tls_write,
	.bye = tls_bye,
	.wants_write = tls_wants_write,
	.has_more = tls_has_more,
	.client = tls_client,
};

#else

static int tls_load(const char *certificate, const char *key, const char *client_ca,
		    struct eg_grpc_credentials **ret, struct eg_strbuf *why)
{
	eg_strbuf_puts(why,
		       "this program was built without TLS (GnuTLS); take the TLS options out");
	return -ENOTSUP;
}

/* Nothing else is called where nothing was loaded. */
const struct eg_grpc_tls eg_grpc_gnutls = {.load = tls_load};

#endif
