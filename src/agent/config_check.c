/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the table cannot say of one key alone: options of drivers, values that must fit together, and
 * choices whose risk the user should hear of.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/config_internal.h"
#include "base/parse.h"
#include "core/select.h"

/* ---- Options of drivers ---- */

bool eg_config_is_secret(const char *name)
{
	static const char *const words[] = {"password", "passphrase", "secret",
					    "token",	"community",  "api_key"};
	size_t n = strlen(name);

	if (n > 5 && strcmp(name + n - 5, "_file") == 0)
		return false;
	for (size_t i = 0; i < EG_ARRAY_SIZE(words); i++)
		if (strcasestr(name, words[i]) != NULL)
			return true;
	return false;
}

bool eg_config_know_driver(struct eg_config_loader *l, const struct eg_config_origin *at,
			   const char *driver)
{
	const char *best = "";
	unsigned least = UINT32_MAX;

	for (const struct eg_known_driver *d = eg_known_drivers; d->name; d++) {
		unsigned distance = eg_edit_distance(driver, d->name);

		if (distance < least) {
			least = distance;
			best = d->name;
		}
	}
	if (least > 0)
		eg_config_mistake(l, at, "no driver '%s'; did you mean %s?", driver, best);
	return least == 0;
}

/* A known driver that this build lacks takes no options: the file may serve another machine. */
static bool check_setting(struct eg_config_loader *l, const struct eg_config_origin *at,
			  const char *driver, const char *name, const char *value)
{
	const struct eg_driver *drv = NULL;
	const char *best = NULL, *wrong;
	unsigned least = UINT32_MAX;

	for (size_t i = 0; eg_drivers[i]; i++)
		if (strcmp(eg_drivers[i]->name, driver) == 0)
			drv = eg_drivers[i];
	if (drv == NULL) {
		/* Of the file, its section has been told already. */
		if (at->layer == EG_LAYER_FILE || eg_config_know_driver(l, at, driver))
			eg_config_warn(l, at, "driver %s is not in this build", driver);
		return false;
	}
	for (const struct eg_option *o = drv->options; o && o->name; o++) {
		unsigned d = eg_edit_distance(name, o->name);

		wrong = d == 0 ? eg_option_wrong(o, value) : NULL;
		if (wrong != NULL)
			eg_config_mistake(l, at, "%s.%s: '%s' is %s", driver, name,
					  eg_config_is_secret(name) ? "***" : value, wrong);
		if (d == 0)
			return wrong == NULL;
		if (d < least) {
			least = d;
			best = o->name;
		}
	}
	if (best != NULL)
		eg_config_mistake(l, at, "driver %s has no option '%s'; did you mean %s?", driver,
				  name, best);
	else
		eg_config_mistake(l, at, "driver %s has no options", driver);
	return false;
}

static void keep_setting(struct eg_config_loader *l, const struct eg_config_origin *at,
			 const char *driver, const char *name, const char *value)
{
	struct eg_config *cfg = &l->c->cfg;
	size_t i, n = strlen(driver) + 1, m = strlen(name) + 1, k = strlen(value) + 1;
	char *text;

	for (i = 0; i < cfg->n_settings; i++)
		if (strcmp(cfg->setting[i].driver, driver) == 0 &&
		    strcmp(cfg->setting[i].name, name) == 0)
			break;
	if (i == EG_CONFIG_SETTINGS_MAX) {
		eg_config_mistake(l, at, "more than %d options of drivers", EG_CONFIG_SETTINGS_MAX);
		return;
	}
	text = malloc(n + m + k);
	if (text == NULL) {
		l->error = -ENOMEM;
		return;
	}
	memcpy(text, driver, n);
	memcpy(text + n, name, m);
	memcpy(text + n + m, value, k);
	free(l->c->setting_text[i]);
	l->c->setting_text[i] = text;
	l->c->setting_origin[i] = *at;
	cfg->setting[i] = (struct eg_setting){text, text + n, text + n + m};
	if (i == cfg->n_settings)
		cfg->n_settings++;
}

void eg_config_setting(struct eg_config_loader *l, const struct eg_config_origin *at,
		       const char *driver, const char *name, const char *value)
{
	const char *bad = eg_config_bad_text(value, EG_CONFIG_TEXT_MAX);

	if (bad != NULL)
		eg_config_mistake(l, at, "%s.%s %s", driver, name, bad);
	else if (check_setting(l, at, driver, name, value))
		keep_setting(l, at, driver, name, value);
}

/* ---- Values that belong together ---- */

#define ORIGIN(section, key) (&l->c->origin[EG_CONFIG_KEY_##section##_##key])

/* The address has been found valid. */
static bool is_loopback(const char *listen)
{
	char host[64];
	struct in6_addr v6;
	struct in_addr v4;

	snprintf(host, sizeof(host), "%.*s", (int)(strrchr(listen, ':') - listen), listen);
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	host[strcspn(host, "]")] = '\0';
	if (inet_pton(AF_INET6, host + 1, &v6) != 1)
		return false;
	return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

static void check_http(struct eg_config_loader *l)
{
	const struct eg_config *c = &l->c->cfg;
	bool off = !c->http.listen[0] || strcmp(c->http.listen, "off") == 0;
	bool outside = !off && !is_loopback(c->http.listen);
	bool tls = c->http.tls_certificate[0] != '\0';
	bool passwords = c->http.basic_auth_file[0] || c->http.token_file[0];

	if (c->http.tls_key[0] && !tls)
		eg_config_mistake(l, ORIGIN(http, tls_key),
				  "http.tls_key needs http.tls_certificate");
	if (tls && !c->http.tls_key[0])
		eg_config_mistake(l, ORIGIN(http, tls_certificate),
				  "http.tls_certificate needs http.tls_key");
	if (c->http.tls_client_ca[0] && !tls)
		eg_config_mistake(l, ORIGIN(http, tls_client_ca),
				  "http.tls_client_ca needs http.tls_certificate and http.tls_key");
	if (outside && passwords && !tls)
		eg_config_warn(l, ORIGIN(http, listen),
			       "passwords and tokens for %s travel unencrypted; set "
			       "http.tls_certificate and http.tls_key",
			       c->http.listen);
	if (outside && !passwords && !c->http.tls_client_ca[0] &&
	    c->access.anonymous != EG_ACCESS_NONE)
		eg_config_warn(l, ORIGIN(http, listen),
			       "whoever reaches %s sees what this machine does by its energy; set "
			       "http.basic_auth_file, http.token_file or http.tls_client_ca",
			       c->http.listen);
	if (!off && !passwords && !c->http.tls_client_ca[0] &&
	    c->access.anonymous == EG_ACCESS_NONE)
		eg_config_warn(l, ORIGIN(access, anonymous),
			       "nobody can read from %s: access.anonymous is none, and there is no "
			       "http.basic_auth_file, http.token_file or http.tls_client_ca",
			       c->http.listen);
	if (!off && c->access.anonymous == EG_ACCESS_FULL)
		eg_config_warn(
			l, ORIGIN(access, anonymous),
			"anybody who reaches %s reads energy finely enough to learn secrets of "
			"programs (CVE-2020-8694); coarse is the default",
			c->http.listen);
}

static void check_grpc(struct eg_config_loader *l)
{
	const struct eg_config *c = &l->c->cfg;
	bool off = !c->grpc.listen[0] || strcmp(c->grpc.listen, "off") == 0;
	bool tls = c->grpc.tls_listen[0] && strcmp(c->grpc.tls_listen, "off") != 0;
	bool outside = !off && !is_loopback(c->grpc.listen);

	if (tls && (!c->grpc.tls_certificate[0] || !c->grpc.tls_key[0]))
		eg_config_mistake(l, ORIGIN(grpc, tls_listen),
				  "grpc.tls_listen needs grpc.tls_certificate and grpc.tls_key");
	if (outside && c->grpc.token_file[0])
		eg_config_warn(l, ORIGIN(grpc, listen),
			       "tokens for %s travel unencrypted; use grpc.tls_listen",
			       c->grpc.listen);
	if (outside && !c->grpc.token_file[0] && c->access.anonymous != EG_ACCESS_NONE)
		eg_config_warn(l, ORIGIN(grpc, listen),
			       "whoever reaches %s sees what this machine does by its energy; set "
			       "grpc.token_file and use grpc.tls_listen",
			       c->grpc.listen);
}

static void check_zeusd(struct eg_config_loader *l)
{
	const struct eg_config *c = &l->c->cfg;
	bool off = !c->zeusd.listen[0] || strcmp(c->zeusd.listen, "off") == 0;
	bool outside = !off && !is_loopback(c->zeusd.listen);

	if (outside && c->zeusd.token_file[0])
		eg_config_warn(l, ORIGIN(zeusd, listen),
			       "tokens for %s travel unencrypted; clients of zeusd speak no TLS",
			       c->zeusd.listen);
	if (outside && !c->zeusd.token_file[0] && c->access.anonymous != EG_ACCESS_NONE)
		eg_config_warn(l, ORIGIN(zeusd, listen),
			       "whoever reaches %s sees what this machine does by its energy; set "
			       "zeusd.token_file and access.anonymous = \"none\"",
			       c->zeusd.listen);
	if (!off && !c->zeusd.token_file[0] && c->access.anonymous == EG_ACCESS_NONE)
		eg_config_warn(l, ORIGIN(access, anonymous),
			       "nobody can read from %s: access.anonymous is none, and there is no "
			       "zeusd.token_file",
			       c->zeusd.listen);
}

void eg_config_check(struct eg_config_loader *l)
{
	const struct eg_config *c = &l->c->cfg;
	struct eg_select select;

	check_http(l);
	check_grpc(l);
	check_zeusd(l);
	if (strcmp(c->energy.backend, "auto") != 0 &&
	    eg_select_parse(c->energy.backend, &select) < 0)
		eg_config_mistake(l, ORIGIN(energy, backend),
				  "'%s' is no list of at most %d patterns such as rapl,nvml/gpu-0",
				  c->energy.backend, EG_SELECT_MAX);
	if (c->energy.gap_interpolate_ns < 2 * c->agent.interval_ns)
		eg_config_warn(
			l, ORIGIN(energy, gap_interpolate_seconds),
			"energy.gap_interpolate_seconds is below two intervals, which are used "
			"instead");
}
