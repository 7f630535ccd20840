/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the energy page. See ergon/page.h; the layout and its lock are in base/page.h.
 *
 * A page comes from outside and is trusted in nothing. Header and records are read into memory of our
 * own and checked there, so that no later change of the file can reach a size or a text; of the mapping
 * only numbers are used, at places that the checked sizes put inside it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "lib/page_private.h"

#define SYSTEM_PAGE	"/run/ergon/energy"
#define BOOT_ID		"/proc/sys/kernel/random/boot_id"
#define INTERVALS_MAX	3 /* without a tick: stale */
#define STALE_MIN_NS	(5 * EG_NSEC_PER_SEC)
#define PASSES_MAX	64 /* over all accounts in search of one tick */
#define USER_PAGE_BYTES 64
#define SLOTS		4 /* files of one page that may be mapped: the newest, and those still being read */

/*
 * A page is read while another thread may be refreshing it, without a lock: the file in use lies in one
 * of a few slots, and who reads counts himself in there. A reader that counted itself in a slot holds
 * it only if that slot is still the one in use afterwards; a slot is filled again only while it is not
 * in use and nobody is counted in it. So a reader never waits, and a file is unmapped only when none is
 * left in it.
 */
struct slot {
	unsigned readers;
	bool filled; /* map is whole; a copy made by fork() in the middle of filling is not */
	struct page_map map;
};

struct ergon_page {
	char *path;	  /* NULL: the places where agents keep theirs */
	unsigned current; /* the slot in use */
	pid_t refreshing; /* who looks for another file; 0: nobody */
	struct slot slot[SLOTS];
};

/* ---- pinning ---- */

const struct page_map *page_pin(const ergon_page *page)
{
	ergon_page *p = (ergon_page *)page; /* only the count changes */

	for (;;) {
		unsigned i = __atomic_load_n(&p->current, __ATOMIC_SEQ_CST);
		struct slot *s = &p->slot[i];

		__atomic_add_fetch(&s->readers, 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&p->current, __ATOMIC_SEQ_CST) == i)
			return &s->map;
		__atomic_sub_fetch(&s->readers, 1, __ATOMIC_SEQ_CST);
	}
}

void page_unpin(const struct page_map *m)
{
	struct slot *s = (struct slot *)((const char *)m - offsetof(struct slot, map));

	__atomic_sub_fetch(&s->readers, 1, __ATOMIC_SEQ_CST);
}

/* ---- tables ---- */

struct page_table *page_table_ref(struct page_table *t)
{
	__atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
	return t;
}

void page_table_unref(struct page_table *t)
{
	if (t && __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(t);
}

/* ---- opening ---- */

static int read_exact(int fd, void *buf, size_t n, uint64_t at)
{
	ssize_t got = pread(fd, buf, n, (off_t)at);

	if (got < 0)
		return -errno;
	return (size_t)got == n ? 0 : -EPROTO;
}

static bool ends(const char *s, size_t cap)
{
	return memchr(s, '\0', cap) != NULL;
}

/* Every size and place, each by the ones before it. The numbers are in the host's order after it. */
static int check_header(struct eg_page_header *h, uint64_t file_size)
{
	uint64_t records, lines;

	if (le64toh(h->magic) != EG_PAGE_MAGIC || le32toh(h->version) != EG_PAGE_VERSION)
		return -EPROTO;
	h->header_size = le32toh(h->header_size);
	h->total_size = le64toh(h->total_size);
	h->n_accounts = le32toh(h->n_accounts);
	h->record_size = le32toh(h->record_size);
	h->line_size = le32toh(h->line_size);
	h->records_offset = le64toh(h->records_offset);
	h->lines_offset = le64toh(h->lines_offset);
	h->interval_ns = le64toh(h->interval_ns);
	if (h->total_size > file_size || h->total_size > EG_PAGE_BYTES_MAX)
		return -EPROTO;
	if (h->header_size < sizeof(*h) || h->n_accounts > EG_PAGE_ACCOUNTS_MAX)
		return -EPROTO;
	if (h->record_size < sizeof(struct eg_page_record) || h->record_size > EG_PAGE_ITEM_MAX)
		return -EPROTO;
	if (h->line_size < sizeof(struct eg_page_line) || h->line_size > EG_PAGE_ITEM_MAX ||
	    h->line_size % EG_PAGE_LINE || h->lines_offset % EG_PAGE_LINE)
		return -EPROTO;
	records = (uint64_t)h->n_accounts * h->record_size;
	lines = (uint64_t)h->n_accounts * h->line_size;
	if (h->records_offset < h->header_size || h->records_offset > h->total_size ||
	    h->lines_offset < h->records_offset || h->lines_offset > h->total_size ||
	    h->lines_offset - h->records_offset < records ||
	    h->total_size - h->lines_offset < lines)
		return -EPROTO;
	if (!h->interval_ns || h->interval_ns > EG_INTERVAL_MAX_NS ||
	    !ends(h->boot_id, sizeof(h->boot_id)))
		return -EPROTO;
	return 0;
}

static enum eg_provenance provenance_of(const char *word)
{
	enum eg_provenance p = EG_PROVENANCE_MEASURED;

	/* A word of a later version is no stronger than the weakest that we know. */
	while (p < EG_PROVENANCE_ESTIMATED && strcmp(word, eg_provenance_word(p)) != 0)
		p++;
	return p;
}

/* The enum has no word for unknown: "other" is what no source of ours is. */
static enum eg_source source_of(const char *word)
{
	enum eg_source s = 0;

	while (s < EG_SOURCE_OTHER && strcmp(word, eg_source_word(s)) != 0)
		s++;
	return s;
}

static int check_record(struct page_account *a)
{
	const struct eg_page_record *r = &a->text;

	if (!ends(r->device, sizeof(r->device)) || !ends(r->channel, sizeof(r->channel)) ||
	    !ends(r->component, sizeof(r->component)) || !ends(r->source, sizeof(r->source)) ||
	    !ends(r->provenance, sizeof(r->provenance)) || !ends(r->boundary, sizeof(r->boundary)))
		return -EPROTO;
	a->flags = le32toh(r->flags);
	a->accuracy.rel_ppm = le32toh(r->accuracy_ppm);
	a->accuracy.abs_uw = le64toh(r->accuracy_uw);
	a->source = source_of(r->source);
	a->provenance = provenance_of(r->provenance);
	return 0;
}

static int read_table(int fd, const struct eg_page_header *h, struct page_table **ret)
{
	struct page_table *t = calloc(1, sizeof(*t) + h->n_accounts * sizeof(t->account[0]));
	int r = t ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < h->n_accounts; i++) {
		r = read_exact(fd, &t->account[i].text, sizeof(t->account[i].text),
			       h->records_offset + i * h->record_size);
		if (r == 0)
			r = check_record(&t->account[i]);
	}
	if (r < 0) {
		free(t);
		return r;
	}
	t->refs = 1;
	t->n = h->n_accounts;
	*ret = t;
	return 0;
}

static bool is_other_boot(const char *id)
{
	eg_autoclose int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	char ours[sizeof((struct eg_page_header){0}.boot_id)] = "";
	ssize_t n = fd < 0 ? -1 : read(fd, ours, sizeof(ours) - 1);

	if (n <= 0 || !*id) /* one of them is not known */
		return false;
	ours[strcspn(ours, "\n")] = '\0';
	return strcmp(ours, id) != 0;
}

static void unmap(struct page_map *m)
{
	if (m->base)
		munmap((void *)m->base, m->size);
	page_table_unref(m->table);
	*m = (struct page_map){0};
}

/* not: the file that is open already, which gives -EALREADY; or NULL. */
static int map_file(const char *path, const struct page_map * not, struct page_map *ret)
{
	eg_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct page_map m = {0};
	struct eg_page_header h;
	struct stat st;
	void *at;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EPROTO;
	if (not &&not ->dev == st.st_dev && not ->ino == st.st_ino)
		return -EALREADY;
	r = read_exact(fd, &h, sizeof(h), 0);
	if (r == 0)
		r = check_header(&h, (uint64_t)st.st_size);
	if (r == 0)
		r = read_table(fd, &h, &m.table);
	if (r < 0)
		return r;
	m.size = (size_t)h.total_size;
	at = mmap(NULL, m.size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (at == MAP_FAILED) {
		r = -errno;
		unmap(&m);
		return r;
	}
	m.base = at;
	m.header = at;
	m.lines = m.base + h.lines_offset;
	m.line_size = h.line_size;
	m.interval_ns = h.interval_ns;
	m.other_boot = is_other_boot(h.boot_id);
	m.dev = st.st_dev;
	m.ino = st.st_ino;
	*ret = m;
	return 0;
}

/* ---- life ---- */

static int age_ns(const struct page_map *m, uint64_t *ret_ns)
{
	const struct eg_clock clock = eg_clock_system();
	/* Alone and without the lock: it must be there also where the writer died in a tick. */
	uint64_t t_ns = eg_page_get(&m->header->tick.t_ns), now_ns = eg_clock_ns(&clock);

	if (m->other_boot || now_ns < t_ns)
		return -ERANGE;
	*ret_ns = now_ns - t_ns;
	return 0;
}

enum ergon_page_life page_life(const struct page_map *m)
{
	uint64_t age;

	if (m->other_boot || eg_page_get(&m->header->state) != EG_PAGE_RUNNING)
		return ERGON_PAGE_ENDED;
	if (age_ns(m, &age) < 0 || age > EG_MAX(INTERVALS_MAX * m->interval_ns, STALE_MIN_NS))
		return ERGON_PAGE_STALE;
	return ERGON_PAGE_LIVE;
}

/*
 * Where agents keep theirs: the first live one, else the first that can be read, unless that is no
 * better than the one we have.
 */
static int map_default(const struct page_map * not, struct page_map *ret)
{
	char user[USER_PAGE_BYTES];
	const char *place[] = {SYSTEM_PAGE, user};
	struct page_map spare = {0};
	int first = -ENOENT;

	(void)snprintf(user, sizeof(user), "/run/user/%u/ergon/energy", (unsigned)geteuid());
	for (size_t i = 0; i < EG_ARRAY_SIZE(place); i++) {
		struct page_map m;
		int r = map_file(place[i], not, &m);

		if (r < 0) {
			/* No right to one, or a damaged one, tells more than that another is not there. */
			if (r != -ENOENT && first == -ENOENT)
				first = r;
		} else if (page_life(&m) == ERGON_PAGE_LIVE) {
			unmap(&spare);
			*ret = m;
			return 0;
		} else if (!not &&!spare.base) {
			spare = m;
		} else {
			unmap(&m);
		}
	}
	if (!spare.base)
		return first;
	*ret = spare;
	return 0;
}

static int map_any(const char *path, const struct page_map * not, struct page_map *ret)
{
	return path ? map_file(path, not, ret) : map_default(not, ret);
}

int ergon_page_open(const char *path, ergon_page **ret)
{
	ergon_page *page = calloc(1, sizeof(*page));
	int r = 0;

	if (!page)
		return -ENOMEM;
	if (path) {
		page->path = strdup(path);
		r = page->path ? 0 : -ENOMEM;
	}
	if (r == 0)
		r = map_any(path, NULL, &page->slot[0].map);
	if (r < 0) {
		ergon_page_close(page);
		return r;
	}
	page->slot[0].filled = true;
	*ret = page;
	return 0;
}

void ergon_page_close(ergon_page *page)
{
	if (!page)
		return;
	for (size_t i = 0; i < SLOTS; i++)
		if (page->slot[i].filled)
			unmap(&page->slot[i].map);
	free(page->path);
	free(page);
}

int ergon_page_state(const ergon_page *page)
{
	const struct page_map *m = page_pin(page);
	enum ergon_page_life life = page_life(m);

	page_unpin(m);
	return (int)life;
}

int ergon_page_age_ns(const ergon_page *page, uint64_t *ret_ns)
{
	const struct page_map *m = page_pin(page);
	int r = age_ns(m, ret_ns);

	page_unpin(m);
	return r;
}

uint64_t ergon_page_interval_ns(const ergon_page *page)
{
	const struct page_map *m = page_pin(page);
	uint64_t interval_ns = m->interval_ns;

	page_unpin(m);
	return interval_ns;
}

/* Empties the slots that nobody reads any more; one of them, or NULL. */
static struct slot *free_slot(ergon_page *page)
{
	struct slot *found = NULL;

	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &page->slot[i];

		if (i == __atomic_load_n(&page->current, __ATOMIC_SEQ_CST) ||
		    __atomic_load_n(&s->readers, __ATOMIC_SEQ_CST))
			continue;
		if (s->filled)
			unmap(&s->map);
		s->filled = false;
		found = s;
	}
	return found;
}

/* The same accounts in the same order: the texts that were given out stay, and marks need no search. */
static void share_table(struct page_map *m, const struct page_map *old)
{
	struct page_table *t = old->table;

	if (m->table->n != t->n ||
	    memcmp(m->table->account, t->account, t->n * sizeof(t->account[0])) != 0)
		return;
	page_table_unref(m->table);
	m->table = page_table_ref(t);
}

static int look_again(ergon_page *page)
{
	const struct page_map *old = page_pin(page);
	struct page_map m;
	struct slot *s;
	int r = page_life(old) == ERGON_PAGE_LIVE ? -ENOENT : map_any(page->path, old, &m);

	if (r == 0) {
		share_table(&m, old);
		m.serial = old->serial + 1;
	}
	page_unpin(old);
	if (r == -ENOENT || r == -EALREADY)
		return 0;
	if (r < 0)
		return r;
	s = free_slot(page);
	if (!s) {
		unmap(&m);
		return -EAGAIN;
	}
	s->map = m;
	__atomic_store_n(&s->filled, true, __ATOMIC_RELEASE);
	__atomic_store_n(&page->current, (unsigned)(s - page->slot), __ATOMIC_SEQ_CST);
	(void)free_slot(page);
	return 1;
}

int ergon_page_refresh(ergon_page *page)
{
	pid_t nobody = 0, self;
	int r;

	if (ergon_page_state(page) == ERGON_PAGE_LIVE)
		return 0;
	self = getpid();
	if (!__atomic_compare_exchange_n(&page->refreshing, &nobody, self, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST)) {
		if (nobody == self) /* another thread is at it */
			return 0;
		/* It was the parent's, in a process made by fork(): only we are here. */
		__atomic_store_n(&page->refreshing, self, __ATOMIC_SEQ_CST);
	}
	r = look_again(page);
	__atomic_store_n(&page->refreshing, 0, __ATOMIC_SEQ_CST);
	return r;
}

/* ---- accounts ---- */

size_t ergon_page_count(const ergon_page *page)
{
	const struct page_map *m = page_pin(page);
	size_t n = m->table->n;

	page_unpin(m);
	return n;
}

/* The texts are the table's. */
void page_tell_account(const struct page_account *a, struct ergon_page_info *ret)
{
	ret->device = a->text.device;
	ret->component = a->text.component;
	ret->source = a->text.source;
	ret->provenance = a->text.provenance;
	ret->boundary = a->text.boundary;
	ret->channel = a->text.channel;
	ret->counted = (a->flags & EG_PAGE_COUNTED) != 0;
	ret->held = (a->flags & EG_PAGE_HELD) != 0;
	ret->accuracy_ppm = a->accuracy.rel_ppm;
}

int ergon_page_account(const ergon_page *page, size_t index, struct ergon_page_info *ret)
{
	const struct page_map *m;
	int r = -ENOENT;

	if (ret->size < sizeof(*ret))
		return -EINVAL;
	m = page_pin(page);
	if (index < m->table->n) {
		page_tell_account(&m->table->account[index], ret);
		r = 0;
	}
	page_unpin(m);
	return r;
}

int ergon_page_find(const ergon_page *page, const char *device, const char *component,
		    const char *provenance)
{
	const struct page_map *m = page_pin(page);
	const struct page_table *t = m->table;
	int best = -ENOENT;

	for (size_t i = 0; i < t->n; i++) {
		const struct page_account *a = &t->account[i];

		if (strcmp(a->text.device, device) != 0 ||
		    strcmp(a->text.component, component) != 0 ||
		    (provenance && strcmp(a->text.provenance, provenance) != 0))
			continue;
		if (best < 0 || a->provenance < t->account[best].provenance)
			best = (int)i;
	}
	page_unpin(m);
	return best;
}

int page_values(const struct page_map *m, size_t index, struct eg_page_values *ret)
{
	return eg_page_line_get((const struct eg_page_line *)(m->lines + index * m->line_size),
				ret);
}

int ergon_page_read(const ergon_page *page, size_t index, struct ergon_page_reading *ret)
{
	const struct page_map *m;
	struct eg_page_values v;
	int r;

	if (ret->size < sizeof(*ret))
		return -EINVAL;
	m = page_pin(page);
	r = index < m->table->n ? page_values(m, index, &v) : -ENOENT;
	page_unpin(m);
	if (r < 0)
		return r;
	if (!(v.flags & EG_PAGE_HAS_TOTAL))
		return -ENODATA;
	ret->total_uj = v.uj;
	ret->has_power = (v.flags & EG_PAGE_HAS_POWER) != 0;
	ret->power_uw = v.uw;
	ret->t_ns = v.t_ns;
	ret->unix_ns = v.unix_ns;
	ret->gap_ns = v.gap_ns;
	ret->created_unix_ns = v.created_unix_ns;
	ret->status = eg_status_word((enum eg_status)v.status);
	return 0;
}

/* ---- many accounts of one tick ---- */

/* Runs pass, which begins anew each time, until no tick came in between. */
int page_in_one_tick(const struct page_map *m,
		     int (*pass)(const struct page_map *m, const struct page_tick *tick, void *arg),
		     void *arg, struct page_tick *ret)
{
	const struct eg_page_tick *tick = &m->header->tick;
	unsigned passes = 0;

	for (unsigned i = 0; i < EG_PAGE_TRIES && passes < PASSES_MAX; i++) {
		uint64_t begin = eg_page_read_begin(&tick->seq);

		if (!(begin & 1)) {
			struct page_tick now = {eg_page_get(&tick->t_ns),
						eg_page_get(&tick->unix_ns)};
			int r = pass(m, &now, arg);

			if (r < 0)
				return r;
			if (eg_page_read_holds(&tick->seq, begin)) {
				*ret = now;
				return 0;
			}
			passes++;
		}
		eg_page_relax();
	}
	return -EAGAIN;
}

struct sum {
	uint64_t uj, estimated_uj, uw;
	uint32_t accounts, missing;
	enum eg_provenance weakest;
	bool has_power;
};

static int add_up(const struct page_map *m, const struct page_tick *tick, void *arg)
{
	struct sum *s = arg;

	*s = (struct sum){.has_power = true};
	for (size_t i = 0; i < m->table->n; i++) {
		const struct page_account *a = &m->table->account[i];
		bool held = (a->flags & EG_PAGE_HELD) != 0;
		struct eg_page_values v;
		int r;

		if (!(a->flags & EG_PAGE_COUNTED))
			continue;
		r = page_values(m, i, &v);
		if (r < 0)
			return r;
		if (!(v.flags & EG_PAGE_HAS_TOTAL)) {
			s->missing += !held; /* where nothing was held nothing is missing */
			continue;
		}
		s->accounts++;
		s->uj = eg_add_sat(s->uj, v.uj);
		if (a->provenance == EG_PROVENANCE_ESTIMATED)
			s->estimated_uj = eg_add_sat(s->estimated_uj, v.uj);
		if (v.uj)
			s->weakest = EG_MAX(s->weakest, a->provenance);
		if (held)
			continue;
		s->has_power = s->has_power && (v.flags & EG_PAGE_HAS_POWER) &&
			       v.status == EG_STATUS_OK;
		s->uw = eg_add_sat(s->uw, v.uw);
	}
	return 0;
}

int ergon_page_total(const ergon_page *page, struct ergon_page_sum *ret)
{
	const struct page_map *m;
	struct page_tick tick;
	struct sum s;
	int r;

	if (ret->size < sizeof(*ret))
		return -EINVAL;
	m = page_pin(page);
	r = page_in_one_tick(m, add_up, &s, &tick);
	page_unpin(m);
	if (r < 0)
		return r;
	if (!s.accounts)
		return -ENODATA;
	ret->total_uj = s.uj;
	ret->estimated_uj = s.estimated_uj;
	ret->has_power = s.has_power && !s.missing;
	ret->power_uw = ret->has_power ? s.uw : 0;
	ret->accounts = s.accounts;
	ret->missing = s.missing;
	ret->t_ns = tick.t_ns;
	ret->unix_ns = tick.unix_ns;
	ret->provenance = eg_provenance_word(s.weakest);
	return 0;
}
