/* SPDX-License-Identifier: Apache-2.0 */
/* See scope.h. */
#include "monitor/scope.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"

static bool is_none(const char *text)
{
	static const char *const words[] = {"", "none", "void", "nodevfiles"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(words); i++)
		if (strcasecmp(text, words[i]) == 0)
			return true;
	return false;
}

/* One entry without the blanks around it. */
static int take_entry(struct eg_scope *s, const char *p, size_t n)
{
	for (; n && (*p == ' ' || *p == '\t'); p++)
		n--;
	while (n && (p[n - 1] == ' ' || p[n - 1] == '\t'))
		n--;
	if (n == 0 || n >= EG_SCOPE_TEXT_MAX || s->n == EG_SCOPE_MAX)
		return -EINVAL;
	memcpy(s->entry[s->n], p, n);
	s->entry[s->n++][n] = '\0';
	return 0;
}

int eg_scope_parse(const char *text, struct eg_scope *ret)
{
	struct eg_scope s = {.all = text == NULL || strcasecmp(text, "all") == 0};

	for (const char *p = text; !s.all && !is_none(text); p++) {
		size_t n = strcspn(p, ",");
		int r;

		if (*p == '-') /* CUDA: an index that is none hides itself and what follows */
			break;
		r = take_entry(&s, p, n);
		if (r < 0)
			return r;
		p += n;
		if (!*p)
			break;
	}
	*ret = s;
	return 0;
}

bool eg_scope_is_mig(const char *entry)
{
	return strncasecmp(entry, "MIG-", 4) == 0;
}

/* A UUID's beginning is enough, as for CUDA; "GPU-" alone is not. */
static bool begins(const char *whole, const char *with)
{
	return strlen(with) > 4 && strncasecmp(whole, with, strlen(with)) == 0;
}

bool eg_scope_names(const char *entry, const char *domain, const char *device, const char *pci)
{
	uint64_t index;
	char word[32];

	if (eg_parse_u64(entry, strlen(entry), &index) == 0) {
		snprintf(word, sizeof(word), "gpu-%llu", (unsigned long long)index);
		return strcmp(word, domain) == 0;
	}
	if (eg_scope_is_mig(entry))
		return false;
	if (*pci && strcasecmp(entry, pci) == 0)
		return true;
	return strlen(device) > 4 && begins(device + 4, entry);
}
