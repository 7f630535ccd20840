/* SPDX-License-Identifier: Apache-2.0 */
/*
 * toml++ behind toml.h. Compiled from its headers, for the shared library and libstdc++ together
 * would cost the agent 1.7 MB more of resident memory (docs/decisions has the figures).
 *
 * toml++ 3.3 walks and frees nested tables by recursion, and bounds the nesting of values but not of
 * dotted keys; and it trips over some texts. Therefore each is looked through first (scanner).
 */
#include "agent/toml.h"

extern "C" {
#include "codec/utf8.h"
}

#undef TOML_HEADER_ONLY
#undef TOML_SHARED_LIB
#undef NDEBUG
#define TOML_HEADER_ONLY       1
#define TOML_EXCEPTIONS	       0 /* its exception cannot be made without memory */
#define TOML_ENABLE_FORMATTERS 0
#define TOML_MAX_NESTED_VALUES 16
#define TOML_FLOAT_CHARCONV    1 /* not by a stream, which takes lack of memory for a wrong number */
/*
 * One of its assertions does not hold for "[.a]", an error that it reports well two lines below; with
 * NDEBUG it would be an assumption, on which clang might leave that report out.
 */
#define TOML_ASSERT(expr) static_cast<void>(0)
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

void tell_error(eg_toml_error *e, const toml::parse_error &error)
{
	std::string what(error.description());

	if (what.find("could not determine value type") != what.npos)
		what += " (a text stands in quotes)";
	tell(e, error.source().begin, what);
}

/*
 * What toml++ 3.3 must not see, looked for before it reads:
 *   - bytes that are not UTF-8, because it does not say exactly where they are;
 *   - more dots on a line than its recursion may follow. They are counted blindly, in texts and comments
 *     too, where nobody writes so many; those in a row count as one, for no key has them and a comment may
 *     be a line of them;
 *   - a character beyond ASCII where it expects white space: its test for white space ends in undefined
 *     behaviour for many of them (is_non_ascii_horizontal_whitespace). Outside of quotes and comments none
 *     may stand; within a text of three quotes that is so after a backslash at the end of a line.
 * The text is cut at the first of these. If the rest has no earlier mistake, this is the one to tell.
 */
class scanner
{
public:
	explicit scanner(std::string_view text) : text_(text)
	{
		if (text_.substr(0, 3) == "\xef\xbb\xbf") /* a byte order mark is no column */
			i_ = 3;
		while (!what_ && i_ < text_.size())
			step();
	}
	const char *what() const { return what_; }
	toml::source_position at() const { return at_; }
	std::string_view good() const { return text_.substr(0, i_); }

private:
	enum class in { plain, comment, basic, literal, long_basic, long_literal };

	bool is_quoted() const { return in_ != in::plain && in_ != in::comment; }
	bool is_basic() const { return in_ == in::basic || in_ == in::long_basic; }
	bool is_long() const { return in_ == in::long_basic || in_ == in::long_literal; }

	/* Over one character, if nothing is wrong with it. */
	bool pass()
	{
		std::size_t skip, n = eg_utf8_sequence(text_.data() + i_, text_.size() - i_, &skip);
		char c = text_[i_];

		if (n == 0)
			what_ = "this is not UTF-8";
		else if (n > 1 && in_ == in::plain)
			what_ = "such a character stands only in quotes and comments";
		else if (n > 1 && folding_)
			what_ = "after a backslash that joins lines such a character must be written as an "
				"escape, \\uXXXX";
		else if (c == '.' && before_ != '.' && ++dots_ > EG_TOML_DOTS_MAX)
			what_ = "more than 64 dots on a line";
		if (what_)
			return false;
		if (c == '\n') {
			at_ = {at_.line + 1, 1};
			dots_ = 0;
			before_ = 0;
		} else {
			at_.column++;
			before_ = c == ' ' || c == '\t' ? before_ : c;
		}
		i_ += n;
		return true;
	}

	void step()
	{
		char c = text_[i_];

		if (c == '\n' && !is_long())
			in_ = in::plain;
		else if (c == '#' && in_ == in::plain)
			in_ = in::comment;
		else if ((c == '"' && (in_ == in::plain || is_basic())) ||
			 (c == '\'' && (in_ == in::plain || (is_quoted() && !is_basic()))))
			return quotes(c);
		else if (c == '\\' && is_basic())
			return escape();
		if (pass() && c != ' ' && c != '\t' && c != '\r' && c != '\n')
			folding_ = false;
	}

	/* Opens or closes a text: three quotes, of which up to five close, for two may stand before. */
	void quotes(char c)
	{
		std::size_t n = 0, most = is_long() ? 5 : in_ == in::plain ? 3 : 1;

		while (n < most && i_ + n < text_.size() && text_[i_ + n] == c)
			n++;
		if (in_ == in::plain && n == 2) /* an empty text */
			n = 0;
		else if (in_ == in::plain)
			in_ = c == '"' ? (n < 3 ? in::basic : in::long_basic) :
					 (n < 3 ? in::literal : in::long_literal);
		else if (!is_long() || n >= 3)
			in_ = in::plain;
		folding_ = false;
		for (n = n == 0 ? 2 : n; n > 0 && pass(); n--)
			;
	}

	void escape()
	{
		if (!pass() || i_ == text_.size())
			return;
		folding_ = in_ == in::long_basic;
		if (text_[i_] == '"' || text_[i_] == '\\') {
			folding_ = false;
			pass();
		}
	}

	std::string_view text_;
	std::size_t i_ = 0;
	toml::source_position at_{1, 1};
	const char *what_ = nullptr;
	in in_ = in::plain;
	unsigned dots_ = 0;
	char before_ = 0;
	bool folding_ = false; /* behind a backslash and white space */
};

bool comes_before(toml::source_position a, toml::source_position b)
{
	return a.line != b.line ? a.line < b.line : a.column < b.column;
}

toml::parse_result read(std::string_view text)
{
	scanner scan(text);
	toml::parse_result r = toml::parse(scan.good());

	if (scan.what() && (!r.failed() || !comes_before(r.error().source().begin, scan.at())))
		throw refusal{scan.at(), scan.what()};
	return r;
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

bool is_above(const eg_toml_entry &a, const eg_toml_entry &b)
{
	return comes_before({a.line, a.column}, {b.line, b.column});
}

/* NULL: told in ret_error. */
eg_toml *parse(std::string_view text, eg_toml_error *ret_error)
{
	auto t = std::make_unique<eg_toml>();
	{
		toml::parse_result r = read(text);

		if (r.failed()) {
			tell_error(ret_error, r.error());
			return nullptr;
		}
		walk(*t, r.table(), eg_toml_entry{});
	}
	std::stable_sort(t->entries.begin(), t->entries.end(), is_above);
	return t.release();
}

} // namespace

extern "C" int eg_toml_parse(const char *text, size_t n, struct eg_toml **ret,
			     struct eg_toml_error *ret_error)
{
	try {
		eg_toml *t = parse(std::string_view(text, n), ret_error);

		if (!t)
			return -EINVAL;
		*ret = t;
		return 0;
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
