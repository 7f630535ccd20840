/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve PORTS ROOT OWN SECCOMP: what the agent does, in small, after its rights are gone. Measures the
 * machine below ROOT, answers each request (HTTP and HTTPS on loopback) with a fresh total in
 * microjoules, writes a file below OWN each time, logs. The ports go to the file PORTS. Ends with its
 * standard input. Also the program to trace when the list of system calls is in question.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "agent/privilege.h"
#include "base/log.h"
#include "certificate.h"
#include "core/meter.h"

static struct eg_meter *meter;
static char own_file[512], own_temp[600];

static bool write_file(const char *text)
{
	int fd = open(own_temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) &&
		    fchmod(fd, 0644) == 0 && fdatasync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return good && rename(own_temp, own_file) == 0;
}

static enum MHD_Result answer(void *arg, struct MHD_Connection *c, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *data_size, void **state)
{
	struct eg_account *accounts = NULL;
	struct MHD_Response *r;
	size_t n = 0;
	uint64_t uj = 0;
	enum MHD_Result done;
	char text[64];

	eg_meter_sample(meter, true);
	if (eg_meter_accounts(meter, &accounts, &n) == 0)
		for (size_t i = 0; i < n; i++)
			uj += accounts[i].uj;
	free(accounts);
	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)uj);
	if (!write_file(text))
		snprintf(text, sizeof(text), "cannot write: %d\n", errno);
	eg_log(EG_LOG_INFO, "http", "%s %s", method, url);
	r = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);
	done = MHD_queue_response(c, MHD_HTTP_OK, r);
	MHD_destroy_response(r);
	return done;
}

static struct MHD_Daemon *listen_on_loopback(unsigned flags, const char *cert, const char *key)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	if (flags & MHD_USE_TLS)
		return MHD_start_daemon(MHD_USE_EPOLL | flags, 0, NULL, NULL, answer, NULL,
					MHD_OPTION_SOCK_ADDR, &a, MHD_OPTION_HTTPS_MEM_CERT, cert,
					MHD_OPTION_HTTPS_MEM_KEY, key, MHD_OPTION_END);
	return MHD_start_daemon(MHD_USE_EPOLL | flags, 0, NULL, NULL, answer, NULL,
				MHD_OPTION_SOCK_ADDR, &a, MHD_OPTION_END);
}

static unsigned port_of(struct MHD_Daemon *d)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT);

	return info != NULL ? info->port : 0;
}

static int drop(const char *own, bool seccomp)
{
	const char *writable[] = {own, NULL};
	const struct eg_privilege_config cfg = {
		.user = "", .writable = writable, .seccomp = seccomp};
	struct eg_privilege_state st;
	struct eg_strbuf why = EG_STRBUF_INIT(1024);
	int r = eg_privilege_drop(&cfg, &st, &why);

	if (r < 0)
		eg_log(EG_LOG_ERROR, "rights", "%s", eg_strbuf_get(&why));
	else
		eg_log(EG_LOG_INFO, "rights", "caps=%d seccomp=%d landlock=%d %s", st.dropped_caps,
		       st.seccomp, st.landlock, st.note);
	eg_strbuf_free(&why);
	return r;
}

static void serve(struct MHD_Daemon *const d[2])
{
	struct pollfd p[3] = {{.fd = STDIN_FILENO, .events = POLLIN}};

	for (int i = 0; i < 2; i++) {
		const union MHD_DaemonInfo *info =
			MHD_get_daemon_info(d[i], MHD_DAEMON_INFO_EPOLL_FD);

		p[i + 1] = (struct pollfd){.fd = info->epoll_fd, .events = POLLIN};
	}
	while (p[0].revents == 0) {
		if (poll(p, 3, 100) < 0 && errno != EINTR)
			return;
		MHD_run(d[0]);
		MHD_run(d[1]);
	}
}

int main(int argc, char **argv)
{
	static char cert[8192], key[8192];
	struct MHD_Daemon *d[2];
	struct eg_env env;
	FILE *ports;

	if (argc != 5 || make_certificate(cert, sizeof(cert), key, sizeof(key)) < 0 ||
	    eg_env_open(&env, argv[2]) < 0 ||
	    eg_meter_open(&env, eg_drivers, &(struct eg_meter_config){0}, &meter, NULL) < 0)
		return 2;
	snprintf(own_file, sizeof(own_file), "%s/total", argv[3]);
	snprintf(own_temp, sizeof(own_temp), "%s.new", own_file);
	d[0] = listen_on_loopback(0, NULL, NULL);
	d[1] = listen_on_loopback(MHD_USE_TLS, cert, key);
	if (d[0] == NULL || d[1] == NULL)
		return 3;
	ports = fopen(argv[1], "w");
	if (ports == NULL || fprintf(ports, "%u %u\n", port_of(d[0]), port_of(d[1])) < 0 ||
	    fclose(ports) != 0)
		return 4;
	if (drop(argv[3], strcmp(argv[4], "1") == 0) < 0)
		return 5;
	serve(d);
	MHD_stop_daemon(d[0]);
	MHD_stop_daemon(d[1]);
	meter = eg_meter_close(meter);
	if (meter == NULL)
		eg_env_close(&env);
	_exit(0); /* a search for leaks would need ptrace, which is gone */
}
