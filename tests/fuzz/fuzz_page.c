/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an energy page: it is refused, or every function can be called on it. Then the first half of
 * the input is changed under the mapping, as a hostile writer would do, and all are called again.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ergon/ergon.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const ergon_page *page)
{
	struct ergon_page_info info = ERGON_PAGE_INFO_INIT;
	struct ergon_page_reading x = ERGON_PAGE_READING_INIT;
	struct ergon_page_sum sum = ERGON_PAGE_SUM_INIT;
	struct ergon_page_delta delta = ERGON_PAGE_DELTA_INIT;
	ergon_page_mark *mark;
	uint64_t age;
	size_t n = ergon_page_count(page), length = 0;

	for (size_t i = 0; i < n && i < 8; i++) {
		if (ergon_page_account(page, i, &info) == 0)
			length +=
				strlen(info.device) + strlen(info.component) + strlen(info.channel);
		(void)!ergon_page_read(page, i, &x);
	}
	if (length > n * 512)
		abort();
	(void)!ergon_page_find(page, "cpu-0", "package", NULL);
	(void)!ergon_page_total(page, &sum);
	(void)!ergon_page_state(page);
	(void)!ergon_page_age_ns(page, &age);
	if (ergon_page_mark_new(page, &mark) == 0) {
		(void)!ergon_page_since(page, mark, &delta);
		ergon_page_mark_free(mark);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("page", MFD_CLOEXEC);
	ergon_page *page;
	char path[64];

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (ergon_page_open(path, &page) == 0) {
		use(page);
		if (pwrite(fd, data + size / 2, size / 2, 0) != (ssize_t)(size / 2))
			abort();
		use(page);
		(void)!ergon_page_refresh(page);
		use(page);
		ergon_page_close(page);
	}
	close(fd);
	return 0;
}
