/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of verbs and options: what the parser takes, and what --help, man/, completions/
 * and docs/cli.md say. After a change run `ninja -C build docs`.
 */
#include "agent/config_keys.h"
#include "cli/args.h"

#define FIELD(f) .offset = offsetof(struct eg_args, f)
#define FLAG(f)	 .type = EG_ARG_FLAG, FIELD(f)
#define HOUR_NS	 (3600 * EG_NSEC_PER_SEC)

static const struct eg_cli_option meter_options[] = {
	{.name = "select",
	 .value = "LIST",
	 .type = EG_ARG_TEXT,
	 FIELD(select),
	 .help = "Use only these drivers, channels or components: a comma-separated list such as "
		 "rapl,nvml/gpu-0,dram. '*' and '?' match as in a shell; a leading '-' leaves out."},
	{.name = "allow-estimates",
	 FLAG(allow_estimates),
	 .help = "Allow model estimates where nothing is measured. They are labelled estimated and "
		 "never added to measured energy."},
	{.name = "set",
	 .value = "DRIVER.OPTION=VALUE",
	 .type = EG_ARG_SETTING,
	 .help = "Set an option of a driver; may be repeated. `ergon help drivers` lists them."},
	{0}};

static const struct eg_cli_option json_options[] = {
	{.name = "json", FLAG(json), .help = "Write JSON; docs/json.md documents it."}, {0}};

static const struct eg_cli_option sensors_options[] = {
	{.name = "json", FLAG(json), .help = "Write JSON; docs/json.md documents it."},
	{.letter = 'a',
	 .name = "all",
	 FLAG(all),
	 .help = "Also show where each channel comes from, its limits and accuracy, and the "
		 "attributes of devices (temperature, memory, clocks)."},
	{0}};

static const struct eg_cli_option run_options[] = {
	{.letter = 'i',
	 .name = "interval",
	 .value = "MS",
	 .type = EG_ARG_DURATION,
	 FIELD(interval_ns),
	 .min = EG_NSEC_PER_MSEC,
	 .max = HOUR_NS,
	 .help = "Sample every MS milliseconds, 1 to 3600000; or a time such as 500ms or 2s. Default "
		 "1000, with --report 100. Counters are exact whatever the interval; peaks, the curve "
		 "and sensors without a counter get finer."},
	{.letter = 'n',
	 .name = "repeat",
	 .value = "N",
	 .type = EG_ARG_NUMBER,
	 FIELD(repeats),
	 .min = 1,
	 .max = 10000,
	 .help = "Run the command N times, 1 to 10000, and give mean, standard deviation and 95 % "
		 "interval of the mean. After an interrupt no further run is started."},
	{.name = "json",
	 FLAG(json),
	 .help = "Write the report as JSON; docs/json.md documents it."},
	{.name = "csv", FLAG(csv), .help = "Write the report as CSV."},
	{.name = "report",
	 .value = "FILE",
	 .type = EG_ARG_FILE,
	 FIELD(report),
	 .help = "Also write an HTML report with the power curve to FILE: one file, nothing else "
		 "needed."},
	{.letter = 'o',
	 .name = "output",
	 .value = "FILE",
	 .type = EG_ARG_FILE,
	 FIELD(output),
	 .help = "Write the report to FILE, whole or not at all, instead of standard error. '-' is "
		 "standard output."},
	{.name = "no-progress",
	 FLAG(no_progress),
	 .help = "Show no progress line, also on a terminal."},
	{0}};

static const struct eg_cli_option stat_options[] = {
	{.letter = 'i',
	 .name = "interval",
	 .value = "MS",
	 .type = EG_ARG_DURATION,
	 FIELD(interval_ns),
	 .min = EG_NSEC_PER_MSEC,
	 .max = HOUR_NS,
	 .help = "One line every MS milliseconds, 1 to 3600000; or a time such as 500ms or 2s. "
		 "Default 1000."},
	{.letter = 'n',
	 .name = "count",
	 .value = "COUNT",
	 .type = EG_ARG_NUMBER,
	 FIELD(count),
	 .min = 1,
	 .max = UINT32_MAX,
	 .help = "End after COUNT lines. Default: at an interrupt."},
	{.name = "json", FLAG(json), .help = "One JSON object a line; docs/json.md documents it."},
	{.name = "csv", FLAG(csv), .help = "Write CSV."},
	{0}};

static const struct eg_cli_option validate_options[] = {
	{.letter = 'd',
	 .name = "duration",
	 .value = "S",
	 .type = EG_ARG_SECONDS,
	 FIELD(duration_ns),
	 .min = EG_NSEC_PER_SEC,
	 .max = 24 * HOUR_NS,
	 .help = "Compare over S seconds, 1 to 86400; or a time such as 90s. Default 10. "
		 "What is shorter than some ten updates of the slowest sensor tells little."},
	{.letter = 'i',
	 .name = "interval",
	 .value = "MS",
	 .type = EG_ARG_DURATION,
	 FIELD(interval_ns),
	 .min = EG_NSEC_PER_MSEC,
	 .max = HOUR_NS,
	 .help = "Sample every MS milliseconds, 1 to 3600000; or a time such as 500ms or 2s. Default "
		 "100. Counters are exact whatever the interval; sensors without a counter get "
		 "better."},
	{.name = "json",
	 FLAG(json),
	 .help = "Write the report as JSON; docs/json.md documents it."},
	{0}};

/* `ergon sim` reads its own words, as each of its sub-commands takes others; this documents them, and
 * a test compares it with what the verb says itself. */
static const struct eg_cli_option sim_options[] = {
	{.name = "dir",
	 .value = "DIR",
	 .type = EG_ARG_DIR,
	 .help = "node: the folder of the machine, made where there is none. truth: the machine whose "
		 "truth to tell."},
	{.name = "scenario",
	 .value = "FILE|NAME",
	 .type = EG_ARG_FILE,
	 .help = "A scenario file, or the name of one that comes with Ergon. Default: default."},
	{.name = "speed",
	 .value = "X",
	 .type = EG_ARG_TEXT,
	 .help = "node: machine seconds a second, 0.001 to 1000000. Default 1."},
	{.name = "clock",
	 .value = "FILE",
	 .type = EG_ARG_FILE,
	 .help = "node, sleep: time passes only while every program that shares FILE sleeps."},
	{.name = "duration",
	 .value = "TIME",
	 .type = EG_ARG_TEXT,
	 .help = "node: end after so much time of the machine, such as 30s or 24h."},
	{.name = "fuse",
	 .type = EG_ARG_FLAG,
	 .help = "node: mount the machine, so that reads can fail and hang."},
	{.name = "clean", .type = EG_ARG_FLAG, .help = "node: remove the machine at the end."},
	{.name = "from",
	 .value = "TIME",
	 .type = EG_ARG_TEXT,
	 .help = "truth: from this time on, seconds since the machine's start, or with --dir a stamp of "
		 "the interval clock in ns."},
	{.name = "to", .value = "TIME", .type = EG_ARG_TEXT, .help = "truth: to this time."},
	{.name = "json", .type = EG_ARG_FLAG, .help = "truth: write JSON."},
	{.letter = 'h', .name = "help", .type = EG_ARG_FLAG, .help = "Show this help and exit."},
	{0}};

/* Options that are keys of the configuration: the rows of config_keys.h that have a flag. */
#define TYPE_BOOL     EG_ARG_FLAG
#define TYPE_TEXT     EG_ARG_TEXT
#define TYPE_ADDRESS  EG_ARG_TEXT
#define TYPE_DURATION EG_ARG_TEXT
#define TYPE_FILE     EG_ARG_FILE
#define TYPE_DIR      EG_ARG_DIR
#define NO_FLAG(...)
#define FLAG_ROW(section, key, type_word, f, d, lo, hi, bits, value_name, help_text, flag) \
	{.name = flag,                                                                     \
	 .value = TYPE_##type_word == EG_ARG_FLAG ? NULL : value_name,                     \
	 .type = TYPE_##type_word,                                                         \
	 .config = #section "." #key,                                                      \
	 .help = help_text},

static const struct eg_cli_option key_options[] = {
	{.name = "config",
	 .value = "FILE",
	 .type = EG_ARG_FILE,
	 FIELD(config),
	 .help = "Read this configuration. Default: $XDG_CONFIG_HOME/ergon/config.toml or "
		 "~/.config/ergon/config.toml, else /etc/ergon/config.toml, else none."},
	EG_CONFIG_KEYS(NO_FLAG, FLAG_ROW){
		.name = "set",
		.value = "DRIVER.OPTION=VALUE",
		.type = EG_ARG_SETTING,
		.config = "drivers",
		.help = "Set an option of a driver; may be repeated. `ergon help drivers` lists "
			"them."},
	{0}};

static const struct eg_cli_option config_options[] = {
	{.name = "json",
	 FLAG(json),
	 .help = "print, path: write JSON; docs/config.md documents it."},
	{.name = "force", FLAG(force), .help = "init: replace a file that is there."},
	{0}};

static const struct eg_cli_option ledger_options[] = {
	{.name = "state",
	 .value = "DIR",
	 .type = EG_ARG_DIR,
	 FIELD(state),
	 .help = "The directory of the ledger. Default: /var/lib/ergon for root, else "
		 "$XDG_STATE_HOME/ergon or ~/.local/state/ergon."},
	{.name = "json", FLAG(json), .help = "Write JSON; docs/ledger.md documents it."},
	{.name = "csv", FLAG(csv), .help = "show, export: write CSV."},
	{0}};

static const struct eg_cli_option *const sensors_groups[] = {
	sensors_options, eg_cli_machine_options, meter_options, eg_cli_help_options, NULL};
static const struct eg_cli_option *const doctor_groups[] = {
	json_options, eg_cli_machine_options, meter_options, eg_cli_help_options, NULL};
static const struct eg_cli_option *const run_groups[] = {run_options, eg_cli_machine_options,
							 meter_options, eg_cli_help_options, NULL};
static const struct eg_cli_option *const stat_groups[] = {stat_options, eg_cli_machine_options,
							  meter_options, eg_cli_help_options, NULL};
static const struct eg_cli_option *const validate_groups[] = {
	validate_options, eg_cli_machine_options, meter_options, eg_cli_help_options, NULL};
static const struct eg_cli_option *const agent_groups[] = {key_options, eg_cli_machine_options,
							   eg_cli_help_options, NULL};
static const struct eg_cli_option *const config_groups[] = {config_options, key_options,
							    eg_cli_help_options, NULL};
static const struct eg_cli_option *const ledger_groups[] = {ledger_options, eg_cli_help_options,
							    NULL};
static const struct eg_cli_option *const sim_groups[] = {sim_options, NULL};
static const struct eg_cli_option *const plain_groups[] = {eg_cli_help_options, NULL};

const struct eg_cli_verb eg_cli_verbs[] = {
	{.name = "run",
	 .summary = "measure the energy of the machine while a command runs",
	 .usage = "[OPTION]... [--] COMMAND [ARGUMENT]...",
	 .about =
		 "Runs COMMAND and reports the joules that the machine used meanwhile: the total "
		 "without double counting, each channel, mean and peak watts, where every figure "
		 "comes from, and its 95 % interval. The scope is the machine: everything else that "
		 "ran at the time is included.\n\n"
		 "The command's output is not touched: the report goes to standard error, or to a "
		 "file with -o. Signals sent to ergon are passed on to the command, and its exit "
		 "status becomes that of ergon. With repeats it is that of the first run that "
		 "failed.\n\n"
		 "Where no sensor can be read the report says so, with the reason and the cure for "
		 "each interface; nothing is invented.",
	 .examples = "ergon run -- make -j8\tthe joules of a build\n"
		     "ergon run -n 10 ./bench\tmean, spread and 95 % interval of ten runs\n"
		     "ergon run --json -o energy.json -- ./train.sh\tfor a program to read\n"
		     "ergon run --report curve.html -i 50 -- ./job\tthe power curve, every 50 ms\n",
	 .groups = run_groups,
	 .run = eg_verb_run,
	 .takes_command = true},
	{.name = "stat",
	 .summary = "show power and energy, one line an interval",
	 .usage = "[OPTION]...",
	 .about =
		 "Writes a line every interval: watts of each counted channel and of their total, "
		 "and the joules since the start. Channels that are parts of another are not shown. "
		 "Ends at an interrupt, after COUNT lines, or when its reader goes away.",
	 .examples = "ergon stat\ta line a second\n"
		     "ergon stat -i 100 -n 50 --csv\tfive seconds for a spreadsheet\n",
	 .groups = stat_groups,
	 .run = eg_verb_stat},
	{.name = "sensors",
	 .summary = "list what can be measured, and why the rest cannot",
	 .usage = "[OPTION]...",
	 .about =
		 "Lists every driver and its channels: what each measures, its unit, resolution, "
		 "boundary and provenance, and its power now (of an energy counter: over 0.2 s). A "
		 "driver without channels says why, and what helps.",
	 .examples = "ergon sensors\twhat is there\n"
		     "ergon sensors --all --select nvml\teverything about the GPUs\n",
	 .groups = sensors_groups,
	 .run = eg_verb_sensors},
	{.name = "doctor",
	 .summary = "explain what stands in the way of measuring",
	 .usage = "[OPTION]...",
	 .about =
		 "Shows the facts that decide what can be measured: machine, kernel, "
		 "virtualisation, rights of this process, and drivers left out of this build. Then "
		 "what each interface says, with its cure, and what can be measured here.",
	 .examples = "ergon doctor\twhen a sensor is missing\n",
	 .groups = doctor_groups,
	 .run = eg_verb_doctor},
	{.name = "validate",
	 .summary = "compare every interface that sees the same component",
	 .usage = "[OPTION]...",
	 .about =
		 "Reads, over one stretch of time, every interface that sees the same joules: powercap "
		 "and perf of a processor, the energy counter of a GPU and its power integrated, the "
		 "meter of the machine and its battery, a model with --allow-estimates and what is "
		 "measured. It reports what each says and how it knows, by how much they differ, and "
		 "whether that is within their joint uncertainty. Two interfaces of one sensor share "
		 "its error, so much less is allowed between them.\n\n"
		 "The difference is also taken in up to ten parts of the time: their mean is the bias, "
		 "with its 95 % interval. Where one of the two was silent for a while the others of "
		 "these parts are compared, and the report says over how many seconds.\n\n"
		 "Agreement is not accuracy: two interfaces may share an error that neither shows.\n\n"
		 "The exit status is 0 where all agree, also where no component has two interfaces; 1 "
		 "where two disagree, one fell silent, or the report could not be made; 2 where the "
		 "command line is wrong.",
	 .examples =
		 "ergon validate\tten seconds\n"
		 "ergon validate -d 60 --json\ta minute, for a program to read\n"
		 "ergon validate --allow-estimates --select rapl,cpu_model\thow good is the model "
		 "here?\n",
	 .groups = validate_groups,
	 .run = eg_verb_validate},
	{.name = "agent",
	 .summary = "run the agent: a ledger, Prometheus metrics, a local API",
	 .usage = "[OPTION]...",
	 .about =
		 "Samples the machine's sensors until it is told to stop (SIGTERM, SIGINT), keeps a "
		 "ledger of joules on disk that never falls, and serves it: Prometheus metrics and an "
		 "API over HTTP, the same API on a Unix socket, and the energy page in memory. Runs in "
		 "the foreground and logs to standard error.\n\n"
		 "Everything it can be told is a key of its configuration, docs/config.md; the options "
		 "below are the most used of them. An option goes before the environment variable "
		 "ERGON_SECTION_KEY, that before the file, and that before the default. SIGHUP reads "
		 "the file again.",
	 .examples = "ergon agent --listen 127.0.0.1:0 --state /tmp/ledger\ttry it\n"
		     "ergon agent --listen off --socket /tmp/ergon.sock\tfor local programs only\n",
	 .groups = agent_groups,
	 .run = eg_verb_agent,
	 .in_agent = true},
	{.name = "config",
	 .summary = "write, show and check the configuration of the agent",
	 .usage = "init [FILE] | print | validate [FILE] | path [OPTION]...",
	 .words = "init print validate path",
	 .about =
		 "`ergon config init` writes a configuration with every key, its default and what it "
		 "does, to FILE or standard output; a file that is there is kept without --force.\n\n"
		 "`ergon config print` shows every value and where it came from: default, FILE:LINE, "
		 "environment variable or option. Secrets are masked.\n\n"
		 "`ergon config validate` says nothing but \"ok\", or each mistake as "
		 "FILE:LINE:COLUMN: message and exits with 2.\n\n"
		 "`ergon config path` shows which file is read, and where ledger, socket and energy "
		 "page go. All of them take the options of `ergon agent` that are keys.",
	 .examples = "ergon config init /etc/ergon/config.toml\tbegin a configuration\n"
		     "ergon config print --listen off\twhat an agent with this option would use\n"
		     "ergon config validate\tcheck what the agent would read\n",
	 .groups = config_groups,
	 .run = eg_verb_config,
	 .in_agent = true,
	 .max_rest = 2},
	{.name = "ledger",
	 .summary = "look at the ledger of the agent, check it, write it anew",
	 .usage = "show | verify | compact | export [OPTION]...",
	 .words = "show verify compact export",
	 .about =
		 "Reads the ledger that `ergon agent` keeps on disk. No agent is needed; all but "
		 "compact may be used while one runs, and change nothing.\n\n"
		 "`ergon ledger show` lists every account: joules and kWh, since when, and the time "
		 "that was not measured. Accounts overlap (a package and its cores), so there is no "
		 "total.\n\n"
		 "`ergon ledger verify` reads everything, says what is damaged, and exits with 1 "
		 "where something is.\n\n"
		 "`ergon ledger compact` writes the log anew with one record an account; no joule and "
		 "no account is dropped. An agent does so by itself; while one runs this is refused.\n\n"
		 "`ergon ledger export` writes every record as it lies there, then the accounts of the "
		 "checkpoint: JSON lines, or CSV.",
	 .examples = "ergon ledger show\tthe totals\n"
		     "ergon ledger verify --state /var/lib/ergon\tis the ledger whole?\n"
		     "ergon ledger export --csv > ledger.csv\tfor a spreadsheet\n",
	 .groups = ledger_groups,
	 .run = eg_verb_ledger,
	 .max_rest = 1},
	{.name = "sim",
	 .summary = "simulate a machine whose true energy is known",
	 .usage = "node|truth|list|show|sleep [OPTION]... [WORD]",
	 .words = "node truth list show sleep",
	 .about =
		 "A machine that does not exist, with sensors whose true energy is known: to try "
		 "Ergon without hardware, and to check it.\n\n"
		 "`ergon sim node` writes the machine below a folder and keeps its counters going until "
		 "an interrupt; any other verb measures it with --root. `ergon sim truth` tells the "
		 "true joules of each sensor between two times. `ergon sim list` names the scenarios "
		 "that come with Ergon, `ergon sim show NAME` prints one, and `ergon sim sleep` sleeps "
		 "by a simulated clock. docs/simulator.md documents scenarios.",
	 .examples = "ergon sim node --dir /tmp/machine --duration 60s\ta machine for a minute\n"
		     "ergon run --root /tmp/machine -- sleep 2\tmeasure it\n"
		     "ergon sim truth --scenario default --from 0 --to 2\twhat it really used\n",
	 .groups = sim_groups,
	 .run_raw = eg_verb_sim},
	{.name = "help",
	 .summary = "show help about a verb, or about the options of the drivers",
	 .usage = "[VERB | drivers]",
	 .about =
		 "Without a word, lists the verbs. With a verb, shows its help. `ergon help drivers` "
		 "lists the drivers of this build and the options that --set takes.",
	 .groups = plain_groups,
	 .run = eg_verb_help,
	 .max_rest = 1},
	{.name = "version",
	 .summary = "show the version",
	 .usage = "",
	 .about = "Shows the version.",
	 .groups = plain_groups,
	 .run = eg_verb_version},
	{.name = "docs",
	 .summary = "write the man pages, completions and reference from the tables",
	 .usage = "man [VERB] | bash | zsh | markdown | metrics | config | man-config",
	 .about = "Writes documentation made from the tables of verbs, options, metrics and "
		  "keys.",
	 .groups = plain_groups,
	 .run = eg_verb_docs,
	 .max_rest = 2,
	 .hidden = true},
	{0}};
