/* SPDX-License-Identifier: Apache-2.0 */
/* The file: finding it, what kind of file it may be, malformed TOML, wrong names; and the places. */
#include "rig.h"

#include <sys/wait.h>

#define OTHER_UID 65534

/* ---- Kinds of files ---- */

static void assert_file(const char *name, int err, const char *why)
{
	static const char *const env[] = {NULL};
	struct loaded l = {.why_buf = EG_STRBUF_INIT(4096), .warnings_buf = EG_STRBUF_INIT(4096)};

	l.err = eg_config_load(name, env, NULL, 0, &l.c, &l.why_buf, &l.warnings_buf);
	assert_int_equal(l.err, err);
	assert_string_equal(eg_strbuf_get(&l.why_buf), why);
	unload(&l);
}

static void test_what_is_no_file(void **state)
{
	write_file(FILE_NAME, "", 0);
	assert_file(FILE_NAME, 0, "");
	assert_file("absent.toml", -ENOENT, "absent.toml: there is no such file\n");
	assert_int_equal(symlink(FILE_NAME, "link.toml"), 0);
	assert_file("link.toml", -ELOOP,
		    "link.toml: is a symbolic link, which is not followed; give the "
		    "path of the file itself with --config\n");
	assert_int_equal(mkdir("folder", 0755), 0);
	assert_file("folder", -EINVAL, "folder: is no regular file\n");
	assert_int_equal(mkfifo("pipe", 0644), 0); /* and does not wait for a writer */
	assert_file("pipe", -EINVAL, "pipe: is no regular file\n");
	assert_file("/dev/null", -EINVAL, "/dev/null: is no regular file\n");
	assert_file(FILE_NAME "/x", -ENOTDIR, FILE_NAME "/x: cannot be read: Not a directory\n");
	assert_file("", -ENOENT, ": there is no such file\n");
}

static void test_size(void **state)
{
	static char text[EG_CONFIG_FILE_MAX + 1];
	struct loaded l;

	memset(text, ' ', sizeof(text));
	for (size_t i = 99; i < sizeof(text); i += 100)
		text[i] = '\n';
	write_file(FILE_NAME, text, EG_CONFIG_FILE_MAX);
	assert_file(FILE_NAME, 0, "");
	write_file(FILE_NAME, text, sizeof(text));
	assert_file(FILE_NAME, -EFBIG,
		    FILE_NAME ": is larger than 1 MiB, which no configuration is\n");
	/* Much larger than that: it is not read to its end. */
	assert_int_equal(truncate(FILE_NAME, 1LL << 40), 0);
	assert_file(FILE_NAME, -EFBIG,
		    FILE_NAME ": is larger than 1 MiB, which no configuration is\n");
	l = loaded_well("", NULL, NO_FLAGS);
	unload(&l);
}

static void test_a_file_that_may_not_be_read(void **state)
{
	int status = -1;
	pid_t child;

	write_file(FILE_NAME, "", 0);
	assert_int_equal(chmod(FILE_NAME, 0600), 0);
	if (geteuid() != 0) {
		print_message("needs root to become another user\n");
		skip();
	}
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct eg_config_source *c;
		struct eg_strbuf why = EG_STRBUF_INIT(4096);
		static const char *const env[] = {NULL};

		if (chmod(".", 0755) < 0 || setgid(OTHER_UID) < 0 || setuid(OTHER_UID) < 0)
			_exit(2);
		if (eg_config_load(FILE_NAME, env, NULL, 0, &c, &why, NULL) != -EACCES)
			_exit(3);
		_exit(strcmp(eg_strbuf_get(&why),
			     FILE_NAME ": cannot be read: Permission denied\n") == 0 ?
			      0 :
			      4);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_whose_file_it_is(void **state)
{
	struct loaded l;

	write_file(FILE_NAME, "", 0);
	assert_int_equal(chmod(FILE_NAME, 0646), 0);
	l = loaded_well("", NULL, NO_FLAGS);
	assert_string_equal(l.warnings, FILE_NAME ": everybody may write to it; chmod o-w it\n");
	unload(&l);
	assert_int_equal(chmod(FILE_NAME, 0644), 0);
	if (geteuid() != 0)
		return;
	assert_int_equal(chown(FILE_NAME, OTHER_UID, OTHER_UID), 0);
	l = loaded_well("", NULL, NO_FLAGS);
	assert_string_equal(l.warnings,
			    FILE_NAME ": belongs to user 65534, who so decides what this "
				      "program does; chown it\n");
	unload(&l);
	assert_int_equal(unlink(FILE_NAME), 0);
}

/* ---- Finding ---- */

static void put(const char *path, const char *text)
{
	char dir[256];

	for (const char *p = path; (p = strchr(p, '/')) != NULL; p++) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(p - path), path);
		(void)mkdir(dir, 0755);
	}
	write_file(path, text, strlen(text));
}

static void assert_found(const char *const *env, const char *end)
{
	struct loaded l = loaded_well(NULL, env, NO_FLAGS);

	if (end == NULL)
		assert_int_equal(strncmp(l.cfg->file, "/tmp/", 5) == 0, 0);
	else
		assert_contains(l.cfg->file, end);
	unload(&l);
}

static void test_finding(void **state)
{
	char here[200], xdg[256], home[256], relative[] = "XDG_CONFIG_HOME=xdg";
	char places[EG_CONFIG_CANDIDATES][EG_PLACE_MAX];

	assert_non_null(getcwd(here, sizeof(here)));
	snprintf(xdg, sizeof(xdg), "XDG_CONFIG_HOME=%s/xdg", here);
	snprintf(home, sizeof(home), "HOME=%s/home", here);
	assert_found(ENV(xdg, home), NULL);
	put("home/.config/ergon/config.toml", "");
	assert_found(ENV(home), "/home/.config/ergon/config.toml");
	assert_found(ENV(home, "XDG_CONFIG_HOME="), "/home/.config/ergon/config.toml");
	/* A relative path is none, says the specification. */
	assert_found(ENV(home, relative), "/home/.config/ergon/config.toml");
	/* XDG_CONFIG_HOME takes the place of ~/.config, whether a file is there or not. */
	assert_found(ENV(xdg, home), NULL);
	put("xdg/ergon/config.toml", "");
	assert_found(ENV(xdg, home), "/xdg/ergon/config.toml");
	assert_int_equal(eg_config_candidates(ENV(xdg), places), 2);
	assert_string_equal(places[1], "/etc/ergon/config.toml");
	assert_int_equal(eg_config_candidates(ENV("HOME=x"), places), 1);
	assert_string_equal(places[0], "/etc/ergon/config.toml");
	assert_int_equal(system("rm -r home xdg"), 0);
}

/* What is found is not passed over because it is wrong. */
static void test_a_link_that_is_found_is_a_mistake(void **state)
{
	char here[200], xdg[256];
	struct loaded l;

	assert_non_null(getcwd(here, sizeof(here)));
	snprintf(xdg, sizeof(xdg), "XDG_CONFIG_HOME=%s/xdg", here);
	put("xdg/ergon/x", "");
	assert_int_equal(symlink("nothing", "xdg/ergon/config.toml"), 0);
	l = load(NULL, ENV(xdg), NO_FLAGS);
	assert_int_equal(l.err, -ELOOP);
	unload(&l);
	assert_int_equal(system("rm -r xdg"), 0);
}

/* ---- Malformed ---- */

static const struct {
	const char *text;
	unsigned line, column;
} malformed[] = {
	{"[http\n", 1, 6},
	{"[http]]\n", 1, 7},
	{"[]\n", 1, 2},
	{"[ht tp]\n", 1, 5},
	{"[http] listen = \"off\"\n", 1, 8},
	{"[http]\n\n[http]\n", 3, 1},
	{"[http]\nlisten\n", 2, 7},
	{"[http]\nlisten =\n", 2, 9},
	{"[http]\nlisten = off\n", 2, 10},
	{"[http]\n\tlisten = off\n", 2, 11},
	{"[http]\r\nlisten = off\r\n", 2, 10},
	{"\xef\xbb\xbf[http]\nlisten = off\n", 2, 10},
	{"[http]\nlisten = \"off\n", 2, 14},
	{"[http]\nlisten = 'off\n", 2, 14},
	{"[http]\nlisten = \"\"\"off\n", 2, 17},
	{"[http]\nlisten = \"o\\qff\"\n", 2, 13},
	{"[http]\nlisten = \"off\" x\n", 2, 16},
	{"[http]\nlisten = \"off\", max_clients = 1\n", 2, 15},
	{"[http]\nlisten = \"off\"; x\n", 2, 15},
	{"[http]\nlisten = \"off\"\nlisten = \"off\"\n", 3, 10},
	{"= 1\n", 1, 1},
	{"}\n", 1, 1},
	{"[http]\n.a = 1\n", 2, 1},
	{"[http]\na..b = 1\n", 2, 3},
	{"[http]\na. = 1\n", 2, 4},
	{"[http]\nmax_clients = 01\n", 2, 17},
	{"[http]\nmax_clients = 1__0\n", 2, 17},
	{"[http]\nmax_clients = 0x\n", 2, 17},
	{"[http]\nmax_clients = 9223372036854775808\n", 2, 34},
	{"[http]\nmax_clients = 1.\n", 2, 17},
	{"[http]\nmax_clients = 1e\n", 2, 17},
	{"[http]\nmax_clients = [1, 2\n", 2, 21},
	{"[http]\nmax_clients = [1 2]\n", 2, 18},
	{"http = {listen = \"off\"\n", 1, 23},
	{"http = {listen = \"off\",}\n", 1, 24},
	{"[http]\nlisten = 2026-13-01\n", 2, 17},
	{"[http]\nlisten = 2026-02-30\n", 2, 20},
	{"[http]\nlisten = True\n", 2, 10},
	{"[http]\n\"lis\nten\" = 1\n", 2, 5},
	{"[http]\nlisten = \"\\ud800\"\n", 2, 17},
	{"[http]\nlisten = \"\\U00110000\"\n", 2, 21},
	{"http.listen = \"off\"\nhttp = 1\n", 2, 8},
	{"http = 1\n[http]\n", 2, 1},
	{"[http]\nlisten = \"off\"\n[http.listen]\n", 3, 1},
	{"[http]\rlisten = \"off\"\n", 1, 8},
	{"[http]\nlisten = \"a\x01"
	 "b\"\n",
	 2, 12},
	{"[http]\nlisten = \"off\" # \x01\n", 2, 18},
	/* Not UTF-8; columns are characters, not bytes. */
	{"\xff\n", 1, 1},
	{"\xfe\xff[", 1, 1},
	{"[http]\n# \xc3\xa9 \xff\n", 2, 5},
	{"\xef\xbb\xbf[\xff", 1, 2},
	{"\xef\xbb\xbf[]", 1, 2},
	{"[http]\nlisten = \"\xc3\xa9\" \xc3\xa9\n", 2, 14},
	{"[http]\n# \xed\xa0\x80\n", 2, 3},
	{"[http]\n# \xc0\xaf\n", 2, 3},
	{"[http]\nlisten = \"\xc3\xa9\xe2\x82\"\n", 2, 12},
	{"[http]\nlisten = \"\xe2\x82", 2, 11},
};

static void test_malformed(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(malformed); i++) {
		struct loaded l = load(malformed[i].text, NULL, NO_FLAGS);
		char at[64];

		snprintf(at, sizeof(at), FILE_NAME ":%u:%u: ", malformed[i].line,
			 malformed[i].column);
		assert_int_equal(l.err, -EINVAL);
		if (strncmp(l.why, at, strlen(at)) != 0)
			fail_msg("case %zu: want %s got %s", i, at, l.why);
		assert_int_equal(strchr(l.why, '\n') - l.why, strlen(l.why) - 1); /* one line */
		unload(&l);
	}
}

/* Of two mistakes the first is told, whoever finds it. */
static void test_characters_beyond_ascii(void **state)
{
	static const struct {
		const char *text, *why;
	} words[] = {
		{"[ht\xc5\x82"
		 "]\n",
		 "1:4: such a character stands only in quotes and comments\n"},
		{"[http]\nlisten = \xc3\xa9"
		 "\n",
		 "2:10: such a character stands only"},
		{"[http]\nlisten = \"off\"\xc2\xa0"
		 "\n",
		 "2:15: such a character stands only"},
		{"[http]\xe2\x80\xa8"
		 "listen = \"off\"\n",
		 "1:7: such a character stands only"},
		{"x = [\n'\xc3\xa9"
		 "', \"\xc3\xa9"
		 "\", \"\\\"\xc3\xa9"
		 "\",\xc3\xa9"
		 "]\n",
		 "2:17: such a character"},
		{"x = \"\"\"a\"\"\"\" # \xc3\xa9"
		 "\ny = \xc3\xa9"
		 "\n",
		 "2:5: such a character"},
		{"x = '''a''''' \xc3\xa9"
		 "\n",
		 "1:15: such a character"},
		{"x = \"\" \xc3\xa9"
		 "\n",
		 "1:8: such a character"},
		{"x = '\\' \xc3\xa9"
		 "\n",
		 "1:9: such a character"},
		{"x = 0o6\"\xc3\xa9\"\n", "1:8: a quote cannot stand behind this\n"},
		{"x = \"a\"\"\xc3\xa9\"\n", "1:8: a quote cannot stand behind this\n"},
		{"x\"\xc3\xa9\" = 1\n", "1:2: a quote cannot stand behind this\n"},
		{"[http\nlisten = \xc3\xa9"
		 "\n",
		 "1:6: Error while parsing table header"},
		{"x = \"open\ny = \xc3\xa9"
		 "\n",
		 "1:10: Error while parsing string"},
		{"x = \"\"\"a \\\n  \xc3\xa9"
		 "\"\"\"\n",
		 "2:3: after a backslash that joins lines"},
		{"x = \"\"\"a \\  \xc3\xa9"
		 "\"\"\"\n",
		 "1:13: after a backslash that joins lines"},
		{"x = \"\"\"a \\\xc3\xa9"
		 "\"\"\"\n",
		 "1:11: after a backslash that joins lines"},
		{"x = \"\\\xc3\xa9"
		 "\"\n",
		 "1:7: Error while parsing string: unknown escape sequence"},
	};
	struct loaded l = loaded_well("# \xc3\xa9"
				      " \"\n[agent]\nstate = \"\xc3\xa9"
				      "\" # \xc3\xa9"
				      " '\n"
				      "run_dir = \"\"\"a,\\\n\n \tb\xc3\xa9"
				      ",\\\"\xc3\xa9"
				      ",\\\\\xc3\xa9"
				      "\"\"\"\n"
				      "[http]\ntextfile = '''/\xc3\xa9"
				      "\\'''\n[energy]\ncurrency = '\xc3\xa9"
				      "'\n",
				      NULL, NO_FLAGS);

	assert_string_equal(l.cfg->agent.run_dir, "a,b\xc3\xa9"
						  ",\"\xc3\xa9"
						  ",\\\xc3\xa9"
						  "");
	assert_string_equal(l.cfg->http.textfile, "/\xc3\xa9"
						  "\\");
	unload(&l);
	for (size_t i = 0; i < EG_ARRAY_SIZE(words); i++) {
		l = load(words[i].text, NULL, NO_FLAGS);
		assert_int_equal(l.err, -EINVAL);
		if (strncmp(l.why + strlen(FILE_NAME ":"), words[i].why, strlen(words[i].why)) != 0)
			fail_msg("case %zu: %s", i, l.why);
		unload(&l);
	}
}

static void test_bytes_that_are_zero(void **state)
{
	static const char in_text[] = "[http]\nlisten = \"a\0b\"\n", between[] = "[http]\n\0\n";

	write_file(FILE_NAME, in_text, sizeof(in_text) - 1);
	assert_file(FILE_NAME, -EINVAL,
		    FILE_NAME
		    ":2:12: Error while parsing string: unescaped control characters other than "
		    "TAB (U+0009) are explicitly prohibited\n");
	write_file(FILE_NAME, between, sizeof(between) - 1);
	assert_file(FILE_NAME, -EINVAL,
		    FILE_NAME
		    ":2:1: Error while parsing root table: expected keys, tables, whitespace or "
		    "comments, saw '\\u0000'\n");
	refused("\"a\\u0000\" = 1\n", FILE_NAME ":1:1: a text holds the character U+0000\n");
}

static void repeat(struct eg_strbuf *out, const char *piece, unsigned n)
{
	while (n-- > 0)
		eg_strbuf_puts(out, piece);
}

static void test_nesting_is_bounded(void **state)
{
	struct eg_strbuf text = EG_STRBUF_INIT(EG_CONFIG_FILE_MAX);
	struct loaded l;

	eg_strbuf_puts(&text, "# ");
	repeat(&text, ".", 200); /* a line of dots in a comment is no nesting */
	eg_strbuf_puts(&text, "\n[http]\n");
	l = loaded_well(eg_strbuf_get(&text), NULL, NO_FLAGS);
	unload(&l);
	eg_strbuf_reset(&text);
	eg_strbuf_puts(&text, "a.a");
	repeat(&text, " .\ta", EG_TOML_DOTS_MAX);
	eg_strbuf_puts(&text, " = 1\n");
	l = load(eg_strbuf_get(&text), NULL, NO_FLAGS);
	assert_int_equal(l.err, -EINVAL);
	assert_contains(l.why, "more than 64 dots on a line");
	unload(&l);
	eg_strbuf_reset(&text);
	eg_strbuf_puts(&text, "a = ");
	repeat(&text, "[", 1000);
	l = load(eg_strbuf_get(&text), NULL, NO_FLAGS);
	assert_int_equal(l.err, -EINVAL);
	assert_contains(l.why, FILE_NAME ":1:21: ");
	unload(&l);
	eg_strbuf_free(&text);
}

static void test_keys_are_bounded(void **state)
{
	struct eg_strbuf text = EG_STRBUF_INIT(EG_CONFIG_FILE_MAX);
	struct loaded l;
	unsigned lines = 0;

	for (unsigned i = 0; i < EG_TOML_ENTRIES_MAX; i++)
		eg_strbuf_printf(&text, "a%u = 1\n", i);
	l = load(eg_strbuf_get(&text), NULL, NO_FLAGS);
	assert_int_equal(l.err, -EINVAL);
	for (const char *p = l.why; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, EG_CONFIG_MISTAKES_MAX + 1);
	assert_contains(l.why, "\nand 4076 more mistakes\n");
	unload(&l);
	eg_strbuf_puts(&text, "b = 1\n");
	l = load(eg_strbuf_get(&text), NULL, NO_FLAGS);
	assert_int_equal(l.err, -EINVAL);
	assert_contains(l.why, "more than 4096 keys");
	unload(&l);
	eg_strbuf_free(&text);
}

/* ---- Wrong names ---- */

static void test_the_nearest_name(void **state)
{
	refused("[http]\nlisten = \"off\"\nmax_client = 1\n",
		FILE_NAME ":3:1: unknown key 'max_client' in [http]; did you mean max_clients?\n");
	refused("[energy]\n  price_per_kw = 1\n", FILE_NAME
		":2:3: unknown key 'price_per_kw' in [energy]; did you mean price_per_kwh?\n");
	refused("[energy]\nprice = 1\ngap = 1\n", FILE_NAME
		":2:1: unknown key 'price' in [energy]; did you mean price_per_kwh?\n" FILE_NAME
		":3:1: unknown key 'gap' in [energy]; did you mean gap_interpolate_seconds?\n");
	refused("[energy]\nlisten = \"off\"\n", FILE_NAME
		":2:1: unknown key 'listen' in [energy]; did you mean listen in [http]?\n");
	refused("[htpp]\nlisten = \"off\"\n",
		FILE_NAME ":1:2: unknown section 'htpp'; did you mean [http]?\n");
	refused("listen = \"off\"\n", FILE_NAME
		":1:1: key 'listen' stands in no section; did you mean listen in [http]?\n");
	refused("http = 1\n", FILE_NAME ":1:1: http is a section: write [http]\n");
	refused("[[http]]\nlisten = \"off\"\n",
		FILE_NAME ":1:3: http is a section: write [http]\n");
	refused("[http.listen]\nx = 1\n",
		FILE_NAME ":1:7: http.listen: is a section of keys; give a "
			  "numeric address and a port, such as 127.0.0.1:9102, "
			  "0.0.0.0:9102 or [::1]:9102, or off\n");
	refused("http.max_client = 1\n",
		FILE_NAME ":1:6: unknown key 'max_client' in [http]; did you mean max_clients?\n");
	refused("http = {max_client = 1}\n",
		FILE_NAME ":1:9: unknown key 'max_client' in [http]; did you mean max_clients?\n");
	/* Nothing is like it. */
	refused("[http]\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx = 1\n",
		FILE_NAME
		":2:1: unknown key "
		"'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' "
		"in [http]\n");
	/* Names are shown, not obeyed. */
	refused("\"a\\nb\\u001b[31m\" = 1\n", FILE_NAME
		":1:1: key 'a b\xef\xbf\xbd[31m' stands in no section; did you mean all_smi "
		"in [compat]?\n");
}

/* All mistakes at once, in the order of the file. */
static void test_all_mistakes_are_told(void **state)
{
	refused("[http]\nlistne = \"off\"\nmax_clients = 0\n[agent]\ninterval = 1\n[foo]\nbar = 1\n",
		FILE_NAME
		":2:1: unknown key 'listne' in [http]; did you mean listen?\n" FILE_NAME
		":3:15: http.max_clients: '0' is out of range; give a whole number, 1 to 4096\n" FILE_NAME
		":5:12: agent.interval: is a whole number; give a time with its unit, 1ms to "
		"60s\n" FILE_NAME ":6:2: unknown section 'foo'; did you mean [http]?\n");
}

/* ---- Places ---- */

static void assert_places(const char *toml, const char *const *env, bool is_root, const char *state,
			  const char *socket, const char *page)
{
	struct loaded l = loaded_well(toml, NULL, NO_FLAGS);
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct eg_places p;

	assert_int_equal(eg_config_places(l.cfg, env, is_root, &p, &why), 0);
	assert_string_equal(p.state, state);
	assert_string_equal(p.socket, socket);
	assert_string_equal(p.page, page);
	eg_strbuf_free(&why);
	unload(&l);
}

static void test_places(void **state)
{
	assert_places("", ENV("HOME=/h"), true, "/var/lib/ergon", "/run/ergon/ergon.sock",
		      "/run/ergon/energy");
	assert_places("", ENV("HOME=/h", "XDG_RUNTIME_DIR=/run/user/7"), false,
		      "/h/.local/state/ergon", "/run/user/7/ergon/ergon.sock",
		      "/run/user/7/ergon/energy");
	assert_places("", ENV("HOME=/h", "XDG_STATE_HOME=/s", "XDG_RUNTIME_DIR=rel"), false,
		      "/s/ergon", "", "");
	/* A service: systemd made the directories, perhaps several. */
	for (int root = 0; root < 2; root++)
		assert_places("",
			      ENV("STATE_DIRECTORY=/var/lib/private/e:/b",
				  "RUNTIME_DIRECTORY=/run/e:/c"),
			      root, "/var/lib/private/e", "/run/e/ergon.sock", "/run/e/energy");
	/* --state > wal_path > the rest. */
	assert_places("[energy]\nwal_path = \"/w\"\n", ENV("STATE_DIRECTORY=/sd"), true, "/w",
		      "/run/ergon/ergon.sock", "/run/ergon/energy");
	assert_places("[energy]\nwal_path = \"/w\"\n[agent]\nstate = \"/st\"\nrun_dir = \"rel\"\n",
		      ENV("A=b"), true, "/st", "rel/ergon.sock", "rel/energy");
	assert_places("[socket]\npath = \"off\"\n[page]\nenabled = false\n", ENV("A=b"), true,
		      "/var/lib/ergon", "", "");
	assert_places("[socket]\npath = \"/a/s\"\n[page]\npath = \"/a/p\"\n", ENV("HOME=/h"), false,
		      "/h/.local/state/ergon", "/a/s", "/a/p");
	assert_places("[energy]\nwal_enabled = false\n", ENV("A=b"), false, "", "", "");
}

static void assert_no_places(const char *toml, int err, const char *part)
{
	struct loaded l = loaded_well(toml, NULL, NO_FLAGS);
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct eg_places p, untouched;

	memset(&p, 0x5a, sizeof(p));
	memset(&untouched, 0x5a, sizeof(p));
	assert_int_equal(eg_config_places(l.cfg, ENV("A=b"), false, &p, &why), err);
	assert_contains(eg_strbuf_get(&why), part);
	assert_memory_equal(&p, &untouched, sizeof(p));
	eg_strbuf_free(&why);
	unload(&l);
}

static void test_places_that_do_not_do(void **state)
{
	char path[128], toml[512];

	assert_no_places("", -ENOENT, "there is no place for the ledger: set agent.state");
	/* As long as unix(7) allows, and one byte more. */
	memset(path, 's', sizeof(path));
	path[107] = '\0';
	snprintf(toml, sizeof(toml), "[agent]\nstate = \"/s\"\n[socket]\npath = \"%s\"\n", path);
	assert_places(toml, ENV("A=b"), false, "/s", path, "");
	path[107] = 's';
	path[108] = '\0';
	snprintf(toml, sizeof(toml), "[agent]\nstate = \"/s\"\n[socket]\npath = \"%s\"\n", path);
	assert_no_places(toml, -ENAMETOOLONG,
			 "has more than 107 bytes; set socket.path (--socket PATH)");
	assert_no_places(
		"[agent]\nstate = \"/s\"\n[socket]\npath = \"/x\"\n[page]\npath = \"/x\"\n",
		-EINVAL, "the socket and the energy page are the same file, /x");
	assert_no_places(
		"[agent]\nstate = \"/s\"\n[http]\ntextfile = \"/x\"\n[page]\npath = \"/x\"\n",
		-EINVAL, "the energy page and http.textfile are the same file, /x");
	assert_no_places("[agent]\nstate = \"/s\"\n[http]\ntextfile = \"/s//ledger.log\"\n",
			 -EINVAL,
			 "http.textfile would take the place of the ledger's /s//ledger.log");
	{
		char run_dir[EG_CONFIG_TEXT_MAX + 1];
		char long_toml[1200];

		memset(run_dir, 'r', sizeof(run_dir));
		run_dir[EG_CONFIG_TEXT_MAX] = '\0';
		snprintf(long_toml, sizeof(long_toml),
			 "[agent]\nstate = \"/s\"\nrun_dir = \"/%s\"\n", run_dir + 1);
		assert_no_places(long_toml, -ENAMETOOLONG, "107 bytes");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_no_file),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_a_file_that_may_not_be_read),
		cmocka_unit_test(test_whose_file_it_is),
		cmocka_unit_test(test_finding),
		cmocka_unit_test(test_a_link_that_is_found_is_a_mistake),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_characters_beyond_ascii),
		cmocka_unit_test(test_bytes_that_are_zero),
		cmocka_unit_test(test_nesting_is_bounded),
		cmocka_unit_test(test_keys_are_bounded),
		cmocka_unit_test(test_the_nearest_name),
		cmocka_unit_test(test_all_mistakes_are_told),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_places_that_do_not_do),
	};

	return cmocka_run_group_tests_name("config-file", tests, rig_enter, rig_leave);
}
