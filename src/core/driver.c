/* SPDX-License-Identifier: Apache-2.0 */
/* See driver.h. */
#include "core/driver.h"

#include <string.h>

#include "base/parse.h"

const char *eg_setting_get(const struct eg_driver_config *cfg, const char *driver, const char *name)
{
	const char *value = NULL;

	/* The last one wins, as on a command line. */
	for (size_t i = 0; i < cfg->n_settings; i++)
		if (strcmp(cfg->settings[i].driver, driver) == 0 &&
		    strcmp(cfg->settings[i].name, name) == 0)
			value = cfg->settings[i].value;
	return value;
}

bool eg_setting_on(const struct eg_driver_config *cfg, const char *driver, const char *name)
{
	const char *text = eg_setting_get(cfg, driver, name);

	return text && (strcmp(text, "true") == 0 || strcmp(text, "yes") == 0 ||
			strcmp(text, "on") == 0 || strcmp(text, "1") == 0);
}

const char *eg_option_wrong(const struct eg_option *o, const char *text)
{
	static const char *const bools[] = {"true", "yes", "on", "1", "false", "no", "off", "0"};
	uint64_t u;
	double d;

	switch (o->type) {
	case EG_OPTION_BOOL:
		for (size_t i = 0; i < EG_ARRAY_SIZE(bools); i++)
			if (strcmp(text, bools[i]) == 0)
				return NULL;
		return "neither true nor false";
	case EG_OPTION_U64:
		return eg_parse_u64(text, strlen(text), &u) < 0 ? "no whole number" : NULL;
	case EG_OPTION_DOUBLE:
		return eg_parse_double(text, strlen(text), &d) < 0 ? "no number" : NULL;
	case EG_OPTION_TEXT:
		break;
	}
	return NULL;
}
