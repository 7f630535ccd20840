/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See crc32c.h. The tables (slicing by 8: Kounavis and Berry, "A Systematic Approach to Building High
 * Performance, Software-based, CRC Generators", 2005) are computed once, when the program is loaded, so
 * that no caller pays for them and no thread sees them half made.
 */
#include "store/crc32c.h"

#include "base/util.h"
#include "store/bytes.h"

#if defined(__x86_64__)
#define HARDWARE_TARGET __attribute__((target("sse4.2")))
#elif defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <sys/auxv.h>
#define HARDWARE_TARGET __attribute__((target("+crc")))
#define ARM_HWCAP_CRC32 (1ul << 7) /* arch/arm64/include/uapi/asm/hwcap.h */
#endif

#define POLYNOMIAL 0x82f63b78u /* reflected */

static uint32_t table[8][256];
static bool by_hardware;

__attribute__((constructor)) static void prepare(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
		table[0][i] = crc;
	}
	for (size_t k = 1; k < 8; k++)
		for (size_t i = 0; i < 256; i++)
			table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
#if defined(__x86_64__)
	__builtin_cpu_init();
	by_hardware = __builtin_cpu_supports("sse4.2");
#elif defined(HARDWARE_TARGET)
	by_hardware = (getauxval(AT_HWCAP) & ARM_HWCAP_CRC32) != 0;
#endif
}

uint32_t eg_crc32c_portable(uint32_t crc, const void *data, size_t n)
{
	const uint8_t *p = data;

	crc = ~crc;
	for (; n >= 8; p += 8, n -= 8) {
		uint32_t low = eg_get_u32(p) ^ crc, high = eg_get_u32(p + 4);

		crc = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^
		      table[5][low >> 16 & 0xff] ^ table[4][low >> 24] ^ table[3][high & 0xff] ^
		      table[2][high >> 8 & 0xff] ^ table[1][high >> 16 & 0xff] ^
		      table[0][high >> 24];
	}
	while (n--)
		crc = crc >> 8 ^ table[0][(crc ^ *p++) & 0xff];
	return ~crc;
}

#ifdef HARDWARE_TARGET
#if defined(__x86_64__)
#define STEP_8(crc, v) ((uint32_t)__builtin_ia32_crc32di(crc, v))
#define STEP_1(crc, v) __builtin_ia32_crc32qi(crc, v)
#else
#define STEP_8(crc, v) __crc32cd(crc, v)
#define STEP_1(crc, v) __crc32cb(crc, v)
#endif

HARDWARE_TARGET static uint32_t hardware(uint32_t crc, const void *data, size_t n)
{
	const uint8_t *p = data;

	crc = ~crc;
	for (; n >= 8; p += 8, n -= 8)
		crc = STEP_8(crc, eg_get_u64(p));
	while (n--)
		crc = STEP_1(crc, *p++);
	return ~crc;
}
#endif

uint32_t eg_crc32c(uint32_t crc, const void *data, size_t n)
{
#ifdef HARDWARE_TARGET
	if (by_hardware)
		return hardware(crc, data, n);
#endif
	return eg_crc32c_portable(crc, data, n);
}

bool eg_crc32c_by_hardware(void)
{
	return by_hardware;
}
