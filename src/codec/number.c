/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as text whatever the locale: libc writes the digits, and its decimal separator (which a
 * locale may make a comma or several bytes) is never copied, only stepped over.
 */
#include "codec/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Digits of v, ending at the end of text; at least `least` of them. Returns where they begin. */
static size_t write_digits(char text[24], uint64_t v, unsigned least)
{
	size_t at = 24;

	while (v >= 10) { /* two digits a division */
		unsigned two = (unsigned)(v % 100);

		v /= 100;
		text[--at] = (char)('0' + two % 10);
		text[--at] = (char)('0' + two / 10);
	}
	if (v > 0 || at == 24)
		text[--at] = (char)('0' + v);
	while (24 - at < least)
		text[--at] = '0';
	return at;
}

size_t eg_number_scaled(char buf[EG_NUMBER_MAX], uint64_t v, unsigned digits)
{
	char raw[24] = {0};
	size_t at = write_digits(raw, v, digits + 1);
	size_t whole = 24 - digits, end = 24, len = whole - at;

	while (end > whole && raw[end - 1] == '0')
		end--;
	memcpy(buf, raw + at, len);
	if (end > whole) {
		buf[len++] = '.';
		memcpy(buf + len, raw + whole, end - whole);
		len += end - whole;
	}
	buf[len] = '\0';
	return len;
}

/* Splits "%.*e" output into its digits and exponent, stepping over the separator. */
static size_t take_digits(const char *text, char digits[20], int *exponent)
{
	size_t n = 0;
	const char *p = text;

	for (; *p && *p != 'e'; p++)
		if (*p >= '0' && *p <= '9' && n < 20)
			digits[n++] = *p;
	*exponent = *p ? (int)strtol(p + 1, NULL, 10) : 0;
	while (n > 1 && digits[n - 1] == '0')
		n--;
	return n;
}

static size_t lay_out(char *buf, const char *digits, size_t n, int exponent)
{
	size_t len = 0;

	if (exponent < 0) {
		buf[len++] = '0';
		buf[len++] = '.';
		for (int i = -1; i > exponent; i--)
			buf[len++] = '0';
		memcpy(buf + len, digits, n);
		return len + n;
	}
	for (size_t i = 0; i <= (size_t)exponent || i < n; i++) {
		if (i == (size_t)exponent + 1)
			buf[len++] = '.';
		buf[len++] = i < n ? digits[i] : '0';
	}
	return len;
}

size_t eg_number_double(char buf[EG_NUMBER_MAX], double v)
{
	char text[64], digits[20];
	size_t n, len = 0;
	int exponent;

	buf[0] = '\0';
	if (!isfinite(v))
		return 0;
	if (v == 0)
		v = 0; /* no "-0" */
	for (int precision = 0; precision <= 16; precision++) {
		snprintf(text, sizeof(text), "%.*e", precision, v);
		if (strtod(text, NULL) == v)
			break;
	}
	if (v < 0)
		buf[len++] = '-';
	n = take_digits(text, digits, &exponent);
	if (exponent >= -9 && exponent < 21) {
		len += lay_out(buf + len, digits, n, exponent);
	} else {
		len += lay_out(buf + len, digits, n, 0);
		len += (size_t)snprintf(buf + len, EG_NUMBER_MAX - len, "e%d", exponent);
	}
	buf[len] = '\0';
	return len;
}

size_t eg_number_fixed(char buf[EG_NUMBER_MAX], double v, unsigned decimals)
{
	char text[400];
	size_t len = 0, digits = 0, whole;
	int n;

	if (decimals > 9)
		decimals = 9;
	if (!isfinite(v) || fabs(v) >= 1e21) {
		buf[0] = '-';
		buf[1] = '\0';
		return 1;
	}
	n = snprintf(text, sizeof(text), "%.*f", (int)decimals, v);
	for (int i = 0; i < n; i++)
		digits += text[i] >= '0' && text[i] <= '9';
	whole = digits - decimals;
	digits = 0;
	for (int i = 0; i < n; i++) {
		if (text[i] == '-')
			buf[len++] = '-';
		if (text[i] < '0' || text[i] > '9')
			continue;
		if (digits++ == whole)
			buf[len++] = '.';
		buf[len++] = text[i];
	}
	buf[len] = '\0';
	if (buf[0] == '-' && strspn(buf + 1, "0.") == len - 1) /* rounded to zero: no "-0.0" */
		memmove(buf, buf + 1, len--);
	return len;
}

unsigned eg_number_decimals(double uncertainty)
{
	double d;

	if (!isfinite(uncertainty) || uncertainty <= 0)
		return 3;
	d = 1 - floor(log10(uncertainty));
	return d < 0 ? 0 : d > 6 ? 6 : (unsigned)d;
}
