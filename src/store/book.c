/* SPDX-License-Identifier: Apache-2.0 */
/* See book.h. */
#include "store/book.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WORD_MAX	     16

/* The longest word of each table leaves room in its text. */
#define FITS(id, word, help) _Static_assert(sizeof(word) <= WORD_MAX, word " is too long to store");
EG_COMPONENTS(FITS)
EG_PROVENANCES(FITS)
EG_SOURCES(FITS)
EG_BOUNDARIES(FITS)
_Static_assert(EG_DEVICE_MAX + 2 * WORD_MAX <= EG_STORE_KEY_TEXT_MAX, "");

int eg_book_init(struct eg_book *b, size_t max)
{
	size_t n_slots = 16;

	while (n_slots < 2 * max)
		n_slots *= 2;
	*b = (struct eg_book){.max = max, .n_slots = n_slots};
	b->slot = calloc(n_slots, sizeof(*b->slot));
	return b->slot ? 0 : -ENOMEM;
}

void eg_book_free(struct eg_book *b)
{
	free(b->entry);
	free(b->slot);
	*b = (struct eg_book){0};
}

static uint32_t *find_slot(const struct eg_book *b, uint64_t key)
{
	/* FNV's upper bits are the better mixed ones. */
	size_t i = (size_t)(key ^ key >> 32) & (b->n_slots - 1);

	while (b->slot[i] && b->entry[b->slot[i] - 1].key != key)
		i = (i + 1) & (b->n_slots - 1);
	return &b->slot[i];
}

struct eg_entry *eg_book_find(struct eg_book *b, uint64_t key)
{
	uint32_t at;

	if (b->guess < b->n && b->entry[b->guess].key == key)
		return &b->entry[b->guess++];
	at = *find_slot(b, key);
	if (!at)
		return NULL;
	b->guess = at;
	if (b->guess == b->n)
		b->guess = 0;
	return &b->entry[at - 1];
}

int eg_book_add(struct eg_book *b, uint64_t key, struct eg_entry **ret)
{
	struct eg_entry *e = eg_book_find(b, key);

	if (e) {
		*ret = e;
		return 0;
	}
	if (b->n == b->max)
		return -ENOSPC;
	if (b->n == b->cap) {
		size_t cap = EG_MIN(b->cap ? 2 * b->cap : 16, b->max);
		struct eg_entry *grown = realloc(b->entry, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		b->entry = grown;
		b->cap = cap;
	}
	e = &b->entry[b->n++];
	*e = (struct eg_entry){.key = key};
	*find_slot(b, key) = (uint32_t)b->n;
	*ret = e;
	return 0;
}

/* ---- words ---- */

#define FINDER(fn, type, count, word_of)                                \
	static int fn(const char *s, size_t n, type *ret)               \
	{                                                               \
		for (int i = 0; i < (int)(count); i++) {                \
			const char *word = word_of((type)i);            \
                                                                        \
			if (strlen(word) == n && !memcmp(word, s, n)) { \
				*ret = (type)i;                         \
				return 0;                               \
			}                                               \
		}                                                       \
		return -ENOENT;                                         \
	}
FINDER(find_component, enum eg_component, EG_COMPONENT_COUNT, eg_component_word)
FINDER(find_provenance, enum eg_provenance, EG_PROVENANCE_COUNT, eg_provenance_word)
FINDER(find_source, enum eg_source, EG_SOURCE_COUNT, eg_source_word)
FINDER(find_boundary, enum eg_boundary, EG_BOUNDARY_COUNT, eg_boundary_word)

size_t eg_store_key_text(const struct eg_account *a, char buf[EG_STORE_KEY_TEXT_MAX])
{
	int n = snprintf(buf, EG_STORE_KEY_TEXT_MAX, "%s/%s/%s", a->device,
			 eg_component_word(a->component), eg_provenance_word(a->provenance));

	return n < 0 ? 0 : (size_t)n;
}

uint64_t eg_store_key(const struct eg_account *a)
{
	char text[EG_STORE_KEY_TEXT_MAX];

	return eg_fnv1a(text, eg_store_key_text(a, text));
}

size_t eg_feed_text(const struct eg_account *a, char buf[EG_STORE_FEED_MAX])
{
	int n;

	buf[0] = '\0';
	if (!a->channel[0])
		return 0;
	n = snprintf(buf, EG_STORE_FEED_MAX, "%s/%s/%s", eg_source_word(a->source),
		     eg_boundary_word(a->boundary), a->channel);
	return n < 0 ? 0 : EG_MIN((size_t)n, EG_STORE_FEED_MAX - 1);
}

/* DEVICE may hold any sign; the words after its last two slashes may not. */
int eg_name_parse(const char *name, struct eg_account *ret)
{
	const char *provenance = strrchr(name, '/'), *component = NULL;
	size_t device;

	if (!provenance)
		return -EPROTO;
	component = memrchr(name, '/', (size_t)(provenance - name));
	if (!component)
		return -EPROTO;
	device = (size_t)(component - name);
	if (device >= sizeof(ret->device))
		return -EPROTO;
	if (find_component(component + 1, (size_t)(provenance - component) - 1, &ret->component) <
		    0 ||
	    find_provenance(provenance + 1, strlen(provenance + 1), &ret->provenance) < 0)
		return -ENOENT;
	memcpy(ret->device, name, device);
	ret->device[device] = '\0';
	return 0;
}

/* A source or boundary that this build has no word for costs the label, never the account. */
static void parse_feed(const char *feed, struct eg_account *ret)
{
	const char *boundary = strchr(feed, '/');
	const char *channel = boundary ? strchr(boundary + 1, '/') : NULL;

	if (!channel)
		return;
	(void)eg_copy(ret->channel, sizeof(ret->channel), channel + 1);
	if (find_source(feed, (size_t)(boundary - feed), &ret->source) < 0)
		ret->source = EG_SOURCE_OTHER;
	if (find_boundary(boundary + 1, (size_t)(channel - boundary) - 1, &ret->boundary) < 0)
		ret->boundary = EG_BOUNDARY_COMPONENT;
}

int eg_entry_account(const struct eg_entry *e, const struct eg_numbers *n, struct eg_account *ret)
{
	struct eg_account a = {0};
	int r = eg_name_parse(e->name, &a);

	if (r < 0)
		return r;
	parse_feed(e->feed, &a);
	a.created_unix_ns = n->created_unix_ns;
	a.uj = n->uj;
	a.recovered_uj = n->recovered_uj;
	a.gap_ns = n->gap_ns;
	a.resets = n->resets;
	a.last = n->last;
	*ret = a;
	return 0;
}

bool eg_standing_same(const struct eg_standing *a, const struct eg_standing *b)
{
	return a->t_ns == b->t_ns && a->unix_ns == b->unix_ns && a->raw == b->raw;
}

struct eg_numbers eg_account_numbers(const struct eg_account *a, const struct eg_numbers *before,
				     const struct eg_boot *boot)
{
	return (struct eg_numbers){
		.uj = a->uj,
		.recovered_uj = a->recovered_uj,
		.gap_ns = a->gap_ns,
		.resets = a->resets,
		.created_unix_ns = a->created_unix_ns,
		.last = a->last,
		.boot = before && eg_standing_same(&a->last, &before->last) ? before->boot : *boot,
	};
}

void eg_numbers_raise(struct eg_numbers *n, const struct eg_numbers *least)
{
	n->uj = EG_MAX(n->uj, least->uj);
	n->recovered_uj = EG_MAX(n->recovered_uj, least->recovered_uj);
	n->gap_ns = EG_MAX(n->gap_ns, least->gap_ns);
	n->resets = EG_MAX(n->resets, least->resets);
}

static bool further(const struct eg_numbers *a, const struct eg_numbers *b)
{
	if (a->uj != b->uj)
		return a->uj > b->uj;
	if (a->resets != b->resets)
		return a->resets > b->resets;
	if (a->gap_ns != b->gap_ns)
		return a->gap_ns > b->gap_ns;
	return a->last.unix_ns > b->last.unix_ns;
}

struct eg_numbers eg_numbers_merge(const struct eg_numbers *a, const struct eg_numbers *b)
{
	bool second = further(b, a);
	struct eg_numbers m = second ? *b : *a;

	eg_numbers_raise(&m, second ? a : b);
	return m;
}
