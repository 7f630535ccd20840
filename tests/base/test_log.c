/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: what a line looks like, that nobody's words can forge one, that a full pipe costs lines
 * and no time. As `test_log speak FORMAT TEXT` it is the program under test of test_log.py.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

/* stderr is a pipe or a socket pair while a case runs. */
static int saved_stderr = -1, reader = -1;

static int capture_on(int fds[2])
{
	unsetenv("JOURNAL_STREAM");
	saved_stderr = dup(STDERR_FILENO);
	reader = fds[0];
	if (dup2(fds[1], STDERR_FILENO) < 0)
		return -1;
	close(fds[1]);
	return 0;
}

static int capture(void **state)
{
	int fds[2];

	return pipe(fds) < 0 ? -1 : capture_on(fds);
}

static int capture_socket(void **state)
{
	int fds[2];

	return socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 ? -1 : capture_on(fds);
}

static int release(void **state)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	if (reader >= 0)
		close(reader);
	unsetenv("JOURNAL_STREAM");
	eg_log_setup(EG_LOG_INFO, false);
	return 0;
}

/* What has been written so far; never blocks. */
static size_t written(char *buf, size_t cap)
{
	struct pollfd p = {.fd = reader, .events = POLLIN};
	size_t len = 0;

	while (len < cap - 1 && poll(&p, 1, 0) == 1) {
		ssize_t n = read(reader, buf + len, cap - 1 - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	buf[len] = '\0';
	return len;
}

static void level_words(void **state)
{
	enum eg_log_level level = EG_LOG_DEBUG;

	assert_int_equal(eg_log_level_parse("warning", &level), 0);
	assert_int_equal(level, EG_LOG_WARNING);
	assert_int_equal(eg_log_level_parse("loud", &level), -EINVAL);
	assert_int_equal(level, EG_LOG_WARNING);
	for (int l = EG_LOG_ERROR; l <= EG_LOG_DEBUG; l++) {
		assert_int_equal(eg_log_level_parse(eg_log_level_word(l), &level), 0);
		assert_int_equal(level, l);
	}
}

static void text_line(void **state)
{
	char buf[8192];
	unsigned y, mo, d, h, mi;

	eg_log_setup(EG_LOG_INFO, false);
	eg_log(EG_LOG_DEBUG, "rapl", "not wanted");
	eg_log(EG_LOG_INFO, "rapl", "package-0 answers again after=%d", 3);
	written(buf, sizeof(buf));
	assert_int_equal(sscanf(buf, "%4u-%2u-%2uT%2u:%2u:", &y, &mo, &d, &h, &mi), 5);
	assert_true(y >= 2025 && mo >= 1 && mo <= 12 && d >= 1 && d <= 31 && h < 24 && mi < 60);
	assert_string_equal(buf + strlen("2026-11-25T20:03:38.123Z"),
			    " info rapl: package-0 answers again after=3\n");
}

static void hostile_text_stays_one_harmless_line(void **state)
{
	/* a new line, a colour, C1's CSI, a bell, broken and overlong UTF-8, a surrogate, an RLO */
	static const char *const bad = "a\nb\x1b[31m\xc2\x9b"
				       "2J\a\xff\xc0\xaf\xed\xa0\x80\xe2\x80\xae|\xc3\xa9\x7f";
	char buf[8192];

	for (int json = 0; json < 2; json++) {
		size_t len;

		eg_log_setup(EG_LOG_INFO, json);
		eg_log(EG_LOG_INFO, "x\ny", "%s", bad);
		len = written(buf, sizeof(buf));
		assert_true(len > 0 && strchr(buf, '\n') == buf + len - 1);
		for (size_t i = 0; i + 1 < len; i++)
			assert_true((unsigned char)buf[i] >= 0x20 && buf[i] != 0x7f);
		assert_non_null(strstr(buf, "x\\ny"));
		assert_non_null(strstr(buf, "a\\nb\\u001b[31m\\u009b2J\\u0007"));
		/* one mark a byte that begins nothing; the RLO as an escape; the e-acute as it is */
		assert_non_null(strstr(buf,
				       "\\u0007\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
				       "\xef\xbf\xbd\xef\xbf\xbd\\u202e|\xc3\xa9\\u007f"));
	}
}

static void long_lines_are_cut(void **state)
{
	static char text[20000], subject[5000], buf[8192];

	memset(text, 1, sizeof(text) - 1); /* each byte becomes six */
	memset(subject, 2, sizeof(subject) - 1);
	for (int json = 0; json < 2; json++) {
		size_t len;

		eg_log_setup(EG_LOG_INFO, json);
		eg_log(EG_LOG_WARNING, subject, "%s", text);
		len = written(buf, sizeof(buf));
		assert_true(len > 4000 && len <= 4096);
		assert_string_equal(buf + len - (json ? 12 : 10),
				    json ? "\\u0001...\"}\n" : "\\u0001...\n");
	}
	assert_int_equal(eg_log_dropped(), 0);
}

/* The case would hang, and its time run out, if a write blocked. */
static void full_pipe_costs_lines_not_time(void **state)
{
	static char buf[1 << 20];
	uint64_t before = eg_log_dropped();
	size_t len, lines = 0;
	unsigned sent = 0;

	eg_log_setup(EG_LOG_INFO, false);
	while (eg_log_dropped() == before && sent < 100000)
		eg_log(EG_LOG_INFO, "flood", "line %u %0*d", sent++, 500, 0);
	assert_int_equal(eg_log_dropped(), before + 1);
	for (int i = 0; i < 100; i++)
		eg_log(EG_LOG_INFO, "flood", "lost %0*d", 500, 0);
	assert_int_equal(eg_log_dropped(), before + 101);
	/* What arrived is whole lines; a reader that reads gets the next one. */
	len = written(buf, sizeof(buf));
	for (size_t i = 0; i < len; i++)
		lines += buf[i] == '\n';
	assert_int_equal(lines, sent - 1);
	assert_int_equal(buf[len - 1], '\n');
	eg_log(EG_LOG_INFO, "flood", "again");
	assert_true(written(buf, sizeof(buf)) > 0);
	assert_non_null(strstr(buf, " info flood: again\n"));
	assert_int_equal(eg_log_dropped(), before + 101);
}

static void gone_reader_costs_lines_not_the_program(void **state)
{
	uint64_t before = eg_log_dropped();

	close(reader);
	reader = -1;
	eg_log(EG_LOG_INFO, "x", "nobody reads"); /* a SIGPIPE would end the test */
	assert_int_equal(eg_log_dropped(), before + 1);
}

static void journal_prefix(void **state)
{
	char buf[8192], stream[64];
	struct stat st;

	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	eg_log_setup(EG_LOG_DEBUG, false);
	eg_log(EG_LOG_ERROR, "a", "1");
	eg_log(EG_LOG_WARNING, "b", "2");
	eg_log(EG_LOG_INFO, "c", "3");
	eg_log(EG_LOG_DEBUG, "d", "4");
	written(buf, sizeof(buf));
	assert_string_equal(buf, "<3>a: 1\n<4>b: 2\n<6>c: 3\n<7>d: 4\n");
	eg_log_setup(EG_LOG_INFO, true);
	eg_log(EG_LOG_INFO, "c", "3");
	written(buf, sizeof(buf));
	assert_memory_equal(buf, "<6>{\"time\":\"", 12);
	/* Another stream than ours: the variable was handed down, stderr was redirected. */
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino + 1);
	setenv("JOURNAL_STREAM", stream, 1);
	eg_log_setup(EG_LOG_INFO, false);
	eg_log(EG_LOG_INFO, "c", "3");
	written(buf, sizeof(buf));
	assert_true(buf[0] == '2');
}

static void *speak_much(void *arg)
{
	for (int i = 0; i < 200; i++)
		eg_log(EG_LOG_INFO, arg, "line %03d of this thread", i);
	return NULL;
}

#define LINE_LEN (24 + (ptrdiff_t)strlen(" info t0: line 000 of this thread"))

static void threads_write_whole_lines(void **state)
{
	static char buf[1 << 17];
	static char names[4][4] = {"t0", "t1", "t2", "t3"};
	pthread_t t[4];
	uint64_t before = eg_log_dropped();
	unsigned lines = 0;
	size_t len;

	eg_log_setup(EG_LOG_INFO, false);
	assert_true(fcntl(STDERR_FILENO, F_SETPIPE_SZ, 1 << 17) > 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, speak_much, names[i]), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	len = written(buf, sizeof(buf));
	assert_int_equal(buf[len - 1], '\n');
	for (const char *at = buf, *end; (end = strchr(at, '\n')) != NULL; at = end + 1, lines++) {
		assert_int_equal(end - at, LINE_LEN);
		assert_memory_equal(at + 24, " info t", 7);
		assert_memory_equal(end - 15, " of this thread", 15);
	}
	assert_int_equal(lines, 800);
	assert_int_equal(eg_log_dropped(), before);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(level_words),
		cmocka_unit_test_setup_teardown(text_line, capture, release),
		cmocka_unit_test_setup_teardown(hostile_text_stays_one_harmless_line, capture,
						release),
		cmocka_unit_test_setup_teardown(long_lines_are_cut, capture, release),
		cmocka_unit_test_setup_teardown(full_pipe_costs_lines_not_time, capture, release),
		cmocka_unit_test_setup_teardown(full_pipe_costs_lines_not_time, capture_socket,
						release),
		cmocka_unit_test_setup_teardown(gone_reader_costs_lines_not_the_program, capture,
						release),
		cmocka_unit_test_setup_teardown(gone_reader_costs_lines_not_the_program,
						capture_socket, release),
		cmocka_unit_test_setup_teardown(journal_prefix, capture, release),
		cmocka_unit_test_setup_teardown(threads_write_whole_lines, capture, release),
	};

	if (argc == 4 && strcmp(argv[1], "speak") == 0) {
		eg_log_setup(EG_LOG_DEBUG, strcmp(argv[2], "json") == 0);
		eg_log(EG_LOG_INFO, argv[3], "%s", argv[3]);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
