/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the local API share: one call being answered, documents and errors, windows and
 * those who wait for them. Everything but the thread's queue (api_wait.c) belongs to the loop's
 * thread. Nobody else includes this.
 */
#ifndef EG_AGENT_API_INTERNAL_H
#define EG_AGENT_API_INTERNAL_H

#include <pthread.h>

#include "agent/api.h"
#include "codec/json.h"
#include "core/boundary.h"

#define EG_API_PREFIX	     "/api/v1"

#define EG_API_REPLY_MAX     (8u << 20) /* bytes of one answer */
#define EG_API_ID_MAX	     33		/* 128 random bits in hex, and the NUL */
#define EG_API_DEPTH_MAX     8		/* of the JSON in a request */
#define EG_API_TOP_MAX	     EG_CHANNELS_MAX
#define EG_API_WAITS_MAX     256 /* requests that wait, of all peers; more: 503 */
#define EG_API_WAITS_PEER    64	 /* of one peer; more: 429 */
#define EG_API_JOBS_MAX	     64	 /* of them, for the thread; more: 503 */
#define EG_API_MISSED_MAX    3	 /* coarse samples that somebody else's sample overtook; then 503 */
#define EG_API_KEPT_MAX	     64	 /* results of windows that have ended */
#define EG_API_KEPT_PEER     16
#define EG_API_KEPT_NS	     (60 * EG_NSEC_PER_SEC)
#define EG_API_STREAMS_PEER  16
/* The history's ring, whatever is configured: 16 channels x 600 entries take 168 KiB of it. */
#define EG_API_HISTORY_BYTES (4u << 20)
#define EG_API_HISTORY_CELLS 65536 /* channels x entries of one answer */

/* Whose a window is. TCP peers without a name are not told apart. */
struct eg_api_owner {
	bool local, authenticated;
	uid_t uid;
	char user[64];
};

/* One request being answered. */
struct eg_api_call {
	struct eg_api *api;
	struct eg_http_request *req;
	const struct eg_config *cfg;
	enum eg_access access;	/* COARSE or FULL */
	char id[EG_API_ID_MAX]; /* of the path; "" none, or no id at all */
};

struct eg_api_route {
	const char *method, *path; /* below the prefix; "{id}" stands for one id */
	void (*answer)(struct eg_api_call *c);
	enum eg_access access; /* needed */
	const char *summary;
};
extern const struct eg_api_route eg_api_routes[]; /* ends with method NULL */

struct eg_api_window {
	struct eg_api_window *next, *prev; /* in the order of their begins */
	char id[EG_API_ID_MAX];
	char name[EG_WINDOW_NAME_MAX];
	struct eg_api_owner owner;
	bool coarse; /* of a peer who sees coarsely: its edges lie on coarse samples */
	bool open;   /* false: its begin waits yet */
	uint64_t begin_ns, begin_unix_ns, expires_ns;
};

/* A window that has ended, for those who missed the answer. */
struct eg_api_kept {
	char id[EG_API_ID_MAX]; /* "" free */
	char name[EG_WINDOW_NAME_MAX];
	struct eg_api_owner owner;
	bool expired;
	uint64_t since_ns;
	struct eg_result *result;
};

enum eg_api_task { EG_API_BEGIN, EG_API_PEEK, EG_API_END };

/* A request for a window that cannot be answered at once. */
struct eg_api_wait {
	struct eg_api_wait *next;
	struct eg_api *api;
	struct eg_http_request *req; /* NULL: the peer has gone */
	enum eg_api_task task;
	char id[EG_API_ID_MAX];
	struct eg_api_owner owner;
	unsigned missed;
	/* What came of it. */
	int r;
	struct eg_result *result;
};
struct eg_api_queue {
	struct eg_api_wait *first, **last;
	size_t n;
};

struct eg_api_thread; /* api_wait.c */
struct eg_api_ring;   /* api_history.c */
struct eg_api_stream; /* api_stream.c */

struct eg_api {
	struct eg_api_host host;
	size_t n; /* channels of the meter */
	/* As they were at the start: a reload does not change what works after a restart only. */
	uint64_t interval_ns, history_ns;
	/* Who contains whom among all channels, and among the parts of the machine alone. */
	struct eg_boundary_out *role, *part;

	struct eg_api_window *first, *last;
	size_t n_windows;
	struct eg_api_kept kept[EG_API_KEPT_MAX];

	struct eg_api_queue coarse;		     /* waits for the next coarse sample */
	struct eg_api_thread *thread;		     /* NULL: the meter never waits */
	size_t n_waits;				     /* in both, and in the thread's hands */
	struct eg_api_wait *waits[EG_API_WAITS_MAX]; /* all of them, to count by owner */

	struct eg_api_ring *ring; /* NULL: no history */
	struct eg_api_stream *streams;
	struct eg_strbuf event; /* of the streams, reused */
};

/* ---- api.c ---- */

struct eg_api_problem {
	unsigned status;
	const char *code, *cure; /* cure NULL: nothing helps */
	unsigned retry_after_s;
	const char *allow;
};
/* Answers with an error; the message is one sentence. */
void eg_api_fail(struct eg_http_request *req, const struct eg_api_problem *p, const char *fmt, ...)
	EG_PRINTF(3, 4);
void eg_api_fail_memory(struct eg_http_request *req);

/* A JSON document that becomes an answer. */
struct eg_api_doc {
	struct eg_strbuf out;
	struct eg_json json;
};
void eg_api_doc_open(struct eg_api_doc *d, const char *schema);
void eg_api_doc_send(struct eg_api_doc *d, struct eg_http_request *req, unsigned status);
const char *eg_api_granularity(enum eg_access access);
/* Joules of microjoules, watts of microwatts; UINT64_MAX, which is how these files say that something
 * is not known: null. */
void eg_api_put_micro(struct eg_json *j, const char *key, uint64_t v);
/* "kwh", and "cost" and "cost_text" where a price is shown. */
void eg_api_put_money(struct eg_json *j, const struct eg_config *cfg, uint64_t uj);
bool eg_api_shows_cost(const struct eg_config *cfg);

uint64_t eg_api_now_ns(const struct eg_api *api);
void eg_api_owner_of(const struct eg_http_peer *peer, struct eg_api_owner *ret);
bool eg_api_same_owner(const struct eg_api_owner *a, const struct eg_api_owner *b);
/* A view for this call; NULL: an error has been sent. */
const struct eg_view *eg_api_view(struct eg_api_call *c, bool fresh);
/* Root, the agent's own user, and members of the socket's group. */
bool eg_api_is_trusted(const struct eg_api *api, const struct eg_http_request *req);
enum eg_access eg_api_access_by(const struct eg_config *cfg, const struct eg_http_peer *peer,
				bool trusted);

/* ---- api_input.c: each false: an error has been sent ---- */

enum eg_api_type { EG_API_TEXT, EG_API_COUNT, EG_API_SECONDS };
struct eg_api_member {
	const char *name;
	enum eg_api_type type;
	bool required;
	size_t max_len; /* TEXT: bytes, the NUL included */
	/* Where it goes: TEXT char[max_len]; COUNT uint64_t; SECONDS uint64_t ns. Untouched if absent. */
	void *to;
};
/* The body: an object of these members (or nothing, where none is required). */
bool eg_api_body(struct eg_api_call *c, const struct eg_api_member *members, size_t n);
bool eg_api_query_bool(struct eg_api_call *c, const char *name, bool *ret);
/* A whole number from 1 to max; absent: untouched. */
bool eg_api_query_count(struct eg_api_call *c, const char *name, uint64_t max, uint64_t *ret);
/* A duration above 0; a bare number is in units of unit_ns. */
bool eg_api_query_duration(struct eg_api_call *c, const char *name, uint64_t unit_ns,
			   uint64_t *ret_ns);

/* ---- api_read.c ---- */

int eg_api_read_new(struct eg_api *api) EG_MUST_CHECK;
void eg_api_read_free(struct eg_api *api);
void eg_api_get_sensors(struct eg_api_call *c);
void eg_api_get_totals(struct eg_api_call *c);
void eg_api_get_power(struct eg_api_call *c);
void eg_api_post_sample(struct eg_api_call *c);
/* Energy of a channel as its accounts have it; UINT64_MAX: there was no reading yet. */
uint64_t eg_api_channel_uj(const struct eg_view *v, const struct eg_view_channel *ch);
/* Its power, where the last reading is a value; UINT64_MAX not. */
uint64_t eg_api_channel_uw(const struct eg_view_channel *ch);
/* Adds up what makes the total; UINT64_MAX where one of them is not known, or there is none. */
uint64_t eg_api_total_of(const struct eg_view *v, const uint64_t *value, size_t stride);

/* ---- api_windows.c ---- */

void eg_api_post_windows(struct eg_api_call *c);
void eg_api_get_windows(struct eg_api_call *c);
void eg_api_get_window(struct eg_api_call *c);
void eg_api_post_units(struct eg_api_call *c);
void eg_api_post_end(struct eg_api_call *c);
void eg_api_delete_window(struct eg_api_call *c);
/* Answers a request whose task was done (or could not be); takes the result. */
void eg_api_window_done(struct eg_api *api, struct eg_http_request *req, enum eg_api_task task,
			const char *id, const struct eg_api_owner *owner, int r,
			struct eg_result *result);
void eg_api_windows_expire(struct eg_api *api, const struct eg_view *fine,
			   const struct eg_view *coarse);
bool eg_api_windows_want_coarse(const struct eg_api *api);
void eg_api_windows_free(struct eg_api *api);

/* ---- api_wait.c ---- */

int eg_api_wait_new(struct eg_api *api) EG_MUST_CHECK;
/* Does a window's task now, or sees to it that it is done; the request is answered in any case. */
void eg_api_window_task(struct eg_api_call *c, enum eg_api_task task, const char *id);
/*
 * The task on the last sample, if that is the one of t_ns; -EAGAIN: another has come since. BEGIN's
 * result tells when it began.
 */
int eg_api_task_at(struct eg_api *api, enum eg_api_task task, const char *id, uint64_t t_ns,
		   struct eg_result **ret) EG_MUST_CHECK;
void eg_api_wait_coarse(struct eg_api *api, const struct eg_view *v);
void eg_api_wait_free(struct eg_api *api);

/* ---- api_history.c ---- */

int eg_api_history_new(struct eg_api *api) EG_MUST_CHECK;
void eg_api_history_put(struct eg_api *api, const struct eg_view *v, bool coarse);
void eg_api_get_history(struct eg_api_call *c);
void eg_api_history_free(struct eg_api *api);

/* ---- api_stream.c ---- */

void eg_api_get_events(struct eg_api_call *c);
void eg_api_streams_tick(struct eg_api *api, const struct eg_view *fine,
			 const struct eg_view *coarse);
bool eg_api_streams_want_coarse(const struct eg_api *api);
void eg_api_streams_free(struct eg_api *api);

/* A new random id of a window; -EIO where the kernel has no randomness to give. */
int eg_api_make_id(char id[EG_API_ID_MAX]) EG_MUST_CHECK;

#endif
