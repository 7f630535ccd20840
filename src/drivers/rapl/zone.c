/* SPDX-License-Identifier: Apache-2.0 */
/* See zone.h. */
#include "drivers/rapl/zone.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"

/* Takes `prefix` off the front of a token. */
static bool skip_prefix(const char **s, size_t *n, const char *prefix)
{
	size_t len = strlen(prefix);

	if (*n < len || memcmp(*s, prefix, len) != 0)
		return false;
	*s += len;
	*n -= len;
	return true;
}

/* Takes the digits at the front of a token as a number. */
static int take_number(const char **s, size_t *n, bool hex, uint32_t *ret)
{
	size_t len = 0;
	uint64_t v;
	int r;

	for (; len < *n && (*s)[len] != ':' && (*s)[len] != '-'; len++)
		if (strchr(" \t\r\n", (*s)[len])) /* the parser forgives them, a name has none */
			return -EINVAL;
	r = hex ? eg_parse_hex(*s, len, &v) : eg_parse_u64(*s, len, &v);
	if (r < 0 || v > EG_RAPL_NUMBER_MAX)
		return -EINVAL;
	*s += len;
	*n -= len;
	*ret = (uint32_t)v;
	return 0;
}

int eg_rapl_parse_id(const char *s, struct eg_rapl_id *ret)
{
	struct eg_rapl_id id = {0};
	size_t n = strlen(s);

	if (!skip_prefix(&s, &n, "intel-rapl"))
		return -EINVAL;
	id.mmio = skip_prefix(&s, &n, "-mmio");
	while (skip_prefix(&s, &n, ":")) {
		if (id.depth == EG_RAPL_DEPTH_MAX || take_number(&s, &n, true, &id.n[id.depth]) < 0)
			return -EINVAL;
		id.depth++;
	}
	if (n != 0 || id.depth == 0)
		return -EINVAL;
	*ret = id;
	return 0;
}

bool eg_rapl_id_equal(const struct eg_rapl_id *a, const struct eg_rapl_id *b)
{
	return a->mmio == b->mmio && a->depth == b->depth &&
	       memcmp(a->n, b->n, a->depth * sizeof(a->n[0])) == 0;
}

bool eg_rapl_id_is_parent(const struct eg_rapl_id *parent, const struct eg_rapl_id *child)
{
	struct eg_rapl_id up = *child;

	if (up.depth < 2)
		return false;
	up.depth--;
	return eg_rapl_id_equal(parent, &up);
}

int eg_rapl_parse_name(const char *s, size_t n, struct eg_rapl_name *ret)
{
	static const struct {
		const char *word;
		enum eg_rapl_kind kind;
	} words[] = {{"core", EG_RAPL_CORE},
		     {"uncore", EG_RAPL_UNCORE},
		     {"dram", EG_RAPL_DRAM},
		     {"psys", EG_RAPL_PSYS}};
	struct eg_rapl_name name = {.die = -1};
	uint32_t die;

	for (size_t i = 0; i < EG_ARRAY_SIZE(words); i++)
		if (n == strlen(words[i].word) && memcmp(s, words[i].word, n) == 0) {
			name.kind = words[i].kind;
			*ret = name;
			return 0;
		}
	if (skip_prefix(&s, &n, "psys-"))
		name.kind = EG_RAPL_PSYS;
	else if (skip_prefix(&s, &n, "package-"))
		name.kind = EG_RAPL_PACKAGE;
	else
		return -EINVAL;
	if (take_number(&s, &n, false, &name.number) < 0)
		return -EINVAL;
	if (name.kind == EG_RAPL_PACKAGE && skip_prefix(&s, &n, "-die-")) {
		if (take_number(&s, &n, false, &die) < 0)
			return -EINVAL;
		name.die = (int32_t)die;
	}
	if (n != 0)
		return -EINVAL;
	*ret = name;
	return 0;
}

int eg_rapl_range(uint64_t max_uj, struct eg_rapl_range *ret)
{
	const uint64_t top = UINT32_MAX; /* largest value of the register */
	uint64_t unit_nj, unit_uj = 1, resolution_uj = 1, modulus, modulus_nj;
	bool known_unit = false;
	unsigned __int128 x = (unsigned __int128)max_uj * 1000;

	if (max_uj == 0)
		return -ERANGE;
	unit_nj = (uint64_t)((x + top / 2) / top);
	if (unit_nj && (uint64_t)((unsigned __int128)top * unit_nj / 1000) == max_uj) {
		unit_uj = EG_MAX((unit_nj + 500) / 1000, 1u);
		resolution_uj = (unit_nj + 999) / 1000;
		known_unit = true;
	}
	if (__builtin_add_overflow(max_uj, unit_uj, &modulus))
		return -ERANGE;
	if (__builtin_mul_overflow(modulus, 1000, &modulus_nj))
		modulus_nj = 0; /* no machine gets there */
	if (known_unit)		/* the register's own size, to the nanojoule */
		modulus_nj = (top + 1) * unit_nj;
	*ret = (struct eg_rapl_range){
		.modulus_uj = modulus, .modulus_nj = modulus_nj, .resolution_uj = resolution_uj};
	return 0;
}

static uint64_t forward(uint64_t from, uint64_t to, uint64_t modulus)
{
	return to >= from || modulus == 0 ? to - from : to + (modulus - from);
}

bool eg_rapl_bracket_holds(uint64_t a, uint64_t b, uint64_t a_again, uint64_t modulus)
{
	uint64_t width = forward(a, a_again, modulus);

	/* A bracket wider than half the counter, or a step back without a range, shows nothing. */
	if (width > (modulus ? modulus : UINT64_MAX) / 2)
		return false;
	return forward(a, b, modulus) <= width;
}
