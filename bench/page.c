/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-page PAGE FILE: nanoseconds of one ergon_page_read() of a living page, and of what a program would
 * do without it: a pread() of a counter's file on a kept descriptor, and its parsing. In turns; medians.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <ergon/ergon.h>

enum { ROUNDS = 51, READS = 20000 };

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static double ours[ROUNDS], file[ROUNDS];
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	unsigned long long sum = 0;
	ergon_page *page;
	size_t n, i = 0;
	int fd;

	if (argc != 3 || ergon_page_open(argv[1], &page) < 0 ||
	    (fd = open(argv[2], O_RDONLY)) < 0) {
		fprintf(stderr, "usage: bench-page PAGE FILE\n");
		return 2;
	}
	n = ergon_page_count(page);
	while (i < n && ergon_page_read(page, i, &x) < 0) /* one that has a total */
		i++;
	if (i == n)
		return 1;
	for (int r = 0; r < ROUNDS; r++) {
		double t = now_ns();

		for (int k = 0; k < READS; k++)
			if (ergon_page_read(page, i, &x) == 0)
				sum += x.total_uj;
		ours[r] = (now_ns() - t) / READS;
		t = now_ns();
		for (int k = 0; k < READS; k++) {
			char text[32];
			ssize_t len = pread(fd, text, sizeof(text) - 1, 0);

			text[len > 0 ? len : 0] = '\0';
			sum += strtoull(text, NULL, 10);
		}
		file[r] = (now_ns() - t) / READS;
	}
	qsort(ours, ROUNDS, sizeof(ours[0]), by_value);
	qsort(file, ROUNDS, sizeof(file[0]), by_value);
	printf("%.1f %.1f %llu\n", ours[ROUNDS / 2], file[ROUNDS / 2], sum % 2);
	close(fd);
	ergon_page_close(page);
	return 0;
}
