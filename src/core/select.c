/* SPDX-License-Identifier: Apache-2.0 */
/* See select.h. */
#include "core/select.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

int eg_select_parse(const char *text, struct eg_select *ret)
{
	struct eg_select s = {0};

	while (text && *text) {
		size_t n = strcspn(text, ",");
		const char *item = text;

		text += n + (text[n] == ',');
		if (s.n == EG_SELECT_MAX)
			return -EINVAL;
		if (n && *item == '-') {
			s.item[s.n].leave_out = true;
			item++;
			n--;
		}
		if (n == 0 || n >= sizeof(s.item[0].text))
			return -EINVAL;
		memcpy(s.item[s.n].text, item, n);
		s.positive += !s.item[s.n].leave_out;
		s.n++;
	}
	*ret = s;
	return 0;
}

static bool is_component(const char *pattern)
{
	for (int c = 0; c < EG_COMPONENT_COUNT; c++)
		if (fnmatch(pattern, eg_component_word((enum eg_component)c), 0) == 0)
			return true;
	return false;
}

/* Does the part of a pattern before '/' name this driver? */
static bool names_driver(const char *pattern, const char *driver, bool *ret_whole)
{
	char head[EG_CHANNEL_NAME_MAX];
	size_t n = strcspn(pattern, "/");

	memcpy(head, pattern, n);
	head[n] = '\0';
	*ret_whole = pattern[n] == '\0';
	return fnmatch(head, driver, 0) == 0;
}

bool eg_select_driver(struct eg_select *s, const char *driver)
{
	bool wanted = s->positive == 0, whole;

	for (unsigned i = 0; i < s->n; i++) {
		bool component = is_component(s->item[i].text);

		if (component)
			s->item[i].used = true;
		if (names_driver(s->item[i].text, driver, &whole)) {
			s->item[i].used = true;
			if (s->item[i].leave_out && whole)
				return false;
			wanted |= !s->item[i].leave_out;
		}
		wanted |= component && !s->item[i].leave_out;
	}
	return wanted;
}

bool eg_select_channel(struct eg_select *s, const char *driver, const char *domain,
		       enum eg_component component)
{
	char full[EG_CHANNEL_NAME_MAX * 2];
	bool wanted = s->positive == 0;

	snprintf(full, sizeof(full), "%s/%s", driver, domain);
	for (unsigned i = 0; i < s->n; i++) {
		const char *p = s->item[i].text;

		if (fnmatch(p, driver, 0) != 0 && fnmatch(p, full, 0) != 0 &&
		    fnmatch(p, eg_component_word(component), 0) != 0)
			continue;
		s->item[i].hit = true;
		if (s->item[i].leave_out)
			return false;
		wanted = true;
	}
	return wanted;
}

const char *eg_select_unused(const struct eg_select *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (!s->item[i].used)
			return s->item[i].text;
	return NULL;
}
