/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The choice of drivers and channels that --select and the library take: a comma-separated list of
 * patterns, each a driver ("rapl"), a channel ("rapl/package-*") or a component ("dram"), with '*'
 * and '?' as in a shell; a leading '-' leaves out. Without a positive pattern all are chosen.
 */
#ifndef EG_CORE_SELECT_H
#define EG_CORE_SELECT_H

#include <stdbool.h>

#include "core/driver.h"

#define EG_SELECT_MAX 32

struct eg_select {
	struct {
		char text[EG_CHANNEL_NAME_MAX];
		bool leave_out;
		bool used; /* matched a driver or a component word */
		bool hit;  /* matched a channel */
	} item[EG_SELECT_MAX];
	unsigned n, positive;
};

/* -EINVAL: empty or over-long pattern, more than EG_SELECT_MAX. text NULL or "": everything. */
int eg_select_parse(const char *text, struct eg_select *ret) EG_MUST_CHECK;
/* May any channel of this driver be chosen? False: it need not be opened. */
bool eg_select_driver(struct eg_select *s, const char *driver);
bool eg_select_channel(struct eg_select *s, const char *driver, const char *domain,
		       enum eg_component component);
/* The first pattern that named nothing known, or NULL. */
const char *eg_select_unused(const struct eg_select *s);

#endif
