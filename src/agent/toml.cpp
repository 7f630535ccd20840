/* SPDX-License-Identifier: Apache-2.0 */
/*
 * toml++ behind toml.h. Compiled from its headers, for the shared library and libstdc++ together
 * would cost the agent 1.7 MB more of resident memory (docs/decisions has the figures).
 *
 * toml++ 3.3 walks and frees nested tables by recursion, and bounds the nesting of values but not of
 * dotted keys; so the dots of a line are counted before it sees them (check_text).
 */
#include "agent/toml.h"

extern "C" {
#include "codec/utf8.h"
}

#undef TOML_HEADER_ONLY
#undef TOML_SHARED_LIB
#define TOML_HEADER_ONLY       1
#define TOML_EXCEPTIONS	       1
#define TOML_ENABLE_FORMATTERS 0
#define TOML_MAX_NESTED_VALUES 16
#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <deque>
#include <memory>
#include <new>
#include <string>
#include <vector>

struct eg_toml {
	std::vector<eg_toml_entry> entries;
	std::deque<std::string> texts; /* what the entries point into; elements never move */
};

namespace
{

struct refusal {
	toml::source_position at;
	const char *what;
};

void tell(eg_toml_error *e, toml::source_position at, std::string_view what)
{
	e->line = at.line;
	e->column = at.column;
	std::snprintf(e->message, sizeof(e->message), "%.*s", static_cast<int>(what.size()),
		      what.data());
}

/*
 * What must be known before toml++ reads it: is it UTF-8 (toml++ does not say where it is not), and how
 * deep could it nest? Dots are counted blindly, in texts and comments too, where nobody writes so many;
 * those in a row count as one, for no key has them and a comment may be a line of them.
 */
void check_text(std::string_view text)
{
	toml::source_position at{1, 1};
	unsigned dots = 0;
	char before = 0;

	if (text.substr(0, 3) == "\xef\xbb\xbf") /* a byte order mark is no column */
		text.remove_prefix(3);
	for (std::size_t i = 0, n; i < text.size(); i += n) {
		std::size_t skip;
		char c = text[i];

		n = eg_utf8_sequence(text.data() + i, text.size() - i, &skip);
		if (n == 0)
			throw refusal{at, "this is not UTF-8"};
		at.column++;
		if (c == '\n') {
			at = {at.line + 1, 1};
			dots = 0;
			before = 0;
		} else if (c == '.' && before != '.' && ++dots > EG_TOML_DOTS_MAX) {
			throw refusal{at, "more than 64 dots on a line"};
		} else if (c != ' ' && c != '\t') {
			before = c;
		}
	}
}

const char *keep(eg_toml &t, std::string_view s, toml::source_position at)
{
	if (s.find('\0') != s.npos)
		throw refusal{at, "a text holds the character U+0000"};
	return t.texts.emplace_back(s).c_str();
}

template <typename T> const char *keep_number(eg_toml &t, const char *prefix, T v, int base)
{
	char buf[64];
	std::to_chars_result r;

	if constexpr (std::is_floating_point_v<T>)
		r = std::to_chars(buf, buf + sizeof(buf), v);
	else
		r = std::to_chars(buf, buf + sizeof(buf), v, base);
	return t.texts.emplace_back(prefix + std::string(buf, r.ptr)).c_str();
}

void set_value(eg_toml &t, eg_toml_entry &e, const toml::node &node)
{
	toml::source_position at = node.source().begin;

	e.text = "";
	e.octal = nullptr;
	switch (node.type()) {
	case toml::node_type::string:
		e.type = EG_TOML_TEXT;
		e.text = keep(t, node.as_string()->get(), at);
		break;
	case toml::node_type::integer: {
		const auto &v = *node.as_integer();
		/* A number of two bits, of which binary and octal are one each. */
		auto base = v.flags() & toml::value_flags::format_as_hexadecimal;

		e.type = EG_TOML_INTEGER;
		e.text = keep_number(t, "", v.get(), 10);
		if (base == toml::value_flags::format_as_octal) /* never negative in TOML */
			e.octal = keep_number(t, "0o", v.get(), 8);
		break;
	}
	case toml::node_type::floating_point:
		e.type = EG_TOML_REAL;
		e.text = keep_number(t, "", node.as_floating_point()->get(), 10);
		break;
	case toml::node_type::boolean:
		e.type = EG_TOML_BOOL;
		e.text = node.as_boolean()->get() ? "true" : "false";
		break;
	case toml::node_type::array:
		e.type = EG_TOML_ARRAY;
		break;
	case toml::node_type::table:
		e.type = EG_TOML_TABLE;
		break;
	default:
		e.type = EG_TOML_DATE;
		break;
	}
}

void walk(eg_toml &t, const toml::table &table, const eg_toml_entry &above)
{
	for (auto &&[key, node] : table) {
		toml::source_position at = key.source().begin, value = node.source().begin;
		eg_toml_entry e = above;

		if (t.entries.size() == EG_TOML_ENTRIES_MAX)
			throw refusal{at, "more than 4096 keys"};
		e.part[e.depth++] = keep(t, key.str(), at);
		e.line = at.line;
		e.column = at.column;
		e.value_line = value.line;
		e.value_column = value.column;
		set_value(t, e, node);
		t.entries.push_back(e);
		if (e.type == EG_TOML_TABLE && e.depth < EG_TOML_DEPTH)
			walk(t, *node.as_table(), e);
	}
}

bool comes_before(const eg_toml_entry &a, const eg_toml_entry &b)
{
	return a.line != b.line ? a.line < b.line : a.column < b.column;
}

eg_toml *parse(std::string_view text)
{
	auto t = std::make_unique<eg_toml>();

	check_text(text);
	{
		toml::table table = toml::parse(text);

		walk(*t, table, eg_toml_entry{});
	}
	std::stable_sort(t->entries.begin(), t->entries.end(), comes_before);
	return t.release();
}

} // namespace

extern "C" int eg_toml_parse(const char *text, size_t n, struct eg_toml **ret,
			     struct eg_toml_error *ret_error)
{
	try {
		*ret = parse(std::string_view(text, n));
		return 0;
	} catch (const toml::parse_error &e) {
		std::string what(e.description());

		if (what.find("could not determine value type") != what.npos)
			what += " (a text stands in quotes)";
		tell(ret_error, e.source().begin, what);
	} catch (const refusal &e) {
		tell(ret_error, e.at, e.what);
	} catch (const std::bad_alloc &) {
		return -ENOMEM;
	} catch (...) {
		tell(ret_error, {}, "cannot be read as TOML");
	}
	return -EINVAL;
}

extern "C" size_t eg_toml_entries(const struct eg_toml *t, const struct eg_toml_entry **ret)
{
	*ret = t->entries.data();
	return t->entries.size();
}

extern "C" struct eg_toml *eg_toml_free(struct eg_toml *t)
{
	delete t;
	return nullptr;
}
