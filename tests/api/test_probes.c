/* SPDX-License-Identifier: Apache-2.0 */
/* What supervisors are told while the agent starts, runs and stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/internal.h"
#include "fake_http.h"

static unsigned ask(struct agent *a, const char *path)
{
	const struct eg_http_peer anybody = {.uid = (uid_t)-1};
	struct fake_request *f = fake_request("GET", path, NULL, 0, &anybody);
	unsigned status;

	eg_agent_handle(a, &f->req);
	assert_true(f->answered);
	status = f->status;
	fake_free(f);
	return status;
}

static void probes(void **state)
{
	static struct agent a;

	a.api = (struct eg_api *)&a; /* is there; a probe does not look at it */
	assert_int_equal(ask(&a, "/-/healthy"), 200);
	assert_int_equal(ask(&a, "/-/ready"), 503);
	a.have_view = true;
	assert_int_equal(ask(&a, "/-/ready"), 200);
	a.api = NULL; /* it stops */
	assert_int_equal(ask(&a, "/-/ready"), 503);
	assert_int_equal(ask(&a, "/metrics"), 503);
	assert_int_equal(ask(&a, "/api/v1/totals"), 503);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(probes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
