/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-sent events: one snapshot a sample, one a renewal for those who see coarsely, each once;
 * slow readers, limits, and how a stream ends.
 */
#include <math.h>
#include <stdlib.h>

#include "agent/api_internal.h"
#include "api_rig.h"

#define MS 1000000ULL

static struct fake_request *open_stream(const struct eg_http_peer *peer, const char *query)
{
	char target[64];
	struct fake_request *f;

	snprintf(target, sizeof(target), "/events%s", query);
	f = api_send(peer, "GET", target, NULL);
	assert_non_null(f->stream);
	assert_string_equal(f->type, "text/event-stream");
	return f;
}

/* The k-th event that came: its name, its data parsed. */
static json_t *event(struct fake_request *f, unsigned k, const char *name)
{
	const char *at = eg_strbuf_get(&f->stream->text), *data, *end;
	char head[64], id[32] = "";
	json_error_t err;
	json_t *j;

	for (; k; k--) {
		at = strstr(at, "\n\n");
		assert_non_null(at);
		at += 2;
	}
	snprintf(head, sizeof(head), "event: %s\n", name);
	if (strncmp(at, head, strlen(head)) != 0)
		fail_msg("expected %s: %.300s", name, at);
	at += strlen(head);
	if (strcmp(name, "snapshot") == 0)
		assert_int_equal(sscanf(at, "id: %31[0-9]\n", id), 1);
	data = strstr(at, "data: ");
	end = strstr(at, "\n\n");
	assert_true(data && end && data < end);
	j = json_loadb(data + 6, (size_t)(end - data) - 6, JSON_REJECT_DUPLICATES, &err);
	if (!j)
		fail_msg("%s: %.300s", err.text, data);
	if (id[0])
		assert_true(number_at(j, "seq") == strtod(id, NULL));
	return j;
}

static void close_stream(struct fake_request *f)
{
	fake_hang_up(f);
	fake_free(f);
}

static void one_a_sample(void **state)
{
	struct fake_request *f;
	json_t *j;

	api_open();
	api_tick(0);
	f = open_stream(&alice, "");
	assert_int_equal(f->stream->events, 1); /* at once */
	api_run(10 * SECOND, SECOND / 2);
	assert_int_equal(f->stream->events, 21);
	for (unsigned k = 0; k < 21; k++) {
		j = event(f, k, "snapshot");
		assert_text(j, "schema", "ergon.snapshot/1");
		assert_number(j, "boot_ns", (double)(RIG_T0 + k * SECOND / 2));
		assert_true(fabs(number_at(j, "total_joules") - k * API_WATTS / 2) < 1e-6);
		assert_number(j, "dropped", 0);
		assert_int_equal(json_array_size(at(j, "channels")), 4);
		json_decref(j);
	}
	j = event(f, 20, "snapshot");
	assert_number(j, "total_watts", API_WATTS);
	assert_number(pick(at(j, "channels"), "name", "rig/gpu-0"), "watts", 200);
	json_decref(j);
	close_stream(f);
	api_tick(11 * SECOND);
}

static void at_most_one_in_an_interval(void **state)
{
	struct fake_request *f, *coarse;

	api_open();
	api_tick(0);
	f = open_stream(&alice, "?interval=5");
	coarse = open_stream(&eve, "?interval=5s");
	for (unsigned k = 1; k <= 60; k++) /* a timer that slips */
		api_tick(k * SECOND + (k % 2 ? 3 : 0) * MS);
	assert_int_equal(f->stream->events, 13);
	assert_int_equal(coarse->stream->events, 13);
	close_stream(f);
	close_stream(coarse);
}

static void coarse_streams(void **state)
{
	struct fake_request *f, *g;
	double last_ns = 0;
	unsigned n;
	json_t *j;

	api_open();
	api_tick(0);
	rig_at(ar->rig, 100 * MS);
	f = open_stream(&eve, "");
	assert_int_equal(f->stream->events, 1); /* its renewal is not sent twice */
	g = open_stream(&alice, "");
	for (unsigned k = 1; k <= 200; k++) {
		rig_at(ar->rig, k * 100 * MS + 50 * MS);
		if (k % 3 == 0) /* other readers, who have samples taken */
			json_decref(api_call(&alice, "POST", "/sample", NULL, 200));
		if (k % 4 == 0)
			json_decref(api_call(&eve, "GET", "/totals", NULL, 200));
		if (k % 2 == 0)
			api_tick(k * 100 * MS + 50 * MS);
	}
	n = f->stream->events;
	assert_in_range(n, 15, 21);
	for (unsigned k = 0; k < n; k++) {
		j = event(f, k, "snapshot");
		if (k && number_at(j, "boot_ns") < last_ns + 0.875 * (double)SECOND)
			fail_msg("event %u after %.9f s", k,
				 (number_at(j, "boot_ns") - last_ns) / 1e9);
		last_ns = number_at(j, "boot_ns");
		json_decref(j);
	}
	assert_true(g->stream->events > 100);
	close_stream(f);
	close_stream(g);
	assert_false(eg_api_wants_coarse(ar->api)); /* nobody listens: nothing is renewed for him */
}

static void a_slow_reader(void **state)
{
	struct fake_request *f, *quick;
	json_t *j;

	api_open();
	api_tick(0);
	f = open_stream(&alice, "");
	quick = open_stream(&bob, "");
	f->stream->full = true;
	api_run(7 * SECOND, SECOND);
	assert_int_equal(f->stream->events, 1);
	assert_int_equal(quick->stream->events, 8); /* costs nobody else anything */
	f->stream->full = false;
	api_tick(8 * SECOND);
	j = event(f, 1, "snapshot");
	assert_number(j, "dropped", 7);
	assert_number(j, "boot_ns", (double)(RIG_T0 + 8 * SECOND));
	json_decref(j);
	api_tick(9 * SECOND);
	j = event(f, 2, "snapshot");
	assert_number(j, "dropped", 0);
	json_decref(j);
	close_stream(f);
	close_stream(quick);
}

static void limits(void **state)
{
	struct fake_request *f[EG_API_STREAMS_PEER], *other;

	api_open();
	api_tick(0);
	for (int i = 0; i < EG_API_STREAMS_PEER; i++)
		f[i] = open_stream(&alice, "");
	api_fails(&alice, "GET", "/events", NULL, 429, "too_many_streams");
	other = open_stream(&bob, "");
	close_stream(f[3]);
	f[3] = open_stream(&alice, "");
	for (int i = 0; i < EG_API_STREAMS_PEER; i++)
		close_stream(f[i]);
	fake_streams_max = 1; /* of the whole server */
	f[0] = api_send(&carol, "GET", "/events", NULL);
	assert_int_equal(f[0]->status, 503);
	fake_free(f[0]);
	fake_streams_max = EG_HTTP_STREAMS_MAX;
	close_stream(other);
	api_tick(SECOND);
}

static void head_opens_nothing(void **state)
{
	struct fake_request *f;

	api_open();
	api_tick(0);
	f = api_send(&alice, "HEAD", "/events", NULL);
	assert_int_equal(f->status, 200);
	assert_string_equal(f->type, "text/event-stream");
	assert_null(f->stream);
	fake_free(f);
}

/* A changed policy holds for streams that are open. */
static void access_is_taken_away(void **state)
{
	struct fake_request *f, *g;
	unsigned n;
	json_t *j;

	api_open();
	api_tick(0);
	f = open_stream(&eve, "");
	g = open_stream(&alice, "");
	api_run(3 * SECOND, SECOND);
	ar->cfg.access.others = EG_ACCESS_NONE;
	ar->cfg.access.group = EG_ACCESS_COARSE;
	n = f->stream->events;
	api_tick(3 * SECOND + 500 * MS);
	assert_true(f->stream->closed);
	j = event(f, n, "end");
	assert_text(j, "reason", "access");
	json_decref(j);
	fake_free(f);
	n = g->stream->events;
	api_tick(3 * SECOND + 700 * MS);
	assert_int_equal(g->stream->events, n);
	api_tick(5 * SECOND);
	assert_int_equal(g->stream->events, n + 1);
	close_stream(g);
}

static void the_agent_stops(void **state)
{
	struct fake_request *f, *full;
	json_t *j;

	api_open();
	api_tick(0);
	f = open_stream(&alice, "");
	full = open_stream(&alice, "");
	full->stream->full = true; /* for whom there is no room for it */
	ar->api = eg_api_free(ar->api);
	assert_true(f->stream->closed && full->stream->closed);
	j = event(f, 1, "end");
	assert_text(j, "reason", "stopping");
	json_decref(j);
	fake_free(f);
	fake_free(full);
}

static void before_the_first_sample(void **state)
{
	struct fake_request *f;

	api_open();
	f = open_stream(&alice, "");
	assert_int_equal(f->stream->events, 0);
	api_tick(0);
	assert_int_equal(f->stream->events, 1);
	close_stream(f);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, api_setup, api_teardown)
	const struct CMUnitTest tests[] = {
		T(one_a_sample),
		T(at_most_one_in_an_interval),
		T(coarse_streams),
		T(a_slow_reader),
		T(limits),
		T(head_opens_nothing),
		T(access_is_taken_away),
		T(the_agent_stops),
		T(before_the_first_sample),
	};

	return cmocka_run_group_tests_name("api-streams", tests, NULL, NULL);
}
