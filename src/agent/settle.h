/* SPDX-License-Identifier: Apache-2.0 */
/* Gives back the memory that only starting needed. Once, before the loop; it cannot fail. */
#ifndef EG_AGENT_SETTLE_H
#define EG_AGENT_SETTLE_H

void eg_settle(void);

#endif
