#include <stdint.h>

/// How often this process has asked for memory on the heap so far.
uint64_t allocation_count(void);
