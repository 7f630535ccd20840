/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See reflection.h, and proto/grpc/reflection/v1 for the messages. Names are looked for in the descriptors
 * as they stand (google/protobuf/descriptor.proto gives the numbers of their fields): there are few, and
 * who asks is a person with a tool.
 */
#include "grpc/reflection.h"

#include <errno.h>
#include <string.h>

#include "grpc/pbuf.h"

/* Fields of google.protobuf.*DescriptorProto. */
enum { SET_FILE = 1 };
enum {
	FILE_NAME = 1,
	FILE_PACKAGE = 2,
	FILE_DEPENDENCY = 3,
	FILE_MESSAGE = 4,
	FILE_ENUM = 5,
	FILE_SERVICE = 6,
	FILE_EXTENSION = 7
};
enum {
	NAME = 1,
	MESSAGE_FIELD = 2,
	MESSAGE_NESTED = 3,
	MESSAGE_ENUM = 4,
	MESSAGE_EXTENSION = 6,
	MESSAGE_ONEOF = 8
};
enum { ENUM_VALUE = 2 };
enum { SERVICE_METHOD = 2 };

/* Fields of grpc.reflection.v1.ServerReflectionRequest and its answers. */
enum { BY_FILENAME = 3, BY_SYMBOL = 4, BY_EXTENSION = 5, EXTENSIONS = 6, LIST = 7 };
enum {
	ANSWER_HOST = 1,
	ANSWER_REQUEST = 2,
	ANSWER_FILES = 4,
	ANSWER_EXTENSIONS = 5,
	ANSWER_LIST = 6,
	ANSWER_ERROR = 7
};
#define HOST 1

/* A text of a message; it has no NUL. */
struct text {
	const char *s;
	size_t len;
};

struct file {
	struct text name, package;
	const uint8_t *data;
	size_t len;
};

struct eg_grpc_reflection {
	struct file files[EG_GRPC_REFLECTION_FILES];
	size_t n_files;
	const struct eg_grpc_method *methods;
	size_t n_methods;
	struct eg_strbuf answer, part; /* of one request; the memory stays */
};

static struct text text_of(const struct eg_pbuf_field *f)
{
	return f->bytes ? (struct text){(const char *)f->data, f->len} : (struct text){"", 0};
}

static bool is_equal(struct text a, struct text b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.s, b.s, a.len) == 0);
}

/* ---- the sets ---- */

static const struct file *find_file(const struct eg_grpc_reflection *r, struct text name)
{
	for (size_t i = 0; i < r->n_files; i++)
		if (is_equal(r->files[i].name, name))
			return &r->files[i];
	return NULL;
}

static int add_file(struct eg_grpc_reflection *r, const struct eg_pbuf_field *whole)
{
	struct file file = {.data = whole->data, .len = whole->len};
	struct eg_pbuf p = EG_PBUF(whole->data, whole->len);
	struct eg_pbuf_field f;
	int n;

	while ((n = eg_pbuf_next(&p, &f)) > 0) {
		if (f.number == FILE_NAME)
			file.name = text_of(&f);
		else if (f.number == FILE_PACKAGE)
			file.package = text_of(&f);
	}
	if (n < 0)
		return n;
	if (find_file(r, file.name))
		return 0;
	if (r->n_files == EG_GRPC_REFLECTION_FILES)
		return -E2BIG;
	r->files[r->n_files++] = file;
	return 0;
}

int eg_grpc_reflection_new(const struct eg_grpc_descriptors *const *sets, size_t n_sets,
			   const struct eg_grpc_method *methods, size_t n_methods,
			   struct eg_grpc_reflection **ret)
{
	struct eg_grpc_reflection *r = calloc(1, sizeof(*r));
	int n = 0;

	if (!r)
		return -ENOMEM;
	r->methods = methods;
	r->n_methods = n_methods;
	r->answer = r->part = EG_STRBUF_INIT(EG_GRPC_MESSAGE_MAX);
	for (size_t i = 0; i < n_sets && n >= 0; i++) {
		struct eg_pbuf p = EG_PBUF(sets[i]->data, sets[i]->len);
		struct eg_pbuf_field f;

		while (n >= 0 && (n = eg_pbuf_next(&p, &f)) > 0)
			if (f.number == SET_FILE && f.bytes)
				n = add_file(r, &f);
	}
	if (n < 0) {
		eg_grpc_reflection_free(r);
		return n;
	}
	*ret = r;
	return 0;
}

struct eg_grpc_reflection *eg_grpc_reflection_free(struct eg_grpc_reflection *r)
{
	if (r) {
		eg_strbuf_free(&r->answer);
		eg_strbuf_free(&r->part);
	}
	free(r);
	return NULL;
}

/* ---- symbols ---- */

/* What of a symbol follows the name of a scope: "" it is the scope itself. False: it is not in there. */
static bool enter(struct text symbol, struct text scope, struct text *ret)
{
	if (scope.len == 0 || symbol.len < scope.len || memcmp(symbol.s, scope.s, scope.len) != 0)
		return false;
	if (symbol.len == scope.len) {
		*ret = (struct text){"", 0};
		return true;
	}
	if (symbol.s[scope.len] != '.' || symbol.len == scope.len + 1)
		return false;
	*ret = (struct text){symbol.s + scope.len + 1, symbol.len - scope.len - 1};
	return true;
}

/* The name of a descriptor: field 1 of every kind. */
static struct text name_of(const struct eg_pbuf_field *whole)
{
	struct eg_pbuf p = EG_PBUF(whole->data, whole->len);
	struct eg_pbuf_field f;

	while (eg_pbuf_next(&p, &f) > 0)
		if (f.number == NAME)
			return text_of(&f);
	return (struct text){"", 0};
}

/* Is it one of the descriptors in the fields of that number? */
static bool has_member(const struct eg_pbuf_field *whole, uint32_t number, struct text symbol)
{
	struct eg_pbuf p = EG_PBUF(whole->data, whole->len);
	struct eg_pbuf_field f;

	while (eg_pbuf_next(&p, &f) > 0)
		if (f.number == number && f.bytes && is_equal(name_of(&f), symbol))
			return true;
	return false;
}

/* The values of an enumeration are its siblings. */
static bool in_enum(const struct eg_pbuf_field *whole, struct text symbol)
{
	return is_equal(name_of(whole), symbol) || has_member(whole, ENUM_VALUE, symbol);
}

static bool in_message(const struct eg_pbuf_field *whole, struct text symbol, bool message,
		       unsigned depth)
{
	struct eg_pbuf p = EG_PBUF(whole->data, whole->len);
	struct eg_pbuf_field f;
	struct text rest;

	if (!enter(symbol, name_of(whole), &rest))
		return false;
	if (rest.len == 0)
		return true;
	while (depth && eg_pbuf_next(&p, &f) > 0) {
		if (!f.bytes)
			continue;
		if (f.number == MESSAGE_NESTED && in_message(&f, rest, message, depth - 1))
			return true;
		if (!message && f.number == MESSAGE_ENUM && in_enum(&f, rest))
			return true;
		if (!message &&
		    (f.number == MESSAGE_FIELD || f.number == MESSAGE_EXTENSION ||
		     f.number == MESSAGE_ONEOF) &&
		    is_equal(name_of(&f), rest))
			return true;
	}
	return false;
}

static bool in_service(const struct eg_pbuf_field *whole, struct text symbol)
{
	struct text rest;

	return enter(symbol, name_of(whole), &rest) &&
	       (rest.len == 0 || has_member(whole, SERVICE_METHOD, rest));
}

/* message: messages alone are looked for. */
static bool in_file(const struct file *file, struct text symbol, bool message)
{
	struct eg_pbuf p = EG_PBUF(file->data, file->len);
	struct eg_pbuf_field f;
	struct text rest = symbol;

	if (file->package.len && (!enter(symbol, file->package, &rest) || rest.len == 0))
		return false;
	while (eg_pbuf_next(&p, &f) > 0) {
		if (!f.bytes)
			continue;
		if (f.number == FILE_MESSAGE &&
		    in_message(&f, rest, message, EG_GRPC_REFLECTION_DEPTH))
			return true;
		if (message)
			continue;
		if ((f.number == FILE_SERVICE && in_service(&f, rest)) ||
		    (f.number == FILE_ENUM && in_enum(&f, rest)) ||
		    (f.number == FILE_EXTENSION && is_equal(name_of(&f), rest)))
			return true;
	}
	return false;
}

static const struct file *find_symbol(const struct eg_grpc_reflection *r, struct text symbol,
				      bool message)
{
	if (symbol.len && symbol.s[0] == '.')
		symbol = (struct text){symbol.s + 1, symbol.len - 1};
	for (size_t i = 0; symbol.len && i < r->n_files; i++)
		if (in_file(&r->files[i], symbol, message))
			return &r->files[i];
	return NULL;
}

/* ---- answers ---- */

static void put_error(struct eg_grpc_reflection *r, enum eg_grpc_status code, const char *text)
{
	eg_strbuf_reset(&r->part);
	eg_pbuf_put_varint(&r->part, 1, code);
	eg_pbuf_put_bytes(&r->part, 2, text, strlen(text));
	eg_pbuf_put_bytes(&r->answer, ANSWER_ERROR, eg_strbuf_get(&r->part), r->part.len);
}

/* The file and what it imports, directly and not, each once. */
static void put_files(struct eg_grpc_reflection *r, const struct file *first)
{
	const struct file *list[EG_GRPC_REFLECTION_FILES] = {first};
	size_t n = 1;

	eg_strbuf_reset(&r->part);
	for (size_t i = 0; i < n; i++) {
		struct eg_pbuf p = EG_PBUF(list[i]->data, list[i]->len);
		struct eg_pbuf_field f;

		eg_pbuf_put_bytes(&r->part, 1, list[i]->data, list[i]->len);
		while (eg_pbuf_next(&p, &f) > 0) {
			const struct file *file =
				f.number == FILE_DEPENDENCY ? find_file(r, text_of(&f)) : NULL;
			size_t k = 0;

			while (file && k < n && list[k] != file)
				k++;
			if (file && k == n)
				list[n++] = file;
		}
	}
	eg_pbuf_put_bytes(&r->answer, ANSWER_FILES, eg_strbuf_get(&r->part), r->part.len);
}

/* "/package.Service/Method" */
static struct text service_of(const struct eg_grpc_method *m)
{
	const char *end = strrchr(m->path, '/');

	return (struct text){m->path + 1, end > m->path ? (size_t)(end - m->path - 1) : 0};
}

static void put_services(struct eg_grpc_reflection *r)
{
	eg_strbuf_reset(&r->part);
	for (size_t i = 0; i < r->n_methods; i++) {
		struct text name = service_of(&r->methods[i]);
		size_t k = 0;

		while (k < i && !is_equal(service_of(&r->methods[k]), name))
			k++;
		if (k < i)
			continue;
		/* ListServiceResponse.service, of which the name is field 1. */
		eg_pbuf_put_key(&r->part, 1,
				name.len + 1 +
					(name.len < 128	  ? 1 :
					 name.len < 16384 ? 2 :
							    3));
		eg_pbuf_put_bytes(&r->part, 1, name.s, name.len);
	}
	eg_pbuf_put_bytes(&r->answer, ANSWER_LIST, eg_strbuf_get(&r->part), r->part.len);
}

static void answer(struct eg_grpc_reflection *r, const struct eg_pbuf_field *what)
{
	const struct file *file;

	switch (what->number) {
	case BY_FILENAME:
		file = find_file(r, text_of(what));
		break;
	case BY_SYMBOL:
		file = find_symbol(r, text_of(what), false);
		break;
	case EXTENSIONS:
		/* Nothing here extends anything. */
		file = find_symbol(r, text_of(what), true);
		if (!file)
			break;
		eg_strbuf_reset(&r->part);
		eg_pbuf_put_bytes(&r->part, 1, what->data, what->len);
		eg_pbuf_put_bytes(&r->answer, ANSWER_EXTENSIONS, eg_strbuf_get(&r->part),
				  r->part.len);
		return;
	case LIST:
		put_services(r);
		return;
	default:
		file = NULL;
	}
	if (file)
		put_files(r, file);
	else
		put_error(r, EG_GRPC_NOT_FOUND, "there is no such file, symbol or extension");
}

static void message(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
	struct eg_grpc_reflection *r = arg;
	struct eg_pbuf p = EG_PBUF(request, len);
	struct eg_pbuf_field f, what = {0};
	struct text host = {"", 0};
	int n;

	/* Of a oneof the last member counts. */
	while ((n = eg_pbuf_next(&p, &f)) > 0) {
		if (f.number == HOST)
			host = text_of(&f);
		else if (f.number >= BY_FILENAME && f.number <= LIST && f.bytes)
			what = f;
	}
	if (n < 0) {
		eg_grpc_finish(call, EG_GRPC_INTERNAL, "the request is no ServerReflectionRequest");
		return;
	}
	eg_strbuf_reset(&r->answer);
	if (host.len)
		eg_pbuf_put_bytes(&r->answer, ANSWER_HOST, host.s, host.len);
	eg_pbuf_put_bytes(&r->answer, ANSWER_REQUEST, request, len);
	if (what.number)
		answer(r, &what);
	else
		put_error(r, EG_GRPC_INVALID_ARGUMENT, "the request asks for nothing");
	if (eg_strbuf_error(&r->answer) < 0 || eg_strbuf_error(&r->part) < 0) {
		eg_strbuf_reset(&r->part);
		eg_grpc_finish(call, EG_GRPC_RESOURCE_EXHAUSTED, "the answer is too large");
		return;
	}
	eg_grpc_send(call, eg_strbuf_get(&r->answer), r->answer.len);
}

static void begin(void *arg, struct eg_grpc_call *call, const void *request, size_t len)
{
}

static void end(void *arg, struct eg_grpc_call *call)
{
	eg_grpc_finish(call, EG_GRPC_OK, NULL);
}

void eg_grpc_reflection_methods(struct eg_grpc_reflection *r,
				struct eg_grpc_method ret[EG_GRPC_REFLECTION_METHODS])
{
	ret[0] = (struct eg_grpc_method){
		.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
		.begin = begin,
		.message = message,
		.end = end,
		.arg = r};
	ret[1] = ret[0];
	ret[1].path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
}
