/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line as data. A verb is a row with its options as tables; the parser, --help, the man
 * pages, the completions and docs/cli.md are all made from these rows (options.c), so they cannot
 * differ.
 */
#ifndef EG_CLI_ARGS_H
#define EG_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/config.h"
#include "base/strbuf.h"
#include "core/driver.h"

#define EG_SETTINGS_MAX	    64	/* --set given that often */
#define EG_CONFIG_FLAGS_MAX 128 /* options that are keys of the configuration */

/* Exit statuses, stable. X(number, text) */
#define EG_EXITS_COMMON(X)                                                              \
	X("0", "All went well.")                                                        \
	X("1", "Something failed: a file could not be written, nothing could be read.") \
	X("2", "The command line is wrong: unknown verb or option, bad number.")
#define EG_EXITS(X)                                                      \
	EG_EXITS_COMMON(X)                                               \
	X("126", "run: the command was found but could not be started.") \
	X("127", "run: the command was not found.")                      \
	X("128+N", "run: the command was ended by signal N.")

enum { EG_EXIT_OK = 0, EG_EXIT_FAILURE = 1, EG_EXIT_USAGE = 2 };

/* What an option takes and where it is kept: the type of its field in struct eg_args. */
enum eg_arg_type {
	EG_ARG_FLAG,	 /* bool */
	EG_ARG_NUMBER,	 /* uint64_t, min..max */
	EG_ARG_DURATION, /* uint64_t nanoseconds; bare numbers are milliseconds */
	EG_ARG_SECONDS,	 /* the same; bare numbers are seconds */
	EG_ARG_TEXT,	 /* const char * */
	EG_ARG_FILE,	 /* const char *, completed as a file */
	EG_ARG_DIR,	 /* const char *, completed as a directory */
	EG_ARG_SETTING,	 /* DRIVER.OPTION=VALUE, kept in setting[] */
};

struct eg_cli_option {
	char letter;	   /* short form or 0 */
	const char *name;  /* long form, without dashes */
	const char *value; /* its name in help; NULL for flags */
	enum eg_arg_type type;
	size_t offset;	   /* of the field in struct eg_args */
	uint64_t min, max; /* NUMBER: as given; DURATION: nanoseconds */
	const char *help;
	const char *config; /* not kept in a field: the key of the configuration that it sets */
	bool hidden;	    /* for tests: works, is not documented */
};

struct eg_args {
	bool help, version;
	/* where and what to measure */
	const char *root, *clock, *select;
	bool allow_estimates;
	struct eg_setting setting[EG_SETTINGS_MAX];
	size_t n_settings;
	char *setting_text[EG_SETTINGS_MAX]; /* owned copies behind setting[] */
	/* of single verbs */
	uint64_t interval_ns, duration_ns, repeats, count; /* 0: not given */
	bool json, csv, all, no_progress;
	const char *report, *output;
	/* of the agent and its configuration */
	const char *config;
	bool force;
	const char *state; /* of the ledger that is looked at */
	/* of energy-monitor */
	const char *bind_address, *port, *gpus, *log_level;
	uint64_t collection_interval_ms; /* 0: not given */
	bool cpu_as_primary;
	struct eg_config_flag config_flag[EG_CONFIG_FLAGS_MAX];
	size_t n_config_flags;
	char **words; /* of a verb in the agent's program: all words after the verb, as given; owned */
	/* words that are no options */
	char **rest;
	int n_rest;
};

struct eg_cli_verb {
	const char *name, *summary;
	const char *usage;    /* after the name */
	const char *about;    /* paragraphs, separated by an empty line */
	const char *examples; /* "command\tcomment\n" lines; may be NULL */
	const struct eg_cli_option *const
		*groups; /* tables, each ending with name NULL; ends NULL */
	int (*run)(struct eg_args *args);
	/* Instead of run: parses its own words; argv[0] is the verb. The tables still document it. */
	int (*run_raw)(int argc, char **argv);
	const char *words;  /* that may stand first, for completion; may be NULL */
	bool in_agent;	    /* runs in ergon-agent; the words are kept for it */
	bool takes_command; /* options end at the first word that is none */
	int max_rest;	    /* words allowed that are no options */
	bool hidden;
	bool program; /* no verb of ergon: a program of that name */
};

/* Rows that ergon's verbs and energy-monitor share. */
extern const struct eg_cli_option eg_cli_help_options[], eg_cli_machine_options[];
/* The program energy-monitor, as a row like a verb's. */
extern const struct eg_cli_verb eg_cli_monitor;

extern const struct eg_cli_verb eg_cli_verbs[]; /* ends with name NULL */
const struct eg_cli_verb *eg_cli_find(const char *name);
/* The verb whose name is nearest. */
const struct eg_cli_verb *eg_cli_nearest(const char *name);

/* Walks the options of a verb: the next after o (NULL: the first), NULL at the end. */
const struct eg_cli_option *eg_cli_next(const struct eg_cli_verb *verb,
					const struct eg_cli_option *o);

/*
 * Parses the words after the verb. 0, or EG_EXIT_USAGE with a message for the user in *ret_why.
 * Values are borrowed from argv.
 */
int eg_args_parse(const struct eg_cli_verb *verb, int argc, char **argv, struct eg_args *ret,
		  struct eg_strbuf *ret_why) EG_MUST_CHECK;
void eg_args_free(struct eg_args *args);

/* The verbs. Each returns the exit status. */
int eg_verb_sensors(struct eg_args *args);
int eg_verb_doctor(struct eg_args *args);
int eg_verb_run(struct eg_args *args);
int eg_verb_stat(struct eg_args *args);
int eg_verb_validate(struct eg_args *args);
/* In ergon-agent what they say; in ergon they become it (agent_exec.c). */
int eg_verb_agent(struct eg_args *args);
int eg_verb_config(struct eg_args *args);
int eg_verb_sim(int argc, char **argv);
int eg_verb_ledger(struct eg_args *args);
int eg_verb_help(struct eg_args *args);
int eg_verb_version(struct eg_args *args);
int eg_verb_docs(struct eg_args *args);

#endif
