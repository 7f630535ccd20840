/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Nth allocation fails, of C and of C++ alike, for each N: the configuration is loaded or it is not
 * for want of memory, nothing is held afterwards, and the output is untouched. glibc only: its allocator
 * is called by the names that it exports for such as this.
 */
#include "rig.h"

#define EXPORT __attribute__((visibility("default"))) /* for the C library too */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

static volatile bool on; /* volatile: the compiler believes that it knows these functions */
static volatile unsigned long calls, nth;
static volatile long held;

static bool fails(void)
{
	if (!on || ++calls != nth)
		return false;
	errno = ENOMEM;
	return true;
}

static void *count(void *p)
{
	held += on && p != NULL;
	return p;
}

EXPORT void *malloc(size_t n)
{
	return fails() ? NULL : count(__libc_malloc(n));
}

EXPORT void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : count(__libc_calloc(n, size));
}

EXPORT void *realloc(void *p, size_t n)
{
	if (fails())
		return NULL;
	return p ? __libc_realloc(p, n) : count(__libc_malloc(n));
}

EXPORT void free(void *p)
{
	held -= on && p != NULL;
	__libc_free(p);
}

static const char good[] =
	"[agent]\nstate = \"~/s\"\ninterval = \"2s\"\n[energy]\ncurrency = \"SEK\"\n"
	"price_per_kwh = 0.5\nbackend = \"rapl,-dram\"\n[http]\nlisten = \"0.0.0.0:1\"\n"
	"[drivers.cpu_model]\nidle_watts = 5\n";
static const char wrong[] =
	"[http]\nlistn = \"x\"\nmax_clients = [1, {a.b = \"c\"}]\n[[y.z]]\na = 1\n";
static const char broken[] = "[http]\nlisten = \"x\nmax_clients = [1, {a.b = \"c\"}]\n";

/* 0 all went well, else what came of it. */
static int once(const char *text, unsigned long n)
{
	struct eg_config_source *const untouched = (void *)&once, *c = untouched;
	struct eg_strbuf why = EG_STRBUF_INIT(1 << 16), warnings = EG_STRBUF_INIT(1 << 16);
	struct eg_strbuf out = EG_STRBUF_INIT(1 << 16);
	int err;

	calls = 0;
	nth = n;
	held = 0;
	on = true;
	err = eg_config_load_text(text, strlen(text),
				  ENV("HOME=/h", "ERGON_HTTP_MAX_CLIENTS=9",
				      "ALL_SMI_ENERGY_NO_COST=1", "ERGON_NOTHING=1"),
				  FLAGS({"http.textfile", "/x"},
					{"drivers", "cpu_model.full_watts=9"}),
				  &c, &why, &warnings);
	if (err == 0) {
		eg_config_print(c, false, &out);
		eg_strbuf_reset(&out);
		eg_config_print(c, true, &out);
		eg_config_free(c);
		c = untouched;
	}
	eg_strbuf_free(&why);
	eg_strbuf_free(&warnings);
	eg_strbuf_free(&out);
	on = false;
	if (c != untouched)
		fail_msg("allocation %lu: the output is not as it was", n);
	if (held != 0)
		fail_msg("allocation %lu: %ld blocks are held", n, held);
	return err;
}

static void each(const char *text, int undisturbed)
{
	unsigned long total;

	/* The first run may fill pools that stay. */
	assert_int_equal(once(text, 0), undisturbed);
	assert_int_equal(once(text, 0), undisturbed);
	total = calls;
	assert_true(total > 30);
	for (unsigned long n = 1; n <= total; n++) {
		int err = once(text, n);

		if (err != undisturbed && err != -ENOMEM)
			fail_msg("allocation %lu of %lu: %d", n, total, err);
	}
}

static void test_each_allocation(void **state)
{
	each(good, 0);
	each(wrong, -EINVAL);
	each(broken, -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_allocation)};

	return cmocka_run_group_tests_name("config-memory", tests, NULL, NULL);
}
