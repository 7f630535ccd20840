/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting runs far more code than going on does: constructors of libraries, relocation, reading the
 * configuration, looking for sensors. Its pages stay mapped: 7.7 MiB were resident on a machine with one
 * package and a board sensor, 4.5 MiB are without them. Here they are let go. What runs again comes back
 * from the page cache by a fault, 64 KiB at a time (mm/memory.c, fault_around_bytes); the rest does not.
 */
#include "agent/settle.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Code that was relocated in place is not what the file holds. */
static bool is_relocated(const struct dl_phdr_info *info)
{
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		const ElfW(Dyn) *d = (const void *)(info->dlpi_addr + p->p_vaddr);

		if (p->p_type != PT_DYNAMIC)
			continue;
		for (; d->d_tag != DT_NULL; d++)
			if (d->d_tag == DT_TEXTREL ||
			    (d->d_tag == DT_FLAGS && d->d_un.d_val & DF_TEXTREL))
				return true;
	}
	return false;
}

/* Never-written mappings alone: their pages are those of the file. */
static int let_go(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t page = *(const uintptr_t *)arg;

	if (is_relocated(info))
		return 0;
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t at = info->dlpi_addr + p->p_vaddr, end = at + p->p_memsz;

		if (p->p_type != PT_LOAD || p->p_flags & PF_W)
			continue;
		at &= ~(page - 1);
		(void)madvise((void *)at, end - at, MADV_DONTNEED); /* the vdso refuses */
	}
	return 0;
}

void eg_settle(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)malloc_trim(0);
	(void)dl_iterate_phdr(let_go, &page);
}
