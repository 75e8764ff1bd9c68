// A client of HTTP/1.1 that costs little, so that what is measured is the way between it and the server.
//
//   http fetch ADDRESS PORT PATH STREAMS REPEATS [warm]   on STREAMS connections at once, PATH so often in a row on each
//   http ask ADDRESS PORT PATH COUNT                      one request at a time on one connection
//
// Connections are opened before time is taken, and with `warm` each has fetched PATH once, so that windows are open. A response counts when it has come to its end, by its length or its last chunk;
// one that is cut short, or not 200, ends the program with exit code 1. Writes JSON: seconds, octets as they came, and for
// `fetch` the seconds of every stream, for `ask` those of every request.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { buffer_size = 256 << 10, head_size = 4096 };

struct stream {
  int descriptor, repeats;
  char head[head_size];
  size_t head_count;
  int is_in_body, is_chunked;
  uint64_t left;       // octets of the body that are still to come, where there is a length
  char tail[5];        // the last octets that came
  double ended;
};

static struct sockaddr_in server;
static char request[2048];
static size_t request_count;
static uint64_t octets;
static char buffer[buffer_size];

static void fail(const char *what) {
  fprintf(stderr, "http: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void open_stream(struct stream *stream) {
  stream->descriptor = socket(AF_INET, SOCK_STREAM, 0);
  int one = 1;
  if (stream->descriptor < 0 || connect(stream->descriptor, (struct sockaddr *)&server, sizeof server) != 0)
    fail("connect");
  setsockopt(stream->descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void send_request(struct stream *stream) {
  stream->head_count = 0;
  stream->is_in_body = stream->is_chunked = 0;
  if (send(stream->descriptor, request, request_count, MSG_NOSIGNAL) != (ssize_t)request_count) fail("send");
}

static void keep_tail(struct stream *stream, const char *bytes, size_t count) {
  if (count >= sizeof stream->tail) {
    memcpy(stream->tail, bytes + count - sizeof stream->tail, sizeof stream->tail);
  } else {
    memmove(stream->tail, stream->tail + count, sizeof stream->tail - count);
    memcpy(stream->tail + sizeof stream->tail - count, bytes, count);
  }
}

// Takes what came, and says whether the response is complete with it.
static int take(struct stream *stream, const char *bytes, size_t count) {
  octets += count;
  if (!stream->is_in_body) {
    size_t room = head_size - 1 - stream->head_count, part = count < room ? count : room, before = stream->head_count;
    memcpy(stream->head + before, bytes, part);
    stream->head_count += part;
    stream->head[stream->head_count] = 0;
    char *end = strstr(stream->head, "\r\n\r\n");
    errno = 0;
    if (!end && room == part) fail("the head of a response does not end");
    if (!end) return 0;
    size_t used = (size_t)(end + 4 - stream->head) - before;
    bytes += used;
    count -= used;
    *end = 0;
    if (strncmp(stream->head, "HTTP/1.1 200", 12) != 0) fail(stream->head);
    char *length = strcasestr(stream->head, "\r\nContent-Length:");
    stream->is_chunked = strcasestr(stream->head, "\r\nTransfer-Encoding: chunked") != NULL;
    if (!length && !stream->is_chunked) fail("a response has no length");
    stream->left = length ? strtoull(length + 17, NULL, 10) : 0;
    stream->is_in_body = 1;
    memset(stream->tail, 0, sizeof stream->tail);
  }
  if (stream->is_chunked) {
    keep_tail(stream, bytes, count);
    return memcmp(stream->tail, "0\r\n\r\n", 5) == 0;
  }
  if (count > stream->left) fail("a response is longer than it says");
  stream->left -= count;
  return stream->left == 0;
}

static size_t receive(struct stream *stream) {
  ssize_t count = recv(stream->descriptor, buffer, buffer_size, 0);
  if (count < 0) fail("receive");
  errno = 0;
  if (count == 0) fail("a response was cut short");
  return (size_t)count;
}

static void run(struct stream *streams, int count, int repeats, int poll) {
  for (int index = 0; index < count; index++) {
    streams[index].repeats = repeats;
    send_request(&streams[index]);
  }
  int running = count;
  while (running > 0) {
    struct epoll_event events[256];
    int ready = epoll_wait(poll, events, 256, 60000);
    if (ready < 0 && errno == EINTR) continue;
    errno = 0;
    if (ready <= 0) fail("nothing has come for a minute");
    for (int event = 0; event < ready; event++) {
      struct stream *stream = &streams[events[event].data.u32];
      if (!take(stream, buffer, receive(stream))) continue;
      if (--stream->repeats > 0) {
        send_request(stream);
      } else {
        stream->ended = now();
        running--;
      }
    }
  }
}

static void fetch(int count, int repeats, int is_warm) {
  struct rlimit limit = {.rlim_cur = (rlim_t)count + 64, .rlim_max = (rlim_t)count + 64};
  struct rlimit old;
  if (getrlimit(RLIMIT_NOFILE, &old) == 0 && old.rlim_cur < limit.rlim_cur && setrlimit(RLIMIT_NOFILE, &limit) != 0)
    fail("open files");
  struct stream *streams = calloc((size_t)count, sizeof *streams);
  int poll = epoll_create1(0);
  for (int index = 0; index < count; index++) {
    open_stream(&streams[index]);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)index};
    epoll_ctl(poll, EPOLL_CTL_ADD, streams[index].descriptor, &event);
  }
  if (is_warm) run(streams, count, 1, poll);
  octets = 0;
  double began = now();
  run(streams, count, repeats, poll);
  printf("{\"seconds\": %.6f, \"octets\": %llu, \"each\": [", now() - began, (unsigned long long)octets);
  for (int index = 0; index < count; index++) printf("%s%.6f", index ? ", " : "", streams[index].ended - began);
  puts("]}");
}

static void ask(int count) {
  struct stream stream = {0};
  open_stream(&stream);
  struct timeval patience = {.tv_sec = 60};
  setsockopt(stream.descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  double began = now();
  printf("{\"each\": [");
  for (int index = 0; index < count; index++) {
    double sent = now();
    send_request(&stream);
    while (!take(&stream, buffer, receive(&stream)))
      ;
    printf("%s%.9f", index ? ", " : "", now() - sent);
  }
  printf("], \"seconds\": %.6f, \"octets\": %llu}\n", now() - began, (unsigned long long)octets);
}

int main(int count, char **words) {
  int is_warm = count == 8 && strcmp(words[7], "warm") == 0;
  int is_fetching = (count == 7 || is_warm) && strcmp(words[1], "fetch") == 0;
  if (!is_fetching && !(count == 6 && strcmp(words[1], "ask") == 0)) {
    fprintf(stderr, "usage: http fetch ADDRESS PORT PATH STREAMS REPEATS [warm]\n       http ask ADDRESS PORT PATH COUNT\n");
    return 2;
  }
  server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[3]))};
  if (inet_pton(AF_INET, words[2], &server.sin_addr) != 1) fail("not an address");
  request_count = (size_t)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", words[4], words[2]);
  if (request_count >= sizeof request) fail("the path is too long");
  if (is_fetching) fetch(atoi(words[5]), atoi(words[6]), is_warm); else ask(atoi(words[5]));
}
