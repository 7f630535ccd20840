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
#include "base/page.h"
#include "lib/private.h"

#define SYSTEM_PAGE	"/run/ergon/energy"
#define BOOT_ID		"/proc/sys/kernel/random/boot_id"
#define INTERVALS_MAX	3 /* without a tick: stale */
#define STALE_MIN_NS	(5 * EG_NSEC_PER_SEC)
#define PASSES_MAX	64 /* over all accounts in search of one tick */
#define USER_PAGE_BYTES 64

/* What the accounts are: shared by a page and the marks made of it. */
struct account {
	struct eg_page_record text;
	uint32_t flags, accuracy_ppm;
	enum eg_provenance provenance;
};

struct table {
	int refs;
	size_t n;
	struct account account[];
};

/* One file, mapped. */
struct mapping {
	const uint8_t *base;
	size_t size, line_size;
	const struct eg_page_header *header; /* at base: state and tick are read from it */
	const uint8_t *lines;
	struct table *table;
	uint64_t interval_ns;
	bool other_boot;
	dev_t dev;
	ino_t ino;
};

struct ergon_page {
	char *path; /* NULL: the places where agents keep theirs */
	struct mapping map;
};

struct ergon_page_mark {
	struct table *table;
	uint64_t t_ns;
	struct table *other; /* that `to` leads to; the own one until a page was replaced */
	bool differs;	     /* the other one counts other accounts than ours */
	struct {
		struct eg_page_values v;
		int32_t to; /* index in the other table, -1 none */
	} of[];
};

/* ---- tables ---- */

static struct table *table_ref(struct table *t)
{
	__atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
	return t;
}

static void table_unref(struct table *t)
{
	if (t && __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(t);
}

static int table_find(const struct table *t, const struct eg_page_record *what)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct eg_page_record *r = &t->account[i].text;

		if (strcmp(r->device, what->device) == 0 &&
		    strcmp(r->component, what->component) == 0 &&
		    strcmp(r->provenance, what->provenance) == 0)
			return (int)i;
	}
	return -ENOENT;
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

static int check_record(struct account *a)
{
	const struct eg_page_record *r = &a->text;

	if (!ends(r->device, sizeof(r->device)) || !ends(r->channel, sizeof(r->channel)) ||
	    !ends(r->component, sizeof(r->component)) || !ends(r->source, sizeof(r->source)) ||
	    !ends(r->provenance, sizeof(r->provenance)) || !ends(r->boundary, sizeof(r->boundary)))
		return -EPROTO;
	a->flags = le32toh(r->flags);
	a->accuracy_ppm = le32toh(r->accuracy_ppm);
	a->provenance = provenance_of(r->provenance);
	return 0;
}

static int read_table(int fd, const struct eg_page_header *h, struct table **ret)
{
	struct table *t = calloc(1, sizeof(*t) + h->n_accounts * sizeof(t->account[0]));
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

static void unmap(struct mapping *m)
{
	if (m->base)
		munmap((void *)m->base, m->size);
	table_unref(m->table);
	*m = (struct mapping){0};
}

/* not: the file that is open already, which gives -EALREADY; or NULL. */
static int map_file(const char *path, const struct mapping * not, struct mapping *ret)
{
	eg_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct mapping m = {0};
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

static int age_ns(const struct mapping *m, uint64_t *ret_ns)
{
	const struct eg_clock clock = eg_clock_system();
	/* Alone and without the lock: it must be there also where the writer died in a tick. */
	uint64_t t_ns = eg_page_get(&m->header->tick.t_ns), now_ns = eg_clock_ns(&clock);

	if (m->other_boot || now_ns < t_ns)
		return -ERANGE;
	*ret_ns = now_ns - t_ns;
	return 0;
}

static enum ergon_page_life life(const struct mapping *m)
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
static int map_default(const struct mapping * not, struct mapping *ret)
{
	char user[USER_PAGE_BYTES];
	const char *place[] = {SYSTEM_PAGE, user};
	struct mapping spare = {0};
	int first = -ENOENT;

	(void)snprintf(user, sizeof(user), "/run/user/%u/ergon/energy", (unsigned)geteuid());
	for (size_t i = 0; i < EG_ARRAY_SIZE(place); i++) {
		struct mapping m;
		int r = map_file(place[i], not, &m);

		if (r < 0) {
			/* No right to one, or a damaged one, tells more than that another is not there. */
			if (r != -ENOENT && first == -ENOENT)
				first = r;
		} else if (life(&m) == ERGON_PAGE_LIVE) {
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

static int map_any(const char *path, const struct mapping * not, struct mapping *ret)
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
		r = map_any(path, NULL, &page->map);
	if (r < 0) {
		ergon_page_close(page);
		return r;
	}
	*ret = page;
	return 0;
}

void ergon_page_close(ergon_page *page)
{
	if (!page)
		return;
	unmap(&page->map);
	free(page->path);
	free(page);
}

int ergon_page_state(const ergon_page *page)
{
	return (int)life(&page->map);
}

int ergon_page_age_ns(const ergon_page *page, uint64_t *ret_ns)
{
	return age_ns(&page->map, ret_ns);
}

uint64_t ergon_page_interval_ns(const ergon_page *page)
{
	return page->map.interval_ns;
}

int ergon_page_refresh(ergon_page *page)
{
	struct mapping m;
	int r;

	if (life(&page->map) == ERGON_PAGE_LIVE)
		return 0;
	r = map_any(page->path, &page->map, &m);
	if (r == -ENOENT || r == -EALREADY)
		return 0;
	if (r < 0)
		return r;
	unmap(&page->map);
	page->map = m;
	return 1;
}

/* ---- accounts ---- */

size_t ergon_page_count(const ergon_page *page)
{
	return page->map.table->n;
}

int ergon_page_account(const ergon_page *page, size_t index, struct ergon_page_info *ret)
{
	const struct account *a;

	if (ret->size < sizeof(*ret))
		return -EINVAL;
	if (index >= page->map.table->n)
		return -ENOENT;
	a = &page->map.table->account[index];
	ret->device = a->text.device;
	ret->component = a->text.component;
	ret->source = a->text.source;
	ret->provenance = a->text.provenance;
	ret->boundary = a->text.boundary;
	ret->channel = a->text.channel;
	ret->counted = (a->flags & EG_PAGE_COUNTED) != 0;
	ret->held = (a->flags & EG_PAGE_HELD) != 0;
	ret->accuracy_ppm = a->accuracy_ppm;
	return 0;
}

int ergon_page_find(const ergon_page *page, const char *device, const char *component,
		    const char *provenance)
{
	const struct table *t = page->map.table;
	int best = -ENOENT;

	for (size_t i = 0; i < t->n; i++) {
		const struct account *a = &t->account[i];

		if (strcmp(a->text.device, device) != 0 ||
		    strcmp(a->text.component, component) != 0 ||
		    (provenance && strcmp(a->text.provenance, provenance) != 0))
			continue;
		if (best < 0 || a->provenance < t->account[best].provenance)
			best = (int)i;
	}
	return best;
}

static int get(const struct mapping *m, size_t index, struct eg_page_values *ret)
{
	return eg_page_line_get((const struct eg_page_line *)(m->lines + index * m->line_size),
				ret);
}

int ergon_page_read(const ergon_page *page, size_t index, struct ergon_page_reading *ret)
{
	struct eg_page_values v;
	int r;

	if (ret->size < sizeof(*ret))
		return -EINVAL;
	if (index >= page->map.table->n)
		return -ENOENT;
	r = get(&page->map, index, &v);
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

struct tick {
	uint64_t t_ns, unix_ns;
};

/* Runs pass, which begins anew each time, until no tick came in between. */
static int in_one_tick(const struct mapping *m,
		       int (*pass)(const struct mapping *m, const struct tick *tick, void *arg),
		       void *arg, struct tick *ret)
{
	const struct eg_page_tick *tick = &m->header->tick;
	unsigned passes = 0;

	for (unsigned i = 0; i < EG_PAGE_TRIES && passes < PASSES_MAX; i++) {
		uint64_t begin = eg_page_read_begin(&tick->seq);

		if (!(begin & 1)) {
			struct tick now = {eg_page_get(&tick->t_ns), eg_page_get(&tick->unix_ns)};
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

static int add_up(const struct mapping *m, const struct tick *tick, void *arg)
{
	struct sum *s = arg;

	*s = (struct sum){.has_power = true};
	for (size_t i = 0; i < m->table->n; i++) {
		const struct account *a = &m->table->account[i];
		bool held = (a->flags & EG_PAGE_HELD) != 0;
		struct eg_page_values v;
		int r;

		if (!(a->flags & EG_PAGE_COUNTED))
			continue;
		r = get(m, i, &v);
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
	struct tick tick;
	struct sum s;
	int r;

	if (ret->size < sizeof(*ret))
		return -EINVAL;
	r = in_one_tick(&page->map, add_up, &s, &tick);
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

/* ---- marks ---- */

static int note_all(const struct mapping *m, const struct tick *tick, void *arg)
{
	ergon_page_mark *mark = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->table->n; i++)
		r = get(m, i, &mark->of[i].v);
	return r;
}

int ergon_page_mark_new(const ergon_page *page, ergon_page_mark **ret)
{
	const struct mapping *m = &page->map;
	ergon_page_mark *mark = calloc(1, sizeof(*mark) + m->table->n * sizeof(mark->of[0]));
	struct tick tick;
	int r;

	if (!mark)
		return -ENOMEM;
	r = in_one_tick(m, note_all, mark, &tick);
	if (r < 0) {
		free(mark);
		return r;
	}
	mark->t_ns = tick.t_ns;
	mark->table = table_ref(m->table);
	mark->other = table_ref(m->table);
	for (size_t i = 0; i < m->table->n; i++)
		mark->of[i].to = (int32_t)i;
	*ret = mark;
	return 0;
}

void ergon_page_mark_free(ergon_page_mark *mark)
{
	if (!mark)
		return;
	table_unref(mark->table);
	table_unref(mark->other);
	free(mark);
}

static bool counted(const struct table *t, int32_t i)
{
	return i >= 0 && (t->account[i].flags & EG_PAGE_COUNTED);
}

/* Finds the mark's accounts in the table of a page that took the place of its own. */
static void lead_to(ergon_page_mark *mark, struct table *t)
{
	if (mark->other == t)
		return;
	mark->differs = false;
	for (size_t j = 0; j < mark->table->n; j++) {
		mark->of[j].to = (int32_t)table_find(t, &mark->table->account[j].text);
		if (counted(mark->table, (int32_t)j) != counted(t, mark->of[j].to))
			mark->differs = true;
	}
	for (size_t i = 0; i < t->n; i++)
		if (counted(t, (int32_t)i) && table_find(mark->table, &t->account[i].text) < 0)
			mark->differs = true;
	table_unref(mark->other);
	mark->other = table_ref(t);
}

struct delta {
	const ergon_page_mark *mark;
	int32_t only; /* index of now; -1: all that were counted */
	uint64_t uj, estimated_uj, gap_ns;
	uint32_t flags, accounts;
	enum eg_provenance weakest;
};

/* Adds what one account used, as far as both its ends are known. */
static void add_delta(struct delta *d, const struct account *a, const struct eg_page_values *old,
		      const struct eg_page_values *now, uint64_t tick_ns)
{
	bool had = old->flags & EG_PAGE_HAS_TOTAL, held = a->flags & EG_PAGE_HELD;
	uint64_t uj, gap_ns = now->gap_ns > old->gap_ns ? now->gap_ns - old->gap_ns : 0;

	if (!(now->flags & EG_PAGE_HAS_TOTAL)) {
		if (had || !held)
			d->flags |= ERGON_PAGE_INCOMPLETE;
		return;
	}
	if (had && (now->created_unix_ns != old->created_unix_ns || now->uj < old->uj)) {
		d->flags |= ERGON_PAGE_INCOMPLETE;
		return;
	}
	/* Before the first valid reading of its life the total of an account is 0. */
	uj = had ? now->uj - old->uj : now->uj;
	if (!had && !held)
		d->flags |= ERGON_PAGE_INCOMPLETE;
	/* It is silent now: what it used since it last spoke is counted later, if ever. */
	if (!held && now->status != EG_STATUS_OK && now->t_ns && tick_ns > now->t_ns)
		gap_ns = eg_add_sat(gap_ns, tick_ns - now->t_ns);
	if (gap_ns || (!held && (now->status != EG_STATUS_OK || old->status != EG_STATUS_OK)))
		d->flags |= ERGON_PAGE_GAP;
	d->gap_ns = EG_MAX(d->gap_ns, gap_ns);
	d->accounts++;
	d->uj = eg_add_sat(d->uj, uj);
	if (a->provenance == EG_PROVENANCE_ESTIMATED)
		d->estimated_uj = eg_add_sat(d->estimated_uj, uj);
	if (uj)
		d->weakest = EG_MAX(d->weakest, a->provenance);
}

static int add_deltas(const struct mapping *m, const struct tick *tick, void *arg)
{
	struct delta *d = arg;
	const ergon_page_mark *mark = d->mark;

	*d = (struct delta){.mark = mark, .only = d->only};
	for (size_t j = 0; j < mark->table->n; j++) {
		const struct account *a = &mark->table->account[j];
		struct eg_page_values now;
		int r;

		if (d->only >= 0 ? mark->of[j].to != d->only : !(a->flags & EG_PAGE_COUNTED))
			continue;
		if (mark->of[j].to < 0) {
			d->flags |= ERGON_PAGE_INCOMPLETE;
			continue;
		}
		r = get(m, (size_t)mark->of[j].to, &now);
		if (r < 0)
			return r;
		add_delta(d, a, &mark->of[j].v, &now, tick->t_ns);
	}
	return 0;
}

static int since(const ergon_page *page, ergon_page_mark *mark, int32_t only,
		 struct ergon_page_delta *ret)
{
	struct delta d = {.mark = mark, .only = only};
	struct tick tick;
	int r;

	if (ret->size < sizeof(*ret))
		return -EINVAL;
	lead_to(mark, page->map.table);
	r = in_one_tick(&page->map, add_deltas, &d, &tick);
	if (r < 0)
		return r;
	if (!d.accounts)
		return -ENODATA;
	if (mark->other != mark->table)
		d.flags |= ERGON_PAGE_REPLACED;
	if (only < 0 && mark->differs)
		d.flags |= ERGON_PAGE_INCOMPLETE;
	ret->uj = d.uj;
	ret->estimated_uj = d.estimated_uj;
	ret->duration_ns = tick.t_ns > mark->t_ns ? tick.t_ns - mark->t_ns : 0;
	ret->gap_ns = d.gap_ns;
	ret->flags = d.flags;
	ret->accounts = d.accounts;
	ret->provenance = eg_provenance_word(d.weakest);
	return 0;
}

int ergon_page_since(const ergon_page *page, ergon_page_mark *mark, struct ergon_page_delta *ret)
{
	return since(page, mark, -1, ret);
}

int ergon_page_since_account(const ergon_page *page, ergon_page_mark *mark, size_t index,
			     struct ergon_page_delta *ret)
{
	if (index >= page->map.table->n)
		return -ENOENT;
	return since(page, mark, (int32_t)index, ret);
}
