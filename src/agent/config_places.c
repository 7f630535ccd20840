/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where state, socket and page go when nothing was said: the directories that systemd made for the
 * service, those of the system for root, those of the XDG base directory specification for a user.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "agent/config_internal.h"
#include "store/io.h"

/* False: does not fit. */
static bool put(char dst[EG_PLACE_MAX], const char *dir, size_t n, const char *rest)
{
	int len = snprintf(dst, EG_PLACE_MAX, "%.*s%s", (int)n, dir, rest);

	return len > 0 && len < EG_PLACE_MAX;
}

/* The first of a list as systemd gives it. */
static bool put_service(char dst[EG_PLACE_MAX], const char *list)
{
	return put(dst, list, strcspn(list, ":"), "");
}

static bool put_base(char dst[EG_PLACE_MAX], const char *base, const char *rest)
{
	return base != NULL && base[0] == '/' && put(dst, base, strlen(base), rest);
}

static bool find_state(const struct eg_config *c, const char *const *env, bool is_root,
		       char dst[EG_PLACE_MAX])
{
	const char *service = eg_config_getenv(env, "STATE_DIRECTORY");

	if (c->agent.state[0])
		return put(dst, c->agent.state, strlen(c->agent.state), "");
	if (c->energy.wal_path[0])
		return put(dst, c->energy.wal_path, strlen(c->energy.wal_path), "");
	if (service != NULL)
		return put_service(dst, service);
	if (is_root)
		return put_base(dst, "/var/lib", "/ergon");
	return put_base(dst, eg_config_getenv(env, "XDG_STATE_HOME"), "/ergon") ||
	       put_base(dst, eg_config_home(env), "/.local/state/ergon");
}

static bool find_run_dir(const struct eg_config *c, const char *const *env, bool is_root,
			 char dst[EG_PLACE_MAX])
{
	const char *service = eg_config_getenv(env, "RUNTIME_DIRECTORY");

	if (c->agent.run_dir[0])
		return put(dst, c->agent.run_dir, strlen(c->agent.run_dir), "");
	if (service != NULL)
		return put_service(dst, service);
	if (is_root)
		return put_base(dst, "/run", "/ergon");
	return put_base(dst, eg_config_getenv(env, "XDG_RUNTIME_DIR"), "/ergon");
}

static bool is_of_ledger(const char *state, const char *path)
{
	static const char *const names[] = {EG_STORE_LOCK, EG_STORE_LOG, EG_STORE_CHECKPOINT};
	size_t n = strlen(state);

	if (n == 0 || strncmp(path, state, n) != 0)
		return false;
	path += n;
	path += strspn(path, "/");
	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++)
		if (strcmp(path, names[i]) == 0)
			return true;
	return false;
}

/* Would one file replace another? */
static bool clash(const struct eg_places *p, const char *textfile, struct eg_strbuf *why)
{
	const struct {
		const char *name, *path;
	} file[] = {{"the socket", p->socket},
		    {"the energy page", p->page},
		    {"zeusd.socket", p->zeusd},
		    {"http.textfile", textfile}};

	for (size_t i = 0; i < EG_ARRAY_SIZE(file); i++) {
		if (is_of_ledger(p->state, file[i].path)) {
			eg_strbuf_printf(why, "%s would take the place of the ledger's %s",
					 file[i].name, file[i].path);
			return true;
		}
		for (size_t j = 0; j < i; j++)
			if (file[i].path[0] && strcmp(file[i].path, file[j].path) == 0) {
				eg_strbuf_printf(why, "%s and %s are the same file, %s",
						 file[j].name, file[i].name, file[i].path);
				return true;
			}
	}
	return false;
}

/* A limit of the kernel: unix(7). */
static bool fits_kernel(const char *path, const char *key, struct eg_strbuf *why)
{
	size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

	if (strlen(path) <= max)
		return true;
	eg_strbuf_printf(why, "the path of the socket, %s, has more than %zu bytes; set %s", path,
			 max, key);
	return false;
}

int eg_config_places(const struct eg_config *c, const char *const *env, bool is_root,
		     struct eg_places *ret, struct eg_strbuf *why)
{
	struct eg_places p = {0};
	bool have_run, fits = true;

	if (!find_state(c, env, is_root, p.state)) {
		p.state[0] = '\0';
		if (c->energy.wal_enabled) {
			eg_strbuf_puts(why,
				       "there is no place for the ledger: set agent.state "
				       "(--state DIR), or $HOME, or energy.wal_enabled = false");
			return -ENOENT;
		}
	}
	have_run = find_run_dir(c, env, is_root, p.run_dir);
	if (!have_run)
		p.run_dir[0] = '\0';
	if (c->socket.path[0] && strcmp(c->socket.path, "off") != 0)
		fits = put(p.socket, c->socket.path, strlen(c->socket.path), "");
	else if (!c->socket.path[0] && have_run)
		fits = put(p.socket, p.run_dir, strlen(p.run_dir), "/ergon.sock");
	if (c->page.enabled && c->page.path[0])
		fits = put(p.page, c->page.path, strlen(c->page.path), "") && fits;
	else if (c->page.enabled && have_run)
		fits = put(p.page, p.run_dir, strlen(p.run_dir), "/energy") && fits;
	if (c->zeusd.socket[0] && strcmp(c->zeusd.socket, "off") != 0)
		fits = put(p.zeusd, c->zeusd.socket, strlen(c->zeusd.socket), "") && fits;
	if (!fits) {
		eg_strbuf_puts(why, "the path of a socket or of the energy page is too long");
		return -ENAMETOOLONG;
	}
	if (!fits_kernel(p.socket, "socket.path (--socket PATH)", why) ||
	    !fits_kernel(p.zeusd, "zeusd.socket (--zeusd-socket PATH)", why))
		return -ENAMETOOLONG;
	if (clash(&p, c->http.textfile, why))
		return -EINVAL;
	*ret = p;
	return 0;
}
