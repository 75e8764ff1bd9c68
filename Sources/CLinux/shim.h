#ifndef FLOWOS_CLINUX_H
#define FLOWOS_CLINUX_H
/* What Swift's Glibc module leaves out: headers that it does not cover, and what the C library declares under _GNU_SOURCE
   only. No logic. */
#include <semaphore.h>
#include <sched.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <time.h>
int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *deadline);
int sched_getaffinity(pid_t thread, size_t size, cpu_set_t *set);
int sched_setaffinity(pid_t thread, size_t size, const cpu_set_t *set);
void *memmem(const void *haystack, size_t haystacklen, const void *needle, size_t needlelen);
#endif
