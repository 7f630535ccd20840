/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ergon`: finds the verb, parses its options by its tables, and runs it. What every verb does with
 * --help and --version, and how a wrong command line is answered, is here.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "base/parse.h"
#include "cli/help.h"
#include "cli/out.h"

#define TEXT_MAX (256u << 10)

static int show_help(const struct eg_cli_verb *verb)
{
	struct eg_strbuf text = EG_STRBUF_INIT(TEXT_MAX);
	int code;

	if (verb != NULL)
		eg_help_verb(&text, verb);
	else
		eg_help_overview(&text);
	code = eg_out_stdout(&text, NULL);
	eg_strbuf_free(&text);
	return code;
}

static int usage(void)
{
	struct eg_strbuf text = EG_STRBUF_INIT(TEXT_MAX);

	eg_help_overview(&text);
	(void)!eg_write_all(STDERR_FILENO, eg_strbuf_get(&text), text.len);
	eg_strbuf_free(&text);
	return EG_EXIT_USAGE;
}

static int run_verb(const struct eg_cli_verb *verb, int argc, char **argv)
{
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct eg_args args;
	int code;

	if (verb->run_raw != NULL) {
		if (argc == 1 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0))
			return show_help(verb);
		return verb->run_raw(argc + 1, argv - 1);
	}
	code = eg_args_parse(verb, argc, argv, &args, &why);
	if (code != 0) {
		eg_say("%s: %s\nergon: see ergon %s --help", verb->name, eg_strbuf_get(&why),
		       verb->name);
		eg_strbuf_free(&why);
		return code;
	}
	eg_strbuf_free(&why);
	/* A reader that goes away is seen as EPIPE; run keeps what it hands down to its command. */
	if (!verb->takes_command)
		sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	if (args.help)
		code = show_help(verb);
	else if (args.version)
		code = eg_verb_version(&args);
	else
		code = verb->run(&args);
	eg_args_free(&args);
	return code;
}

/* The few words that may stand in the place of a verb. */
static int no_verb(char **argv)
{
	static const char *const words[] = {"--help", "--version", "-h", "-V"};
	const char *word = argv[1];
	size_t best = 0;

	for (size_t i = 0; i < EG_ARRAY_SIZE(words); i++) {
		if (strcmp(word, words[i]) == 0)
			return i % 2 == 0 ? show_help(NULL) : eg_verb_version(NULL);
		if (eg_edit_distance(word, words[i]) < eg_edit_distance(word, words[best]))
			best = i;
	}
	if (word[0] == '-')
		eg_say("unknown option %s before a verb; did you mean %s? Options of a verb come after "
		       "it: ergon VERB [OPTION]...",
		       word, words[best]);
	else
		eg_say("unknown verb '%s'; did you mean '%s'?", word, eg_cli_nearest(word)->name);
	return EG_EXIT_USAGE;
}

/*
 * Where standard input, output or error are closed, a file opened later would take their number, and
 * messages would go into it. Each is filled by one that fails when used; a command run by us still
 * finds them closed.
 */
static void keep_standard_files(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", (fd == 0 ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
}

int main(int argc, char **argv)
{
	const struct eg_cli_verb *verb;

	keep_standard_files();
	if (argc < 2)
		return usage();
	verb = eg_cli_find(argv[1]);
	if (verb == NULL)
		return no_verb(argv);
	return run_verb(verb, argc - 2, argv + 2);
}
