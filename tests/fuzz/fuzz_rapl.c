/* SPDX-License-Identifier: Apache-2.0 */
/* Text of a powercap tree: any bytes as a zone's folder name, its `name`, and its range. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "drivers/rapl/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct eg_rapl_name name = {.number = 12345};
	struct eg_rapl_id id = {.depth = 99};
	struct eg_rapl_range range = {7, 7};
	char *s = malloc(size + 1);
	uint64_t v;

	if (!s)
		return 0;
	memcpy(s, data, size);
	s[size] = '\0';
	if (eg_rapl_parse_id(s, &id) == 0) {
		check(id.depth >= 1 && id.depth <= EG_RAPL_DEPTH_MAX);
		for (unsigned i = 0; i < id.depth; i++)
			check(id.n[i] <= EG_RAPL_NUMBER_MAX);
		check(eg_rapl_id_equal(&id, &id) && !eg_rapl_id_is_parent(&id, &id));
	} else {
		check(id.depth == 99);
	}
	/* Not terminated: reading past the end is what the sanitizer watches. */
	memmove(s, data, size);
	s = realloc(s, size ? size : 1);
	if (eg_rapl_parse_name(s, size, &name) == 0)
		check(name.number <= EG_RAPL_NUMBER_MAX && name.die >= -1 &&
		      name.kind <= EG_RAPL_PSYS);
	else
		check(name.number == 12345);
	if (eg_parse_u64(s, size, &v) == 0) {
		if (eg_rapl_range(v, &range) == 0) {
			check(range.modulus_uj > v && range.resolution_uj >= 1);
			check(range.modulus_uj - v <= range.resolution_uj);
			check(eg_rapl_bracket_holds(v, v, v, range.modulus_uj));
		} else {
			check(range.modulus_uj == 7);
		}
	}
	free(s);
	return 0;
}
