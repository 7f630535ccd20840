/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint: any bytes as the file. The first byte of an input says whether the CRCs of header (bit 0)
 * and slots (bit 1) are made right first. Every entry of what is taken for whole is read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/bytes.h"
#include "store/checkpoint.h"
#include "store/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok)
{
	if (!ok)
		abort();
}

static void sign_slot(uint8_t *slot, size_t n)
{
	uint64_t count;

	if (n < EG_CHECKPOINT_SLOT_HEADER)
		return;
	count = eg_get_u64(slot + 8);
	if (count > (n - EG_CHECKPOINT_SLOT_HEADER) / EG_CHECKPOINT_ENTRY)
		return;
	eg_put_u32(slot,
		   eg_crc32c(0, slot + 4,
			     EG_CHECKPOINT_SLOT_HEADER - 4 + (size_t)count * EG_CHECKPOINT_ENTRY));
}

static void sign(uint8_t *data, size_t size, uint8_t what)
{
	uint64_t bytes;

	if (size < EG_CHECKPOINT_HEADER)
		return;
	if (what & 1)
		eg_put_u32(data + 252, eg_crc32c(0, data, 252));
	bytes = eg_get_u64(data + 24);
	for (uint64_t i = 0; what & 2 && i < 2; i++)
		if (bytes < size && EG_CHECKPOINT_HEADER + i * bytes < size)
			sign_slot(data + EG_CHECKPOINT_HEADER + i * bytes,
				  size - EG_CHECKPOINT_HEADER - (size_t)(i * bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct eg_checkpoint_found f = {.which = 7};
	uint8_t *copy;
	size_t n;
	int r;

	if (size == 0)
		return 0;
	n = size - 1;
	copy = malloc(n ? n : 1);
	if (!copy)
		return 0;
	if (n)
		memcpy(copy, data + 1, n);
	sign(copy, n, data[0]);
	r = eg_checkpoint_decode(copy, n, &f);
	check(r == 0 || r == -EPROTO);
	if (r == 0) {
		check(f.empty == (n == 0));
		check(f.whole <= 2 && f.damaged == (!f.whole && !f.empty));
		check(!f.whole || (f.which < 2 && f.slot.sequence > 0));
	}
	for (size_t i = 0; r == 0 && f.whole && i < f.slot.n; i++) {
		char name[EG_STORE_KEY_TEXT_MAX], feed[EG_STORE_FEED_MAX];
		uint8_t again[EG_CHECKPOINT_ENTRY];
		struct eg_numbers now, back;
		struct eg_entry e = {0};
		struct eg_account a;

		eg_checkpoint_entry(copy, &f, i, name, feed, &now);
		check(memchr(name, 0, sizeof(name)) && memchr(feed, 0, sizeof(feed)));
		eg_checkpoint_encode(again, name, strlen(name), feed, strlen(feed), &now);
		eg_numbers_decode(again, &back);
		check(back.uj == now.uj && back.last.raw == now.last.raw);
		check(eg_copy(e.name, sizeof(e.name), name) == 0);
		check(eg_copy(e.feed, sizeof(e.feed), feed) == 0);
		if (eg_entry_account(&e, &now, &a) == 0)
			check(a.uj == now.uj && a.device[sizeof(a.device) - 1] == 0);
	}
	free(copy);
	return 0;
}
