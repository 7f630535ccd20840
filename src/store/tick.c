/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpoint of each tick, in the agent's loop. It holds every account that is known: those given
 * now, and those that were there when the store was opened and that nobody gives, as they were. Texts
 * are made once for each account, so a tick copies and sums.
 */
#include <errno.h>
#include <string.h>

#include "store/internal.h"

static bool is_seen(const struct eg_seen *s, const struct eg_account *a)
{
	return s->known && s->component == a->component && s->provenance == a->provenance &&
	       strcmp(s->device, a->device) == 0;
}

static struct eg_carried *find_carried(struct eg_store *s, uint64_t key)
{
	for (size_t i = 0; i < s->n_carried; i++)
		if (s->carried[i].key == key)
			return &s->carried[i];
	return NULL;
}

/* Once for each account, and again when something else feeds it. */
static const struct eg_seen *look_at(struct eg_store *s, size_t i, const struct eg_account *a)
{
	struct eg_seen *seen = &s->seen[i];

	if (!is_seen(seen, a)) {
		memset(seen, 0, sizeof(*seen));
		(void)eg_copy(seen->device, sizeof(seen->device), a->device);
		seen->component = a->component;
		seen->provenance = a->provenance;
		seen->name_len = eg_store_key_text(a, seen->name);
		seen->carried = find_carried(s, eg_fnv1a(seen->name, seen->name_len));
		seen->known = true;
	}
	if (strcmp(seen->channel, a->channel) != 0 || seen->source != a->source ||
	    seen->boundary != a->boundary || (!seen->feed_len && a->channel[0])) {
		(void)eg_copy(seen->channel, sizeof(seen->channel), a->channel);
		seen->source = a->source;
		seen->boundary = a->boundary;
		seen->feed_len = eg_feed_text(a, seen->feed);
	}
	return seen;
}

/* The writer made a new file: go on with it, and give the old one back to be unmapped. */
static void take_fresh(struct eg_store *s)
{
	struct eg_checkpoint *fresh = atomic_load_explicit(&s->fresh, memory_order_relaxed);

	if (!fresh || atomic_load_explicit(&s->retired, memory_order_relaxed))
		return;
	fresh = atomic_exchange_explicit(&s->fresh, NULL, memory_order_acquire);
	if (!fresh)
		return;
	atomic_store_explicit(&s->retired, s->checkpoint, memory_order_release);
	s->checkpoint = fresh;
	atomic_store_explicit(&s->checkpoint_gone, false, memory_order_relaxed);
}

/* A new account never takes the place of one that was there. *room: new ones that still fit. */
static bool has_place(const struct eg_seen *seen, size_t *room)
{
	if (!seen->carried && *room == 0)
		return false;
	*room -= !seen->carried;
	return true;
}

size_t eg_store_find_places(struct eg_store *s, const struct eg_account *a, size_t n,
			    bool *ret_kept)
{
	size_t room = s->n_new, without = 0;

	for (size_t i = 0; i < n; i++) {
		ret_kept[i] = i < s->given_max && has_place(look_at(s, i, &a[i]), &room);
		without += !ret_kept[i];
	}
	return without;
}

void eg_tick_write(struct eg_store *s, const struct eg_account *a, size_t n, uint64_t t_ns,
		   uint64_t unix_ns, bool clean)
{
	struct eg_checkpoint_slot slot = {.session = s->session,
					  .t_ns = t_ns,
					  .unix_ns = unix_ns,
					  .boot = s->boot,
					  .clean = clean};
	size_t room = s->n_new;
	uint64_t refused = 0, sum = 0;
	struct eg_checkpoint *c;

	take_fresh(s);
	c = s->checkpoint;
	s->tick++;
	eg_checkpoint_begin(c);
	for (size_t i = 0; i < n; i++) {
		const struct eg_seen *seen;
		struct eg_numbers now;

		if (i >= s->given_max) {
			refused++;
			continue;
		}
		seen = look_at(s, i, &a[i]);
		if (!has_place(seen, &room)) {
			refused++;
			continue;
		}
		now = eg_account_numbers(&a[i], seen->carried ? &seen->carried->n : NULL, &s->boot);
		if (seen->carried) {
			seen->carried->tick = s->tick;
			eg_numbers_raise(&now, &seen->carried->n);
		}
		sum += now.uj;
		eg_checkpoint_encode(eg_checkpoint_place(c, slot.n++), seen->name, seen->name_len,
				     seen->feed, seen->feed_len, &now);
	}
	for (size_t i = 0; i < s->n_carried; i++) {
		if (s->carried[i].tick == s->tick)
			continue;
		sum += s->carried[i].n.uj;
		eg_checkpoint_put(c, slot.n++, s->carried[i].entry);
	}
	eg_checkpoint_end(c, &slot);
	if (atomic_load_explicit(&c->lost, memory_order_relaxed))
		atomic_store_explicit(&s->checkpoint_gone, true, memory_order_relaxed);
	atomic_store_explicit(&s->given_uj, sum, memory_order_relaxed);
	atomic_store_explicit(&s->refused, refused, memory_order_relaxed);
}

static int make_carried(struct eg_store *s)
{
	s->carried = calloc(s->book.n ? s->book.n : 1, sizeof(*s->carried));
	if (!s->carried)
		return -ENOMEM;
	for (size_t i = 0; i < s->book.n; i++) {
		const struct eg_entry *e = &s->book.entry[i];
		struct eg_carried *c = &s->carried[s->n_carried];

		if (!e->name[0]) /* nobody can give it; the log keeps it */
			continue;
		c->key = e->key;
		c->n = e->now;
		eg_checkpoint_encode(c->entry, e->name, strlen(e->name), e->feed, strlen(e->feed),
				     &e->now);
		s->n_carried++;
	}
	return 0;
}

struct filling {
	struct eg_store *s;
	uint64_t unix_ns;
};

/* The first slot: what was restored. From here on the file says that an agent runs. */
static void fill_first(void *ctx, struct eg_checkpoint *c)
{
	struct filling *f = ctx;

	f->s->checkpoint = c;
	eg_tick_write(f->s, NULL, 0, 0, f->unix_ns, false);
}

int eg_tick_start(struct eg_store *s, size_t n_accounts, uint64_t unix_ns)
{
	struct filling filling = {.s = s, .unix_ns = unix_ns};
	struct eg_checkpoint_config cfg = {.unix_ns = unix_ns, .fill = fill_first, .ctx = &filling};
	struct eg_checkpoint *c;
	int r = make_carried(s);

	if (r < 0)
		return r;
	/*
	 * Those given may all be new. Accounts without a name have a place in the log alone. The next
	 * start will carry these: with twice the room it goes on with the same file.
	 */
	s->n_new = EG_MIN(n_accounts, EG_ACCOUNTS_MAX - s->book.n);
	cfg.capacity = s->n_carried + s->n_new;
	cfg.make = EG_MIN(2 * n_accounts, (size_t)EG_ACCOUNTS_MAX);
	cfg.least = EG_MAX(n_accounts, s->n_carried);
	s->given_max = EG_MAX(n_accounts, cfg.capacity);
	s->seen = calloc(s->given_max ? s->given_max : 1, sizeof(*s->seen));
	c = calloc(1, sizeof(*c));
	if (!s->seen || !c) {
		free(c);
		return -ENOMEM;
	}
	r = eg_checkpoint_open(c, &s->io, s->dir, &cfg);
	if (r < 0) {
		free(c);
		s->checkpoint = NULL;
		return r;
	}
	s->n_new = EG_MIN(s->n_new, c->capacity - s->n_carried);
	s->capacity = c->capacity;
	s->checkpoint = s->current = c;
	return 0;
}

static void drop(struct eg_checkpoint *c)
{
	if (c)
		eg_checkpoint_close(c);
	free(c);
}

void eg_tick_stop(struct eg_store *s)
{
	drop(atomic_exchange(&s->fresh, NULL));
	drop(atomic_exchange(&s->retired, NULL));
	drop(s->checkpoint);
	s->checkpoint = NULL;
	free(s->carried);
	free(s->seen);
}
