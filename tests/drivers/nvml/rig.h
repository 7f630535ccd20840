/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of this folder share: a root of their own with the fake library in it, a script
 * for the library, a clock that both sides read, and a meter over the driver.
 */
#ifndef EG_TESTS_NVML_RIG_H
#define EG_TESTS_NVML_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/env.h"
#include "core/meter.h"
#include "drivers/nvml/api.h"
#include "sim/power.h"

#define T0_NS	     (1000 * EG_NSEC_PER_SEC) /* interval clock at which the power functions begin */
#define UNIX_NS	     1800000000123456789ULL
#define READINGS_MAX 4096

extern const struct eg_driver eg_driver_nvml;

struct rig {
	char dir[64], script[128], clock[128], lib[128];
	struct eg_env env;
	struct eg_file_clock *fc;
	struct eg_driver inline_driver; /* read in the calling thread */
	const struct eg_driver *drivers[2];
};

/* A driver opened without a meter. */
struct opened {
	struct eg_instance *inst;
	struct eg_diags diags;
	const struct eg_channel *ch;
	size_t n;
};
struct readings {
	struct eg_sink sink;
	size_t n;
	struct {
		size_t channel;
		struct eg_reading r;
	} item[READINGS_MAX];
};

void rig_start(struct rig *r, const char *lib_variable, const char *script);
void rig_script(struct rig *r, const char *script);
void rig_end(struct rig *r);
/* Time since the power functions began. */
void rig_at(struct rig *r, double s);

int rig_open(struct rig *r, struct opened *o);
void rig_close(struct opened *o);
void rig_read(struct opened *o, struct readings *ret);
const struct eg_diag *find_diag(const struct eg_diags *d, enum eg_diag_code code,
				const char *subject);

struct eg_meter *rig_meter(struct rig *r, uint64_t interval_ms);
/* Samples every interval_ms from now (from_s) to to_s, and comes to rest at to_s unsampled. */
void rig_run(struct rig *r, struct eg_meter *m, double from_s, double to_s, double interval_s);
/* A window from a to b; sampled at interval_s inside. The caller frees the result. */
struct eg_result *rig_window(struct rig *r, struct eg_meter *m, double a, double b,
			     double interval_s);
double truth_j(const char *power, double a, double b);
bool symbol_of(const struct rig *r, const char *name, void *ret_fn, size_t size);

#endif
