/* SPDX-License-Identifier: Apache-2.0 */
/* The one function of driver.h. */
#include "core/driver.h"

#include <string.h>

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
