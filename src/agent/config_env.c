/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The environment layer: ERGON_SECTION_KEY, ERGON_DRIVERS_NAME_OPTION, and the names of all-smi
 * below them (contract: energy-accounting.md 1.7 and Part 3). A variable that is empty counts as not
 * set. An invalid value is a mistake whoever wins; an unknown name is a warning, for the environment
 * is shared with other programs.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/config_internal.h"
#include "base/parse.h"

#define OWN	"ERGON_"
#define ALL_SMI "ALL_SMI_ENERGY_"

/* Ours, but no configuration: of ./run, of make and of the tests; '*' ends a name's beginning. */
static const char *const others[] = {"ERGON_TEST_DATA", "ERGON_BUILD_DIR", "ERGON_SOAK",
				     "ERGON_AGENT_DIR", "ERGON_FAIL_*",	   "ERGON_FAKE_*"};

const char *eg_config_getenv(const char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env != NULL && *env != NULL; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return (*env)[n + 1] ? *env + n + 1 : NULL;
	return NULL;
}

const char *eg_config_home(const char *const *env)
{
	const char *home = eg_config_getenv(env, "HOME");

	return home != NULL && home[0] == '/' ? home : NULL;
}

static void set(struct eg_config_loader *l, const char *name, unsigned key, const char *value)
{
	struct eg_config_origin at = {.layer = EG_LAYER_ENV};
	struct eg_strbuf why = EG_STRBUF_INIT(1024);
	int err;

	snprintf(at.name, sizeof(at.name), "%s", name);
	err = eg_config_set(l->c, key, EG_CONFIG_PLAIN, value, eg_config_home(l->env), &why);
	if (err == 0)
		l->c->origin[key] = at;
	else if (err == -EINVAL)
		eg_config_mistake(l, &at, "%s", eg_strbuf_get(&why));
	else
		l->error = err;
	eg_strbuf_free(&why);
}

/* Of a name that says no by being there: as all-smi has it, any value but these two. */
static bool is_there(struct eg_config_loader *l, const struct eg_config_origin *at,
		     const char *value)
{
	static const char *const plain[] = {"1", "true", "yes", "on"};

	if (strcmp(value, "0") == 0 || strcmp(value, "false") == 0)
		return false;
	for (size_t i = 0; i < EG_ARRAY_SIZE(plain); i++)
		if (strcmp(value, plain[i]) == 0)
			return true;
	eg_config_warn(l, at, "'%s' counts as set; only 0 and false do not", value);
	return true;
}

static void read_aliases(struct eg_config_loader *l)
{
	for (const struct eg_config_alias *a = eg_config_aliases; a->name; a++) {
		const char *value = eg_config_getenv(l->env, a->name);
		struct eg_config_origin at = {.layer = EG_LAYER_ENV};
		char own[EG_CONFIG_NAME_MAX];

		if (value == NULL)
			continue;
		snprintf(at.name, sizeof(at.name), "%s", a->name);
		if (a->negated && !is_there(l, &at, value))
			continue;
		if (a->older) {
			eg_config_env_name(eg_config_keys[a->key].section,
					   eg_config_keys[a->key].name, own);
			eg_config_warn(l, &at, "an older name; use %s", own);
		}
		set(l, a->name, a->key, a->negated ? "false" : value);
	}
}

/* ERGON_DRIVERS_NAME_OPTION. */
static void driver_env_name(const struct eg_driver *d, const struct eg_option *o,
			    char ret[EG_CONFIG_NAME_MAX])
{
	char section[EG_CONFIG_NAME_MAX];

	snprintf(section, sizeof(section), "drivers_%s", d->name);
	eg_config_env_name(section, o->name, ret);
}

static void read_drivers(struct eg_config_loader *l)
{
	for (size_t i = 0; eg_drivers[i]; i++) {
		const struct eg_driver *d = eg_drivers[i];

		for (const struct eg_option *o = d->options; o && o->name; o++) {
			struct eg_config_origin at = {.layer = EG_LAYER_ENV};
			const char *value;

			driver_env_name(d, o, at.name);
			value = eg_config_getenv(l->env, at.name);
			if (value != NULL)
				eg_config_setting(l, &at, d->name, o->name, value);
		}
	}
}

struct nearest {
	const char *word;
	unsigned least;
	char name[EG_CONFIG_NAME_MAX];
};

static void consider(struct nearest *n, const char *name)
{
	unsigned d = eg_edit_distance(n->word, name);

	if (d < n->least) {
		n->least = d;
		snprintf(n->name, sizeof(n->name), "%s", name);
	}
}

/* The known name nearest to one; distance 0: it is known. */
static void find_nearest(struct nearest *n)
{
	char name[EG_CONFIG_NAME_MAX];

	for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++) {
		eg_config_env_name(eg_config_keys[i].section, eg_config_keys[i].name, name);
		consider(n, name);
	}
	for (const struct eg_config_alias *a = eg_config_aliases; a->name; a++)
		consider(n, a->name);
	for (size_t i = 0; eg_drivers[i]; i++)
		for (const struct eg_option *o = eg_drivers[i]->options; o && o->name; o++) {
			driver_env_name(eg_drivers[i], o, name);
			consider(n, name);
		}
}

static bool is_other(const char *word)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(others); i++) {
		size_t n = strcspn(others[i], "*");

		if (strncmp(word, others[i], n) == 0 && (others[i][n] == '*' || word[n] == '\0'))
			return true;
	}
	return false;
}

static void warn_unknown(struct eg_config_loader *l, const char *variable)
{
	char word[EG_CONFIG_NAME_MAX];
	size_t len = strcspn(variable, "=");
	struct nearest n = {.word = word, .least = UINT32_MAX};

	if ((strncmp(variable, OWN, strlen(OWN)) != 0 &&
	     strncmp(variable, ALL_SMI, strlen(ALL_SMI)) != 0) ||
	    variable[len] != '=')
		return;
	snprintf(word, sizeof(word), "%.*s", (int)EG_MIN(len, sizeof(word)), variable);
	if (is_other(word))
		return;
	find_nearest(&n);
	if (n.least > 0 && n.least <= len / 4)
		eg_config_warn(l, NULL, "unknown variable %s; did you mean %s?", word, n.name);
	else if (n.least > 0)
		eg_config_warn(l, NULL, "unknown variable %s", word);
}

void eg_config_read_env(struct eg_config_loader *l)
{
	read_aliases(l);
	for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++) {
		char name[EG_CONFIG_NAME_MAX];
		const char *value;

		eg_config_env_name(eg_config_keys[i].section, eg_config_keys[i].name, name);
		value = eg_config_getenv(l->env, name);
		if (value != NULL)
			set(l, name, i, value);
	}
	read_drivers(l);
	for (const char *const *p = l->env; p != NULL && *p != NULL; p++)
		warn_unknown(l, *p);
}
