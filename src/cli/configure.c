/* SPDX-License-Identifier: Apache-2.0 */
/* See configure.h. */
#include "cli/configure.h"

#include <errno.h>
#include <string.h>

#include "cli/out.h"
#include "codec/plain.h"
#include "core/diag.h"

#define TEXT_MAX (256u << 10)

/* FILE:LINE:COLUMN: stands first, where editors look for it. */
static void tell_mistakes(const struct eg_strbuf *why)
{
	struct eg_strbuf plain = EG_STRBUF_INIT(4 * TEXT_MAX);

	eg_plain_text(&plain, eg_strbuf_get(why), why->len, eg_locale_is_ascii());
	if (eg_strbuf_error(&plain) == 0)
		(void)!eg_write_all(STDERR_FILENO, eg_strbuf_get(&plain), plain.len);
	eg_strbuf_free(&plain);
}

static void tell_warnings(const struct eg_strbuf *warnings)
{
	for (const char *p = eg_strbuf_get(warnings); *p;) {
		size_t n = strcspn(p, "\n");

		eg_say("warning: %.*s", (int)n, p);
		p += n + (p[n] == '\n');
	}
}

int eg_configure(const struct eg_args *args, const char *file, struct eg_config_source **ret,
		 struct eg_strbuf *warnings)
{
	struct eg_strbuf why = EG_STRBUF_INIT(TEXT_MAX), own = EG_STRBUF_INIT(TEXT_MAX);
	int err = eg_config_load(file, (const char *const *)environ, args->config_flag,
				 args->n_config_flags, ret, &why, warnings ? warnings : &own);

	tell_warnings(&own);
	if (err < 0 && why.len > 0)
		tell_mistakes(&why);
	else if (err < 0)
		eg_say("cannot read the configuration: %s", eg_errno_text(err));
	eg_strbuf_free(&why);
	eg_strbuf_free(&own);
	return err == 0 ? 0 : err == -ENOMEM ? EG_EXIT_FAILURE : EG_EXIT_USAGE;
}

int eg_configure_places(const struct eg_config_source *c, struct eg_places *ret)
{
	struct eg_strbuf why = EG_STRBUF_INIT(TEXT_MAX);
	int err = eg_config_places(eg_config_get(c), (const char *const *)environ, geteuid() == 0,
				   ret, &why);

	if (err < 0)
		eg_say("%s", eg_strbuf_get(&why));
	eg_strbuf_free(&why);
	return err < 0 ? EG_EXIT_USAGE : 0;
}
