/* SPDX-License-Identifier: Apache-2.0 */
/* See event.h. */
#include "drivers/perf_rapl/event.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/parse.h"

int eg_perf_rapl_parse_event(const char *s, size_t n, uint64_t *ret_config)
{
	static const char key[] = "event=";
	const size_t len = sizeof(key) - 1;
	uint64_t v;
	int r;

	if (n < len || memcmp(s, key, len) != 0)
		return -EINVAL;
	s += len;
	n -= len;
	if (n > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		r = eg_parse_hex(s + 2, n - 2, &v);
	else
		r = eg_parse_u64(s, n, &v);
	if (r < 0 || v == 0 || v > 0xff)
		return -EINVAL;
	*ret_config = v;
	return 0;
}

int eg_perf_rapl_parse_scale(const char *s, size_t n, uint64_t *ret_num, uint64_t *ret_den)
{
	double joules, uj;
	uint64_t den = 1;
	int exponent, r = eg_parse_double(s, n, &joules);

	if (r < 0)
		return -EINVAL;
	if (!(joules >= 1e-15 && joules <= 1e6))
		return -ERANGE;
	exponent = (int)lround(log2(joules));
	if (fabs(joules / ldexp(1.0, exponent) - 1) < 1e-12) {
		/* 2^e J = 15625 x 2^(e + 6) uJ */
		exponent += 6;
		*ret_num = exponent > 0 ? 15625ULL << exponent : 15625;
		*ret_den = exponent < 0 ? 1ULL << -exponent : 1;
		return 0;
	}
	uj = joules * 1e6;
	while (uj < 1e12 && den < 1000000000000000000ULL) {
		uj *= 10;
		den *= 10;
	}
	*ret_num = (uint64_t)llround(uj);
	*ret_den = den;
	return 0;
}

ssize_t eg_perf_rapl_parse_cpus(const char *s, size_t n, uint32_t *cpus, size_t cap)
{
	size_t count = 0;

	while (n && strchr(" \t\r\n", s[n - 1]))
		n--;
	for (;;) {
		const char *comma = memchr(s, ',', n);
		size_t len = comma ? (size_t)(comma - s) : n;
		const char *dash = memchr(s, '-', len);
		size_t first_len = dash ? (size_t)(dash - s) : len;
		uint64_t from, to;

		if (eg_parse_u64(s, first_len, &from) < 0)
			return -EINVAL;
		to = from;
		if (dash && eg_parse_u64(dash + 1, len - first_len - 1, &to) < 0)
			return -EINVAL;
		if (from > to)
			return -EINVAL;
		if (to > EG_PERF_RAPL_CPU_MAX)
			return -ERANGE;
		for (; from <= to; from++, count++)
			if (count < cap)
				cpus[count] = (uint32_t)from;
		if (!comma)
			return (ssize_t)count;
		s += len + 1;
		n -= len + 1;
	}
}
