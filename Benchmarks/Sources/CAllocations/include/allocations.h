#pragma once
#include <stdint.h>

/// How often memory was taken from the heap since the program began.
uint64_t allocation_count(void);

/// Calls `body`; a profiler that counts only within this function counts that.
void counted(void (*body)(void *), void *context) __attribute__((noinline));
