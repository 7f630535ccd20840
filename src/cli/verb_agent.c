/* SPDX-License-Identifier: Apache-2.0 */
/* `ergon agent`: reads the configuration and says where things would go. */
#include "cli/configure.h"
#include "cli/out.h"

int eg_verb_agent(struct eg_args *args)
{
	struct eg_config_source *c;
	struct eg_places places;
	int code = eg_configure(args, args->config, &c, NULL);

	if (code != 0)
		return code;
	code = eg_configure_places(c, &places);
	if (code == 0)
		eg_say("state %s, socket %s, page %s, listen %s", places.state, places.socket,
		       places.page, eg_config_get(c)->http.listen);
	eg_config_free(c);
	return code;
}
