/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chooses the format of the page by the Accept header (RFC 9110, 12.5.1): OpenMetrics 1.0 only for who
 * names it, text for everybody else. A wildcard is how browsers and old scrapers ask: it means text.
 */
#include <string.h>
#include <strings.h>

#include "codec/metrics.h"

/* Words of a header, with the blanks around them cut. */
struct word {
	const char *s;
	size_t n;
};

static struct word trim(const char *s, size_t n)
{
	while (n > 0 && (*s == ' ' || *s == '\t')) {
		s++;
		n--;
	}
	while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'))
		n--;
	return (struct word){s, n};
}

static bool is(struct word w, const char *text)
{
	return w.n == strlen(text) && strncasecmp(w.s, text, w.n) == 0;
}

/* "0.75" in thousandths; what is no quality is none. */
static int parse_quality(struct word w)
{
	int v = 0, scale = 1000;

	if (w.n == 0 || w.n > 5 || (w.s[0] != '0' && w.s[0] != '1') || (w.n > 1 && w.s[1] != '.'))
		return 0;
	v = (w.s[0] - '0') * 1000;
	for (size_t i = 2; i < w.n; i++) {
		if (w.s[i] < '0' || w.s[i] > '9')
			return 0;
		scale /= 10;
		v += (w.s[i] - '0') * scale;
	}
	return v > 1000 ? 0 : v;
}

struct range {
	struct word type, version;
	int quality;
};

/* One media range with its parameters. */
static struct range parse_range(const char *s, size_t n)
{
	const char *end = s + n, *semi = memchr(s, ';', n);
	struct range r = {.type = trim(s, semi ? (size_t)(semi - s) : n), .quality = 1000};

	for (const char *p = semi; p; p = semi) {
		const char *from = p + 1, *equals;
		struct word name, value;
		size_t len;

		semi = memchr(from, ';', (size_t)(end - from));
		len = (size_t)((semi ? semi : end) - from);
		equals = memchr(from, '=', len);
		if (!equals)
			continue;
		name = trim(from, (size_t)(equals - from));
		value = trim(equals + 1, len - (size_t)(equals + 1 - from));
		if (value.n >= 2 && value.s[0] == '"' && value.s[value.n - 1] == '"')
			value = (struct word){value.s + 1, value.n - 2};
		if (is(name, "q"))
			r.quality = parse_quality(value);
		else if (is(name, "version"))
			r.version = value;
	}
	return r;
}

enum eg_metrics_format eg_metrics_negotiate(const char *accept)
{
	int openmetrics = 0, text = -1, text_any = -1, any = -1;

	for (const char *p = accept; p && *p;) {
		size_t n = strcspn(p, ",");
		struct range r = parse_range(p, n);
		bool plain = r.version.n == 0 || is(r.version, "0.0.4");

		if (is(r.type, "application/openmetrics-text") &&
		    (r.version.n == 0 || is(r.version, "1.0.0")))
			openmetrics = EG_MAX(openmetrics, r.quality);
		else if (is(r.type, "text/plain") && plain)
			text = EG_MAX(text, r.quality);
		else if (is(r.type, "text/*"))
			text_any = EG_MAX(text_any, r.quality);
		else if (is(r.type, "*/*"))
			any = EG_MAX(any, r.quality);
		p += n + (p[n] == ',');
	}
	if (text < 0) /* the most specific range decides */
		text = text_any >= 0 ? text_any : any;
	return openmetrics > 0 && openmetrics >= text ? EG_METRICS_OPENMETRICS : EG_METRICS_TEXT;
}

const char *eg_metrics_content_type(enum eg_metrics_format format)
{
	return format == EG_METRICS_OPENMETRICS ?
		       "application/openmetrics-text; version=1.0.0; charset=utf-8" :
		       "text/plain; version=0.0.4; charset=utf-8";
}
