/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the names of the drivers that this build contains, in their order. */
#include <stdio.h>

#include "core/driver.h"

int main(void)
{
	for (size_t i = 0; eg_drivers[i]; i++)
		printf("%s\n", eg_drivers[i]->name);
	return 0;
}
