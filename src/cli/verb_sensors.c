/* SPDX-License-Identifier: Apache-2.0 */
/* `ergon sensors`: every driver and channel, or why there is none; see survey.h. */
#include <math.h>

#include "cli/out.h"
#include "cli/survey.h"
#include "codec/report.h"

static void put_json(struct eg_json *j, const struct eg_context *ctx, const struct eg_survey *s)
{
	eg_json_object(j, NULL);
	eg_json_text(j, "schema", "ergon.sensors/1");
	eg_json_text(j, "root", ctx->env.root);
	eg_survey_json_drivers(j, s, NULL);
	eg_survey_json_channels(j, s);
	eg_json_array(j, "attributes");
	for (size_t i = 0; i < s->n_attributes; i++) {
		const struct eg_attribute *a = &s->attribute[i];

		eg_json_object(j, NULL);
		eg_json_text(j, "device", a->device);
		eg_json_text(j, "name", a->name);
		if (a->is_text)
			eg_json_text(j, "value", a->text);
		else
			eg_json_double(j, "value", a->value);
		eg_json_end(j);
	}
	eg_json_end(j);
	eg_report_json_diags(j, "diagnostics", &s->diags);
	eg_json_end(j);
}

static void put_text(struct eg_strbuf *out, const struct eg_survey *s, bool all)
{
	struct eg_strbuf counted = EG_STRBUF_INIT(1u << 16);

	for (const struct eg_known_driver *k = eg_known_drivers; k->name; k++)
		eg_survey_text_driver(out, s, k, all);
	if (eg_survey_counted(&counted, s))
		eg_strbuf_printf(out, "\nThe total is made of: %s\n", eg_strbuf_get(&counted));
	else
		eg_strbuf_puts(out, "\nNothing can be measured here; `ergon doctor` says more.\n");
	eg_strbuf_free(&counted);
}

int eg_verb_sensors(struct eg_args *args)
{
	struct eg_strbuf out = EG_STRBUF_INIT(EG_SURVEY_TEXT_MAX);
	struct eg_context ctx;
	struct eg_survey s = {0};
	struct eg_json j;
	int code = eg_context_open(args, 0, &ctx), err;

	if (code != 0)
		return code;
	err = eg_survey_take(&ctx, args->all || args->json, &s);
	if (err == 0 && args->json) {
		eg_json_init(&j, &out, true);
		put_json(&j, &ctx, &s);
		err = eg_json_finish(&j);
	} else if (err == 0) {
		put_text(&out, &s, args->all);
	}
	if (err < 0)
		eg_say("cannot look at the sensors: %s", eg_errno_text(err));
	eg_survey_free(&s);
	code = err < 0	  ? EG_EXIT_FAILURE :
	       args->json ? eg_out_stdout(&out, NULL) :
			    eg_out_text(&out, eg_locale_is_ascii(), NULL);
	eg_context_close(&ctx);
	eg_strbuf_free(&out);
	return code;
}
