/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ergon doctor`: the facts that decide what can be measured, what each interface answers, and what
 * that comes to.
 */
#include <inttypes.h>
#include <string.h>

#include "base/version.h"
#include "cli/out.h"
#include "cli/survey.h"
#include "codec/report.h"
#include "host/machine.h"

struct doctor {
	const struct eg_context *ctx;
	struct eg_survey survey;
	struct eg_cpu cpu;
	bool have_cpu;
	struct eg_machine machine;
};

static const struct {
	unsigned bit;
	const char *name, *use;
} capabilities[] = {
	{EG_CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "reads files of root, such as energy_uj"},
	{EG_CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE", "reads files of root, such as energy_uj"},
	{EG_CAP_PERFMON, "CAP_PERFMON", "opens the power counters of perf"},
	{EG_CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "opens the power counters of perf"},
	{EG_CAP_SYS_RAWIO, "CAP_SYS_RAWIO", "reads model-specific registers"},
};

static const char *or_unknown(const char *s)
{
	return s[0] ? s : "unknown";
}

/* ---- JSON ---- */

static void text_or_null(struct eg_json *j, const char *key, const char *s)
{
	eg_json_text(j, key, s[0] ? s : NULL);
}

static void json_machine(struct eg_json *j, const struct doctor *d)
{
	const struct eg_machine *m = &d->machine;

	eg_json_object(j, "machine");
	text_or_null(j, "product", m->product);
	text_or_null(j, "kernel", m->kernel);
	text_or_null(j, "boot_id", m->boot_id);
	text_or_null(j, "cpu", d->have_cpu ? d->cpu.model_name : "");
	if (d->have_cpu && d->cpu.sockets > 0)
		eg_json_u64(j, "sockets", d->cpu.sockets);
	if (d->have_cpu && d->cpu.cores > 0)
		eg_json_u64(j, "cores", d->cpu.cores);
	if (d->have_cpu && d->cpu.threads > 0)
		eg_json_u64(j, "threads", d->cpu.threads);
	eg_json_bool(j, "virtual_machine", m->virtual_machine);
	text_or_null(j, "hypervisor", m->hypervisor);
	text_or_null(j, "container", m->container);
	eg_json_end(j);
}

static void json_process(struct eg_json *j, const struct eg_machine *m)
{
	eg_json_object(j, "process");
	if (m->have_uid)
		eg_json_u64(j, "uid", m->euid);
	else
		eg_json_null(j, "uid");
	if (m->have_paranoid)
		eg_json_i64(j, "perf_event_paranoid", m->perf_event_paranoid);
	else
		eg_json_null(j, "perf_event_paranoid");
	if (m->have_caps) {
		eg_json_object(j, "capabilities");
		for (size_t i = 0; i < EG_ARRAY_SIZE(capabilities); i++)
			eg_json_bool(j, capabilities[i].name,
				     eg_machine_has_cap(m, capabilities[i].bit));
		eg_json_end(j);
	} else {
		eg_json_null(j, "capabilities");
	}
	eg_json_end(j);
}

static void put_json(struct eg_json *j, const struct doctor *d)
{
	eg_json_object(j, NULL);
	eg_json_text(j, "schema", "ergon.doctor/1");
	eg_json_text(j, "version", EG_VERSION);
	eg_json_text(j, "root", d->ctx->env.root);
	json_machine(j, d);
	json_process(j, &d->machine);
	eg_survey_json_drivers(j, &d->survey, &d->ctx->env);
	eg_json_array(j, "measurable");
	for (size_t i = 0; i < d->survey.look->n; i++)
		if (d->survey.look->channel[i].role == EG_ROLE_TOTAL)
			eg_json_text(j, NULL, d->survey.look->channel[i].name);
	eg_json_end(j);
	eg_survey_json_channels(j, &d->survey);
	eg_report_json_diags(j, "diagnostics", &d->survey.diags);
	eg_json_end(j);
}

/* ---- Text ---- */

static void text_machine(struct eg_strbuf *out, const struct doctor *d)
{
	const struct eg_machine *m = &d->machine;

	eg_strbuf_puts(out, "Machine\n");
	if (strcmp(d->ctx->env.root, "/") != 0)
		eg_strbuf_printf(out, "  root            %s\n", d->ctx->env.root);
	eg_strbuf_printf(out, "  product         %s\n  kernel          %s\n",
			 or_unknown(m->product), or_unknown(m->kernel));
	eg_strbuf_printf(out, "  cpu             %s\n",
			 d->have_cpu ? or_unknown(d->cpu.model_name) : "unknown");
	if (d->have_cpu && d->cpu.threads > 0)
		eg_strbuf_printf(out, "  cpu threads     %" PRIu32 "\n", d->cpu.threads);
	if (m->virtual_machine)
		eg_strbuf_printf(
			out,
			"  virtualisation  a virtual machine%s%s: hosts rarely show energy "
			"counters to their guests\n",
			m->hypervisor[0] ? " of " : "", m->hypervisor);
	else
		eg_strbuf_puts(out, "  virtualisation  none seen\n");
	eg_strbuf_printf(out, "  container       %s\n",
			 m->container[0] ? m->container : "none seen");
}

static void text_rights(struct eg_strbuf *out, const struct eg_machine *m)
{
	eg_strbuf_puts(out, "\nRights of this process\n");
	if (m->have_uid)
		eg_strbuf_printf(out, "  user            %" PRIu32 "%s\n", m->euid,
				 m->euid == 0 ? " (root)" : "");
	else
		eg_strbuf_puts(out, "  user            unknown\n");
	for (size_t i = 0; m->have_caps && i < EG_ARRAY_SIZE(capabilities); i++)
		eg_strbuf_printf(out, "  %-20s %-4s %s\n", capabilities[i].name,
				 eg_machine_has_cap(m, capabilities[i].bit) ? "yes" : "no",
				 capabilities[i].use);
	if (!m->have_caps)
		eg_strbuf_puts(out, "  capabilities    unknown\n");
	if (m->have_paranoid)
		eg_strbuf_printf(out,
				 "  perf_event_paranoid %d (perf's power counters need <= 0, or "
				 "CAP_PERFMON)\n",
				 m->perf_event_paranoid);
	else
		eg_strbuf_puts(out, "  perf_event_paranoid unknown\n");
}

static void text_build(struct eg_strbuf *out)
{
	bool left_out = false;

	eg_strbuf_puts(out, "\nThis build\n  ergon           " EG_VERSION "\n  drivers        ");
	for (size_t i = 0; eg_drivers[i]; i++)
		eg_strbuf_printf(out, " %s", eg_drivers[i]->name);
	eg_strbuf_puts(out, "\n  left out       ");
	for (const struct eg_known_driver *k = eg_known_drivers; k->name; k++) {
		if (!k->built)
			eg_strbuf_printf(out, " %s", k->name);
		left_out |= !k->built;
	}
	eg_strbuf_puts(out, left_out ? "\n" : " nothing\n");
}

static void put_text(struct eg_strbuf *out, const struct doctor *d)
{
	struct eg_strbuf counted = EG_STRBUF_INIT(1u << 16);

	text_machine(out, d);
	text_rights(out, &d->machine);
	text_build(out);
	eg_strbuf_puts(out, "\nInterfaces\n");
	for (const struct eg_known_driver *k = eg_known_drivers; k->name; k++) {
		size_t n = eg_survey_channels_of(&d->survey, k->name);
		const char *interface = eg_survey_interface(&d->ctx->env, k);

		eg_strbuf_printf(out, "  %-13s %-8s ", k->name, interface ? interface : "-");
		if (n > 0)
			eg_strbuf_printf(out, "%zu channel%s\n", n, n == 1 ? "" : "s");
		else
			eg_strbuf_printf(out, "%s\n", eg_survey_driver_state(&d->survey, k));
		eg_survey_text_diags(out, &d->survey, k->name);
	}
	eg_strbuf_puts(out, "\nWhat can be measured here\n");
	if (eg_survey_counted(&counted, &d->survey))
		eg_strbuf_printf(out, "  %s\n", eg_strbuf_get(&counted));
	else
		eg_strbuf_puts(out,
			       "  Nothing: no interface gives energy or power to this process. "
			       "The cures are above;\n  `ergon run --allow-estimates` infers "
			       "joules from CPU use, labelled estimated.\n");
	eg_strbuf_free(&counted);
}

int eg_verb_doctor(struct eg_args *args)
{
	struct eg_strbuf out = EG_STRBUF_INIT(EG_SURVEY_TEXT_MAX);
	struct eg_context ctx;
	struct doctor d = {.ctx = &ctx};
	struct eg_json j;
	int code = eg_context_open(args, 0, &ctx), err;

	if (code != 0)
		return code;
	err = eg_survey_take(&ctx, false, &d.survey);
	if (err < 0) {
		eg_say("cannot look at the sensors: %s", eg_errno_text(err));
		eg_context_close(&ctx);
		return EG_EXIT_FAILURE;
	}
	d.have_cpu = eg_cpu_read(&ctx.env, &d.cpu) == 0;
	eg_machine_read(&ctx.env, d.have_cpu ? &d.cpu : NULL, &d.machine);
	if (args->json) {
		eg_json_init(&j, &out, true);
		put_json(&j, &d);
		err = eg_json_finish(&j);
	} else {
		put_text(&out, &d);
	}
	if (err < 0)
		eg_say("cannot write the findings: %s", eg_errno_text(err));
	code = err < 0	  ? EG_EXIT_FAILURE :
	       args->json ? eg_out_stdout(&out, NULL) :
			    eg_out_text(&out, eg_locale_is_ascii(), NULL);
	eg_survey_free(&d.survey);
	eg_context_close(&ctx);
	eg_strbuf_free(&out);
	return code;
}
