/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of what the agent can be told. A row is a key: where its value is kept, how it is
 * written, its default and its range, whether a change needs a restart, and the sentence that
 * explains it. The parser, `ergon config init`, `print` and `validate`, the options of
 * `ergon agent`, docs/config.md and ergon.toml(5) are made from these rows, so they cannot differ;
 * a test holds each sentence against its row's default and range.
 *
 * The environment variable of a key is ERGON_SECTION_KEY. After a change run `ninja -C build docs`.
 */
#ifndef EG_AGENT_CONFIG_KEYS_H
#define EG_AGENT_CONFIG_KEYS_H

#include "agent/config.h"

#define EG_CONFIG_TEXT_MAX 1000 /* bytes of a text or path, unless its row says less */
#define EG_CONFIG_NAME_MAX 96	/* of an environment variable, with the NUL */

/* How a value is written, and what its field is. */
enum eg_config_type {
	EG_CONFIG_BOOL,	    /* bool */
	EG_CONFIG_TEXT,	    /* const char *; max: bytes */
	EG_CONFIG_FILE,	    /* const char *, a path: '~' stands for the home directory */
	EG_CONFIG_DIR,	    /* the same, of a directory */
	EG_CONFIG_ADDRESS,  /* const char *, "ADDRESS:PORT" or "off" */
	EG_CONFIG_DURATION, /* uint64_t ns; with its unit */
	EG_CONFIG_SECONDS,  /* uint64_t ns; a number of seconds */
	EG_CONFIG_BYTES,    /* uint64_t; 65536, "64KiB", "1GB" */
	EG_CONFIG_NUMBER,   /* uint64_t */
	EG_CONFIG_PRICE,    /* energy.has_price and price_per_kwh */
	EG_CONFIG_ENUM,	    /* unsigned; `value` lists the words in order */
	EG_CONFIG_OCTAL,    /* unsigned; text */
};

enum {
	EG_CONFIG_RESTART = 1, /* a change works only after a restart */
	EG_CONFIG_BARE = 2,    /* a duration that may also be a number of seconds */
};

/* S(section, help) */
#define EG_CONFIG_SECTIONS(S)                                                                 \
	S(agent, "The agent itself.")                                                         \
	S(energy, "What is measured and kept, and what it costs.")                            \
	S(http, "The HTTP server on TCP: metrics, health and API.")                           \
	S(grpc, "The gRPC server: energy.EnergyMonitor for harnesses, ergon.v1.Energy. "      \
		"[access] decides who may see what.")                                         \
	S(zeusd, "The read-only API of zeusd, the daemon of Zeus: its clients find it by "    \
		 "ZEUSD_SOCK_PATH or ZEUSD_HOST_PORT. [access] decides how finely they see.") \
	S(socket, "The same API for local programs, on a Unix socket.")                       \
	S(page, "The energy page: totals that local programs read from memory.")              \
	S(access, "Who may see what: none, coarse (values at most as fresh as "               \
		  "coarse_interval) or full. Fine-grained energy counters are a side "        \
		  "channel (CVE-2020-8694).")                                                 \
	S(compat, "Metric families of other programs, beside Ergon's own. They hold what "    \
		  "was measured only.")                                                       \
	S(drivers, "Options of drivers, each in a section [drivers.NAME]. `ergon help "       \
		   "drivers` lists them.")

/*
 * K(section, key, type, field, default, min, max, bits, value's name, help)
 * F(the same, flag): also an option of `ergon agent`.
 * Ranges are written as values are; "" has none.
 */
#define EG_CONFIG_KEYS(K, F)                                                                       \
	F(agent, interval, DURATION, agent.interval_ns, "1s", "1ms", "60s", EG_CONFIG_RESTART,     \
	  "TIME",                                                                                  \
	  "Time between two samples, 1ms to 60s; default 1s. Counters are exact whatever it is; "  \
	  "sensors without a counter get finer.",                                                  \
	  "interval")                                                                              \
	F(agent, state, DIR, agent.state, "", "", "", EG_CONFIG_RESTART, "DIR",                    \
	  "Directory of the ledger (checkpoint and log). Default: energy.wal_path, else "          \
	  "/var/lib/ergon for root and for a service, else $XDG_STATE_HOME/ergon.",                \
	  "state")                                                                                 \
	K(agent, run_dir, DIR, agent.run_dir, "", "", "", EG_CONFIG_RESTART, "DIR",                \
	  "Directory of the socket and the energy page. Default: /run/ergon for root and for a "   \
	  "service, else $XDG_RUNTIME_DIR/ergon; where there is neither, both are left out.")      \
	K(agent, user, TEXT, agent.user, "", "", "32", EG_CONFIG_RESTART, "NAME",                  \
	  "User that the agent, started as root, becomes once sensors, files and sockets are "     \
	  "open. Default: it stays who it is.")                                                    \
	K(agent, log_level, ENUM, agent.log_level, "info", "", "", 0, "error|warning|info|debug",  \
	  "The least important events that are logged: error, warning, info or debug; default "    \
	  "info.")                                                                                 \
	K(agent, log_format, ENUM, agent.log_format, "text", "", "", 0, "text|json",               \
	  "How an event is written on standard error: text or json; default text.")                \
	K(agent, history, DURATION, agent.history_ns, "10m", "0s", "24h", EG_CONFIG_RESTART,       \
	  "TIME", "How far back the API tells of samples, 0s to 24h; default 10m.")                \
	K(agent, seccomp, BOOL, agent.seccomp, "true", "", "", EG_CONFIG_RESTART, "BOOL",          \
	  "Let the kernel refuse system calls that the agent never needs, where the build has "    \
	  "libseccomp; default true.")                                                             \
	K(energy, price_per_kwh, PRICE, energy.price_per_kwh, "", "0", "", 0, "NUMBER",            \
	  "Price of a kilowatt hour, 0 or more. Without one no cost is shown, and 0 hides it. A "  \
	  "cost is an approximation: base load and losses of power supplies are not in it.")       \
	K(energy, currency, TEXT, energy.currency, "USD", "", "16", 0, "TEXT",                     \
	  "Currency of the price, for show only, at most 16 bytes; default USD.")                  \
	K(energy, show_cost, BOOL, energy.show_cost, "true", "", "", 0, "BOOL",                    \
	  "Show the cost where there is a price; default true.")                                   \
	K(energy, wal_path, DIR, energy.wal_path, "", "", "", EG_CONFIG_RESTART, "DIR",            \
	  "Directory of the ledger where agent.state names none. Default: see there.")             \
	K(energy, wal_enabled, BOOL, energy.wal_enabled, "true", "", "", EG_CONFIG_RESTART,        \
	  "BOOL",                                                                                  \
	  "Keep totals on disk, so that they survive a restart; default true. Without, they "      \
	  "begin at 0 with each start.")                                                           \
	K(energy, wal_flush, DURATION, energy.wal_flush_ns, "60s", "1s", "1h", 0, "TIME",          \
	  "Time between two synced writes of the log, 1s to 1h; default 60s. A loss of power "     \
	  "costs at most so much; the death of the agent costs nothing.")                          \
	K(energy, wal_max_bytes, BYTES, energy.wal_max_bytes, "16MiB", "64KiB", "1GiB",            \
	  EG_CONFIG_RESTART, "SIZE",                                                               \
	  "Size at which the log is rewritten in short, 64KiB to 1GiB; default 16MiB.")            \
	K(energy, gap_interpolate_seconds, SECONDS, energy.gap_interpolate_ns, "10", "1", "3600",  \
	  EG_CONFIG_RESTART, "SECONDS",                                                            \
	  "Up to so many seconds between two readings, 1 to 3600, power is interpolated; above, "  \
	  "the last reading is held. Default 10; two intervals if that is more.")                  \
	K(energy, hold_max, DURATION, energy.hold_max_ns, "60s", "0s", "1h",                       \
	  EG_CONFIG_RESTART | EG_CONFIG_BARE, "TIME",                                              \
	  "How long the last reading of a lost sensor is held, 0s to 1h, also as a number of "     \
	  "seconds; default 60s. Held energy is labelled estimated; beyond it there is a gap.")    \
	F(energy, backend, TEXT, energy.backend, "auto", "", "1000", EG_CONFIG_RESTART, "LIST",    \
	  "Use only these drivers, channels or components: a comma-separated list such as "        \
	  "rapl,nvml/gpu-0,dram. '*' and '?' match as in a shell; a leading '-' leaves out. "      \
	  "Default auto: all.",                                                                    \
	  "select")                                                                                \
	F(energy, allow_estimates, BOOL, energy.allow_estimates, "false", "", "",                  \
	  EG_CONFIG_RESTART, "BOOL",                                                               \
	  "Allow model estimates where nothing is measured; default false. They are labelled "     \
	  "estimated and never added to measured energy.",                                         \
	  "allow-estimates")                                                                       \
	F(http, listen, ADDRESS, http.listen, "127.0.0.1:9102", "", "", EG_CONFIG_RESTART,         \
	  "ADDR:PORT",                                                                             \
	  "Address and port of the HTTP server, such as [::1]:9102 or 0.0.0.0:9102; off: no TCP. " \
	  "Default 127.0.0.1:9102.",                                                               \
	  "listen")                                                                                \
	K(http, tls_certificate, FILE, http.tls_certificate, "", "", "", 0, "FILE",                \
	  "Certificate chain for TLS, PEM. Default: none, no TLS; switching TLS on or off takes "  \
	  "a restart.")                                                                            \
	K(http, tls_key, FILE, http.tls_key, "", "", "", 0, "FILE",                                \
	  "Private key of tls_certificate, PEM, without a password.")                              \
	K(http, tls_client_ca, FILE, http.tls_client_ca, "", "", "", 0, "FILE",                    \
	  "Authorities, PEM. Clients must show a certificate of theirs, which counts as "          \
	  "authentication.")                                                                       \
	K(http, basic_auth_file, FILE, http.basic_auth_file, "", "", "", 0, "FILE",                \
	  "Users of basic authentication: lines NAME:HASH, hashes as crypt(5) has them.")          \
	K(http, token_file, FILE, http.token_file, "", "", "", 0, "FILE",                          \
	  "Bearer tokens, one a line.")                                                            \
	K(http, max_clients, NUMBER, http.max_clients, "256", "1", "4096", 0, "NUMBER",            \
	  "Connections at a time, 1 to 4096; default 256.")                                        \
	F(http, textfile, FILE, http.textfile, "", "", "", EG_CONFIG_RESTART, "PATH",              \
	  "Also write the metrics to this file, every 5 s at most, whole or not at all, for the "  \
	  "textfile collector of node_exporter: without node_rapl_*, which it has itself. The "    \
	  "file goes when the agent stops.",                                                       \
	  "textfile")                                                                              \
	F(grpc, listen, ADDRESS, grpc.listen, "127.0.0.1:50053", "", "", EG_CONFIG_RESTART,        \
	  "ADDR:PORT",                                                                             \
	  "Address and port of the gRPC server in plain text; off: none. Default "                 \
	  "127.0.0.1:50053, which is left out with a warning where another program has it.",       \
	  "grpc")                                                                                  \
	K(grpc, tls_listen, ADDRESS, grpc.tls_listen, "off", "", "", EG_CONFIG_RESTART,            \
	  "ADDR:PORT",                                                                             \
	  "Address and port of the same with TLS; off: none. Default off. Needs tls_certificate "  \
	  "and tls_key.")                                                                          \
	K(grpc, tls_certificate, FILE, grpc.tls_certificate, "", "", "", 0, "FILE",                \
	  "Certificate chain for gRPC over TLS, PEM.")                                             \
	K(grpc, tls_key, FILE, grpc.tls_key, "", "", "", 0, "FILE",                                \
	  "Private key of tls_certificate, PEM.")                                                  \
	K(grpc, tls_client_ca, FILE, grpc.tls_client_ca, "", "", "", 0, "FILE",                    \
	  "Authorities, PEM, whose client certificates count as authentication.")                  \
	K(grpc, token_file, FILE, grpc.token_file, "", "", "", 0, "FILE",                          \
	  "Bearer tokens, one a line.")                                                            \
	K(grpc, interval, DURATION, grpc.interval_ns, "50ms", "1ms", "1h", EG_CONFIG_RESTART,      \
	  "TIME",                                                                                  \
	  "Time between two readings of energy.EnergyMonitor, 1ms to 1h; default 50ms. Sensors "   \
	  "are read so often while somebody who may see finely streams, and only then.")           \
	K(grpc, gpus, TEXT, grpc.gpus, "", "", "1000", EG_CONFIG_RESTART, "LIST",                  \
	  "The GPUs that its readings are of: indices, UUIDs or PCI addresses, separated by "      \
	  "commas; none. Default: CUDA_VISIBLE_DEVICES of the agent's environment, else all.")     \
	K(grpc, cpu_as_primary, BOOL, grpc.cpu_as_primary, "false", "", "", EG_CONFIG_RESTART,     \
	  "BOOL",                                                                                  \
	  "On a machine without a GPU also put the CPU total into power_watts and "                \
	  "energy_joules; default false.")                                                         \
	F(zeusd, listen, ADDRESS, zeusd.listen, "off", "", "", EG_CONFIG_RESTART, "ADDR:PORT",     \
	  "Address and port for clients of zeusd, which has 127.0.0.1:4938; off: none. Default "   \
	  "off. They speak no TLS.",                                                               \
	  "zeusd")                                                                                 \
	F(zeusd, socket, FILE, zeusd.socket, "", "", "", EG_CONFIG_RESTART, "PATH",                \
	  "Path of a Unix socket for clients of zeusd, which has /run/zeusd/zeusd.sock; off: "     \
	  "none. Default: none.",                                                                  \
	  "zeusd-socket")                                                                          \
	K(zeusd, mode, OCTAL, zeusd.mode, "0666", "0000", "0777", EG_CONFIG_RESTART, "MODE",       \
	  "Mode of that socket, an octal text of 0000 to 0777; default 0666.")                     \
	K(zeusd, token_file, FILE, zeusd.token_file, "", "", "", 0, "FILE",                        \
	  "Bearer tokens, one a line, of clients over TCP (ZEUSD_TOKEN).")                         \
	K(zeusd, claim_control, BOOL, zeusd.claim_control, "false", "", "", 0, "BOOL",             \
	  "List gpu-control among what /discover offers, without which Zeus 0.16 measures no "     \
	  "NVIDIA GPU beside a zeusd; default false. Requests that would set anything are "        \
	  "refused all the same.")                                                                 \
	F(socket, path, FILE, socket.path, "", "", "", EG_CONFIG_RESTART, "PATH",                  \
	  "Path of the Unix socket; off: none. Default: ergon.sock in agent.run_dir.", "socket")   \
	K(socket, mode, OCTAL, socket.mode, "0666", "0000", "0777", EG_CONFIG_RESTART, "MODE",     \
	  "Mode of the socket, an octal text of 0000 to 0777; default 0666. Who asks is known to " \
	  "the agent; [access] decides what they see.")                                            \
	K(socket, group, TEXT, socket.group, "ergon", "", "32", EG_CONFIG_RESTART, "NAME",         \
	  "Group that owns the socket and whose members are access.group; default ergon, where "   \
	  "there is such a group.")                                                                \
	K(page, enabled, BOOL, page.enabled, "true", "", "", EG_CONFIG_RESTART, "BOOL",            \
	  "Write the energy page; default true.")                                                  \
	K(page, path, FILE, page.path, "", "", "", EG_CONFIG_RESTART, "PATH",                      \
	  "Path of the energy page. Default: energy in agent.run_dir.")                            \
	K(page, group, TEXT, page.group, "ergon", "", "32", EG_CONFIG_RESTART, "NAME",             \
	  "Group whose members may read the energy page; default ergon, where there is such a "    \
	  "group.")                                                                                \
	K(access, anonymous, ENUM, access.anonymous, "coarse", "", "", 0, "none|coarse|full",      \
	  "Clients over TCP without authentication: none, coarse or full; default coarse.")        \
	K(access, authenticated, ENUM, access.authenticated, "full", "", "", 0,                    \
	  "none|coarse|full",                                                                      \
	  "Clients over TCP by password, token or certificate: none, coarse or full; default "     \
	  "full.")                                                                                 \
	K(access, group, ENUM, access.group, "full", "", "", 0, "none|coarse|full",                \
	  "Local programs of root, of the agent's user and of members of socket.group: none, "     \
	  "coarse or full; default full.")                                                         \
	K(access, others, ENUM, access.others, "coarse", "", "", 0, "none|coarse|full",            \
	  "Other local programs: none, coarse or full; default coarse.")                           \
	K(access, coarse_interval, DURATION, access.coarse_interval_ns, "1s", "1s", "1h", 0,       \
	  "TIME", "How often coarse values are renewed, 1s to 1h; default 1s.")                    \
	K(access, max_windows, NUMBER, access.max_windows, "256", "1", "4096", 0, "NUMBER",        \
	  "Windows that one peer may have open, 1 to 4096; default 256.")                          \
	K(access, window_expiry, DURATION, access.window_expiry_ns, "24h", "1s", "720h", 0,        \
	  "TIME", "A window that nobody asked for so long is closed, 1s to 720h; default 24h.")    \
	K(compat, all_smi, BOOL, compat.all_smi, "true", "", "", 0, "BOOL",                        \
	  "all_smi_energy_consumed_joules_total of all-smi; default true.")                        \
	K(compat, all_smi_rows, BOOL, compat.all_smi_rows, "false", "", "", 0, "BOOL",             \
	  "The GPU, CPU and memory rows that a viewer of all-smi needs; default false.")           \
	K(compat, node_exporter, BOOL, compat.node_exporter, "false", "", "", 0, "BOOL",           \
	  "node_rapl_*_joules_total of node_exporter; default false.")                             \
	K(compat, dcgm, BOOL, compat.dcgm, "false", "", "", 0, "BOOL",                             \
	  "Power and energy fields of dcgm-exporter; default false.")                              \
	K(compat, estimates, BOOL, compat.estimates, "false", "", "", 0, "BOOL",                   \
	  "Let estimates into these families; default false. They have no label to tell, and "     \
	  "totals fall by them when it is turned off again.")

/* EG_CONFIG_KEY_energy_price_per_kwh ...: the row's place in the table. */
enum {
#define ROW(section, key, ...) EG_CONFIG_KEY_##section##_##key,
	EG_CONFIG_KEYS(ROW, ROW)
#undef ROW
		EG_CONFIG_N_KEYS,
};

struct eg_config_key {
	const char *section, *name;
	enum eg_config_type type;
	size_t offset; /* in struct eg_config */
	const char *fallback, *min, *max;
	unsigned bits;
	const char *value, *help;
	const char *flag; /* long option of `ergon agent`, or NULL */
};

struct eg_config_section {
	const char *name, *help;
};

extern const struct eg_config_key eg_config_keys[EG_CONFIG_N_KEYS];
extern const struct eg_config_section eg_config_sections[]; /* ends with name NULL */

/* Index of a key, -ENOENT. */
int eg_config_find(const char *section, const char *name) EG_MUST_CHECK;
/* Index of the key that is nearest to what was written; -ENOENT for what no key is like. */
int eg_config_nearest(const char *section, const char *name) EG_MUST_CHECK;
/* "ERGON_ENERGY_CURRENCY". */
void eg_config_env_name(const char *section, const char *name, char ret[EG_CONFIG_NAME_MAX]);
/* A variable's name -> the key it sets. negated: of a bool, by being there. */
struct eg_config_alias {
	const char *name;
	unsigned key;
	bool older, negated;
};
/* Names of all-smi, weakest first; ends with name NULL. */
extern const struct eg_config_alias eg_config_aliases[];
/* Is a default written as a text, in quotes? */
bool eg_config_is_quoted(const struct eg_config_key *k);

#endif
