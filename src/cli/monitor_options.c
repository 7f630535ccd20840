/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of `energy-monitor`, as a row like a verb's: its parser, --help, man page and completions are
 * made from it. Names and defaults of the first three are those of the program that it stands in for.
 */
#include "cli/args.h"

#define FIELD(f) .offset = offsetof(struct eg_args, f)
#define FLAG(f)	 .type = EG_ARG_FLAG, FIELD(f)

static const struct eg_cli_option options[] = {
	{.name = "bind-address",
	 .value = "ADDR",
	 .type = EG_ARG_TEXT,
	 FIELD(bind_address),
	 .help = "Address to listen on: 127.0.0.1, ::1 or [::1], 0.0.0.0, or a host name. Default "
		 "127.0.0.1. There is no authentication: whoever reaches it sees all."},
	{.name = "port",
	 .value = "PORT",
	 .type = EG_ARG_TEXT,
	 FIELD(port),
	 .help = "TCP port, 0 to 65535; 0 takes a free one, which the log tells. Default 50053."},
	{.name = "collection-interval-ms",
	 .value = "MS",
	 .type = EG_ARG_NUMBER,
	 FIELD(collection_interval_ms),
	 .min = 1,
	 .max = 3600000,
	 .help = "A reading each MS milliseconds, 1 to 3600000. Default 50."},
	{.name = "gpus",
	 .value = "LIST",
	 .type = EG_ARG_TEXT,
	 FIELD(gpus),
	 .help = "Speak of these GPUs alone: a list with commas of indices as nvidia-smi has them, "
		 "UUIDs, or PCI addresses; all; none. Default: CUDA_VISIBLE_DEVICES of this "
		 "program's own environment, else all."},
	{.name = "cpu-as-primary",
	 FLAG(cpu_as_primary),
	 .help = "On a machine without a GPU, also put the CPU total into power_watts and "
		 "energy_joules, from which clients take efficiency. Default: they are -1 there."},
	{.name = "allow-estimates",
	 FLAG(allow_estimates),
	 .help = "Where nothing is measured, take a model of the CPU's or the machine's power; platform "
		 "then reads estimated."},
	{.name = "log-level",
	 .value = "LEVEL",
	 .type = EG_ARG_TEXT,
	 FIELD(log_level),
	 .help = "The least important events that are logged on standard error: error, warning, info "
		 "or debug. Default info."},
	{.name = "set",
	 .value = "DRIVER.OPTION=VALUE",
	 .type = EG_ARG_SETTING,
	 .help = "Set an option of a driver; may be repeated. `ergon help drivers` lists them."},
	{0}};

static const struct eg_cli_option *const groups[] = {options, eg_cli_machine_options,
						     eg_cli_help_options, NULL};

const struct eg_cli_verb eg_cli_monitor = {
	.name = "energy-monitor",
	.summary = "stream power and energy over gRPC to benchmark harnesses",
	.usage = "[OPTION]...",
	.about =
		"Serves energy.EnergyMonitor, the telemetry interface of the Intelligence Per Watt "
		"harness, in plain text over HTTP/2: Health, and a stream of readings with power, "
		"cumulative energy, temperature, memory and utilisation of the GPUs, and power and "
		"energy of the CPU packages. What cannot be measured is -1, never 0 and never an "
		"invented number.\n\n"
		"It listens at once and looks for sensors after; SIGTERM and SIGINT end it within a "
		"second. `ergon agent --grpc ADDR:PORT` serves the same beside everything else.",
	.examples = "energy-monitor\ton 127.0.0.1:50053, a reading each 50 ms\n"
		    "energy-monitor --gpus 0,1 --port 50054\tone port for each set of GPUs\n"
		    "energy-monitor --cpu-as-primary\ta machine without a GPU\n",
	.groups = groups,
	.program = true};
