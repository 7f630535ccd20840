/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a scenario: taken or refused with a message, and what is taken has counters and
 * energies that make sense.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sim/scenario.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct eg_scenario_error error;
	struct eg_scenario *sc;
	int r = eg_scenario_parse((const char *)data, size, "fuzz", &sc, &error);

	if (r < 0) {
		if (!error.message[0])
			abort();
		return 0;
	}
	for (size_t i = 0; i < sc->n_channels; i++) {
		const struct eg_sim_channel *c = &sc->channel[i];
		uint64_t t = EG_NSEC_PER_SEC * 5;

		if (c->modulus_raw && c->start_raw >= c->modulus_raw)
			abort();
		if (c->update_ns == 0)
			abort();
		if (c->has_power && (eg_scenario_true_energy_fj(sc, i, 0, t) < 0 ||
				     eg_power_at_uw(&c->power, t) < -1))
			abort();
	}
	eg_scenario_free(sc);
	return 0;
}
