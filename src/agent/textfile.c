/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page for node_exporter's textfile collector, written by a thread of its own: a disk that does not
 * answer delays nobody. The newest page wins. At the end the file goes: the collector would show the last
 * power of a stopped agent for ever.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "agent/internal.h"
#include "base/thread.h"
#include "export/file.h"

struct eg_textfile {
	char *path;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	char *page; /* waiting; the thread takes it */
	size_t len;
	bool busy, quit, written;
	int last_error;
};

static void say(const struct eg_textfile *t, int r)
{
	if (r == t->last_error)
		return;
	if (r == 0)
		eg_log(EG_LOG_INFO, "textfile", "%s can be written again", t->path);
	else /* Landlock knows the directory, not its name */
		eg_log(EG_LOG_ERROR, "textfile", "%s cannot be written: %s%s", t->path,
		       eg_errno_text(r),
		       r == -EACCES ? "; if its directory was made anew, restart the agent" : "");
}

static void *write_pages(void *arg)
{
	struct eg_textfile *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!t->quit) {
		char *page = eg_take_ptr(t->page);
		size_t len = t->len;
		int r;

		if (!page) {
			pthread_cond_wait(&t->wake, &t->lock);
			continue;
		}
		t->busy = true;
		pthread_mutex_unlock(&t->lock);
		r = eg_file_replace(t->path, page, len, 0644, false);
		free(page);
		say(t, r);
		t->last_error = r;
		t->written |= r == 0;
		pthread_mutex_lock(&t->lock);
		t->busy = false;
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

int eg_textfile_new(const char *path, struct eg_textfile **ret)
{
	struct eg_textfile *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->path = strdup(path);
	if (!t->path) {
		free(t);
		return -ENOMEM;
	}
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wake, NULL);
	r = eg_thread_start(&t->thread, write_pages, t);
	if (r < 0) {
		free(t->path);
		free(t);
		return r;
	}
	*ret = t;
	return 0;
}

struct eg_textfile *eg_textfile_free(struct eg_textfile *t)
{
	if (!t)
		return NULL;
	pthread_mutex_lock(&t->lock);
	t->quit = true;
	pthread_cond_signal(&t->wake);
	if (t->busy) { /* a disk that hangs does not keep us */
		pthread_mutex_unlock(&t->lock);
		pthread_detach(t->thread);
		return NULL;
	}
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	if (t->written)
		(void)unlink(t->path);
	free(t->page);
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	free(t->path);
	free(t);
	return NULL;
}

bool eg_textfile_offer(struct eg_textfile *t, const char *data, size_t len)
{
	char *copy = malloc(len + 1);
	bool taken = false;

	if (!copy)
		return false;
	memcpy(copy, data, len);
	pthread_mutex_lock(&t->lock);
	if (!t->page) {
		t->page = eg_take_ptr(copy);
		t->len = len;
		taken = true;
		pthread_cond_signal(&t->wake);
	}
	pthread_mutex_unlock(&t->lock);
	free(copy);
	return taken;
}
