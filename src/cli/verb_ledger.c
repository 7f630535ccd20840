/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ergon ledger`: what a state directory says, with an agent or without. show and verify only read,
 * also while an agent writes: each looks again where it met a write half way. compact takes the
 * agent's lock. export is in ledger_export.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/ledger.h"
#include "cli/out.h"
#include "codec/csv.h"
#include "codec/json.h"
#include "codec/number.h"
#include "core/diag.h"

#define TEXT_MAX     (32u << 20)
#define WHY_MAX	     8192
#define PLACE_MAX    4096
#define LISTED_MAX   1000 /* damaged stretches that are named one by one */
#define LOOKS	     10	  /* at files that an agent may be writing */
#define LOOK_WAIT_NS (20 * EG_NSEC_PER_MSEC)
#define UJ_PER_KWH   3.6e12
#define STAMP_MAX    32

static const char system_place[] = "/var/lib/ergon";

/* The agent's own default; false: nowhere. */
static bool default_place(char dst[PLACE_MAX])
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int n = -1;

	if (geteuid() == 0)
		return eg_copy(dst, PLACE_MAX, system_place) == 0;
	if (state != NULL && state[0] == '/')
		n = snprintf(dst, PLACE_MAX, "%s/ergon", state);
	else if (home != NULL && home[0] == '/')
		n = snprintf(dst, PLACE_MAX, "%s/.local/state/ergon", home);
	return n > 0 && n < PLACE_MAX;
}

/* Opens and reads; the caller frees the state. Says what is wrong; returns the exit status. */
static int read_state(const char *place, struct eg_state *ret)
{
	const struct eg_io io = {.ops = &eg_io_kernel_ops};
	struct eg_strbuf why = EG_STRBUF_INIT(WHY_MAX);
	eg_autoclose int dir = eg_state_open_dir(place, false, &why);
	int err = dir;

	if (dir >= 0)
		err = eg_state_read(&io, dir, O_RDONLY, ret, &why);
	if (err < 0)
		eg_say("ledger: %s%s%s", dir < 0 ? "" : place, dir < 0 ? "" : ": ",
		       why.len ? eg_strbuf_get(&why) : eg_errno_text(err));
	eg_strbuf_free(&why);
	if (err < 0)
		return EG_EXIT_FAILURE;
	if (!ret->have_log && !ret->have_checkpoint && !ret->log.damaged) {
		eg_state_free(ret);
		eg_say("ledger: there is no ledger in %s; `ergon config path` says where the agent "
		       "keeps it, --state names it",
		       place);
		return EG_EXIT_FAILURE;
	}
	return 0;
}

/* Something that an agent may only just be writing? */
static bool looks_unfinished(const struct eg_state *s)
{
	return s->log.damaged || s->log.torn_bytes || s->history.breaks || s->checkpoint.damaged ||
	       s->checkpoint.damaged_slots;
}

static int read_steady_state(const char *place, struct eg_state *ret)
{
	const struct timespec pause = {.tv_nsec = (long)LOOK_WAIT_NS};
	int code = read_state(place, ret);

	for (int i = 0; code == 0 && i < LOOKS && looks_unfinished(ret); i++) {
		eg_state_free(ret);
		nanosleep(&pause, NULL);
		code = read_state(place, ret);
	}
	return code;
}

/* ---- show ---- */

/* One account in words. An entry whose words this build does not have keeps those it was written with. */
struct shown {
	struct eg_account a;
	char words[EG_STORE_KEY_TEXT_MAX];
	const char *device, *component, *provenance; /* NULL: its name is damaged */
	bool fed;
};

static void describe(const struct eg_entry *e, struct shown *s)
{
	char *provenance, *component;

	*s = (struct shown){0};
	if (eg_entry_account(e, &e->now, &s->a) == 0) {
		s->device = s->a.device;
		s->component = eg_component_word(s->a.component);
		s->provenance = eg_provenance_word(s->a.provenance);
		s->fed = s->a.channel[0] != '\0';
		return;
	}
	s->a = (struct eg_account){.uj = e->now.uj,
				   .recovered_uj = e->now.recovered_uj,
				   .gap_ns = e->now.gap_ns,
				   .resets = e->now.resets,
				   .created_unix_ns = e->now.created_unix_ns,
				   .last = e->now.last};
	(void)eg_copy(s->words, sizeof(s->words), e->name);
	provenance = strrchr(s->words, '/');
	if (provenance == NULL)
		return;
	*provenance = '\0';
	component = strrchr(s->words, '/');
	if (component == NULL)
		return;
	*component = '\0';
	s->device = s->words;
	s->component = component + 1;
	s->provenance = provenance + 1;
}

static void json_time(struct eg_json *j, const char *key, uint64_t unix_ns)
{
	if (unix_ns)
		eg_json_nano(j, key, unix_ns);
	else
		eg_json_null(j, key);
}

static void json_account(struct eg_json *j, const struct eg_entry *e)
{
	char key[EG_LEDGER_KEY_MAX];
	struct shown s;

	describe(e, &s);
	eg_json_object(j, NULL);
	eg_json_text(j, "key", eg_ledger_key_text(e->key, key));
	eg_json_text(j, "device", s.device);
	eg_json_text(j, "component", s.component);
	eg_json_text(j, "provenance", s.provenance);
	eg_json_text(j, "source", s.fed ? eg_source_word(s.a.source) : NULL);
	eg_json_text(j, "boundary", s.fed ? eg_boundary_word(s.a.boundary) : NULL);
	eg_json_text(j, "channel", s.fed ? s.a.channel : NULL);
	eg_json_micro(j, "joules", s.a.uj);
	eg_json_double(j, "kwh", (double)s.a.uj / UJ_PER_KWH);
	eg_json_micro(j, "recovered_joules", s.a.recovered_uj);
	eg_json_nano(j, "gap_seconds", s.a.gap_ns);
	eg_json_u64(j, "resets", s.a.resets);
	json_time(j, "since_unix_seconds", s.a.created_unix_ns);
	json_time(j, "last_unix_seconds", s.a.last.unix_ns);
	eg_json_end(j);
}

static void json_files(struct eg_json *j, const struct eg_state *s)
{
	eg_json_object(j, "log");
	eg_json_u64(j, "bytes", s->log.bytes);
	eg_json_u64(j, "records", s->log.records);
	eg_json_u64(j, "damaged_records", s->log.damaged);
	eg_json_u64(j, "torn_bytes", s->log.torn_bytes);
	eg_json_end(j);
	eg_json_object(j, "checkpoint");
	eg_json_u64(j, "whole_slots", s->checkpoint.whole);
	eg_json_u64(j, "damaged_slots", s->checkpoint.damaged_slots);
	eg_json_u64(j, "accounts", s->checkpoint.slot.n);
	json_time(j, "unix_seconds", s->checkpoint.slot.unix_ns);
	eg_json_end(j);
}

static int show_json(const char *place, const struct eg_state *s, struct eg_strbuf *out)
{
	char boot[EG_BOOT_TEXT_MAX];
	struct eg_json j;

	eg_boot_text(&s->boot, boot);
	eg_json_init(&j, out, true);
	eg_json_object(&j, NULL);
	eg_json_text(&j, "schema", "ergon.ledger/1");
	eg_json_text(&j, "state", place);
	eg_json_u64(&j, "session", s->session);
	eg_json_bool(&j, "stopped", s->clean);
	eg_json_text(&j, "boot_id", boot[0] ? boot : NULL);
	json_time(&j, "last_unix_seconds", s->last_unix_ns);
	json_files(&j, s);
	eg_json_array(&j, "accounts");
	for (size_t i = 0; i < s->book.n; i++)
		json_account(&j, &s->book.entry[i]);
	eg_json_end(&j);
	eg_json_end(&j);
	return eg_json_finish(&j);
}

static void csv_time(struct eg_csv *c, uint64_t unix_ns)
{
	if (unix_ns)
		eg_csv_nano(c, unix_ns);
	else
		eg_csv_empty(c);
}

static void show_csv(const struct eg_state *state, struct eg_strbuf *out)
{
	struct eg_csv c;

	eg_csv_init(&c, out);
	eg_strbuf_puts(out, "device,component,provenance,source,boundary,channel,joules,kwh,"
			    "recovered_joules,gap_seconds,resets,since_unix_seconds,"
			    "last_unix_seconds,key\n");
	for (size_t i = 0; i < state->book.n; i++) {
		char key[EG_LEDGER_KEY_MAX];
		struct shown s;

		describe(&state->book.entry[i], &s);
		eg_csv_text(&c, s.device);
		eg_csv_text(&c, s.component);
		eg_csv_text(&c, s.provenance);
		eg_csv_text(&c, s.fed ? eg_source_word(s.a.source) : NULL);
		eg_csv_text(&c, s.fed ? eg_boundary_word(s.a.boundary) : NULL);
		eg_csv_text(&c, s.fed ? s.a.channel : NULL);
		eg_csv_micro(&c, s.a.uj);
		eg_csv_double(&c, (double)s.a.uj / UJ_PER_KWH);
		eg_csv_micro(&c, s.a.recovered_uj);
		eg_csv_nano(&c, s.a.gap_ns);
		eg_csv_u64(&c, s.a.resets);
		csv_time(&c, s.a.created_unix_ns);
		csv_time(&c, s.a.last.unix_ns);
		eg_csv_text(&c, eg_ledger_key_text(state->book.entry[i].key, key));
		eg_csv_row(&c);
	}
}

static const char *stamp(uint64_t unix_ns, char buf[STAMP_MAX])
{
	time_t t = (time_t)(unix_ns / EG_NSEC_PER_SEC);
	struct tm tm;

	if (!unix_ns || gmtime_r(&t, &tm) == NULL ||
	    strftime(buf, STAMP_MAX, "%Y-%m-%d %H:%M:%SZ", &tm) == 0)
		return "-";
	return buf;
}

static void show_account(const struct eg_entry *e, int device_width, struct eg_strbuf *out)
{
	char kwh[EG_NUMBER_MAX], joules[EG_NUMBER_MAX], gap[EG_NUMBER_MAX], since[STAMP_MAX],
		key[EG_LEDGER_KEY_MAX];
	struct shown s;

	describe(e, &s);
	eg_number_fixed(kwh, (double)s.a.uj / UJ_PER_KWH, 6);
	eg_number_fixed(joules, (double)s.a.uj / EG_UJ_PER_J, 3);
	eg_number_fixed(gap, (double)s.a.gap_ns / (double)EG_NSEC_PER_SEC, 1);
	eg_strbuf_printf(out, "%-*s  %-10s  %-9s  %14s  %16s  %10s  %s\n", device_width,
			 s.device ? s.device : eg_ledger_key_text(e->key, key),
			 s.component ? s.component : "?", s.provenance ? s.provenance : "?", kwh,
			 joules, gap, stamp(s.a.created_unix_ns, since));
}

/* Made for what a channel may yet give, say an estimate while it is away. */
static bool is_blank(const struct eg_entry *e)
{
	return e->now.uj == 0 && e->now.gap_ns == 0 && e->now.last.unix_ns == 0;
}

static void show_text(const char *place, const struct eg_state *s, struct eg_strbuf *out)
{
	char last[STAMP_MAX];
	int width = (int)strlen("device");
	size_t blank = 0;

	for (size_t i = 0; i < s->book.n; i++) {
		struct shown shown;

		describe(&s->book.entry[i], &shown);
		width = EG_MAX(width,
			       shown.device ? (int)strlen(shown.device) : EG_LEDGER_KEY_MAX - 1);
	}
	eg_strbuf_printf(out, "%-*s  %-10s  %-9s  %14s  %16s  %10s  %s\n", width, "device",
			 "component", "provenance", "kWh", "joules", "gap s", "since");
	for (size_t i = 0; i < s->book.n; i++) {
		if (is_blank(&s->book.entry[i]))
			blank++;
		else
			show_account(&s->book.entry[i], width, out);
	}
	if (blank)
		eg_strbuf_printf(
			out,
			"and %zu that nothing has been read for yet (--json and --csv show them)\n",
			blank);
	eg_strbuf_printf(
		out, "\n%zu account%s in %s; log: %llu records, %llu bytes; last state: %s, %s\n",
		s->book.n, s->book.n == 1 ? "" : "s", place, (unsigned long long)s->log.records,
		(unsigned long long)s->log.bytes, stamp(s->last_unix_ns, last),
		s->clean ? "stopped in order" : "an agent runs, or was killed");
	if (s->log.damaged || s->checkpoint.damaged || s->checkpoint.damaged_slots)
		eg_strbuf_puts(out, "There is damage: `ergon ledger verify` says what.\n");
}

static int show(const struct eg_args *args, const char *place)
{
	struct eg_strbuf out = EG_STRBUF_INIT(TEXT_MAX);
	struct eg_state s;
	int code = read_state(place, &s), err = 0;

	if (code != 0)
		return code;
	if (args->json)
		err = show_json(place, &s, &out);
	else if (args->csv)
		show_csv(&s, &out);
	else
		show_text(place, &s, &out);
	eg_state_free(&s);
	if (err < 0)
		eg_say("ledger show: %s", eg_errno_text(err));
	code = err < 0		       ? EG_EXIT_FAILURE :
	       args->json || args->csv ? eg_out_stdout(&out, NULL) :
					 eg_out_text(&out, eg_locale_is_ascii(), NULL);
	eg_strbuf_free(&out);
	return code;
}

/* ---- verify ---- */

struct damage {
	struct {
		uint64_t offset, bytes;
	} stretch[LISTED_MAX];
	uint64_t stretches, nameless, newer_words;
};

static void note_stretch(void *ctx, const struct eg_record *r, uint64_t offset, uint64_t bytes)
{
	struct damage *d = ctx;

	if (r != NULL)
		return;
	if (d->stretches < LISTED_MAX) {
		d->stretch[d->stretches].offset = offset;
		d->stretch[d->stretches].bytes = bytes;
	}
	d->stretches++;
}

static int find_damage(const struct eg_state *s, struct damage *d)
{
	const struct eg_io io = {.ops = &eg_io_kernel_ops};
	struct eg_log_found again;

	for (size_t i = 0; i < s->book.n; i++) {
		struct eg_account a;

		if (!s->book.entry[i].name[0])
			d->nameless++;
		else if (eg_name_parse(s->book.entry[i].name, &a) < 0)
			d->newer_words++;
	}
	return s->log_fd < 0 ? 0 : eg_log_read(&io, s->log_fd, note_stretch, d, &again);
}

static bool is_damaged(const struct eg_state *s, const struct damage *d)
{
	return s->log.damaged || s->history.breaks || d->nameless || s->checkpoint.damaged ||
	       s->checkpoint.damaged_slots || s->checkpoint.header_damaged;
}

static int verify_json(const char *place, const struct eg_state *s, const struct damage *d,
		       struct eg_strbuf *out)
{
	struct eg_json j;

	eg_json_init(&j, out, true);
	eg_json_object(&j, NULL);
	eg_json_text(&j, "schema", "ergon.ledger-verify/1");
	eg_json_text(&j, "state", place);
	eg_json_bool(&j, "ok", !is_damaged(s, d));
	json_files(&j, s);
	eg_json_bool(&j, "checkpoint_header_damaged", s->checkpoint.header_damaged);
	eg_json_u64(&j, "accounts", s->book.n);
	eg_json_u64(&j, "nameless_accounts", d->nameless);
	eg_json_u64(&j, "unknown_accounts", d->newer_words);
	eg_json_u64(&j, "missing_before", s->history.breaks);
	eg_json_u64(&j, "stretches", d->stretches);
	eg_json_array(&j, "damage");
	for (size_t i = 0; i < EG_MIN(d->stretches, LISTED_MAX); i++) {
		eg_json_object(&j, NULL);
		eg_json_u64(&j, "offset", d->stretch[i].offset);
		eg_json_u64(&j, "bytes", d->stretch[i].bytes);
		eg_json_end(&j);
	}
	eg_json_end(&j);
	eg_json_end(&j);
	return eg_json_finish(&j);
}

static void verify_log(const struct eg_state *s, const struct damage *d, struct eg_strbuf *out)
{
	for (size_t i = 0; i < EG_MIN(d->stretches, LISTED_MAX); i++) {
		uint64_t at = d->stretch[i].offset, bytes = d->stretch[i].bytes;
		bool torn = at + bytes == s->log.bytes && bytes < EG_RECORD_WIDTH;

		eg_strbuf_printf(
			out, EG_STORE_LOG ": %llu bytes at %llu %s\n", (unsigned long long)bytes,
			(unsigned long long)at,
			torn ? "are a torn last record, which a crash leaves: it is cut at "
			       "the next start, and is no damage" :
			       "are damaged, and passed over");
	}
	if (d->stretches > LISTED_MAX)
		eg_strbuf_printf(out, EG_STORE_LOG ": %llu more damaged stretches\n",
				 (unsigned long long)(d->stretches - LISTED_MAX));
	if (s->history.breaks)
		eg_strbuf_printf(out,
				 EG_STORE_LOG
				 ": %llu records do not go on from the one before them: "
				 "records are missing; totals hold all the same, because "
				 "each record has the whole\n",
				 (unsigned long long)s->history.breaks);
	if (d->nameless)
		eg_strbuf_printf(out,
				 EG_STORE_LOG
				 ": %llu accounts have lost their name; their joules are "
				 "kept under their key\n",
				 (unsigned long long)d->nameless);
	if (d->newer_words)
		eg_strbuf_printf(out,
				 "accounts with words that this Ergon does not know: %llu; they "
				 "are kept, and are no damage\n",
				 (unsigned long long)d->newer_words);
}

static void verify_text(const struct eg_state *s, const struct damage *d, struct eg_strbuf *out)
{
	bool damaged = is_damaged(s, d);

	verify_log(s, d, out);
	if (s->checkpoint.header_damaged)
		eg_strbuf_puts(out, EG_STORE_CHECKPOINT ": its header is damaged\n");
	if (s->checkpoint.damaged)
		eg_strbuf_puts(out, EG_STORE_CHECKPOINT
			       ": no slot is whole: the log alone counts, up to "
			       "one flush period is missing\n");
	else if (s->checkpoint.damaged_slots)
		eg_strbuf_puts(out, EG_STORE_CHECKPOINT ": one of its two slots is damaged; the "
							"other is whole and counts\n");
	if (s->log.damaged || s->history.breaks || s->checkpoint.damaged ||
	    s->checkpoint.damaged_slots || s->checkpoint.header_damaged)
		eg_strbuf_puts(out,
			       "The rest is good, and the next start of an agent mends what is "
			       "damaged (`ergon ledger compact` mends the log now).\n");
	eg_strbuf_printf(out, "%s: %zu accounts, %llu records, checkpoint of %zu accounts\n",
			 damaged ? "damaged" : "ok", s->book.n, (unsigned long long)s->log.records,
			 s->checkpoint.slot.n);
}

static int verify(const struct eg_args *args, const char *place)
{
	struct eg_strbuf out = EG_STRBUF_INIT(TEXT_MAX);
	eg_autofree struct damage *d = calloc(1, sizeof(*d));
	struct eg_state s;
	bool damaged;
	int code, err;

	if (d == NULL) {
		eg_say("ledger verify: %s", eg_errno_text(-ENOMEM));
		return EG_EXIT_FAILURE;
	}
	code = read_steady_state(place, &s);
	if (code != 0)
		return code;
	err = find_damage(&s, d);
	damaged = is_damaged(&s, d);
	if (err == 0 && args->json)
		err = verify_json(place, &s, d, &out);
	else if (err == 0)
		verify_text(&s, d, &out);
	eg_state_free(&s);
	if (err < 0)
		eg_say("ledger verify: %s", eg_errno_text(err));
	code = err < 0	  ? EG_EXIT_FAILURE :
	       args->json ? eg_out_stdout(&out, NULL) :
			    eg_out_text(&out, eg_locale_is_ascii(), NULL);
	eg_strbuf_free(&out);
	return code == 0 && damaged ? EG_EXIT_FAILURE : code;
}

/* ---- compact ---- */

static int compact(const struct eg_args *args, const char *place)
{
	struct eg_strbuf out = EG_STRBUF_INIT(TEXT_MAX), why = EG_STRBUF_INIT(WHY_MAX);
	uint64_t before = 0, after = 0;
	struct eg_json j;
	int code, err = eg_state_compact(place, &before, &after, &why);

	if (err < 0) {
		eg_say("ledger compact: %s", why.len ? eg_strbuf_get(&why) : eg_errno_text(err));
		eg_strbuf_free(&why);
		return EG_EXIT_FAILURE;
	}
	if (args->json) {
		eg_json_init(&j, &out, true);
		eg_json_object(&j, NULL);
		eg_json_text(&j, "schema", "ergon.ledger-compact/1");
		eg_json_text(&j, "state", place);
		eg_json_u64(&j, "bytes_before", before);
		eg_json_u64(&j, "bytes_after", after);
		eg_json_end(&j);
		err = eg_json_finish(&j);
	} else {
		eg_strbuf_printf(&out, EG_STORE_LOG ": %llu bytes, now %llu\n",
				 (unsigned long long)before, (unsigned long long)after);
	}
	code = err < 0 ? EG_EXIT_FAILURE : eg_out_stdout(&out, NULL);
	eg_strbuf_free(&out);
	eg_strbuf_free(&why);
	return code;
}

int eg_verb_ledger(struct eg_args *args)
{
	static const struct {
		const char *name;
		int (*run)(const struct eg_args *args, const char *place);
		bool csv;
	} verbs[] = {{"show", show, true},
		     {"verify", verify, false},
		     {"compact", compact, false},
		     {"export", eg_ledger_export, true}};
	const char *word = args->n_rest > 0 ? args->rest[0] : "";
	char place[PLACE_MAX];

	if (args->json && args->csv) {
		eg_say("--json and --csv exclude each other");
		return EG_EXIT_USAGE;
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(verbs); i++) {
		if (strcmp(word, verbs[i].name) != 0)
			continue;
		if (args->csv && !verbs[i].csv) {
			eg_say("ledger %s: has no --csv; give --json or nothing", word);
			return EG_EXIT_USAGE;
		}
		if (args->state == NULL && !default_place(place)) {
			eg_say("ledger %s: there is no HOME to look below; name the directory with "
			       "--state DIR",
			       word);
			return EG_EXIT_FAILURE;
		}
		return verbs[i].run(args, args->state ? args->state : place);
	}
	if (*word)
		eg_say("ledger: unknown word '%s'; give show, verify, compact or export\nergon: see "
		       "ergon ledger --help",
		       word);
	else
		eg_say("ledger: give show, verify, compact or export\nergon: see ergon ledger "
		       "--help");
	return EG_EXIT_USAGE;
}
