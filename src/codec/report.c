/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the faces of a report share: energy with its uncertainty in sensible digits, the command as
 * a line, and the statistics of repeats.
 */
#include "codec/report.h"

#include <errno.h>
#include <string.h>

#include "codec/number.h"

void eg_report_energy_text(struct eg_strbuf *out, uint64_t uj, uint64_t uncertainty_uj)
{
	double j = (double)uj / 1e6, u = (double)uncertainty_uj / 1e6;
	unsigned decimals = eg_number_decimals(u);
	char text[EG_NUMBER_MAX];

	eg_number_fixed(text, j, decimals);
	eg_strbuf_puts(out, text);
	eg_number_fixed(text, u, decimals);
	eg_strbuf_printf(out, " J \xc2\xb1 %s", text);
	if (uj == 0)
		return;
	eg_number_fixed(text, 100 * u / j, 1);
	eg_strbuf_printf(out, " (%s %%)", text);
}

int eg_report_repeats(const struct eg_report *r, struct eg_stats *ret_joules,
		      struct eg_stats *ret_seconds)
{
	eg_autofree double *j = calloc(r->n_repeats + 1, sizeof(*j));
	eg_autofree double *s = calloc(r->n_repeats + 1, sizeof(*s));
	size_t n = 0;

	if (j == NULL || s == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < r->n_repeats; i++) {
		s[i] = (double)r->repeat[i].seconds_ns / 1e9;
		if (r->repeat[i].has_total)
			j[n++] = (double)r->repeat[i].total_uj / 1e6;
	}
	eg_stats_of(j, n, ret_joules);
	eg_stats_of(s, r->n_repeats, ret_seconds);
	return 0;
}

void eg_report_command(struct eg_strbuf *out, const char *const *command)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-_./=:,+@%^";

	for (; *command; command++) {
		const char *s = *command;

		if (*s && s[strspn(s, plain)] == '\0') {
			eg_strbuf_puts(out, s);
		} else {
			eg_strbuf_putc(out, '\'');
			for (; *s; s++) {
				if (*s == '\'')
					eg_strbuf_puts(out, "'\\'");
				eg_strbuf_putc(out, *s);
			}
			eg_strbuf_putc(out, '\'');
		}
		if (command[1])
			eg_strbuf_putc(out, ' ');
	}
}
