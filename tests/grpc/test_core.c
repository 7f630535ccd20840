/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C API of the gRPC C core as a client of the server: test_core SERVER-PROGRAM. What python3-grpcio
 * hides is done by hand here: batches of operations, cancellation with messages under way, many calls on
 * one completion queue, a channel that is destroyed under its calls.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#define WAIT_S 30
#define CALLS  50

static const char *program;
static pid_t server;
static char address[128];
static grpc_channel *channel;
static grpc_completion_queue *queue;

/* One call, and what came of it. */
struct call {
	grpc_call *call;
	grpc_metadata_array initial, trailing;
	grpc_status_code status;
	grpc_slice details;
	grpc_byte_buffer *message;
	unsigned messages;
};

static gpr_timespec in_ms(int ms)
{
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

static int start_server(void **state)
{
	int out[2];
	FILE *f;
	char line[128] = "";

	if (pipe(out) < 0)
		return -1;
	server = fork();
	if (server == 0) {
		dup2(out[1], 1);
		close(out[0]);
		close(out[1]);
		execl(program, program, "listen=127.0.0.1:0", "streams=100", (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	f = fdopen(out[0], "r");
	if (!f || !fgets(line, sizeof(line), f) || strncmp(line, "plain ", 6) != 0)
		return -1;
	line[strcspn(line, "\n")] = '\0';
	snprintf(address, sizeof(address), "%s", line + 6);
	fclose(f);
	grpc_init();
	queue = grpc_completion_queue_create_for_next(NULL);
	return 0;
}

static int stop_server(void **state)
{
	int status = -1;

	grpc_completion_queue_shutdown(queue);
	while (grpc_completion_queue_next(queue, in_ms(WAIT_S * 1000), NULL).type ==
	       GRPC_OP_COMPLETE)
		;
	grpc_completion_queue_destroy(queue);
	grpc_shutdown();
	kill(server, SIGTERM);
	return waitpid(server, &status, 0) == server && WIFEXITED(status) &&
			       WEXITSTATUS(status) == 0 ?
		       0 :
		       -1;
}

static int open_channel(void **state)
{
	grpc_channel_credentials *creds = grpc_insecure_credentials_create();

	channel = grpc_channel_create(address, creds, NULL);
	grpc_channel_credentials_release(creds);
	return channel ? 0 : -1;
}

static int close_channel(void **state)
{
	if (channel)
		grpc_channel_destroy(channel);
	channel = NULL;
	return 0;
}

/* The tag of the next event. */
static void *next(void)
{
	grpc_event e = grpc_completion_queue_next(queue, in_ms(WAIT_S * 1000), NULL);

	assert_int_equal(e.type, GRPC_OP_COMPLETE);
	return e.tag;
}

/* Sends the request and asks for the status; messages are asked for by read_one(). Two events come. */
static struct call *begin(const char *method, const char *request, int timeout_ms)
{
	struct call *c = calloc(1, sizeof(*c));
	grpc_slice body = grpc_slice_from_copied_string(request);
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&body, 1);
	grpc_op send[4] = {0}, end = {0};

	assert_non_null(c);
	c->call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue,
					   grpc_slice_from_copied_string(method), NULL,
					   in_ms(timeout_ms), NULL);
	send[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	send[1].op = GRPC_OP_SEND_MESSAGE;
	send[1].data.send_message.send_message = buffer;
	send[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	send[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	send[3].data.recv_initial_metadata.recv_initial_metadata = &c->initial;
	assert_int_equal(grpc_call_start_batch(c->call, send, 4, &c->initial, NULL), GRPC_CALL_OK);
	end.op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	end.data.recv_status_on_client.trailing_metadata = &c->trailing;
	end.data.recv_status_on_client.status = &c->status;
	end.data.recv_status_on_client.status_details = &c->details;
	assert_int_equal(grpc_call_start_batch(c->call, &end, 1, &c->status, NULL), GRPC_CALL_OK);
	grpc_byte_buffer_destroy(buffer);
	grpc_slice_unref(body);
	return c;
}

static void read_one(struct call *c)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &c->message};

	assert_int_equal(grpc_call_start_batch(c->call, &op, 1, &c->messages, NULL), GRPC_CALL_OK);
}

static void finish(struct call *c)
{
	grpc_metadata_array_destroy(&c->initial);
	grpc_metadata_array_destroy(&c->trailing);
	grpc_slice_unref(c->details);
	grpc_call_unref(c->call);
	free(c);
}

/* Reads to the end, at most `max` messages, which are in order; then cancels. */
static grpc_status_code read_all(struct call *c, unsigned max, unsigned *ret_n)
{
	unsigned pending = 3;
	grpc_status_code status;

	read_one(c);
	while (pending) {
		void *tag = next();

		pending--;
		if (tag != &c->messages || !c->message)
			continue;
		grpc_byte_buffer_reader reader;
		assert_true(grpc_byte_buffer_reader_init(&reader, c->message));
		grpc_slice s = grpc_byte_buffer_reader_readall(&reader);
		char text[24];

		snprintf(text, sizeof(text), "%u ", c->messages);
		assert_memory_equal(GRPC_SLICE_START_PTR(s), text, strlen(text));
		grpc_slice_unref(s);
		grpc_byte_buffer_reader_destroy(&reader);
		grpc_byte_buffer_destroy(c->message);
		c->message = NULL;
		if (++c->messages == max)
			grpc_call_cancel(c->call, NULL);
		read_one(c);
		pending++;
	}
	*ret_n = c->messages;
	status = c->status;
	finish(c);
	return status;
}

static void unary(void **state)
{
	unsigned n;

	assert_int_equal(read_all(begin("/test.T/Echo", "0 and more", 10000), 9, &n),
			 GRPC_STATUS_OK);
	assert_int_equal(n, 1);
	assert_int_equal(read_all(begin("/test.T/Nix", "", 10000), 9, &n),
			 GRPC_STATUS_UNIMPLEMENTED);
	assert_int_equal(n, 0);
	assert_int_equal(read_all(begin("/test.T/Slow", "", 50), 9, &n),
			 GRPC_STATUS_DEADLINE_EXCEEDED);
	assert_int_equal(n, 0);
}

static void streams(void **state)
{
	unsigned n;

	assert_int_equal(read_all(begin("/test.T/Stream", "500 210 200", 20000), 999, &n),
			 GRPC_STATUS_OK);
	assert_int_equal(n, 500);
	assert_int_equal(read_all(begin("/test.T/Burst", "20 100000 0", 20000), 999, &n),
			 GRPC_STATUS_OK);
	assert_int_equal(n, 20);
}

static void cancelled(void **state)
{
	unsigned n;

	for (int i = 0; i < 20; i++) {
		assert_int_equal(read_all(begin("/test.T/Stream", "0 210 100", 20000), 5, &n),
				 GRPC_STATUS_CANCELLED);
		assert_true(n >= 5);
	}
}

static void many(void **state)
{
	struct call *calls[CALLS];
	unsigned pending = 3 * CALLS, total = 0;

	for (int i = 0; i < CALLS; i++) {
		calls[i] = begin("/test.T/Stream", "20 210 1000", 20000);
		read_one(calls[i]);
	}
	while (pending) {
		void *tag = next();

		pending--;
		for (int i = 0; i < CALLS; i++)
			if (tag == &calls[i]->messages && calls[i]->message) {
				grpc_byte_buffer_destroy(calls[i]->message);
				calls[i]->message = NULL;
				calls[i]->messages++;
				total++;
				read_one(calls[i]);
				pending++;
			}
	}
	assert_int_equal(total, 20 * CALLS);
	for (int i = 0; i < CALLS; i++) {
		assert_int_equal(calls[i]->status, GRPC_STATUS_OK);
		finish(calls[i]);
	}
}

static void left(void **state)
{
	struct call *c = begin("/test.T/Stream", "0 210 100", 20000);
	unsigned n;

	/* The channel goes first, and takes its calls with it. */
	grpc_channel_destroy(channel);
	channel = NULL;
	assert_int_not_equal(read_all(c, UINT32_MAX, &n), GRPC_STATUS_OK);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_channel, close_channel)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {CASE(unary), CASE(streams), CASE(cancelled), CASE(many),
					   CASE(left)};

	if (argc < 2)
		return 2;
	program = argv[1];
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	alarm(120);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("core", tests, start_server, stop_server);
}
