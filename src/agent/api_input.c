/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a peer of the local API sends: JSON bodies against a list of known members, and values of the
 * query. Whatever is wrong is answered here with 400 and what would be right.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include <jansson.h>

#include "agent/api_internal.h"
#include "base/parse.h"

#define SECONDS_MAX (3650.0 * 86400)
#define NEAR_ENOUGH 3 /* edits, for "did you mean" */

static const char fix_body[] = "send a JSON object as docs/openapi.yaml describes it";

static void json_freep(json_t **j)
{
	json_decref(*j);
}

/* Deeper than any request of ours, so that a parser need not recurse to find out. */
static bool is_too_deep(const char *s, size_t n)
{
	unsigned depth = 0;
	bool in_text = false;

	for (size_t i = 0; i < n; i++) {
		if (in_text && s[i] == '\\')
			i++;
		else if (s[i] == '"')
			in_text = !in_text;
		else if (!in_text && (s[i] == '{' || s[i] == '[') && ++depth > EG_API_DEPTH_MAX)
			return true;
		else if (!in_text && (s[i] == '}' || s[i] == ']') && depth)
			depth--;
	}
	return false;
}

static json_t *parse(struct eg_api_call *c)
{
	const struct eg_http_request *req = c->req;
	json_error_t err;
	json_t *j;

	if (is_too_deep(req->body, req->body_len)) {
		eg_api_fail(c->req, &(struct eg_api_problem){400, "bad_json", fix_body},
			    "the body nests deeper than %d levels", EG_API_DEPTH_MAX);
		return NULL;
	}
	j = json_loadb(req->body, req->body_len, JSON_REJECT_DUPLICATES, &err);
	if (!j) {
		eg_api_fail(c->req, &(struct eg_api_problem){400, "bad_json", fix_body},
			    "the body is no JSON at line %d, column %d: %s", err.line, err.column,
			    err.text);
		return NULL;
	}
	if (!json_is_object(j)) {
		eg_api_fail(c->req, &(struct eg_api_problem){400, "bad_json", fix_body},
			    "the body is no JSON object");
		json_decref(j);
		return NULL;
	}
	return j;
}

static bool bad_value(struct eg_api_call *c, const char *name, const char *want)
{
	eg_api_fail(c->req, &(struct eg_api_problem){400, "bad_value", fix_body},
		    "'%.64s' must be %s", name, want);
	return false;
}

static bool take_text(struct eg_api_call *c, const struct eg_api_member *m, const json_t *v)
{
	if (!json_is_string(v))
		return bad_value(c, m->name, "a text");
	if (json_string_length(v) >= m->max_len) {
		eg_api_fail(c->req, &(struct eg_api_problem){400, "bad_value", fix_body},
			    "'%s' is longer than %zu bytes", m->name, m->max_len - 1);
		return false;
	}
	if (m->required && json_string_length(v) == 0)
		return bad_value(c, m->name, "a text that is not empty");
	memcpy(m->to, json_string_value(v), json_string_length(v) + 1);
	return true;
}

static bool take(struct eg_api_call *c, const struct eg_api_member *m, const json_t *v)
{
	double s;

	switch (m->type) {
	case EG_API_TEXT:
		return take_text(c, m, v);
	case EG_API_COUNT:
		if (!json_is_integer(v) || json_integer_value(v) < 0)
			return bad_value(c, m->name, "a whole number, 0 or more");
		*(uint64_t *)m->to = (uint64_t)json_integer_value(v);
		return true;
	case EG_API_SECONDS:
		s = json_number_value(v);
		if (!json_is_number(v) || !(s >= 1e-3 && s <= SECONDS_MAX))
			return bad_value(c, m->name, "a number of seconds above 0");
		*(uint64_t *)m->to = (uint64_t)llround(s * 1e9);
		return true;
	}
	return false;
}

static bool unknown(struct eg_api_call *c, const char *key, const struct eg_api_member *members,
		    size_t n)
{
	const char *nearest = NULL;
	unsigned best = NEAR_ENOUGH + 1;

	for (size_t i = 0; i < n; i++) {
		unsigned d = eg_edit_distance(key, members[i].name);

		if (d < best) {
			best = d;
			nearest = members[i].name;
		}
	}
	if (nearest)
		eg_api_fail(c->req, &(struct eg_api_problem){400, "unknown_member", fix_body},
			    "unknown member '%.64s'; did you mean '%s'?", key, nearest);
	else
		eg_api_fail(c->req, &(struct eg_api_problem){400, "unknown_member", fix_body},
			    "unknown member '%.64s'%s%s%s", key,
			    n ? "; the first known one is '" : "", n ? members[0].name : "",
			    n ? "'" : ": none is known here");
	return false;
}

bool eg_api_body(struct eg_api_call *c, const struct eg_api_member *members, size_t n)
{
	EG_CLEANUP(json_freep) json_t *body = NULL;
	const char *key;
	json_t *v;

	if (c->req->body_len > 0) {
		body = parse(c);
		if (!body)
			return false;
	}
	json_object_foreach(body, key, v)
	{
		size_t i = 0;

		while (i < n && strcmp(members[i].name, key) != 0)
			i++;
		if (i == n)
			return unknown(c, key, members, n);
		if (!take(c, &members[i], v))
			return false;
	}
	for (size_t i = 0; i < n; i++)
		if (members[i].required && !json_object_get(body, members[i].name)) {
			eg_api_fail(c->req,
				    &(struct eg_api_problem){400, "missing_member", fix_body},
				    "'%s' is missing", members[i].name);
			return false;
		}
	return true;
}

/* ---- the query ---- */

static bool bad_query(struct eg_api_call *c, const char *name, const char *want)
{
	eg_api_fail(c->req,
		    &(struct eg_api_problem){400, "bad_query",
					     "see docs/openapi.yaml for its values"},
		    "?%s= must be %s", name, want);
	return false;
}

bool eg_api_query_bool(struct eg_api_call *c, const char *name, bool *ret)
{
	const char *v = eg_http_query(c->req, name);

	if (!v)
		return true;
	if (strcmp(v, "1") == 0 || strcmp(v, "true") == 0)
		*ret = true;
	else if (strcmp(v, "0") == 0 || strcmp(v, "false") == 0)
		*ret = false;
	else
		return bad_query(c, name, "1 or 0");
	return true;
}

bool eg_api_query_count(struct eg_api_call *c, const char *name, uint64_t max, uint64_t *ret)
{
	const char *v = eg_http_query(c->req, name);
	uint64_t n;

	if (!v)
		return true;
	if (eg_parse_u64(v, strlen(v), &n) < 0 || n < 1 || n > max) {
		eg_api_fail(c->req,
			    &(struct eg_api_problem){400, "bad_query",
						     "see docs/openapi.yaml for its values"},
			    "?%s= must be a whole number from 1 to %llu", name,
			    (unsigned long long)max);
		return false;
	}
	*ret = n;
	return true;
}

bool eg_api_query_duration(struct eg_api_call *c, const char *name, uint64_t unit_ns,
			   uint64_t *ret_ns)
{
	const char *v = eg_http_query(c->req, name);
	uint64_t ns;

	if (!v)
		return true;
	if (eg_parse_duration(v, unit_ns, &ns) < 0 || ns == 0)
		return bad_query(c, name, "a time above 0, such as 5 or 90s or 10m");
	*ret_ns = ns;
	return true;
}
