// Datagrams of one size, as fast as the way takes them without losing any: the receiver tells how many have come, and no more
// than `window` are on their way.
//
//   datagrams receive PORT                      answers the first sender, until a signal ends it; writes "ready"
//   datagrams send ADDRESS PORT SIZE SECONDS    SIZE octets each with their IP header; writes JSON: seconds, datagrams that came
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { window = 512, answer_interval = 64, batch = 32, headers = 28, largest = 1500 };

static struct mmsghdr messages[batch];
static struct iovec vectors[batch];
static unsigned char octets[batch][largest];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int open_socket(void) {
  int opened = socket(AF_INET, SOCK_DGRAM, 0), size = 8 << 20;
  if (opened < 0) fail("socket");
  setsockopt(opened, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  return opened;
}

static void prepare(size_t size) {
  for (int index = 0; index < batch; index++) {
    vectors[index] = (struct iovec){octets[index], size};
    messages[index].msg_hdr = (struct msghdr){.msg_iov = &vectors[index], .msg_iovlen = 1};
  }
}

// A datagram that begins with zero begins the count anew, and is answered at once.
static void receive_all(int port) {
  int opened = open_socket();
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)}, sender;
  if (bind(opened, (struct sockaddr *)&own, sizeof own) != 0) fail("bind");
  puts("ready");
  fflush(stdout);
  prepare(largest);
  uint64_t came = 0, told = 0;
  for (;;) {
    messages[0].msg_hdr.msg_name = &sender;
    messages[0].msg_hdr.msg_namelen = sizeof sender;
    int count = recvmmsg(opened, messages, batch, MSG_WAITFORONE, NULL);
    if (count < 0) fail("receive");
    for (int index = 0; index < count; index++) {
      if (octets[index][0] == 0) came = told = 0;
      came++;
      if (came != 1 && came - told < answer_interval) continue;
      told = came;
      sendto(opened, &came, sizeof came, 0, (struct sockaddr *)&sender, sizeof sender);
    }
  }
}

static void send_all(const char *address, int port, size_t size, double seconds) {
  int opened = open_socket();
  struct sockaddr_in receiver = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, address, &receiver.sin_addr) != 1 ||
      connect(opened, (struct sockaddr *)&receiver, sizeof receiver) != 0)
    fail("connect");
  struct timeval patience = {.tv_usec = 200000};
  setsockopt(opened, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  prepare(size - headers);
  uint64_t sent = 1, came = 0, answer;
  octets[0][0] = 0;
  if (send(opened, octets[0], size - headers, 0) < 0 || recv(opened, &came, sizeof came, 0) != sizeof came) fail("first");
  for (int index = 0; index < batch; index++) memset(octets[index], 1, largest);
  double began = now();
  while (now() - began < seconds) {
    if (sent + batch - came <= window) {
      int count = sendmmsg(opened, messages, batch, 0);
      if (count < 0) fail("send");
      sent += (uint64_t)count;
    }
    while (recv(opened, &answer, sizeof answer, sent + batch - came <= window ? MSG_DONTWAIT : 0) == sizeof answer)
      came = answer;
    // Those that were lost would be waited for without end.
    if ((errno == EAGAIN && sent + batch - came > window) || sent < came) sent = came;
  }
  printf("{\"seconds\": %.6f, \"datagrams\": %llu}\n", now() - began, (unsigned long long)came);
}

int main(int count, char **words) {
  if (count == 3 && strcmp(words[1], "receive") == 0) receive_all(atoi(words[2]));
  int size = count == 6 ? atoi(words[4]) : 0;
  if (count != 6 || strcmp(words[1], "send") != 0 || size < headers + 1 || size > largest) {
    fprintf(stderr, "usage: datagrams receive PORT\n       datagrams send ADDRESS PORT SIZE SECONDS\n");
    return 2;
  }
  send_all(words[2], atoi(words[3]), (size_t)size, atof(words[5]));
}
