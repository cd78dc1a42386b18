/* Under AddressSanitizer, what lies between a block and the end of its memory is out of bounds. */
#ifndef YOSORT_GUARD_H
#define YOSORT_GUARD_H

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
/* NumPy keeps memory of less than 1 kB for arrays of its own, without telling the sanitizer. */
enum { YS_GUARD = 1024 };
static void ys_guard(const void *from, size_t size) { ASAN_POISON_MEMORY_REGION(from, size); }
#else
enum { YS_GUARD = 0 };
static void ys_guard(const void *from, size_t size) { (void)from, (void)size; }
#endif

#endif
