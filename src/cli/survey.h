/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is here to measure with: every driver with its state, every channel with its power now, the
 * attributes of devices, and the diagnostics. `ergon sensors` shows it, `ergon doctor` ends with it.
 */
#ifndef EG_CLI_SURVEY_H
#define EG_CLI_SURVEY_H

#include "cli/context.h"
#include "codec/json.h"

#define EG_SURVEY_TEXT_MAX (16u << 20)
#define EG_ATTRIBUTES_MAX  4096

struct eg_survey {
	struct eg_meter *meter;
	struct eg_result *look; /* a window of 0.2 s over all channels */
	struct eg_diags diags;
	struct eg_attribute *attribute;
	size_t n_attributes, attributes_dropped;
};

/* attributes: also ask for those. 0 or negative errno. */
int eg_survey_take(struct eg_context *ctx, bool attributes, struct eg_survey *ret) EG_MUST_CHECK;
void eg_survey_free(struct eg_survey *s);

/* One word: "ok", "not_built", "not_selected", or that of its first diagnostic. */
const char *eg_survey_driver_state(const struct eg_survey *s, const struct eg_known_driver *k);
/* The built driver of that name, or NULL. */
const struct eg_driver *eg_survey_driver(const char *name);
size_t eg_survey_channels_of(const struct eg_survey *s, const char *driver);

/* What the driver's probe says of its interface: "here", "absent", "blocked"; NULL: not built. */
const char *eg_survey_interface(const struct eg_env *env, const struct eg_known_driver *k);

/* env: also probe each driver's interface; NULL: do not. */
void eg_survey_json_drivers(struct eg_json *j, const struct eg_survey *s, const struct eg_env *env);
void eg_survey_json_channels(struct eg_json *j, const struct eg_survey *s);
/* Names of the channels that make the total; false when there are none. */
bool eg_survey_counted(struct eg_strbuf *out, const struct eg_survey *s);
void eg_survey_text_driver(struct eg_strbuf *out, const struct eg_survey *s,
			   const struct eg_known_driver *k, bool all);
/* Diagnostics of one driver, with their cures, each line indented. */
void eg_survey_text_diags(struct eg_strbuf *out, const struct eg_survey *s, const char *driver);

#endif
