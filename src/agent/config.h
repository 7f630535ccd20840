/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent can be told. One table (config_keys.h) names each key with its section, type, range,
 * default, flag, environment variables and help; the parser, `ergon config`, --help, the man page and
 * docs/config.md come from it.
 *
 * Precedence: flag > ERGON_SECTION_KEY > compatible older names > file > default. Every value remembers
 * where it came from.
 */
#ifndef EG_AGENT_CONFIG_H
#define EG_AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "core/driver.h"

#define EG_CONFIG_FILE_MAX     (1u << 20) /* bytes */
#define EG_CONFIG_SETTINGS_MAX 64	  /* [drivers.NAME] keys */

enum eg_log_format { EG_LOG_FORMAT_TEXT, EG_LOG_FORMAT_JSON };
/* What a reader may see (design section 7): nothing; values at most as fresh as access.coarse_interval,
 * windows whose edges lie on such values; everything. */
enum eg_access { EG_ACCESS_NONE, EG_ACCESS_COARSE, EG_ACCESS_FULL };

/* Plain values; texts are owned by the configuration. "" stands for unset. */
struct eg_config {
	struct {
		uint64_t interval_ns; /* flag --interval; 1 ms..60 s, default 1 s */
		const char *state;    /* flag --state; "" decided by eg_config_places() */
		const char *run_dir;  /* "" decided */
		const char *user;     /* change to this user after opening; "" stay */
		unsigned log_level;   /* enum eg_log_level; default info */
		enum eg_log_format log_format;
		uint64_t history_ns; /* default 10 min, 0..24 h */
		bool seccomp;	     /* default true, where built in */
	} agent;
	struct {
		bool has_price;
		double price_per_kwh;	     /* >= 0, finite */
		const char *currency;	     /* "USD" */
		bool show_cost;		     /* default true */
		const char *wal_path;	     /* directory for checkpoint and log */
		bool wal_enabled;	     /* default true */
		uint64_t wal_flush_ns;	     /* default 60 s; 1 s..1 h */
		uint64_t wal_max_bytes;	     /* default 16 MiB; 64 KiB..1 GiB */
		uint64_t gap_interpolate_ns; /* gap_interpolate_seconds 1..3600, default 10 */
		uint64_t hold_max_ns;	     /* 0..3600 s, default 60 s */
		const char *backend;	     /* "auto", or a selection as of --select */
		bool allow_estimates;	     /* flag --allow-estimates */
	} energy;
	struct {
		const char *listen; /* flag --listen; "127.0.0.1:9102"; "" or "off": no TCP */
		const char *tls_certificate, *tls_key, *tls_client_ca;
		const char *basic_auth_file, *token_file;
		uint64_t max_clients; /* 1..4096, default 256 */
		const char *textfile; /* flag --textfile */
	} http;
	struct {
		const char *listen;	/* flag --grpc; "127.0.0.1:50053"; "" or "off": none */
		const char *tls_listen; /* "off" */
		const char *tls_certificate, *tls_key, *tls_client_ca;
		const char *token_file;
		uint64_t interval_ns; /* of EnergyMonitor; default 50 ms */
		const char *gpus;     /* "" all */
		bool cpu_as_primary;
	} grpc;
	struct {
		const char *listen; /* flag --zeusd; "off" */
		const char *socket; /* flag --zeusd-socket; "" or "off": none */
		unsigned mode;	    /* octal text "0666" */
		const char *token_file;
		bool claim_control; /* default false */
	} zeusd;
	struct {
		const char *path;  /* flag --socket; "" decided; "off": none */
		unsigned mode;	   /* octal text "0666" */
		const char *group; /* "ergon": used where that group exists */
	} socket;
	struct {
		bool enabled;	   /* default true */
		const char *path;  /* "" decided */
		const char *group; /* "ergon" */
	} page;
	struct {
		enum eg_access anonymous;     /* TCP without authentication: coarse */
		enum eg_access authenticated; /* full */
		enum eg_access
			group; /* local peers: root, the agent's user, members of socket.group: full */
		enum eg_access others;	     /* other local peers: coarse */
		uint64_t coarse_interval_ns; /* default 1 s, at least 1 s */
		uint64_t max_windows;	     /* of one peer; default 256 */
		uint64_t window_expiry_ns;   /* default 24 h */
	} access;
	struct {
		bool all_smi;	    /* default true: all_smi_energy_consumed_joules_total */
		bool all_smi_rows;  /* default false */
		bool node_exporter; /* default false */
		bool dcgm;	    /* default false */
		bool estimates;	    /* default false: estimates may enter compatibility families */
	} compat;
	struct eg_setting setting[EG_CONFIG_SETTINGS_MAX]; /* [drivers.NAME] */
	size_t n_settings;
	const char *file; /* that was read; "" none */
};

/*
 * A value given on the command line: "section.key". With the key "drivers" the value is that of --set,
 * DRIVER.OPTION=VALUE.
 */
struct eg_config_flag {
	const char *key, *value;
};

struct eg_config_source;

/*
 * Reads everything. file: of --config, NULL: the first of $XDG_CONFIG_HOME/ergon/config.toml (or
 * ~/.config), /etc/ergon/config.toml that is there. env: a NULL-terminated list NAME=VALUE.
 * why: each mistake on a line of its own, FILE:LINE:COLUMN: message, with the nearest known key; or
 * the variable or flag that is wrong. warnings (may be NULL): older names in use and so on.
 * Errors: -EINVAL; -ENOENT only for a file that was named; -EACCES, -ELOOP (a link), -EFBIG, -ENOMEM.
 */
int eg_config_load(const char *file, const char *const *env, const struct eg_config_flag *flags,
		   size_t n_flags, struct eg_config_source **ret, struct eg_strbuf *why,
		   struct eg_strbuf *warnings) EG_MUST_CHECK;
const struct eg_config *eg_config_get(const struct eg_config_source *c);
/* Was nothing said of a key (EG_CONFIG_KEY_... of config_keys.h), so that its default counts? */
bool eg_config_is_default(const struct eg_config_source *c, unsigned key);
struct eg_config_source *eg_config_free(struct eg_config_source *c);
/* Texts of `ergon config init` and `print`; secrets masked. */
void eg_config_write_default(struct eg_strbuf *out);
void eg_config_print(const struct eg_config_source *c, bool json, struct eg_strbuf *out);
/* Keys that differ and only work after a restart, separated by ", "; "" none. */
void eg_config_needs_restart(const struct eg_config *old, const struct eg_config *new_one,
			     struct eg_strbuf *out);

/*
 * Where state, socket and page go if nothing was said. State: agent.state > energy.wal_path >
 * $STATE_DIRECTORY (systemd) or /var/lib/ergon for root > $XDG_STATE_HOME/ergon or ~/.local/state.
 * Run directory: $RUNTIME_DIRECTORY, /run/ergon for root, $XDG_RUNTIME_DIR/ergon, else none.
 */
#define EG_PLACE_MAX 1024
struct eg_places {
	char state[EG_PLACE_MAX], run_dir[EG_PLACE_MAX], socket[EG_PLACE_MAX], page[EG_PLACE_MAX],
		zeusd[EG_PLACE_MAX]; /* "" none */
};
int eg_config_places(const struct eg_config *c, const char *const *env, bool is_root,
		     struct eg_places *ret, struct eg_strbuf *why) EG_MUST_CHECK;

/* The files that are looked for without --config, in their order; the first that is there is read. */
#define EG_CONFIG_CANDIDATES 2
size_t eg_config_candidates(const char *const *env, char ret[EG_CONFIG_CANDIDATES][EG_PLACE_MAX]);

#endif
