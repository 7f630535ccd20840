/* SPDX-License-Identifier: Apache-2.0 */
/* See http_tls.h. Without GnuTLS's headers at build time every call answers -ENOTSUP. */
#include "export/http_tls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#ifdef EG_HAVE_GNUTLS
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "export/http_secret.h"

#define NAME_MAX_BYTES	  64
#define FINGERPRINT_BYTES 16 /* of 32, in the user's name */

struct eg_tls {
	gnutls_certificate_credentials_t cred;
	unsigned refs;
	bool client;
};

static int error_of(int gnutls_error)
{
	return gnutls_error == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL;
}

/* Apart from its key, so that the sentence names the right file; GnuTLS 3.7 leaks a bad one below. */
static int check_certificate(const gnutls_datum_t *text, const char *file, struct eg_strbuf *why)
{
	gnutls_x509_crt_t *list;
	unsigned n = 0;
	int r = gnutls_x509_crt_list_import2(&list, &n, text, GNUTLS_X509_FMT_PEM, 0);

	if (r < 0) {
		eg_strbuf_printf(why, "%s holds no certificate in PEM: %s", file,
				 gnutls_strerror(r));
		return error_of(r);
	}
	while (n)
		gnutls_x509_crt_deinit(list[--n]);
	gnutls_free(list);
	return 0;
}

static int set_pair(struct eg_tls *t, const gnutls_datum_t *c, const char *certificate,
		    const gnutls_datum_t *k, const char *key, struct eg_strbuf *why)
{
	int r = gnutls_certificate_set_x509_key_mem2(t->cred, c, k, GNUTLS_X509_FMT_PEM, NULL, 0);

	if (r >= 0)
		return 0;
	if (r == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
		eg_strbuf_printf(why, "the key %s does not belong to the certificate %s", key,
				 certificate);
	else
		eg_strbuf_printf(
			why, "the key %s cannot be used: %s; it must be PEM, without a password",
			key, gnutls_strerror(r));
	return error_of(r);
}

static int load_pair(struct eg_tls *t, const char *certificate, const char *key,
		     struct eg_strbuf *why)
{
	char *cert_text, *key_text = NULL;
	gnutls_datum_t c, k;
	size_t cert_len, key_len = 0;
	int r = eg_secret_read(certificate, false, &cert_text, &cert_len, why);

	if (r < 0)
		return r;
	c = (gnutls_datum_t){(unsigned char *)cert_text, (unsigned)cert_len};
	r = check_certificate(&c, certificate, why);
	if (r == 0)
		r = eg_secret_read(key, true, &key_text, &key_len, why);
	if (r == 0) {
		k = (gnutls_datum_t){(unsigned char *)key_text, (unsigned)key_len};
		r = set_pair(t, &c, certificate, &k, key, why);
	}
	eg_secret_free(cert_text, cert_len);
	eg_secret_free(key_text, key_len);
	return r;
}

static int load_ca(struct eg_tls *t, const char *client_ca, struct eg_strbuf *why)
{
	gnutls_datum_t d;
	size_t len;
	char *text;
	int r = eg_secret_read(client_ca, false, &text, &len, why);

	if (r < 0)
		return r;
	d = (gnutls_datum_t){(unsigned char *)text, (unsigned)len};
	r = gnutls_certificate_set_x509_trust_mem(t->cred, &d, GNUTLS_X509_FMT_PEM);
	eg_secret_free(text, len);
	if (r > 0)
		return 0;
	eg_strbuf_printf(why, "%s holds no certificate of an authority in PEM%s%s", client_ca,
			 r < 0 ? ": " : "", r < 0 ? gnutls_strerror(r) : "");
	return -EINVAL;
}

int eg_tls_new(const char *certificate, const char *key, const char *client_ca, struct eg_tls **ret,
	       struct eg_strbuf *why)
{
	struct eg_tls *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	if (gnutls_certificate_allocate_credentials(&t->cred) < 0) {
		free(t);
		return -ENOMEM;
	}
	t->refs = 1;
	t->client = client_ca && *client_ca;
	r = load_pair(t, certificate, key, why);
	if (r == 0 && t->client)
		r = load_ca(t, client_ca, why);
	if (r < 0) {
		eg_tls_unref(t);
		return r;
	}
	*ret = t;
	return 0;
}

struct eg_tls *eg_tls_ref(struct eg_tls *t)
{
	if (t)
		t->refs++;
	return t;
}

struct eg_tls *eg_tls_unref(struct eg_tls *t)
{
	if (t && --t->refs == 0) {
		gnutls_certificate_free_credentials(t->cred);
		free(t);
	}
	return NULL;
}

bool eg_tls_attach(struct eg_tls *t, void *session)
{
	static gnutls_typed_vdata_st purpose[] = {
		{GNUTLS_DT_KEY_PURPOSE_OID, (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT, 0},
	};

	gnutls_credentials_clear(session);
	if (gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, t->cred) < 0)
		return false;
	if (t->client) {
		gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
		gnutls_session_set_verify_cert2(session, purpose, EG_ARRAY_SIZE(purpose), 0);
	}
	return true;
}

bool eg_tls_wants_client(const struct eg_tls *t)
{
	return t->client;
}

static bool is_printable(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return false;
	return n > 0;
}

static bool common_name(const gnutls_datum_t *der, char *user, size_t cap)
{
	gnutls_x509_crt_t crt;
	char name[NAME_MAX_BYTES];
	size_t n = sizeof(name);
	bool good = false;

	if (gnutls_x509_crt_init(&crt) < 0)
		return false;
	if (gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER) >= 0 &&
	    gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &n) >= 0 &&
	    n < cap && is_printable(name, n)) {
		memcpy(user, name, n);
		user[n] = '\0';
		good = true;
	}
	gnutls_x509_crt_deinit(crt);
	return good;
}

bool eg_tls_client(void *session, char *user, size_t cap)
{
	unsigned n = 0;
	const gnutls_datum_t *der = gnutls_certificate_get_peers(session, &n);
	unsigned char print[32];
	size_t len = sizeof(print), at;

	if (!der || n == 0)
		return false;
	if (common_name(&der[0], user, cap))
		return true;
	if (gnutls_fingerprint(GNUTLS_DIG_SHA256, &der[0], print, &len) < 0)
		return false;
	at = (size_t)snprintf(user, cap, "sha256:");
	for (size_t i = 0; i < FINGERPRINT_BYTES && at + 2 < cap; i++, at += 2)
		snprintf(user + at, cap - at, "%02x", print[i]);
	return true;
}

static int no_certificate(gnutls_session_t session, const gnutls_datum_t *authorities, int n,
			  const gnutls_pk_algorithm_t *algos, int n_algos,
			  gnutls_pcert_st **ret_chain, unsigned *ret_n, gnutls_privkey_t *ret_key)
{
	return -1;
}

void *eg_tls_no_certificate(void)
{
	return (void *)(uintptr_t)no_certificate;
}

#else

int eg_tls_new(const char *certificate, const char *key, const char *client_ca, struct eg_tls **ret,
	       struct eg_strbuf *why)
{
	eg_strbuf_puts(why,
		       "this program was built without TLS (GnuTLS); take the TLS options out");
	return -ENOTSUP;
}

struct eg_tls *eg_tls_ref(struct eg_tls *t)
{
	return t;
}

struct eg_tls *eg_tls_unref(struct eg_tls *t)
{
	return NULL;
}

bool eg_tls_attach(struct eg_tls *t, void *session)
{
	return false;
}

bool eg_tls_wants_client(const struct eg_tls *t)
{
	return false;
}

bool eg_tls_client(void *session, char *user, size_t cap)
{
	return false;
}

void *eg_tls_no_certificate(void)
{
	return NULL;
}

#endif
