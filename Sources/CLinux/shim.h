#ifndef FLOWOS_CLINUX_H
#define FLOWOS_CLINUX_H
/* Declarations of the C library that Swift's Glibc module leaves out, for they need _GNU_SOURCE. */
#include <stddef.h>
void *memmem(const void *haystack, size_t haystacklen, const void *needle, size_t needlelen);
#endif
