/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoder of powermetrics plists (see decoder.h). Only what Apple writes is understood: elements
 * without text between them, no CDATA, no entities in the keys of interest. A document that is not
 * well nested, too deep, or without elapsed_ns is dropped whole; a NUL always begins anew, so the
 * decoder finds its way back after any damage. A value that is no number, negative, or beyond any
 * machine is absent, never 0.
 */
#include "drivers/powermetrics/decoder.h"

#include <string.h>

#include "base/parse.h"

void eg_powermetrics_reset(struct eg_powermetrics_decoder *d)
{
	uint64_t samples = d->samples, dropped = d->dropped;

	memset(d, 0, sizeof(*d));
	d->samples = samples;
	d->dropped = dropped;
}

static void set_value(struct eg_powermetrics_decoder *d, const char *key, double v)
{
	static const struct {
		const char *key;
		enum eg_powermetrics_field field;
		bool energy;
		double scale; /* to mJ or mW */
	} keys[] = {
		{"cpu_energy", EG_POWERMETRICS_CPU, true, 1},
		{"gpu_energy", EG_POWERMETRICS_GPU, true, 1},
		{"ane_energy", EG_POWERMETRICS_ANE, true, 1},
		{"package_energy", EG_POWERMETRICS_SOC, true, 1},
		{"cpu_power", EG_POWERMETRICS_CPU, false, 1},
		{"gpu_power", EG_POWERMETRICS_GPU, false, 1},
		{"ane_power", EG_POWERMETRICS_ANE, false, 1},
		{"combined_power", EG_POWERMETRICS_SOC, false, 1},
		{"package_watts", EG_POWERMETRICS_PACKAGE, false, 1000},
	};

	if (d->section == 'g' && strcmp(key, "gpu_energy") != 0)
		return;
	for (size_t i = 0; i < EG_ARRAY_SIZE(keys); i++) {
		if (strcmp(keys[i].key, key) != 0)
			continue;
		__auto_type slot = keys[i].energy ? &d->energy_mj[keys[i].field] :
						    &d->power_mw[keys[i].field];

		if (!slot->set) {
			slot->value = v * keys[i].scale;
			slot->set = true;
		}
	}
}

/* An element <integer> or <real> ended; its text is in d->text. */
static void number_element(struct eg_powermetrics_decoder *d)
{
	double v;

	if (!d->have_key || d->text_len > sizeof(d->text) ||
	    eg_parse_double(d->text, d->text_len, &v) < 0 || v < 0)
		return;
	if (d->depth == 1 && !strcmp(d->key, "elapsed_ns")) {
		if (v >= 1 && v <= (double)EG_POWERMETRICS_ELAPSED_MAX_NS)
			d->elapsed_ns = (uint64_t)v;
	} else if (d->depth == 2 && d->section) {
		set_value(d, d->key, v);
	}
}

static bool finish(struct eg_powermetrics_decoder *d, struct eg_powermetrics_sample *ret)
{
	struct eg_powermetrics_sample s = {.elapsed_ns = d->elapsed_ns};
	bool good = !d->bad && d->depth == 0 && d->elapsed_ns > 0;
	double seconds = (double)d->elapsed_ns / 1e9;
	double max_uj = (double)EG_POWERMETRICS_MAX_UW * seconds;

	for (int i = 0; good && i < EG_POWERMETRICS_FIELDS; i++) {
		double uj, uw = d->power_mw[i].value * 1e3;

		s.uw[i] = d->power_mw[i].set && uw <= (double)EG_POWERMETRICS_MAX_UW ?
				  (uint64_t)(uw + .5) :
				  UINT64_MAX;
		/* The power is the mean over the sample, so times its length it is the energy. */
		if (d->energy_mj[i].set)
			uj = d->energy_mj[i].value * 1e3;
		else if (d->power_mw[i].set)
			uj = d->power_mw[i].value * 1e3 * seconds;
		else
			continue;
		if (uj > max_uj)
			continue;
		s.uj[i] = (uint64_t)(uj + .5);
		s.have |= 1u << i;
	}
	if (good)
		d->samples++;
	else
		d->dropped++;
	eg_powermetrics_reset(d);
	if (good)
		*ret = s;
	return good;
}

static void open_container(struct eg_powermetrics_decoder *d)
{
	if (d->depth == 1)
		d->section = d->have_key && !strcmp(d->key, "processor") ? 'p' :
			     d->have_key && !strcmp(d->key, "gpu")	 ? 'g' :
									   0;
	if (++d->depth > EG_POWERMETRICS_DEPTH_MAX)
		d->bad = true;
	d->have_key = false;
}

static void close_container(struct eg_powermetrics_decoder *d)
{
	if (d->depth == 0)
		d->bad = true;
	else
		d->depth--;
	if (d->depth <= 1)
		d->section = 0;
	d->have_key = false;
}

/* A tag ended. True: a sample is complete. */
static bool end_tag(struct eg_powermetrics_decoder *d, struct eg_powermetrics_sample *ret)
{
	size_t n = EG_MIN(d->tag_len, sizeof(d->tag) - 1);
	bool closing = n > 0 && d->tag[0] == '/', empty = d->last[1] == '/';
	const char *name = d->tag + closing;

	d->tag[n] = '\0';
	n = strcspn(d->tag, " \t\r\n");
	if (n > 0 && d->tag[n - 1] == '/' && !closing)
		n--;
	d->tag[n] = '\0';
	if (name[0] == '?' || name[0] == '!')
		return false;
	if (!strcmp(name, "plist")) {
		if (closing && d->in_plist)
			return finish(d, ret);
		d->in_plist = true;
	} else if (!strcmp(name, "dict") || !strcmp(name, "array")) {
		if (empty)
			d->have_key = false;
		else if (closing)
			close_container(d);
		else
			open_container(d);
	} else if (closing && !strcmp(name, "key")) {
		d->have_key = d->text_len < sizeof(d->key);
		if (d->have_key) {
			memcpy(d->key, d->text, d->text_len);
			d->key[d->text_len] = '\0';
		}
	} else if (closing || empty) {
		if (closing && (!strcmp(name, "integer") || !strcmp(name, "real")))
			number_element(d);
		d->have_key = false;
	}
	d->text_len = 0;
	return false;
}

size_t eg_powermetrics_feed(struct eg_powermetrics_decoder *d, const char *data, size_t n,
			    struct eg_powermetrics_sample *ret, bool *ret_done)
{
	*ret_done = false;
	for (size_t i = 0; i < n; i++) {
		char c = data[i];

		if (c == '\0') {
			d->dropped += d->in_plist;
			eg_powermetrics_reset(d);
		} else if (!d->in_tag && c == '<') {
			d->in_tag = true;
			d->tag_len = 0;
			d->last[0] = d->last[1] = 0;
		} else if (!d->in_tag) {
			if (d->text_len < sizeof(d->text))
				d->text[d->text_len] = c;
			d->text_len += d->text_len <= sizeof(d->text);
		} else if (c == '>' && !(d->tag_len >= 3 && !memcmp(d->tag, "!--", 3) &&
					 (d->last[0] != '-' || d->last[1] != '-'))) {
			d->in_tag = false;
			if (end_tag(d, ret)) {
				*ret_done = true;
				return i + 1;
			}
		} else {
			if (d->tag_len < sizeof(d->tag))
				d->tag[d->tag_len++] = c;
			d->last[0] = d->last[1];
			d->last[1] = c;
		}
	}
	return n;
}
