/* SPDX-License-Identifier: Apache-2.0 */
/* The program `energy-monitor`: its command line; the work is in src/monitor. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/version.h"
#include "cli/args.h"
#include "cli/help.h"
#include "cli/out.h"
#include "monitor/program.h"

#define TEXT_MAX (64u << 10)
#define PORT	 50053

/* It has no verbs. */
const struct eg_cli_verb eg_cli_verbs[] = {{0}};

static int usage(const char *why)
{
	char text[1024];
	int n = snprintf(text, sizeof(text),
			 "energy-monitor: %s\nenergy-monitor: see energy-monitor --help\n", why);

	(void)!eg_write_all(STDERR_FILENO, text, EG_MIN((size_t)n, sizeof(text) - 1));
	return EG_EXIT_USAGE;
}

static int show(bool version)
{
	struct eg_strbuf text = EG_STRBUF_INIT(TEXT_MAX);
	int code;

	if (version)
		eg_strbuf_puts(&text, "energy-monitor (ergon) " EG_VERSION "\n");
	else
		eg_help_verb(&text, &eg_cli_monitor);
	code = eg_out_stdout(&text, NULL);
	eg_strbuf_free(&text);
	return code;
}

static int run(const struct eg_args *args)
{
	struct eg_monitor_start start = {.bind_address = args->bind_address ? args->bind_address :
									      "127.0.0.1",
					 .port = PORT,
					 .interval_ns = EG_MONITOR_INTERVAL_MS * EG_NSEC_PER_MSEC,
					 .interval_given = args->collection_interval_ms != 0,
					 .gpus = args->gpus,
					 .visible = getenv("CUDA_VISIBLE_DEVICES"),
					 .cpu_as_primary = args->cpu_as_primary,
					 .allow_estimates = args->allow_estimates,
					 .log_level = EG_LOG_INFO,
					 .root = args->root,
					 .clock = args->clock,
					 .settings = args->setting,
					 .n_settings = args->n_settings};
	uint64_t port = PORT;

	if (args->port &&
	    (eg_parse_u64(args->port, strlen(args->port), &port) < 0 || port > UINT16_MAX))
		return usage("option --port: give 0 to 65535");
	if (args->log_level && eg_log_level_parse(args->log_level, &start.log_level) < 0)
		return usage("option --log-level: give error, warning, info or debug");
	start.port = (uint16_t)port;
	if (args->collection_interval_ms)
		start.interval_ns = args->collection_interval_ms * EG_NSEC_PER_MSEC;
	return eg_monitor_run(&start);
}

int main(int argc, char **argv)
{
	struct eg_strbuf why = EG_STRBUF_INIT(1000);
	struct eg_args args;
	int code;

	/* Where they are closed, a socket must not take their place. */
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", (fd == 0 ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
	code = eg_args_parse(&eg_cli_monitor, argc - 1, argv + 1, &args, &why);
	if (code != 0) {
		code = usage(eg_strbuf_get(&why));
		eg_strbuf_free(&why);
		return code;
	}
	eg_strbuf_free(&why);
	if (args.help || args.version)
		code = show(!args.help);
	else
		code = run(&args);
	eg_args_free(&args);
	return code;
}
