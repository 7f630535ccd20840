/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of diagnostics: fixed storage, one entry a kind, the newest words win and are counted.
 * So that what a sensor says can never flood or break a report, text is cut to its field and
 * control characters become blanks.
 */
#include "core/diag.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int eg_diags_init(struct eg_diags *d, size_t cap)
{
	struct eg_diag *items;

	if (cap == 0 || cap > EG_DIAGS_MAX)
		return -EINVAL;
	items = calloc(cap, sizeof(*items));
	if (!items)
		return -ENOMEM;
	*d = (struct eg_diags){.items = items, .cap = cap};
	return 0;
}

void eg_diags_free(struct eg_diags *d)
{
	if (!d)
		return;
	free(d->items);
	*d = (struct eg_diags){0};
}

static void one_line(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = ' ';
}

static struct eg_diag *find(const struct eg_diags *d, enum eg_diag_code code, const char *driver,
			    const char *subject)
{
	for (size_t i = 0; i < d->n; i++) {
		struct eg_diag *e = &d->items[i];

		if (e->code == code && strcmp(e->driver, driver) == 0 &&
		    strcmp(e->subject, subject) == 0)
			return e;
	}
	return NULL;
}

void eg_diag_add(struct eg_diags *d, enum eg_diag_code code, const char *driver,
		 const char *subject, const char *cure, const char *detail_fmt, ...)
{
	char name[sizeof(d->items->driver)], about[sizeof(d->items->subject)];
	struct eg_diag *e;
	va_list ap;

	if (!d)
		return;
	d->events++;
	eg_copy(name, sizeof(name), driver ? driver : "");
	eg_copy(about, sizeof(about), subject ? subject : "");
	one_line(name);
	one_line(about);
	e = find(d, code, name, about);
	if (!e && d->n == d->cap) {
		d->dropped++;
		return;
	}
	if (!e) {
		e = &d->items[d->n++];
		*e = (struct eg_diag){.code = code};
		eg_copy(e->driver, sizeof(e->driver), name);
		eg_copy(e->subject, sizeof(e->subject), about);
	}
	e->count++;
	eg_copy(e->cure, sizeof(e->cure), cure ? cure : "");
	va_start(ap, detail_fmt);
	vsnprintf(e->detail, sizeof(e->detail), detail_fmt, ap);
	va_end(ap);
	one_line(e->cure);
	one_line(e->detail);
}

enum eg_diag_code eg_diag_code_of(int err)
{
	switch (-err) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return EG_DIAG_SENSOR_ABSENT;
	case EACCES:
	case EPERM:
		return EG_DIAG_SENSOR_BLOCKED;
	case EOPNOTSUPP:
	case ENOSYS:
		return EG_DIAG_SENSOR_UNSUPPORTED;
	case ETIMEDOUT:
		return EG_DIAG_SENSOR_TIMEOUT;
	default:
		return EG_DIAG_SENSOR_ERROR;
	}
}

const char *eg_errno_text(int err)
{
	const char *text;

	if (err < 0)
		err = err == INT32_MIN ? 0 : -err;
#ifdef __GLIBC__
	text = strerrordesc_np(err); /* glibc 2.32: static, never translated */
#else
	text = strerror(err);
#endif
	return text ? text : "unknown error";
}
