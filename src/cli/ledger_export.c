/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ergon ledger export`: every record of the log in its order, damaged stretches too, then the accounts
 * of the newest whole slot of the checkpoint; one JSON object or one CSV row each. Written as it is
 * read, so that the size of the log does not matter, nor how many accounts it has.
 */
#include "cli/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cli/out.h"
#include "codec/csv.h"
#include "codec/json.h"
#include "core/diag.h"

#define CHUNK_BYTES (64u << 10)
#define LINE_BYTES  (16u << 10)
#define NAMES_MAX   (1u << 20) /* accounts that are given by name; more have their key alone */
#define WHY_MAX	    8192

static const char csv_head[] =
	"record,offset,bytes,session,unix_seconds,key,account,channel,base,delta_joules,joules,"
	"recovered_joules,gap_seconds,resets,since_unix_seconds,boot_id,last_unix_seconds,"
	"last_clock_ns,last_awake_ns,last_raw,last_remainder,unit_num,unit_den,modulus,counter\n";

/* What is known of one record, whatever it is. */
struct row {
	const char *record;
	bool has_place, has_session, has_key, has_numbers, has_delta;
	uint64_t offset, bytes, session, unix_ns, key, delta_uj;
	bool base;
	const char *account, *channel; /* NULL: not known, or not of this record */
	struct eg_numbers n;	       /* boot alone where !has_numbers */
};

struct export
{
	struct eg_strbuf out;
	struct eg_book book; /* names and feeds so far */
	bool csv, gone;
	int code;
};

const char *eg_ledger_key_text(uint64_t key, char buf[EG_LEDGER_KEY_MAX])
{
	(void)snprintf(buf, EG_LEDGER_KEY_MAX, "%016llx", (unsigned long long)key);
	return buf;
}

static void write_out(struct export *x, bool all)
{
	if (!all && x->out.len < CHUNK_BYTES)
		return;
	if (x->code == 0 && !x->gone)
		x->code = eg_out_stdout(&x->out, &x->gone);
	eg_strbuf_reset(&x->out);
}

/* ---- JSON ---- */

static void json_time(struct eg_json *j, const char *key, uint64_t unix_ns)
{
	if (unix_ns)
		eg_json_nano(j, key, unix_ns);
	else
		eg_json_null(j, key);
}

static void json_numbers(struct eg_json *j, const struct eg_numbers *n)
{
	const struct eg_standing *l = &n->last;

	eg_json_micro(j, "joules", n->uj);
	eg_json_micro(j, "recovered_joules", n->recovered_uj);
	eg_json_nano(j, "gap_seconds", n->gap_ns);
	eg_json_u64(j, "resets", n->resets);
	json_time(j, "since_unix_seconds", n->created_unix_ns);
	json_time(j, "last_unix_seconds", l->unix_ns);
	eg_json_u64(j, "last_clock_ns", l->t_ns);
	eg_json_u64(j, "last_awake_ns", l->awake_ns);
	eg_json_u64(j, "last_raw", l->raw);
	eg_json_u64(j, "last_remainder", l->rem);
	eg_json_u64(j, "unit_num", l->unit_num);
	eg_json_u64(j, "unit_den", l->unit_den);
	eg_json_u64(j, "modulus", l->modulus);
	eg_json_bool(j, "counter", l->counter);
}

static void put_json(struct eg_strbuf *out, const struct row *r)
{
	struct eg_strbuf line = EG_STRBUF_INIT(LINE_BYTES);
	char key[EG_LEDGER_KEY_MAX], boot[EG_BOOT_TEXT_MAX];
	struct eg_json j;

	eg_json_init(&j, &line, false);
	eg_json_object(&j, NULL);
	eg_json_text(&j, "record", r->record);
	if (r->has_place) {
		eg_json_u64(&j, "offset", r->offset);
		eg_json_u64(&j, "bytes", r->bytes);
	}
	if (r->has_session) {
		eg_json_u64(&j, "session", r->session);
		json_time(&j, "unix_seconds", r->unix_ns);
		eg_boot_text(&r->n.boot, boot);
		if (!r->has_key || r->has_numbers)
			eg_json_text(&j, "boot_id", boot[0] ? boot : NULL);
	}
	if (r->has_key) {
		eg_json_text(&j, "key", eg_ledger_key_text(r->key, key));
		eg_json_text(&j, "account", r->account);
		eg_json_text(&j, "channel", r->channel);
	}
	if (r->has_delta) {
		eg_json_bool(&j, "base", r->base);
		eg_json_micro(&j, "delta_joules", r->delta_uj);
	}
	if (r->has_numbers)
		json_numbers(&j, &r->n);
	eg_json_end(&j);
	if (eg_json_finish(&j) == 0)
		eg_strbuf_append(out, eg_strbuf_get(&line), line.len);
	eg_strbuf_free(&line);
}

/* ---- CSV ---- */

static void csv_u64(struct eg_csv *c, bool known, uint64_t v)
{
	if (known)
		eg_csv_u64(c, v);
	else
		eg_csv_empty(c);
}

static void csv_nano(struct eg_csv *c, bool known, uint64_t v)
{
	if (known)
		eg_csv_nano(c, v);
	else
		eg_csv_empty(c);
}

static void csv_micro(struct eg_csv *c, bool known, uint64_t v)
{
	if (known)
		eg_csv_micro(c, v);
	else
		eg_csv_empty(c);
}

static void put_csv(struct eg_strbuf *out, const struct row *r)
{
	char key[EG_LEDGER_KEY_MAX], boot[EG_BOOT_TEXT_MAX];
	const struct eg_standing *l = &r->n.last;
	bool numbers = r->has_numbers;
	struct eg_csv c;

	eg_csv_init(&c, out);
	eg_boot_text(&r->n.boot, boot);
	eg_csv_text(&c, r->record);
	csv_u64(&c, r->has_place, r->offset);
	csv_u64(&c, r->has_place, r->bytes);
	csv_u64(&c, r->has_session, r->session);
	csv_nano(&c, r->unix_ns, r->unix_ns);
	eg_csv_text(&c, r->has_key ? eg_ledger_key_text(r->key, key) : NULL);
	eg_csv_text(&c, r->account);
	eg_csv_text(&c, r->channel);
	csv_u64(&c, r->has_delta, r->base);
	csv_micro(&c, r->has_delta, r->delta_uj);
	csv_micro(&c, numbers, r->n.uj);
	csv_micro(&c, numbers, r->n.recovered_uj);
	csv_nano(&c, numbers, r->n.gap_ns);
	csv_u64(&c, numbers, r->n.resets);
	csv_nano(&c, numbers && r->n.created_unix_ns, r->n.created_unix_ns);
	eg_csv_text(&c, boot[0] ? boot : NULL);
	csv_nano(&c, numbers && l->unix_ns, l->unix_ns);
	csv_u64(&c, numbers, l->t_ns);
	csv_u64(&c, numbers, l->awake_ns);
	csv_u64(&c, numbers, l->raw);
	csv_u64(&c, numbers, l->rem);
	csv_u64(&c, numbers, l->unit_num);
	csv_u64(&c, numbers, l->unit_den);
	csv_u64(&c, numbers, l->modulus);
	csv_u64(&c, numbers, l->counter);
	eg_csv_row(&c);
}

static void put(struct export *x, const struct row *r)
{
	if (x->csv)
		put_csv(&x->out, r);
	else
		put_json(&x->out, r);
	write_out(x, false);
}

/* ---- where rows come from ---- */

/* The account of a record, from the names that came before it. NULL: above the ceiling. */
static const struct eg_entry *note_texts(struct export *x, const struct eg_record *r)
{
	struct eg_entry *e;

	if (eg_book_add(&x->book, r->key, &e) < 0)
		return NULL;
	if (r->type == EG_RECORD_ACCOUNT)
		(void)eg_copy(e->name, sizeof(e->name), r->text);
	if (r->type == EG_RECORD_CHANNEL)
		(void)eg_copy(e->feed, sizeof(e->feed), r->text);
	return e;
}

static void put_record(void *ctx, const struct eg_record *r, uint64_t offset, uint64_t bytes)
{
	struct row row = {.record = "damaged", .has_place = true, .offset = offset, .bytes = bytes};
	const struct eg_entry *e = NULL;
	struct export *x = ctx;

	if (x->gone || x->code != 0)
		return;
	if (r == NULL) {
		put(x, &row);
		return;
	}
	row.record = eg_record_word(r->type);
	row.has_session = true;
	row.session = r->session;
	row.unix_ns = r->unix_ns;
	row.n.boot = r->n.boot;
	if (r->type != EG_RECORD_START && r->type != EG_RECORD_STOP) {
		e = note_texts(x, r);
		row.has_key = true;
		row.key = r->key;
		row.n.boot = (struct eg_boot){0};
		if (e && e->name[0])
			row.account = e->name;
	}
	if (r->type == EG_RECORD_CHANNEL) {
		row.channel = r->text;
	} else if (r->type == EG_RECORD_DELTA) {
		row.has_delta = row.has_numbers = true;
		row.base = r->base;
		row.delta_uj = r->delta_uj;
		row.n = r->n;
		if (e && e->feed[0] && eg_feed_hash(e->feed) == r->feed)
			row.channel = e->feed;
	}
	put(x, &row);
}

static int put_log(struct export *x, const struct eg_io *io, int dir, bool *ret_any,
		   struct eg_strbuf *why)
{
	struct eg_log_found found = {0};
	eg_autoclose int fd = eg_io_open(io, dir, EG_STORE_LOG, O_RDONLY);
	int err = fd;

	if (fd == -ENOENT)
		return 0;
	if (fd >= 0)
		err = eg_log_read(io, fd, put_record, x, &found);
	if (err == -EPROTO && found.version)
		return eg_state_other_version(why, EG_STORE_LOG, found.version);
	if (err < 0)
		return eg_io_why(why, err, "read", EG_STORE_LOG);
	*ret_any |= !found.empty || found.damaged;
	return 0;
}

static int put_checkpoint(struct export *x, const struct eg_io *io, int dir, bool *ret_any,
			  struct eg_strbuf *why)
{
	char name[EG_STORE_KEY_TEXT_MAX], feed[EG_STORE_FEED_MAX];
	struct eg_checkpoint_found f = {0};
	eg_autofree uint8_t *data = NULL;
	int err = eg_checkpoint_read(io, dir, &data, &f);

	if (err == -ENOENT)
		return 0;
	if (err == -EPROTO && f.version)
		return eg_state_other_version(why, EG_STORE_CHECKPOINT, f.version);
	if (err < 0)
		return eg_io_why(why, err, "read", EG_STORE_CHECKPOINT);
	*ret_any |= !f.empty;
	for (size_t i = 0; f.whole && i < f.slot.n; i++) {
		struct row row = {.record = "checkpoint",
				  .has_session = true,
				  .session = f.slot.session,
				  .unix_ns = f.slot.unix_ns,
				  .has_key = true,
				  .has_numbers = true,
				  .account = name};

		eg_checkpoint_entry(data, &f, i, name, feed, &row.n);
		row.key = eg_fnv1a(name, strlen(name));
		row.channel = feed[0] ? feed : NULL;
		put(x, &row);
	}
	return 0;
}

int eg_ledger_export(const struct eg_args *args, const char *place)
{
	const struct eg_io io = {.ops = &eg_io_kernel_ops};
	struct export x = {.out = EG_STRBUF_INIT(CHUNK_BYTES + LINE_BYTES), .csv = args->csv};
	struct eg_strbuf why = EG_STRBUF_INIT(WHY_MAX);
	eg_autoclose int dir = eg_state_open_dir(place, false, &why);
	int err = dir < 0 ? dir : eg_book_init(&x.book, NAMES_MAX);
	bool any = false;

	if (err == 0 && args->csv)
		eg_strbuf_puts(&x.out, csv_head);
	if (err == 0)
		err = put_log(&x, &io, dir, &any, &why);
	if (err == 0)
		err = put_checkpoint(&x, &io, dir, &any, &why);
	if (err == 0 && !any) {
		eg_strbuf_printf(&why,
				 "there is no ledger in %s; `ergon config path` says where the "
				 "agent keeps it, --state names it",
				 place);
		err = -ENOENT;
	}
	if (err == 0)
		write_out(&x, true);
	else
		eg_say("ledger export: %s", why.len ? eg_strbuf_get(&why) : eg_errno_text(err));
	eg_book_free(&x.book);
	eg_strbuf_free(&x.out);
	eg_strbuf_free(&why);
	return err < 0 ? EG_EXIT_FAILURE : x.code;
}
