/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent made of the meter's rig, the loop's part in it, and the fake HTTP server: requests of
 * several peers against channels with a known truth, on a clock moved by hand. There is one at a
 * time.
 */
#ifndef TEST_API_RIG_H
#define TEST_API_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "../meter/rig.h"
#include "agent/api.h"
#include "fake_http.h"

#define SOCKET_GID 500
#define AGENT_UID  990

struct api_rig {
	struct rig *rig;
	struct eg_config cfg;
	struct eg_view *full, *coarse;
	bool sampled, have_coarse, coarse_is_new;
	uint64_t coarse_next_ns; /* from RIG_T0 */
	unsigned renewals;	 /* of the coarse view */
	bool busy;		 /* the loop has more requests to serve before its turn ends */
	struct eg_meter_config meter;
	struct eg_api *api;
	unsigned fresh; /* samples that a request asked for */
};
extern struct api_rig *ar;

/* alice and bob are in the socket's group, eve is not; carol logged in over TCP, anon did not. */
extern const struct eg_http_peer root, agent, alice, bob, eve, carol, dave, anon;

int api_setup(void **state);
int api_teardown(void **state);
/*
 * A package of 100 W with its core, a DRAM of 25 W, a GPU of 200 W told by a gauge; or the channels
 * that are in the rig already.
 */
void api_open(void);
#define API_WATTS 325.0 /* of the node */
/* One sample of the agent's loop at t (from RIG_T0). */
void api_tick(uint64_t t_ns);
/* The rest of a turn of the loop, after requests. */
void api_turn(void);
void api_run(uint64_t until_ns, uint64_t step_ns);

struct fake_request *api_send(const struct eg_http_peer *peer, const char *method,
			      const char *target, const char *body);
/* The answer, checked for its status and parsed; frees the request. */
json_t *api_answer(struct fake_request *f, unsigned status);
json_t *api_call(const struct eg_http_peer *peer, const char *method, const char *target,
		 const char *body, unsigned status);
/* Begins a window, which is there at once; its id. */
const char *api_begin(const struct eg_http_peer *peer, const char *body, char id[33]);
/* A request about a window: what is after its id, "" or "/end". */
struct fake_request *api_ask(const struct eg_http_peer *peer, const char *method, const char *id,
			     const char *what, const char *body);
json_t *api_end(const struct eg_http_peer *peer, const char *id);
/* The same for an error: checks its code, and that it has a message. */
void api_fails(const struct eg_http_peer *peer, const char *method, const char *target,
	       const char *body, unsigned status, const char *code);

/* A value by its path: "total.joules", "accounts.0.device"; fails the test where it is not. */
json_t *at(json_t *j, const char *path);
double number_at(json_t *j, const char *path);
const char *text_at(json_t *j, const char *path);
bool has(json_t *j, const char *path);
/* The element of an array whose member `key` is that text. */
json_t *pick(json_t *array, const char *key, const char *value);
#define assert_number(j, path, want)                                                \
	do {                                                                        \
		double got_ = number_at(j, path), want_ = want;                     \
		if (fabs(got_ - want_) > 1e-9 * fabs(want_))                        \
			fail_msg("%s is %.17g, expected %.17g", path, got_, want_); \
	} while (0)
#define assert_text(j, path, want) assert_string_equal(text_at(j, path), want)

#endif
