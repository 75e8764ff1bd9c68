#ifndef FLOWOS_CLINUX_H
#define FLOWOS_CLINUX_H
/* What Swift's Glibc module leaves out: headers that it does not cover, and what the C library declares under _GNU_SOURCE
   only. No logic. */
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <time.h>
void *memmem(const void *haystack, size_t haystacklen, const void *needle, size_t needlelen);
int ppoll(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout, const sigset_t *mask);
#endif
