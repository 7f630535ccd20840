/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate for 127.0.0.1 of the tests' own making, and its key, as PEM. */
#ifndef EG_TESTS_DEPLOY_CERTIFICATE_H
#define EG_TESTS_DEPLOY_CERTIFICATE_H

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <time.h>

static int make_certificate(char *cert, size_t cert_size, char *key, size_t key_size)
{
	const unsigned char here[] = {127, 0, 0, 1};
	gnutls_x509_privkey_t k;
	gnutls_x509_crt_t c;
	unsigned char serial = 1;
	time_t now = time(NULL);

	if (gnutls_x509_privkey_init(&k) < 0 || gnutls_x509_crt_init(&c) < 0 ||
	    gnutls_x509_privkey_generate(k, GNUTLS_PK_ECDSA,
					 GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0) < 0 ||
	    gnutls_x509_crt_set_version(c, 3) < 0 ||
	    gnutls_x509_crt_set_serial(c, &serial, 1) < 0 ||
	    gnutls_x509_crt_set_dn(c, "CN=test", NULL) < 0 ||
	    gnutls_x509_crt_set_subject_alt_name(c, GNUTLS_SAN_IPADDRESS, here, sizeof(here),
						 GNUTLS_FSAN_SET) < 0 ||
	    gnutls_x509_crt_set_activation_time(c, now - 3600) < 0 ||
	    gnutls_x509_crt_set_expiration_time(c, now + 86400) < 0 ||
	    gnutls_x509_crt_set_key(c, k) < 0 ||
	    gnutls_x509_crt_sign2(c, c, k, GNUTLS_DIG_SHA256, 0) < 0 ||
	    gnutls_x509_crt_export(c, GNUTLS_X509_FMT_PEM, cert, &cert_size) < 0 ||
	    gnutls_x509_privkey_export(k, GNUTLS_X509_FMT_PEM, key, &key_size) < 0)
		return -EINVAL;
	gnutls_x509_crt_deinit(c);
	gnutls_x509_privkey_deinit(k);
	return 0;
}

#endif
