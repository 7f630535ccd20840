/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the configuration share: where values came from, and telling mistakes. */
#ifndef EG_AGENT_CONFIG_INTERNAL_H
#define EG_AGENT_CONFIG_INTERNAL_H

#include "agent/config_keys.h"
#include "agent/toml.h"

#define EG_CONFIG_MISTAKES_MAX 20 /* told one by one; as many warnings */

enum eg_config_layer { EG_LAYER_DEFAULT, EG_LAYER_FILE, EG_LAYER_ENV, EG_LAYER_FLAG };

struct eg_config_origin {
	enum eg_config_layer layer;
	unsigned line, column;	       /* FILE */
	char name[EG_CONFIG_NAME_MAX]; /* ENV: the variable; FLAG: "--listen" */
};

struct eg_config_source {
	struct eg_config cfg;
	struct eg_config_origin origin[EG_CONFIG_N_KEYS];
	char *text[EG_CONFIG_N_KEYS]; /* owned, behind the texts of cfg */
	struct eg_config_origin setting_origin[EG_CONFIG_SETTINGS_MAX];
	char *setting_text[EG_CONFIG_SETTINGS_MAX]; /* "driver\0name\0value" */
	char *file;
};

/* One run of eg_config_load(). */
struct eg_config_loader {
	struct eg_config_source *c;
	const char *const *env;
	const char *file;		  /* being read, for messages */
	struct eg_strbuf *why, *warnings; /* may be NULL */
	unsigned mistakes, warned;
	int error; /* other than mistakes: -ENOMEM */
};

/* eg_config_load() of a text that stands for the file. */
int eg_config_load_text(const char *text, size_t n, const char *const *env,
			const struct eg_config_flag *flags, size_t n_flags,
			struct eg_config_source **ret, struct eg_strbuf *why,
			struct eg_strbuf *warnings) EG_MUST_CHECK;

/* A line of why: where, what. */
void eg_config_mistake(struct eg_config_loader *l, const struct eg_config_origin *at,
		       const char *fmt, ...) EG_PRINTF(3, 4);
void eg_config_warn(struct eg_config_loader *l, const struct eg_config_origin *at, const char *fmt,
		    ...) EG_PRINTF(3, 4);

/* The value of a variable, NULL where it is not set or empty. */
const char *eg_config_getenv(const char *const *env, const char *name);
/* The home directory, NULL: none. */
const char *eg_config_home(const char *const *env);

/*
 * Checks a value and keeps it. shape: how it was written in TOML; EG_CONFIG_PLAIN for a word of the
 * environment or the command line. -EINVAL with the rest of a sentence in why; -ENOMEM.
 */
#define EG_CONFIG_PLAIN ((enum eg_toml_type)(EG_TOML_TABLE + 1))
int eg_config_set(struct eg_config_source *c, unsigned key, enum eg_toml_type shape,
		  const char *value, const char *home, struct eg_strbuf *why) EG_MUST_CHECK;
/* As it stands in TOML, with quotes; "" for a price that is not set. */
void eg_config_value(const struct eg_config *cfg, unsigned key, struct eg_strbuf *out);
void eg_config_quote(struct eg_strbuf *out, const char *text);
/* "is not UTF-8" and so on, NULL: fine. */
const char *eg_config_bad_text(const char *s, size_t max);

/* [drivers.NAME]: checks the names against the drivers of this build, and keeps the value. */
void eg_config_setting(struct eg_config_loader *l, const struct eg_config_origin *at,
		       const char *driver, const char *name, const char *value);
/* Is it a driver that Ergon knows? If not, says so. */
bool eg_config_know_driver(struct eg_config_loader *l, const struct eg_config_origin *at,
			   const char *driver);
/* Is what this option holds better not shown? */
bool eg_config_is_secret(const char *name);

/* The layers, weakest first, then what must fit together. */
int eg_config_read_file(struct eg_config_loader *l, const char *named) EG_MUST_CHECK;
int eg_config_read_text(struct eg_config_loader *l, const char *text, size_t n) EG_MUST_CHECK;
void eg_config_read_env(struct eg_config_loader *l);
void eg_config_read_flags(struct eg_config_loader *l, const struct eg_config_flag *flags, size_t n);
void eg_config_check(struct eg_config_loader *l);

#endif
