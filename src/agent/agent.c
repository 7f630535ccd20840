/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent from start to stop (see agent.h): what is opened in which order, the loop, reload. Everything
 * that needs rights is opened first; then the rights are given up; then the first sample is taken.
 */
#include "agent/agent.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/internal.h"
#include "agent/settle.h"
#include "base/version.h"

#define BODY_MAX	 EG_METRICS_MAX
#define WHY_MAX		 8192
#define DIR_MAX		 1024
#define BACKOFF_MAX_NS	 (60 * EG_NSEC_PER_SEC)
#define READ_DEADLINE_NS (400 * EG_NSEC_PER_MSEC) /* so that a hanging driver fits into the stop */
#define STOP_FLUSH_NS	 (500 * EG_NSEC_PER_MSEC)
#define TEXTFILE_NS	 (5 * EG_NSEC_PER_SEC)
#define GOODBYES	 8 /* turns of the server after the end */
#define WAIT_MAX_NS	 (60 * EG_NSEC_PER_SEC)

enum { FAILURE = 1, USAGE = 2 };

/* ---- opening, each step says what is wrong ---- */

/* A line of the log for each line of the text. */
static void say_lines(enum eg_log_level level, const char *subject, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		if (n)
			eg_log(level, subject, "%.*s", (int)n, text);
		text += n + (text[n] == '\n');
	}
}

static void say_failure(const char *subject, const struct eg_strbuf *why, int err)
{
	const char *text = eg_strbuf_get(why);

	say_lines(EG_LOG_ERROR, subject, *text ? text : eg_errno_text(err));
}

static int take_signals(struct agent *a)
{
	static const int ours[] = {SIGTERM, SIGINT, SIGHUP};
	sigset_t set;

	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	sigemptyset(&set);
	for (size_t i = 0; i < EG_ARRAY_SIZE(ours); i++)
		sigaddset(&set, ours[i]);
	/* Before any thread: all of them inherit it. */
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	a->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return a->signal_fd < 0 ? -errno : 0;
}

static int load_config(struct agent *a, struct eg_config_source **ret, struct eg_strbuf *why)
{
	struct eg_strbuf warnings = EG_STRBUF_INIT(WHY_MAX);
	int r = eg_config_load(a->start->config_file, a->start->env, a->start->flags,
			       a->start->n_flags, ret, why, &warnings);

	if (r == 0)
		say_lines(EG_LOG_WARNING, "config", eg_strbuf_get(&warnings));
	eg_strbuf_free(&warnings);
	return r;
}

static int open_config(struct agent *a, struct eg_strbuf *why)
{
	int r = load_config(a, &a->source, why);

	if (r < 0)
		return r == -ENOMEM ? FAILURE : USAGE;
	a->first = a->source;
	a->cfg = eg_config_get(a->source);
	eg_log_setup(a->cfg->agent.log_level, a->cfg->agent.log_format == EG_LOG_FORMAT_JSON);
	a->interval_ns = a->cfg->agent.interval_ns;
	return eg_config_places(a->cfg, a->start->env, geteuid() == 0, &a->places, why) < 0 ?
		       FAILURE :
		       0;
}

static int open_env(struct agent *a, struct eg_strbuf *why)
{
	const char *root = a->start->root;
	ssize_t n;
	int r = eg_env_open(&a->env, root);

	if (r < 0) {
		eg_strbuf_printf(why, "cannot open the root %s: %s", root ? root : "/",
				 eg_errno_text(r));
		return FAILURE;
	}
	a->have_env = true;
	if (a->start->clock) {
		r = eg_file_clock_attach(a->start->clock, &a->steered);
		if (r < 0) {
			eg_strbuf_printf(why, "cannot use the clock %s: %s", a->start->clock,
					 eg_errno_text(r));
			return FAILURE;
		}
		a->env.clock = eg_clock_file(a->steered);
	}
	n = eg_fs_read_text(&a->env.fs, "proc/sys/kernel/random/boot_id", a->boot_id,
			    sizeof(a->boot_id));
	if (n < 0)
		a->boot_id[0] = '\0';
	if (gethostname(a->host, sizeof(a->host) - 1) < 0)
		eg_copy(a->host, sizeof(a->host), "localhost");
	return 0;
}

/* The directory that a file lies in; "." where the path names none. */
static void parent_of(const char *path, char dir[DIR_MAX])
{
	char *slash;

	if (eg_copy(dir, DIR_MAX, path) < 0)
		dir[0] = '\0';
	slash = strrchr(dir, '/');
	if (!slash)
		eg_copy(dir, DIR_MAX, ".");
	else
		slash[slash == dir] = '\0';
}

/*
 * It is made where it is not, with what is above it: run directories are gone after a boot, and a new
 * account has no ~/.local/state.
 */
static void make_parent(const char *path)
{
	char dir[DIR_MAX];

	if (!*path)
		return;
	parent_of(path, dir);
	for (char *p = dir; *p && (p = strchr(p + 1, '/'));) {
		*p = '\0';
		(void)!mkdir(dir, 0755); /* the last one tells */
		*p = '/';
	}
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		eg_log(EG_LOG_WARNING, "agent", "cannot make %s: %s", dir, eg_errno_text(-errno));
}

static int open_store(struct agent *a, struct eg_strbuf *why)
{
	struct eg_store_config cfg = {.dir = a->places.state,
				      .boot_id = a->boot_id,
				      .unix_ns = eg_clock_unix_ns(&a->env.clock),
				      .log_max_bytes = a->cfg->energy.wal_max_bytes};
	const struct eg_store_report *rep;
	int r;

	if (!a->cfg->energy.wal_enabled) {
		eg_log(EG_LOG_WARNING, "ledger",
		       "wal_enabled = false: totals start at 0 and are lost at the end");
		return 0;
	}
	make_parent(a->places.state);
	r = eg_store_open(&cfg, &a->store, why);
	if (r < 0)
		return FAILURE;
	rep = eg_store_report(a->store);
	if (rep->checkpoint_damaged)
		eg_log(EG_LOG_WARNING, "ledger", "the checkpoint is damaged: the log alone counts");
	if (rep->log_damaged || rep->log_cut_bytes)
		eg_log(EG_LOG_WARNING, "ledger",
		       "the log has %llu damaged records, and a torn end of %llu bytes was cut; the "
		       "rest is kept",
		       (unsigned long long)rep->log_damaged,
		       (unsigned long long)rep->log_cut_bytes);
	if (rep->power_loss)
		eg_log(EG_LOG_WARNING, "ledger",
		       "the machine went down without a stop: what was used since the last flush may be "
		       "lost; totals have a new start (created) and the time is a gap");
	return 0;
}

/* Settings of the command line stand before those of the file: the first of a name counts. */
static int merge_settings(struct agent *a)
{
	const struct eg_config *c = a->cfg;

	a->settings = calloc(a->start->n_settings + c->n_settings + 1, sizeof(*a->settings));
	if (!a->settings)
		return -ENOMEM;
	for (size_t i = 0; i < a->start->n_settings; i++)
		a->settings[a->n_settings++] = a->start->settings[i];
	for (size_t i = 0; i < c->n_settings; i++)
		a->settings[a->n_settings++] = c->setting[i];
	return 0;
}

static void leave(int sig)
{
	_exit(0);
}

/*
 * A driver may take its whole deadline to open, and nothing was shown or written yet: whoever wants the
 * agent to stop need not wait for it.
 */
static void leave_at_once(bool on)
{
	static const int ends[] = {SIGTERM, SIGINT};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < EG_ARRAY_SIZE(ends); i++) {
		sigaddset(&set, ends[i]);
		if (on)
			sigaction(ends[i], &(struct sigaction){.sa_handler = leave}, NULL);
	}
	sigprocmask(on ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}

static int open_meter(struct agent *a, struct eg_strbuf *why)
{
	const struct eg_config *c = a->cfg;
	struct eg_meter_config cfg = {
		.allow_estimates = c->energy.allow_estimates,
		.select = strcmp(c->energy.backend, "auto") == 0 ? NULL : c->energy.backend,
		.interval_ns = a->interval_ns,
		.integrate = {.gap_ns = c->energy.gap_interpolate_ns,
			      .hold_max_ns = c->energy.hold_max_ns},
		.read_deadline_ns = READ_DEADLINE_NS,
		.backoff_max_ns = BACKOFF_MAX_NS,
		.max_accounts = EG_ACCOUNTS_MAX};
	const struct eg_account *kept;
	const char *text = NULL;
	size_t n;
	int r = merge_settings(a);

	cfg.settings = a->settings;
	cfg.n_settings = a->n_settings;
	if (r == 0) {
		leave_at_once(true);
		r = eg_meter_open(&a->env, eg_drivers, &cfg, &a->meter, &text);
		leave_at_once(false);
	}
	if (r < 0) {
		eg_strbuf_puts(why, text ? text : eg_errno_text(r));
		return r == -EINVAL ? USAGE : FAILURE;
	}
	if (!a->store)
		return 0;
	n = eg_store_accounts(a->store, &kept);
	a->facts.accounts_refused =
		eg_meter_restore(a->meter, kept, n, eg_store_report(a->store)->same_boot);
	if (a->facts.accounts_refused)
		eg_log(EG_LOG_ERROR, "ledger",
		       "%llu accounts of earlier devices found no place (ceiling %d); they are in the "
		       "log still; cure: `ergon ledger export`, then start with a new state directory",
		       (unsigned long long)a->facts.accounts_refused, EG_ACCOUNTS_MAX);
	return 0;
}

/* A total that the store cannot keep would fall with the next start: it is not shown at all. */
static int find_places(struct agent *a)
{
	const struct eg_account *accounts;
	size_t n, without;
	bool *kept;

	eg_view_take(a->fine, a->meter);
	accounts = eg_agent_accounts(a, &n);
	kept = calloc(n + 1, sizeof(*kept));
	if (!kept)
		return FAILURE;
	without = eg_store_find_places(a->store, accounts, n, kept);
	if (without == 0) {
		free(kept);
		return 0;
	}
	a->kept = kept;
	a->facts.accounts_refused += without;
	eg_log(EG_LOG_ERROR, "ledger",
	       "%zu accounts of the devices here find no place beside those of earlier ones (ceiling "
	       "%d): they show no totals; cure: `ergon ledger export`, then start with a new state "
	       "directory",
	       without, EG_ACCOUNTS_MAX);
	return 0;
}

static int open_views(struct agent *a, struct eg_strbuf *why)
{
	int r = eg_view_new(a->meter, &a->fine);

	if (r == 0)
		r = eg_view_new(a->meter, &a->coarse);
	if (r == 0)
		r = eg_self_new(&a->env, &a->self);
	if (r == 0)
		r = eg_watch_new(a->fine, &a->watch);
	if (r < 0)
		return FAILURE;
	a->scratch = calloc(a->fine->max_accounts + 1, sizeof(*a->scratch));
	if (!a->scratch)
		return FAILURE;
	if (!a->store)
		return 0;
	if (eg_store_start(a->store, a->fine->max_accounts, why) < 0)
		return FAILURE;
	return find_places(a);
}

static gid_t group_of(const char *name)
{
	struct group *g = *name ? getgrnam(name) : NULL;

	return g ? g->gr_gid : (gid_t)-1;
}

static struct eg_http_config http_config(const struct agent *a)
{
	const struct eg_config *c = a->cfg;

	return (struct eg_http_config){
		.listen = strcmp(c->http.listen, "off") == 0 ? "" : c->http.listen,
		.socket = a->places.socket,
		.socket_mode = c->socket.mode,
		.socket_group = a->socket_gid == (gid_t)-1 ? NULL : c->socket.group,
		.tls_certificate = c->http.tls_certificate,
		.tls_key = c->http.tls_key,
		.tls_client_ca = c->http.tls_client_ca,
		.basic_auth_file = c->http.basic_auth_file,
		.token_file = c->http.token_file,
		.max_clients = (unsigned)c->http.max_clients};
}

static const struct eg_config *config_of(void *arg)
{
	return ((struct agent *)arg)->cfg;
}

static int open_http(struct agent *a, struct eg_strbuf *why)
{
	struct eg_http_config cfg;
	struct eg_api_host host = {.arg = a,
				   .meter = a->meter,
				   .env = &a->env,
				   .config = config_of,
				   .view = eg_agent_view,
				   .uid = geteuid()};
	int r;

	host.socket_gid = a->socket_gid = group_of(a->cfg->socket.group);
	cfg = http_config(a);
	r = eg_api_new(&host, &a->api);
	if (r == 0) {
		make_parent(a->places.socket);
		r = eg_http_open(&cfg, eg_agent_handle, a, &a->http, why);
	}
	return r < 0 ? FAILURE : 0;
}

static int open_grpc(struct agent *a, struct eg_strbuf *why)
{
	return eg_agent_grpc_open(a, why) < 0 ? FAILURE : 0;
}

static int open_zeusd(struct agent *a, struct eg_strbuf *why)
{
	make_parent(a->places.zeusd);
	return eg_agent_zeusd_open(a, why) < 0 ? FAILURE : 0;
}

static int drop_rights(struct agent *a, struct eg_strbuf *why)
{
	const char *const files[] = {a->places.socket, a->places.page, a->cfg->http.textfile,
				     a->places.zeusd};
	const char *own[3] = {NULL}, *also[EG_ARRAY_SIZE(files) + 1] = {NULL};
	const gid_t groups[] = {a->socket_gid, group_of(a->cfg->page.group)};
	char dir[EG_ARRAY_SIZE(files)][DIR_MAX];
	struct eg_privilege_config cfg = {.user = a->cfg->agent.user,
					  .writable = own,
					  .also_writable = also,
					  .join = groups,
					  .n_join = EG_ARRAY_SIZE(groups),
					  .seccomp = a->cfg->agent.seccomp};
	size_t n_own = 0, n_also = 0;
	bool in_run_dir = false;

	if (a->store)
		own[n_own++] = a->places.state;
	/* Where its files are made anew, and taken away at the end. A directory that the user named
	 * for one file is not the agent's to make over. */
	for (size_t i = 0; i < EG_ARRAY_SIZE(files); i++) {
		if (!*files[i])
			continue;
		make_parent(files[i]);
		parent_of(files[i], dir[i]);
		if (strcmp(dir[i], a->places.run_dir) != 0)
			also[n_also++] = dir[i];
		else
			in_run_dir = access(dir[i], F_OK) == 0;
	}
	if (in_run_dir)
		own[n_own++] = a->places.run_dir;
	for (size_t i = 0; i < eg_meter_count(a->meter); i++)
		cfg.may_exec |= strcmp(eg_meter_driver(a->meter, i)->name, "powermetrics") == 0;
	if (eg_privilege_drop(&cfg, &a->privilege, why) < 0)
		return FAILURE;
	if (a->privilege.note[0])
		eg_log(EG_LOG_INFO, "agent", "%s", a->privilege.note);
	return 0;
}

static int open_page(struct agent *a)
{
	struct eg_strbuf why = EG_STRBUF_INIT(WHY_MAX);
	int r;

	if (!a->cfg->page.enabled || !a->places.page[0])
		return 0;
	r = eg_page_create(a->places.page, group_of(a->cfg->page.group), a->fine, a->interval_ns,
			   &a->page, &why);
	if (r < 0) /* everything else works without it */
		eg_log(EG_LOG_WARNING, "page", "no energy page: %s",
		       why.len ? eg_strbuf_get(&why) : eg_errno_text(r));
	else
		eg_page_write(a->page, a->fine);
	eg_strbuf_free(&why);
	return 0;
}

static void note_facts(struct agent *a)
{
	a->facts.version = EG_VERSION;
	a->facts.revision = "";
	a->facts.host = a->host;
	a->facts.start_unix_ns = eg_clock_unix_ns(&a->env.clock);
	a->facts.config_reload_ok = true;
	a->facts.config_reload_unix_ns = a->facts.start_unix_ns;
}

static void warn_about_rate(const struct agent *a)
{
	uint64_t slowest = 0;
	const char *name = "";

	for (size_t i = 0; i < eg_meter_count(a->meter); i++)
		if (eg_meter_channel(a->meter, i)->update_ns > slowest) {
			slowest = eg_meter_channel(a->meter, i)->update_ns;
			name = eg_meter_channel_name(a->meter, i);
		}
	if (a->interval_ns < slowest)
		eg_log(EG_LOG_WARNING, "agent",
		       "the interval of %g s is finer than %s refreshes (%g s): reads in between say "
		       "nothing new",
		       (double)a->interval_ns / 1e9, name, (double)slowest / 1e9);
	if (a->interval_ns < EG_NSEC_PER_SEC)
		eg_log(EG_LOG_WARNING, "agent",
		       "sampling every %g s costs more than once a second; counters are exact at any "
		       "interval, and readers who may see finely get a fresh sample when they ask",
		       (double)a->interval_ns / 1e9);
}

static int make_waiting(struct agent *a)
{
	int http[2];
	size_t n = eg_http_fds(a->http, http);

	a->fds[a->n_fds++] = a->signal_fd;
	for (size_t i = 0; i < n; i++)
		a->fds[a->n_fds++] = http[i];
	if (eg_api_fd(a->api) >= 0)
		a->fds[a->n_fds++] = eg_api_fd(a->api);
	if (eg_agent_grpc_fd(a) >= 0)
		a->fds[a->n_fds++] = eg_agent_grpc_fd(a);
	a->n_fds += eg_agent_zeusd_fds(a, a->fds + a->n_fds);
	if (!a->steered)
		return 0;
	a->wait_fd = epoll_create1(EPOLL_CLOEXEC);
	if (a->wait_fd < 0)
		return -errno;
	for (size_t i = 0; i < a->n_fds; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.fd = a->fds[i]};

		if (epoll_ctl(a->wait_fd, EPOLL_CTL_ADD, a->fds[i], &e) < 0)
			return -errno;
	}
	return 0;
}

static int first_sample(struct agent *a, struct eg_strbuf *why)
{
	int r = make_waiting(a);

	if (r == 0)
		r = eg_agent_first_sample(a);
	if (r == 0)
		r = eg_devices_new(a->meter, &a->devices);
	note_facts(a);
	if (r == 0)
		r = eg_metrics_new(a->fine, &a->facts, &a->metrics);
	if (r == 0 && a->cfg->http.textfile[0])
		r = eg_textfile_new(a->cfg->http.textfile, &a->textfile);
	if (r == 0)
		r = open_page(a);
	if (r < 0) {
		eg_strbuf_puts(why, eg_errno_text(r));
		return FAILURE;
	}
	eg_watch_look(a->watch, a->fine, a->meter);
	eg_agent_tell_api(a);
	return 0;
}

static int open_all(struct agent *a)
{
	typedef int (*step)(struct agent *, struct eg_strbuf *);
	static const struct {
		const char *name;
		step run;
	} steps[] = {{"config", open_config}, {"agent", open_env},    {"ledger", open_store},
		     {"sensors", open_meter}, {"ledger", open_views}, {"http", open_http},
		     {"grpc", open_grpc},     {"zeusd", open_zeusd},  {"agent", drop_rights},
		     {"agent", first_sample}};
	struct eg_strbuf why = EG_STRBUF_INIT(WHY_MAX);
	int status = 0;

	for (size_t i = 0; i < EG_ARRAY_SIZE(steps) && status == 0; i++) {
		status = steps[i].run(a, &why);
		if (status != 0)
			say_failure(steps[i].name, &why, -ENOMEM);
	}
	eg_strbuf_free(&why);
	return status;
}

/* ---- the loop ---- */

static void say_where(const struct agent *a)
{
	size_t shown = 0;

	for (size_t i = 0; i < a->fine->n_channels; i++)
		shown += a->fine->channel[i].samples > 0;
	eg_log(EG_LOG_INFO, "agent", "ergon %s measures %zu of %zu channels every %g s", EG_VERSION,
	       shown, a->fine->n_channels, (double)a->interval_ns / 1e9);
	if (!a->fine->n_channels)
		eg_log(EG_LOG_WARNING, "agent",
		       "no sensor can be read here; cure: `ergon doctor` says why for each interface");
	if (*eg_http_url(a->http))
		eg_log(EG_LOG_INFO, "http", "metrics at %s/metrics, for programs %s/api/v1",
		       eg_http_url(a->http), eg_http_url(a->http));
	if (a->places.socket[0])
		eg_log(EG_LOG_INFO, "http", "socket %s", a->places.socket);
	eg_agent_grpc_say(a);
	eg_agent_zeusd_say(a);
	if (a->page)
		eg_log(EG_LOG_INFO, "page", "energy page %s", a->places.page);
	if (a->store)
		eg_log(EG_LOG_INFO, "ledger", "state in %s", a->places.state);
}

static void reload(struct agent *a)
{
	struct eg_strbuf why = EG_STRBUF_INIT(WHY_MAX), restart = EG_STRBUF_INIT(WHY_MAX);
	struct eg_config_source *source = NULL, *old = a->source;
	const struct eg_config *old_cfg = a->cfg;
	struct eg_http_config http;
	struct timespec now;
	char state[64];
	int r;

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu",
		 (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
	eg_notify_send(&a->notify, state);
	r = load_config(a, &source, &why);
	if (r == 0) {
		a->cfg = eg_config_get(source);
		http = http_config(a);
		r = eg_http_reload(a->http, &http, &why);
		if (r == 0)
			r = eg_agent_grpc_reload(a, &why);
		if (r == 0)
			r = eg_agent_zeusd_reload(a, &why);
		if (r < 0)
			a->cfg = old_cfg;
	}
	a->facts.config_reload_ok = r == 0;
	if (r < 0) {
		eg_log(EG_LOG_ERROR, "config", "not reloaded, the old configuration stays:");
		say_failure("config", &why, r);
		eg_config_free(source);
	} else {
		a->source = source;
		a->facts.config_reload_unix_ns = eg_clock_unix_ns(&a->env.clock);
		eg_log_setup(a->cfg->agent.log_level,
			     a->cfg->agent.log_format == EG_LOG_FORMAT_JSON);
		eg_config_needs_restart(eg_config_get(a->first), a->cfg, &restart);
		eg_log(EG_LOG_INFO, "config", "reloaded%s%s",
		       restart.len ? "; these work after a restart: " : "",
		       eg_strbuf_get(&restart));
		if (old != a->first)
			eg_config_free(old);
	}
	eg_notify_send(&a->notify, "READY=1");
	eg_strbuf_free(&why);
	eg_strbuf_free(&restart);
}

static void take_signal(struct agent *a)
{
	struct signalfd_siginfo info;

	while (read(a->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			reload(a);
		else
			a->stop = true;
	}
}

/* When the next tick is due, on the interval clock: the interval's, or one in between. */
static uint64_t tick_due(const struct agent *a)
{
	uint64_t guard = eg_meter_guard_ns(a->meter);
	uint64_t due = EG_MIN(a->next_ns, eg_agent_coarse_due_ns(a));

	return guard == UINT64_MAX ? due : EG_MIN(due, a->fine->t_ns + guard);
}

/* When something has to be done at the latest. */
static uint64_t next_due(const struct agent *a)
{
	uint64_t due = EG_MIN(tick_due(a), eg_agent_grpc_due_ns(a));

	if (a->notify.watchdog_ns)
		due = EG_MIN(due, a->alive_ns + a->notify.watchdog_ns / 2);
	return due;
}

static void do_what_is_due(struct agent *a)
{
	uint64_t now = eg_clock_ns(&a->env.clock);

	if (a->notify.watchdog_ns && now >= a->alive_ns + a->notify.watchdog_ns / 2) {
		eg_notify_send(&a->notify, "WATCHDOG=1");
		a->alive_ns = now;
	}
	if (now < tick_due(a))
		return;
	eg_agent_tick(a);
	if (now >= a->next_ns) {
		uint64_t late = (now - a->next_ns) / a->interval_ns;

		a->facts.missed_ticks += late;
		a->next_ns += (late + 1) * a->interval_ns;
	}
	if (now >= a->flush_ns) {
		eg_agent_flush(a);
		a->flush_ns = now + a->cfg->energy.wal_flush_ns;
	}
	if (a->textfile && now >= a->textfile_ns &&
	    eg_agent_metrics(a, a->fine, EG_METRICS_TEXT, true) == 0) {
		(void)eg_textfile_offer(a->textfile, eg_strbuf_get(&a->body), a->body.len);
		a->textfile_ns = now + TEXTFILE_NS;
	}
}

static void wait_for_more(struct agent *a)
{
	uint64_t due = next_due(a), now = eg_clock_ns(&a->env.clock);
	uint64_t left = due > now ? due - now : 0;
	uint64_t serve = EG_MIN(eg_http_timeout_ns(a->http), eg_agent_grpc_timeout_ns(a));
	struct pollfd p[EG_ARRAY_SIZE(a->fds)];
	struct timespec ts;

	a->facts.wakeups++;
	serve = EG_MIN(serve, eg_agent_zeusd_timeout_ns(a));
	if (a->steered && serve) {
		int r = eg_file_clock_sleep(a->steered, due, a->wait_fd);

		if (r != -ECANCELED)
			return;
		left = WAIT_MAX_NS; /* its simulator has gone: no time comes any more */
	}
	left = EG_MIN(EG_MIN(left, serve), WAIT_MAX_NS);
	for (size_t i = 0; i < a->n_fds; i++)
		p[i] = (struct pollfd){.fd = a->fds[i], .events = POLLIN};
	ts = (struct timespec){.tv_sec = (time_t)(left / EG_NSEC_PER_SEC),
			       .tv_nsec = (long)(left % EG_NSEC_PER_SEC)};
	(void)ppoll(p, a->n_fds, &ts, NULL);
}

static void loop(struct agent *a)
{
	a->next_ns = a->fine->t_ns + a->interval_ns;
	a->alive_ns = a->fine->t_ns;
	a->flush_ns = a->fine->t_ns + a->cfg->energy.wal_flush_ns;
	while (!a->stop) {
		wait_for_more(a);
		take_signal(a);
		eg_http_run(a->http);
		eg_api_run(a->api);
		eg_agent_zeusd_run(a);
		if (a->coarse_is_new)
			eg_agent_tell_api(a);
		if (!a->stop)
			do_what_is_due(a);
		eg_agent_grpc_run(a);
	}
}

/* ---- the end ---- */

static void stop_in_order(struct agent *a)
{
	const struct eg_account *accounts;
	struct eg_store_status st = {0};
	size_t n;

	eg_notify_send(&a->notify, "STOPPING=1");
	eg_agent_tick(a);
	accounts = eg_agent_accounts(a, &n);
	a->store = eg_store_close(a->store, accounts, n, a->fine->unix_ns, STOP_FLUSH_NS, &st);
	if (st.last_error < 0)
		eg_log(EG_LOG_ERROR, "ledger", "the last flush of the log failed: %s; %s",
		       eg_watch_flush_text(st.last_error),
		       st.checkpoint_lost ?
			       "the checkpoint is lost too: what was used since the flush before "
			       "is gone" :
			       "the checkpoint has it all, and the next start goes on with it");
	eg_log(EG_LOG_INFO, "agent", "stopped");
}

/* Lets the last answers out; a client that does not take them keeps nobody. */
void eg_agent_goodbye(struct eg_http *http)
{
	struct eg_http_stats stats = {.clients = 1};

	for (int i = 0; i < GOODBYES && stats.clients; i++) {
		struct timespec nap = {.tv_nsec = 5 * 1000 * 1000};
		struct pollfd p[2];
		int fds[2];
		size_t n = eg_http_fds(http, fds);

		eg_http_run(http);
		eg_http_get_stats(http, &stats);
		for (size_t k = 0; k < n; k++)
			p[k] = (struct pollfd){.fd = fds[k], .events = POLLIN};
		(void)ppoll(p, n, &nap, NULL);
	}
}

static void close_all(struct agent *a)
{
	bool left_behind;

	eg_textfile_free(a->textfile);
	eg_page_close(a->page);
	eg_agent_grpc_close(a);
	eg_agent_zeusd_close(a);
	a->api = eg_api_free(
		a->api); /* answers what waits; eg_agent_handle() refuses what comes now */
	if (a->http && a->have_view)
		eg_agent_goodbye(a->http);
	a->http = eg_http_close(a->http);
	eg_metrics_free(a->metrics);
	eg_watch_free(a->watch);
	if (a->self)
		eg_self_free(a->self);
	eg_store_close(a->store, NULL, 0, 0, 0, NULL);
	eg_stats_close(a->stats);
	eg_view_free(a->fine);
	eg_view_free(a->coarse);
	free(a->scratch);
	free(a->kept);
	/* A driver that hangs keeps the meter and may still look at the environment. */
	left_behind = !eg_devices_free(a->devices) || eg_meter_close(a->meter) != NULL;
	if (!left_behind) {
		free(a->settings);
		eg_file_clock_close(a->steered);
		if (a->have_env)
			eg_env_close(&a->env);
		if (a->source != a->first)
			eg_config_free(a->source);
		eg_config_free(a->first);
	}
	eg_notify_close(&a->notify);
	eg_strbuf_free(&a->body);
	if (a->wait_fd >= 0)
		close(a->wait_fd);
	if (a->signal_fd >= 0)
		close(a->signal_fd);
	if (!left_behind)
		free(a);
}

int eg_agent_run(const struct eg_agent_start *start)
{
	/* On the heap: a driver that hangs may look at the environment for ever. */
	struct agent *a = calloc(1, sizeof(*a));
	int status;

	if (!a)
		return FAILURE;
	*a = (struct agent){.start = start,
			    .body = EG_STRBUF_INIT(BODY_MAX),
			    .signal_fd = -1,
			    .wait_fd = -1,
			    .notify = {.fd = -1},
			    .socket_gid = (gid_t)-1};
	eg_log_setup(EG_LOG_INFO, false);
	eg_notify_open(&a->notify);
	status = take_signals(a) < 0 ? FAILURE : open_all(a);
	if (status == 0) {
		say_where(a);
		warn_about_rate(a);
		eg_notify_send(&a->notify, "READY=1");
		eg_settle();
		loop(a);
		stop_in_order(a);
	}
	close_all(a);
	return status;
}
