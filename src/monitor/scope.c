/* SPDX-License-Identifier: Apache-2.0 */
/* See scope.h. */
#include "monitor/scope.h"

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

static bool has(const struct eg_scope *s, const char *entry)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcasecmp(s->entry[i], entry) == 0)
			return true;
	return false;
}

void eg_scope_parse(const char *text, struct eg_scope *ret)
{
	const char *p = text;

	*ret = (struct eg_scope){.all = text == NULL || strcasecmp(text, "all") == 0};
	if (ret->all || is_none(text))
		return;
	while (*p && ret->n < EG_SCOPE_MAX) {
		char *entry = ret->entry[ret->n];
		size_t n;

		p += strspn(p, ", \t");
		if (*p == '-') /* CUDA: an index that is none hides itself and what follows */
			return;
		n = strcspn(p, ",");
		snprintf(entry, EG_SCOPE_TEXT_MAX, "%.*s", (int)EG_MIN(n, EG_SCOPE_TEXT_MAX), p);
		p += n;
		for (n = strlen(entry); n && (entry[n - 1] == ' ' || entry[n - 1] == '\t'); n--)
			entry[n - 1] = '\0';
		if (n && !has(ret, entry))
			ret->n++;
	}
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
