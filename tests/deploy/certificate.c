/* SPDX-License-Identifier: Apache-2.0 */
/* certificate CERTIFICATE KEY: writes both files; the key for its owner alone. */
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "certificate.h"

static bool put(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, mode);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0;
}

int main(int argc, char **argv)
{
	static char cert[8192], key[8192];

	return argc == 3 && make_certificate(cert, sizeof(cert), key, sizeof(key)) == 0 &&
			       put(argv[1], cert, 0644) && put(argv[2], key, 0600) ?
		       0 :
		       1;
}
