/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See log.h. A line is put together in a fixed buffer on the stack and leaves in one write of at most
 * PIPE_BUF bytes, which a pipe takes whole. Before it stderr is asked whether it can take a line now;
 * O_NONBLOCK would belong to everybody who shares stderr. What others sent us (file names, a peer's
 * words) cannot forge a line or command a terminal: control characters are written as escapes, bytes
 * that are no UTF-8 as U+FFFD.
 */
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#define LINE_MAX_BYTES	  4096 /* with the newline; a pipe takes so much whole */
#define MESSAGE_MAX_BYTES 2048 /* before escaping */
#define SUBJECT_MAX_BYTES 128
#define CUT		  "..."
/* What must still fit after a message that was cut: CUT, quote, brace, newline. */
#define TAIL_BYTES	  8

_Static_assert(LINE_MAX_BYTES <= PIPE_BUF, "a longer line may be torn by another writer");

static const char *const level_words[] = {"error", "warning", "info", "debug"};

static struct {
	unsigned level;
	bool json, journal;
	uint64_t dropped;
	bool torn; /* the last write took a part of its line: the next begins on a fresh one */
	pthread_mutex_t writing;
} logger = {.level = EG_LOG_INFO, .writing = PTHREAD_MUTEX_INITIALIZER};

const char *eg_log_level_word(enum eg_log_level level)
{
	return level < EG_ARRAY_SIZE(level_words) ? level_words[level] : "info";
}

int eg_log_level_parse(const char *word, enum eg_log_level *ret)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(level_words); i++) {
		if (strcmp(word, level_words[i]) == 0) {
			*ret = (enum eg_log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* systemd.exec(5): JOURNAL_STREAM is DEVICE:INODE of the stream that goes to the journal. */
static bool is_journal(void)
{
	const char *said = getenv("JOURNAL_STREAM");
	char here[64];
	struct stat st;

	if (said == NULL || fstat(STDERR_FILENO, &st) < 0)
		return false;
	snprintf(here, sizeof(here), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	return strcmp(said, here) == 0;
}

void eg_log_setup(enum eg_log_level level, bool json)
{
	__atomic_store_n(&logger.level, level, __ATOMIC_RELAXED);
	__atomic_store_n(&logger.json, json, __ATOMIC_RELAXED);
	__atomic_store_n(&logger.journal, is_journal(), __ATOMIC_RELAXED);
}

uint64_t eg_log_dropped(void)
{
	return __atomic_load_n(&logger.dropped, __ATOMIC_RELAXED);
}

struct line {
	char s[LINE_MAX_BYTES];
	size_t len;
	bool full;
};

/* Whole pieces only, so that a cut never leaves half an escape or half a character. */
static void put(struct line *l, const char *s, size_t n)
{
	if (l->full || n > sizeof(l->s) - TAIL_BYTES - l->len) {
		l->full = true;
		return;
	}
	memcpy(l->s + l->len, s, n);
	l->len += n;
}

static void puts_line(struct line *l, const char *s)
{
	put(l, s, strlen(s));
}

/* Length of the well-formed sequence at s (Unicode standard, table 3-7), 0: none. */
static size_t utf8_length(const unsigned char *s)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (s[0] >= 0x80 && (s[0] < 0xc2 || s[0] > 0xf4))
		return 0;
	low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : low;
	high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : high;
	for (size_t i = 1; i < n; i++, low = 0x80, high = 0xbf)
		if (s[i] < low || s[i] > high) /* the NUL at the end is below low too */
			return 0;
	return n;
}

/* C1 controls, and the characters that break a line or turn its direction. */
static bool is_harmful(uint32_t c)
{
	return (c >= 0x80 && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069);
}

static void put_escaped(struct line *l, const char *text, bool json)
{
	const unsigned char *s = (const unsigned char *)text;
	char escape[8];

	while (*s != '\0' && !l->full) {
		size_t n = utf8_length(s);
		uint32_t c = *s;

		if (n == 2)
			c = (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
		else if (n == 3)
			c = (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
		if (n == 0) {
			puts_line(l, "\xef\xbf\xbd");
			n = 1;
		} else if (json && (c == '"' || c == '\\')) {
			escape[0] = '\\';
			escape[1] = (char)c;
			put(l, escape, 2);
		} else if (c == '\n' || c == '\t') {
			puts_line(l, c == '\n' ? "\\n" : "\\t");
		} else if (n < 4 && (c < 0x20 || c == 0x7f || is_harmful(c))) {
			snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)c);
			puts_line(l, escape);
		} else {
			put(l, (const char *)s, n);
		}
		s += n;
	}
}

/*
 * UTC as RFC 3339 with milliseconds. Not by gmtime_r, which reads the time zone's file on first use.
 * Days to a date as in H. Hinnant, "chrono-compatible low-level date algorithms".
 */
static void put_time(struct line *l)
{
	struct timespec ts;
	unsigned long days, era, doe, yoe, doy, mp, second;
	char text[128];

	clock_gettime(CLOCK_REALTIME, &ts);
	days = (unsigned long)ts.tv_sec / 86400 + 719468; /* since 0000-03-01 */
	second = (unsigned long)ts.tv_sec % 86400;
	era = days / 146097;
	doe = days % 146097;
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153; /* months since March */
	snprintf(text, sizeof(text), "%04lu-%02lu-%02luT%02lu:%02lu:%02lu.%03ldZ",
		 yoe + era * 400 + (mp >= 10), mp < 10 ? mp + 3 : mp - 9,
		 doy - (153 * mp + 2) / 5 + 1, second / 3600, second / 60 % 60, second % 60,
		 ts.tv_nsec / 1000000);
	puts_line(l, text);
}

static void compose(struct line *l, enum eg_log_level level, const char *subject,
		    const char *message, bool cut)
{
	static const char priority[][4] = {"<3>", "<4>", "<6>", "<7>"}; /* sd-daemon(3) */
	bool json = __atomic_load_n(&logger.json, __ATOMIC_RELAXED);
	bool journal = __atomic_load_n(&logger.journal, __ATOMIC_RELAXED);

	if (journal)
		puts_line(l, priority[level]);
	if (json)
		puts_line(l, "{\"time\":\"");
	if (json || !journal) {
		put_time(l);
		puts_line(l, json ? "\",\"level\":\"" : " ");
		puts_line(l, level_words[level]);
		puts_line(l, json ? "\",\"subject\":\"" : " ");
	}
	put_escaped(l, subject, json);
	puts_line(l, json ? "\",\"message\":\"" : ": ");
	put_escaped(l, message, json);
	/* Here the space kept back by put() is used. */
	if (cut || l->full) {
		memcpy(l->s + l->len, CUT, strlen(CUT));
		l->len += strlen(CUT);
	}
	if (json) {
		memcpy(l->s + l->len, "\"}", 2);
		l->len += 2;
	}
	l->s[l->len++] = '\n';
}

static bool can_take_a_line(void)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	int r;

	do
		r = poll(&p, 1, 0);
	while (r < 0 && errno == EINTR);
	return r == 1 && (p.revents & POLLOUT) && !(p.revents & (POLLERR | POLLNVAL));
}

/* A stream socket (the journal's) says how much it takes, anything else is asked first. */
static ssize_t write_now(const char *s, size_t n)
{
	ssize_t r;

	do {
		r = send(STDERR_FILENO, s, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r < 0 && errno == ENOTSOCK) {
			if (!can_take_a_line())
				return -1;
			r = write(STDERR_FILENO, s, n);
		}
	} while (r < 0 && errno == EINTR);
	return r;
}

/* Under the lock: between the question and the write no other thread takes the room. */
static void emit(struct line *l)
{
	ssize_t r;
	int saved = errno;

	pthread_mutex_lock(&logger.writing);
	if (logger.torn && write_now("\n", 1) == 1)
		logger.torn = false;
	r = logger.torn ? -1 : write_now(l->s, l->len);
	if (r != (ssize_t)l->len)
		__atomic_add_fetch(&logger.dropped, 1, __ATOMIC_RELAXED);
	if (r > 0 && r != (ssize_t)l->len)
		logger.torn = true;
	pthread_mutex_unlock(&logger.writing);
	errno = saved;
}

void eg_log(enum eg_log_level level, const char *subject, const char *fmt, ...)
{
	char about[SUBJECT_MAX_BYTES], message[MESSAGE_MAX_BYTES];
	struct line l;
	va_list ap;
	int n;

	if (level >= EG_ARRAY_SIZE(level_words) ||
	    level > __atomic_load_n(&logger.level, __ATOMIC_RELAXED))
		return;
	va_start(ap, fmt);
	n = vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (n < 0)
		eg_copy(message, sizeof(message), fmt);
	eg_copy(about, sizeof(about), subject);
	l.len = 0;
	l.full = false;
	compose(&l, level, about, message, n >= (int)sizeof(message));
	emit(&l);
}
