/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes, access and errors of the local API: who may see what, and what is said to those who ask for
 * something that is not there, or badly.
 */
#include <math.h>
#include <stdlib.h>

#include "agent/api_internal.h"
#include "api_rig.h"

static void index_tells_what_there_is(void **state)
{
	json_t *j;
	size_t n = 0;

	api_open();
	j = api_call(&alice, "GET", "/", NULL, 200); /* also before the first sample */
	assert_text(j, "schema", "ergon.api/1");
	assert_text(j, "access", "full");
	assert_number(j, "interval_seconds", 1);
	assert_number(j, "coarse_interval_seconds", 1);
	while (eg_api_routes[n].method)
		n++;
	assert_int_equal(json_array_size(at(j, "routes")), n);
	assert_text(j, "routes.0.path", "/api/v1/");
	json_decref(j);
	j = api_call(&eve, "GET", "", NULL, 200); /* without the last slash */
	assert_text(j, "access", "coarse");
	json_decref(j);
}

static void unknown_routes(void **state)
{
	static const char *const paths[] = {
		"/x",	     "/sensorsx",     "/sensor",	"/sensors/",
		"/windows/", "/windows//end", "/windows/1/2/3", "/windows/1/ends",
		"x",	     "!/api/v1x",     "!/api",		"!/",
		"!"};

	api_open();
	api_tick(0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(paths); i++)
		api_fails(&alice, "GET", paths[i], NULL, 404, "not_found");
}

static void methods(void **state)
{
	struct fake_request *f;
	json_t *j;

	api_open();
	api_tick(0);
	f = api_send(&alice, "PUT", "/windows", NULL);
	assert_string_equal(f->allow, "GET, HEAD, POST");
	json_decref(api_answer(f, 405));
	f = api_send(&alice, "GET", "/sample", NULL);
	assert_string_equal(f->allow, "POST");
	json_decref(api_answer(f, 405));
	f = api_send(&alice, "POST", "/windows/1", NULL);
	assert_string_equal(f->allow, "GET, HEAD, DELETE");
	json_decref(api_answer(f, 405));
	api_fails(&alice, "OPTIONS", "/totals", NULL, 405, "method_not_allowed");
	api_fails(&alice, "get", "/totals", NULL, 405, "method_not_allowed");
	api_fails(&alice, "", "/totals", NULL, 405, "method_not_allowed");
	j = api_call(&alice, "HEAD", "/totals", NULL, 200);
	assert_text(j, "schema", "ergon.totals/1");
	json_decref(j);
}

static enum eg_access access_of(const struct eg_http_peer *peer, gid_t group)
{
	struct fake_request *f = fake_request("GET", "/api/v1/", NULL, 0, peer);
	enum eg_access a;

	f->group = group;
	a = eg_api_access(ar->api, &f->req);
	eg_http_reply(&f->req, &(struct eg_http_answer){.status = 200, .data = ""});
	fake_free(f);
	return a;
}

static void access_matrix(void **state)
{
	struct eg_http_peer forged = carol;

	api_open();
	assert_int_equal(access_of(&root, 7), EG_ACCESS_FULL);
	assert_int_equal(access_of(&agent, 7), EG_ACCESS_FULL);
	assert_int_equal(access_of(&alice, 7), EG_ACCESS_FULL);
	assert_int_equal(access_of(&eve, 7), EG_ACCESS_COARSE);
	assert_int_equal(access_of(&eve, SOCKET_GID), EG_ACCESS_FULL); /* supplementary */
	assert_int_equal(access_of(&anon, SOCKET_GID), EG_ACCESS_COARSE);
	assert_int_equal(access_of(&carol, 7), EG_ACCESS_FULL);
	/* Numbers of a local peer mean nothing over TCP, a name nothing over the socket. */
	forged.authenticated = false;
	forged.uid = 0;
	assert_int_equal(access_of(&forged, SOCKET_GID), EG_ACCESS_COARSE);
	forged = eve;
	forged.authenticated = true;
	assert_int_equal(access_of(&forged, 7), EG_ACCESS_COARSE);
	ar->cfg.access.others = EG_ACCESS_NONE;
	ar->cfg.access.group = EG_ACCESS_COARSE;
	ar->cfg.access.authenticated = EG_ACCESS_NONE;
	ar->cfg.access.anonymous = EG_ACCESS_FULL;
	assert_int_equal(access_of(&eve, 7), EG_ACCESS_NONE);
	assert_int_equal(access_of(&root, 7), EG_ACCESS_COARSE);
	assert_int_equal(access_of(&carol, 7), EG_ACCESS_NONE);
	assert_int_equal(access_of(&anon, 7), EG_ACCESS_FULL);
}

static void no_socket_group(void **state)
{
	struct eg_http_peer nobody = eve;

	ar->rig->n = 0;
	api_open();
	nobody.gid = (gid_t)-1; /* equal to "there is none", and yet no member */
	assert_int_equal(access_of(&nobody, 7), EG_ACCESS_COARSE);
}

static void refused(void **state)
{
	json_t *j;

	api_open();
	api_tick(0);
	ar->cfg.access.others = EG_ACCESS_NONE;
	ar->cfg.access.anonymous = EG_ACCESS_NONE;
	api_fails(&eve, "GET", "/totals", NULL, 403, "forbidden");
	api_fails(&eve, "GET", "/no/such/route", NULL, 403, "forbidden");
	api_fails(&eve, "GET", "/", NULL, 403, "forbidden");
	api_fails(&anon, "GET", "/totals", NULL, 403, "forbidden");
	ar->cfg.http.token_file = "/etc/ergon/tokens";
	api_fails(&anon, "GET", "/totals", NULL, 401, "unauthorized");
	ar->cfg.access.anonymous = EG_ACCESS_COARSE;
	ar->cfg.access.others = EG_ACCESS_COARSE;
	api_fails(&anon, "POST", "/sample", NULL, 401, "unauthorized");
	j = api_call(&eve, "POST", "/sample", NULL, 403);
	assert_non_null(strstr(text_at(j, "error.cure"), "group"));
	json_decref(j);
	ar->cfg.http.token_file = NULL;
	api_fails(&anon, "POST", "/sample", NULL, 403, "forbidden");
	assert_int_equal(ar->fresh, 0);
}

static void before_the_first_sample(void **state)
{
	api_open();
	api_fails(&alice, "GET", "/totals", NULL, 503, "no_sample");
	api_fails(&eve, "GET", "/totals", NULL, 503, "no_sample");
	api_fails(&alice, "GET", "/power", NULL, 503, "no_sample");
	api_fails(&alice, "GET", "/sensors", NULL, 503, "no_sample");
	api_fails(&alice, "GET", "/history", NULL, 503, "no_sample");
	json_decref(api_call(&alice, "POST", "/sample", NULL, 200)); /* there is one then */
	json_decref(api_call(&alice, "GET", "/totals", NULL, 200));
}

static void bad_bodies(void **state)
{
	static const struct {
		const char *body, *code, *says;
	} cases[] = {
		{"{", "bad_json", "line 1, column 1"},
		{"{\n  \"name\": \"a\",\n  \"x\" 1\n}", "bad_json", "line 3"},
		{"[]", "bad_json", "no JSON object"},
		{"7", "bad_json", "no JSON"},
		{"\"name\"", "bad_json", "no JSON"},
		{"{} {}", "bad_json", "end of file expected"},
		{"{\"name\": \"a\", \"name\": \"b\"}", "bad_json", "duplicate"},
		{"{\"name\": \"\\u0000\"}", "bad_json", "NUL"},
		{"{\"name\": \"\xff\"}", "bad_json", "unable to decode byte 0xff"},
		{"{\"name\": 1}", "bad_value", "'name' must be a text"},
		{"{\"name\": null}", "bad_value", "'name'"},
		{"{\"nmae\": \"a\"}", "unknown_member", "'nmae'; did you mean 'name'?"},
		{"{\"expires\": 1}", "unknown_member", "'expires'"},
		{"{\"expires_second\": 1}", "unknown_member", "did you mean 'expires_seconds'?"},
		{"{\"expires_seconds\": \"1\"}", "bad_value", "number of seconds"},
		{"{\"expires_seconds\": 0}", "bad_value", "number of seconds"},
		{"{\"expires_seconds\": -1}", "bad_value", "number of seconds"},
		{"{\"expires_seconds\": 1e-9}", "bad_value", "number of seconds"},
		{"{\"expires_seconds\": 1e300}", "bad_value", "number of seconds"},
		{"{\"expires_seconds\": 1e400}", "bad_json", "real number overflow"},
		{"{\"expires_seconds\": 86401}", "bad_value", "86400 at most"},
		{"{\"expires_seconds\": 99999999999999999999}", "bad_json", "too big"},
		{"[[[[[[[[[1]]]]]]]]]", "bad_json", "deeper than 8"},
	};
	char longer[300];
	json_t *j;

	api_open();
	api_tick(0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		j = api_call(&alice, "POST", "/windows", cases[i].body, 400);
		if (strcmp(text_at(j, "error.code"), cases[i].code) != 0 ||
		    !strstr(text_at(j, "error.message"), cases[i].says))
			fail_msg("%s: %s: %s", cases[i].body, text_at(j, "error.code"),
				 text_at(j, "error.message"));
		json_decref(j);
	}
	snprintf(longer, sizeof(longer), "{\"name\": \"%0128d\"}", 0);
	api_fails(&alice, "POST", "/windows", longer, 400, "bad_value");
	snprintf(longer, sizeof(longer), "{\"name\": \"%0127d\"}", 0);
	json_decref(api_call(&alice, "POST", "/windows", longer, 201));
	/* Brackets in a text are no nesting, nor is an escaped quote its end. */
	json_decref(
		api_call(&alice, "POST", "/windows", "{\"name\": \"[[[[[[[[[[\\\"[[[[\"}", 201));
	assert_int_equal(eg_api_windows(ar->api), 2);
	api_fails(&alice, "POST", "/sample", "{\"x\": 1}", 400, "unknown_member");
	json_decref(api_call(&alice, "POST", "/sample", "{}", 200));
}

static void deep_bodies_are_cheap(void **state)
{
	char *body = malloc(EG_HTTP_BODY_MAX + 1);

	api_open();
	assert_non_null(body);
	memset(body, '[', EG_HTTP_BODY_MAX);
	body[EG_HTTP_BODY_MAX] = '\0';
	api_fails(&alice, "POST", "/windows", body, 400, "bad_json");
	memset(body, '"', EG_HTTP_BODY_MAX);
	api_fails(&alice, "POST", "/windows", body, 400, "bad_json");
	memset(body, '\\', EG_HTTP_BODY_MAX);
	api_fails(&alice, "POST", "/windows", body, 400, "bad_json");
	free(body);
}

static void bad_queries(void **state)
{
	api_open();
	api_tick(0);
	api_fails(&alice, "GET", "/totals?top=0", NULL, 400, "bad_query");
	api_fails(&alice, "GET", "/totals?top=-1", NULL, 400, "bad_query");
	api_fails(&alice, "GET", "/totals?top=1e3", NULL, 400, "bad_query");
	api_fails(&alice, "GET", "/totals?top=513", NULL, 400, "bad_query");
	api_fails(&alice, "GET", "/totals?top=", NULL, 400, "bad_query");
	api_fails(&alice, "GET", "/totals?fresh=yes", NULL, 400, "bad_query");
	api_fails(&alice, "GET", "/history?minutes=x", NULL, 400, "bad_query");
	api_fails(&alice, "GET", "/history?minutes=0", NULL, 400, "bad_query");
	api_fails(&alice, "GET", "/history?step=-1", NULL, 400, "bad_query");
	api_fails(&alice, "GET", "/events?interval=soon", NULL, 400, "bad_query");
	assert_int_equal(ar->fresh, 0);
}

static struct fake_request *from_page(const char *method, const char *target, const char *origin)
{
	struct fake_request *f = fake_request(method, target, NULL, 0, &anon);

	fake_header(f, "Host", "127.0.0.1:9102");
	fake_header(f, "Origin", origin);
	eg_api_handle(ar->api, &f->req);
	return f;
}

/* A web site's page in a browser on this machine. */
static void foreign_pages_change_nothing(void **state)
{
	static const char *const foreign[] = {"http://evil.example", "null", "",
					      "http://127.0.0.1:9103",
					      "http://127.0.0.1:9102.evil.example"};

	api_open();
	api_tick(0);
	ar->cfg.access.anonymous = EG_ACCESS_FULL;
	for (size_t i = 0; i < EG_ARRAY_SIZE(foreign); i++)
		json_decref(api_answer(from_page("POST", "/api/v1/windows", foreign[i]), 403));
	assert_int_equal(eg_api_windows(ar->api), 0);
	json_decref(api_answer(from_page("POST", "/api/v1/windows", "http://127.0.0.1:9102"), 201));
	json_decref(api_answer(from_page("GET", "/api/v1/totals", "http://evil.example"), 200));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, api_setup, api_teardown)
	const struct CMUnitTest tests[] = {
		T(index_tells_what_there_is),
		T(unknown_routes),
		T(methods),
		T(access_matrix),
		T(no_socket_group),
		T(refused),
		T(before_the_first_sample),
		T(bad_bodies),
		T(deep_bodies_are_cheap),
		T(bad_queries),
		T(foreign_pages_change_nothing),
	};

	return cmocka_run_group_tests_name("api-routes", tests, NULL, NULL);
}
