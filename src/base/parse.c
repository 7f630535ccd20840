/* SPDX-License-Identifier: Apache-2.0 */
/* See parse.h. */
#include "base/parse.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void trim(const char **s, size_t *n)
{
	while (*n && blank(**s)) {
		(*s)++;
		(*n)--;
	}
	while (*n && blank((*s)[*n - 1]))
		(*n)--;
}

static int digits(const char *s, size_t n, unsigned base, uint64_t *ret)
{
	uint64_t v = 0;

	if (n == 0)
		return -EINVAL;
	if (base == 10 && n < 20) { /* cannot overflow: the sampling path */
		for (size_t i = 0; i < n; i++) {
			unsigned d = (unsigned)(unsigned char)s[i] - '0';

			if (d > 9)
				return -EINVAL;
			v = v * 10 + d;
		}
		*ret = v;
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		unsigned d;
		char c = s[i];

		if (c >= '0' && c <= '9')
			d = (unsigned)(c - '0');
		else if (base == 16 && c >= 'a' && c <= 'f')
			d = (unsigned)(c - 'a') + 10;
		else if (base == 16 && c >= 'A' && c <= 'F')
			d = (unsigned)(c - 'A') + 10;
		else
			return -EINVAL;
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)d, &v))
			return -ERANGE;
	}
	*ret = v;
	return 0;
}

int eg_parse_u64(const char *s, size_t n, uint64_t *ret)
{
	trim(&s, &n);
	return digits(s, n, 10, ret);
}

int eg_parse_hex(const char *s, size_t n, uint64_t *ret)
{
	trim(&s, &n);
	return digits(s, n, 16, ret);
}

int eg_parse_i64(const char *s, size_t n, int64_t *ret)
{
	bool neg = false;
	uint64_t v;
	int r;

	trim(&s, &n);
	if (n && (*s == '-' || *s == '+')) {
		neg = *s == '-';
		s++;
		n--;
	}
	r = digits(s, n, 10, &v);
	if (r < 0)
		return r;
	if (v > (uint64_t)INT64_MAX + neg)
		return -ERANGE;
	*ret = neg ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

/*
 * strtod() follows the process's locale, which a library does not own. The token is checked here
 * and scaled in long double: exact for the integers and the short decimals that kernels print, and
 * within one unit in the last place elsewhere.
 */
int eg_parse_double(const char *s, size_t n, double *ret)
{
	long double v = 0;
	int exp10 = 0, e = 0;
	bool neg = false, eneg = false, any = false;
	size_t i = 0;

	trim(&s, &n);
	if (i < n && (s[i] == '-' || s[i] == '+'))
		neg = s[i++] == '-';
	for (; i < n && s[i] >= '0' && s[i] <= '9'; i++, any = true)
		v = v * 10 + (s[i] - '0');
	if (i < n && s[i] == '.')
		for (i++; i < n && s[i] >= '0' && s[i] <= '9'; i++, any = true) {
			v = v * 10 + (s[i] - '0');
			exp10--;
		}
	if (!any)
		return -EINVAL;
	if (i < n && (s[i] == 'e' || s[i] == 'E')) {
		i++;
		if (i < n && (s[i] == '-' || s[i] == '+'))
			eneg = s[i++] == '-';
		if (i >= n)
			return -EINVAL;
		for (; i < n && s[i] >= '0' && s[i] <= '9'; i++)
			e = EG_MIN(e * 10 + (s[i] - '0'), 99999);
	}
	if (i != n)
		return -EINVAL;
	if (v != 0)
		v *= powl(10.0L, exp10 + (eneg ? -e : e));
	if (!isfinite(v) || fabsl(v) > 1.7976931348623157e308L)
		return -ERANGE;
	*ret = (double)(neg ? -v : v);
	return 0;
}

int eg_parse_duration(const char *s, uint64_t bare_unit_ns, uint64_t *ret_ns)
{
	static const struct {
		const char *suffix;
		double ns;
	} units[] = {{"ns", 1},	  {"us", 1e3},	 {"ms", 1e6},	{"s", 1e9},
		     {"m", 60e9}, {"h", 3600e9}, {"d", 86400e9}};
	size_t n = strlen(s), num = n;
	double v, scale = 0;
	int r;

	while (num && ((s[num - 1] >= 'a' && s[num - 1] <= 'z')))
		num--;
	if (num == n)
		scale = (double)bare_unit_ns;
	for (size_t i = 0; i < EG_ARRAY_SIZE(units); i++)
		if (strcmp(s + num, units[i].suffix) == 0)
			scale = units[i].ns;
	if (scale <= 0)
		return -EINVAL;
	r = eg_parse_double(s, num, &v);
	if (r < 0)
		return r;
	if (v < 0)
		return -ERANGE;
	v = v * scale + 0.5;
	if (v >= 9.2e18)
		return -ERANGE;
	*ret_ns = (uint64_t)v;
	return 0;
}

unsigned eg_edit_distance(const char *a, const char *b)
{
	enum { MAX = 64 };
	unsigned d[3][MAX + 1];
	size_t n = strlen(a), m = strlen(b);

	if (n > MAX || m > MAX)
		return 255;
	for (size_t j = 0; j <= m; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned *cur = d[i % 3], *up = d[(i + 2) % 3], *up2 = d[(i + 1) % 3];

		cur[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned best = up[j - 1] + (a[i - 1] != b[j - 1]);

			best = EG_MIN(best, EG_MIN(up[j], cur[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = EG_MIN(best, up2[j - 2] + 1);
			cur[j] = best;
		}
	}
	return d[n % 3][m];
}
