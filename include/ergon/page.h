/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The energy page: a file that `ergon agent` keeps (/run/ergon/energy) and any permitted program maps
 * read-only, so that it reads the totals of the machine without a system call.
 */
#ifndef ERGON_PAGE_H
#define ERGON_PAGE_H

#include <ergon/version.h>

#endif
