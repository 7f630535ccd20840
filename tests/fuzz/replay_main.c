/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs one fuzzer's entry over its corpus and over changed copies of it, without libFuzzer, so that
 * every `./check` replays each parser of outside bytes on any compiler. The changes are the usual
 * accidents - cut short, bits flipped, bytes replaced, pieces doubled or swapped between two files -
 * drawn from a fixed seed: the same inputs in every run. A crash names its input; a sanitizer build
 * finds the quieter ones. Speaks TAP; an empty corpus is a failure.
 *
 *     replay CORPUS-DIR [CHANGED-INPUTS]
 */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILES_MAX    4096
#define INPUT_MAX    (1u << 20) /* of one file, bytes */
#define CHANGED_MAX  (1u << 16) /* longer files are cut before they are changed: time */
#define HANG_SECONDS 20

#ifdef __has_feature
#define HAS_ASAN __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#else
#define HAS_ASAN 0
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	char name[256];
	uint8_t *data;
	size_t size;
};

static char current[512]; /* what runs now, for the handler below */

static void say_and_die(int sig)
{
	static const char text[] = "# died in: ";
	ssize_t ignored = write(STDOUT_FILENO, text, sizeof(text) - 1);

	ignored = write(STDOUT_FILENO, current, strlen(current));
	ignored = write(STDOUT_FILENO, "\n", 1);
	(void)ignored;
	_exit(128 + sig);
}

/* xorshift64*: the same on every machine. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 2685821657736338717ULL;
}

static size_t below(uint64_t *state, size_t n)
{
	return n ? (size_t)(next_random(state) % n) : 0;
}

/* An exact-size heap copy, so that a sanitizer sees the first byte read past the end. */
static void run_input(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy) {
		printf("Bail out! no memory\n");
		exit(1);
	}
	if (size)
		memcpy(copy, data, size);
	alarm(HANG_SECONDS);
	LLVMFuzzerTestOneInput(copy, size);
	alarm(0);
	free(copy);
}

static size_t load(const char *dir, struct input *inputs)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	size_t n = 0;

	while (d && (e = readdir(d)) && n < FILES_MAX) {
		char path[4096];
		FILE *f;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		f = fopen(path, "rb");
		if (!f)
			continue;
		inputs[n].data = malloc(INPUT_MAX);
		if (inputs[n].data) {
			snprintf(inputs[n].name, sizeof(inputs[n].name), "%s", e->d_name);
			inputs[n].size = fread(inputs[n].data, 1, INPUT_MAX, f);
			n++;
		}
		fclose(f);
	}
	if (d)
		closedir(d);
	return n;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct input *)a)->name, ((const struct input *)b)->name);
}

/* Applies one change in place; returns the new size. */
static size_t change(uint8_t *buf, size_t size, const struct input *other, uint64_t *rnd)
{
	static const uint8_t special[] = {0,   0xff, 0x7f, 0x80, '\n', ' ',
					  '-', '9',  '0',  '.',	 'e',  '<'};
	size_t at = below(rnd, size), n;

	if (!size)
		return 0;
	switch (below(rnd, 7)) {
	case 0: /* cut short */
		return at;
	case 1:
		buf[at] ^= (uint8_t)(1u << below(rnd, 8));
		return size;
	case 2:
		buf[at] = special[below(rnd, sizeof(special))];
		return size;
	case 3: /* a piece taken out */
		n = 1 + below(rnd, size - at);
		memmove(buf + at, buf + at + n, size - at - n);
		return size - n;
	case 4: /* a piece doubled */
		n = 1 + below(rnd, size - at);
		n = n < CHANGED_MAX - size ? n : CHANGED_MAX - size;
		memmove(buf + at + n, buf + at, size - at);
		return size + n;
	case 5: /* a run of one byte */
		n = 1 + below(rnd, size - at);
		memset(buf + at, special[below(rnd, sizeof(special))], n);
		return size;
	default: /* the tail of another file */
		n = below(rnd, other->size);
		if (n > CHANGED_MAX - at)
			n = CHANGED_MAX - at;
		memcpy(buf + at, other->data + (other->size - n), n);
		return at + n;
	}
}

int main(int argc, char **argv)
{
	static const int fatal[] = {SIGABRT, SIGALRM, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
	size_t changed = argc > 2 ? strtoul(argv[2], NULL, 10) : 4000;
	struct input *inputs = calloc(FILES_MAX, sizeof(*inputs));
	uint8_t *buf = malloc(CHANGED_MAX);
	uint64_t rnd = 0x9e3779b97f4a7c15ULL;
	size_t n;

	if (argc < 2 || !inputs || !buf) {
		fprintf(stderr, "usage: replay CORPUS-DIR [CHANGED-INPUTS]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
		struct sigaction sa = {.sa_handler = say_and_die};

		/* A sanitizer has its own report for the rest. */
		if (fatal[i] == SIGALRM || fatal[i] == SIGABRT || !HAS_ASAN)
			sigaction(fatal[i], &sa, NULL);
	}
	n = load(argv[1], inputs);
	qsort(inputs, n, sizeof(*inputs), by_name);
	printf("1..2\n");
	if (!n) {
		printf("# no input in %s\nnot ok 1 - corpus\nnot ok 2 - changed corpus\n", argv[1]);
		return 1;
	}

	run_input(NULL, 0);
	for (size_t i = 0; i < n; i++) {
		snprintf(current, sizeof(current), "%s", inputs[i].name);
		run_input(inputs[i].data, inputs[i].size);
	}
	printf("ok 1 - corpus of %zu files\n", n);

	for (size_t k = 0; k < changed; k++) {
		const struct input *from = &inputs[k % n], *other = &inputs[below(&rnd, n)];
		size_t size = from->size < CHANGED_MAX ? from->size : CHANGED_MAX;
		size_t times = 1 + below(&rnd, 3);

		memcpy(buf, from->data, size);
		for (size_t t = 0; t < times; t++)
			size = change(buf, size, other, &rnd);
		snprintf(current, sizeof(current), "%s, change %zu", from->name, k);
		run_input(buf, size);
	}
	printf("ok 2 - %zu changed inputs\n", changed);

	for (size_t i = 0; i < n; i++)
		free(inputs[i].data);
	free(inputs);
	free(buf);
	return 0;
}
