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
#include <time.h>
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

static void put(int fd, const void *bytes, size_t n, off_t at)
{
	if (pwrite(fd, bytes, n, at) != (ssize_t)n)
		abort();
}

/* The rows of a result and its sum: what is counted is no more than the sum. */
static void look(const ergon_page_window *w, const struct ergon_page_used *used)
{
	struct ergon_page_info info = ERGON_PAGE_INFO_INIT;
	struct ergon_page_used row = ERGON_PAGE_USED_INIT;

	for (size_t i = 0; i < ergon_page_window_count(w); i++) {
		if (ergon_page_window_account(w, i, &info, &row) < 0)
			abort();
		if (info.counted && row.known && (!used->known || row.uj > used->uj))
			abort();
	}
}

/* The same bytes as the page of an agent that lives, and other totals at the end of a window. */
static void use_windows(const uint8_t *data, size_t size)
{
	const uint64_t running = 1;
	int fd = memfd_create("live", MFD_CLOEXEC);
	struct ergon_page_used used = ERGON_PAGE_USED_INIT;
	ergon_page_window *w;
	ergon_page *page;
	struct timespec ts;
	uint64_t now;
	char path[64];

	clock_gettime(CLOCK_BOOTTIME, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	if (fd < 0)
		abort();
	put(fd, data, size, 0);
	put(fd, &running, sizeof(running), 96); /* docs/energy-page.md */
	put(fd, "", 1, 104);
	put(fd, &now, sizeof(now), 200);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (ergon_page_open(path, &page) == 0) {
		if (ergon_page_window_new(page, &w) < 0)
			abort();
		if (ergon_page_window_begin(page, w) == 0) {
			put(fd, data + size / 2, size / 2, 256);
			(void)!ergon_page_window_add_units(w, "inputs", 1);
			if (ergon_page_window_next(page, w, &used) == 0)
				look(w, &used);
			put(fd, data, size > 256 ? size - 256 : 0, 256);
			if (ergon_page_window_end(page, w, &used) == 0)
				look(w, &used);
		}
		ergon_page_window_free(w);
		ergon_page_close(page);
	}
	close(fd);
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
	use_windows(data, size);
	return 0;
}
