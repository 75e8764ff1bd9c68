// The references that FlowOS is measured against: the tightest loops that read every packet of a netfilter queue.
//
//   queue accept QUEUE [segmented]   accepts every packet
//   queue mangle QUEUE [segmented]   copies every packet back, with a new transport checksum over all of it
//
// Packets come whole and unsegmented (NFQA_CFG_F_GSO); with `segmented` the kernel cuts them before they are queued, as it
// does for readers that cannot take long ones. Writes "ready" when it reads, and runs until a signal ends it.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { batch = 32, buffer_size = 72 << 10, verdict_octets = 256 << 10, verdict_header = 36 };

static int descriptor;
static uint16_t queue;
static unsigned char *buffers[batch];
static struct mmsghdr messages[batch];
static struct iovec vectors[batch];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

// What stands in front of every message to the kernel.
static struct nlmsghdr *begin(void *at, uint16_t type, uint16_t resource) {
  struct nlmsghdr *header = at;
  *header = (struct nlmsghdr){.nlmsg_len = NLMSG_LENGTH(sizeof(struct nfgenmsg)),
                              .nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | type,
                              .nlmsg_flags = NLM_F_REQUEST};
  *(struct nfgenmsg *)NLMSG_DATA(header) =
      (struct nfgenmsg){.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(resource)};
  return header;
}

static void add(struct nlmsghdr *header, uint16_t type, const void *value, uint16_t size) {
  struct nlattr *attribute = (struct nlattr *)((char *)header + NLMSG_ALIGN(header->nlmsg_len));
  *attribute = (struct nlattr){.nla_len = NLA_HDRLEN + size, .nla_type = type};
  memcpy(attribute + 1, value, size);
  header->nlmsg_len = NLMSG_ALIGN(header->nlmsg_len) + NLA_ALIGN(attribute->nla_len);
}

static void set_up(int is_segmented) {
  descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0) fail("netlink");
  int receive_buffer = 32 << 20, send_buffer = 2 * verdict_octets, one = 1;
  if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof(int)) != 0 ||
      setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &send_buffer, sizeof(int)) != 0)
    fail("buffers");
  setsockopt(descriptor, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
  setsockopt(descriptor, SOL_NETLINK, NETLINK_NO_ENOBUFS, &one, sizeof one);

  _Alignas(8) char request[256];
  struct nlmsghdr *header = begin(request, NFQNL_MSG_CONFIG, queue);
  struct nfqnl_msg_config_cmd command = {.command = NFQNL_CFG_CMD_BIND};
  struct nfqnl_msg_config_params parameters = {.copy_range = htonl(0xffff), .copy_mode = NFQNL_COPY_PACKET};
  uint32_t length = htonl(16384), mask = htonl(NFQA_CFG_F_GSO), flags = is_segmented ? 0 : mask;
  add(header, NFQA_CFG_CMD, &command, sizeof command);
  add(header, NFQA_CFG_PARAMS, &parameters, sizeof parameters);
  add(header, NFQA_CFG_QUEUE_MAXLEN, &length, sizeof length);
  add(header, NFQA_CFG_MASK, &mask, sizeof mask);
  add(header, NFQA_CFG_FLAGS, &flags, sizeof flags);
  header->nlmsg_flags |= NLM_F_ACK;
  if (send(descriptor, request, header->nlmsg_len, 0) < 0) fail("configure");
  struct {
    struct nlmsghdr header;
    struct nlmsgerr error;
  } answer;
  do {
    if (recv(descriptor, &answer, sizeof answer, MSG_TRUNC) < 0) fail("configure");
  } while (answer.header.nlmsg_type != NLMSG_ERROR);
  errno = -answer.error.error;
  if (errno != 0) fail("configure");

  for (int index = 0; index < batch; index++) {
    buffers[index] = aligned_alloc(4096, buffer_size);
    vectors[index] = (struct iovec){.iov_base = buffers[index], .iov_len = buffer_size};
    messages[index].msg_hdr = (struct msghdr){.msg_iov = &vectors[index], .msg_iovlen = 1};
  }
}

struct packet {
  uint32_t id;  // as it came, in network order
  unsigned char *octets;
  size_t count;
};

// The packet in a message of `count` octets; without an id where it is something else.
static struct packet read_packet(unsigned char *message, size_t count) {
  struct packet packet = {0};
  struct nlmsghdr *header = (struct nlmsghdr *)message;
  if (count < NLMSG_HDRLEN || header->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET)) return packet;
  unsigned char *at = message + NLMSG_LENGTH(sizeof(struct nfgenmsg)), *end = message + header->nlmsg_len;
  while (at + NLA_HDRLEN <= end) {
    struct nlattr *attribute = (struct nlattr *)at;
    switch (attribute->nla_type & NLA_TYPE_MASK) {
      case NFQA_PACKET_HDR: packet.id = ((struct nfqnl_msg_packet_hdr *)(attribute + 1))->packet_id; break;
      case NFQA_PAYLOAD:
        packet.octets = at + NLA_HDRLEN;
        packet.count = attribute->nla_len - NLA_HDRLEN;
        break;
    }
    if (attribute->nla_len < NLA_HDRLEN) break;
    at += NLA_ALIGN(attribute->nla_len);
  }
  return packet;
}

// The sum of 16-bit words of RFC 1071, not folded, in the order of the machine. Two accumulators keep both ALUs at work.
static uint64_t sum(const unsigned char *octets, size_t count) {
  uint64_t low = 0, high = 0;
  const uint32_t *words = (const uint32_t *)octets;
  size_t whole = count / 4;
  for (size_t index = 0; index + 1 < whole; index += 2) {
    low += words[index];
    high += words[index + 1];
  }
  if (whole & 1) low += words[whole - 1];
  uint32_t rest = 0;
  memcpy(&rest, octets + whole * 4, count & 3);
  return low + high + rest;
}

static uint16_t fold(uint64_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~(uint16_t)sum;
}

// Computes the checksum of TCP or UDP over IPv4 anew, over every octet.
static void renew_checksum(unsigned char *packet, size_t count) {
  size_t start = (packet[0] & 15) * 4;
  int field = packet[9] == IPPROTO_TCP ? 16 : packet[9] == IPPROTO_UDP ? 6 : -1;
  if (packet[0] >> 4 != 4 || field < 0 || count < start + field + 2) return;
  uint16_t *checksum = (uint16_t *)(packet + start + field);
  *checksum = 0;
  uint64_t pseudo = sum(packet + 12, 8) + htons(packet[9]) + htons((uint16_t)(count - start));
  *checksum = fold(pseudo + sum(packet + start, count - start));
}

static size_t begin_verdict(unsigned char *at, uint32_t id, uint16_t type) {
  struct nlmsghdr *header = begin(at, type, queue);
  struct nfqnl_msg_verdict_hdr verdict = {.verdict = htonl(NF_ACCEPT), .id = id};
  add(header, NFQA_VERDICT_HDR, &verdict, sizeof verdict);
  return header->nlmsg_len;
}

// One message accepts all packets up to the last of the batch.
static void accept_all(int count) {
  uint32_t last = 0;
  for (int index = 0; index < count; index++) {
    struct packet packet = read_packet(buffers[index], messages[index].msg_len);
    if (packet.octets) last = packet.id;
  }
  if (last == 0) return;
  _Alignas(8) unsigned char verdict[64];
  size_t size = begin_verdict(verdict, last, NFQNL_MSG_VERDICT_BATCH);
  if (send(descriptor, verdict, size, 0) < 0) fail("verdict");
}

// As many verdicts in one call as the send buffer takes; packets go back from where they were received to.
static void mangle_all(int count) {
  static _Alignas(8) unsigned char headers[batch][verdict_header];
  static struct iovec pieces[3 * batch];
  static unsigned char padding[4];
  struct msghdr message = {.msg_iov = pieces};
  size_t octets = 0;
  for (int index = 0; index <= count; index++) {
    struct packet packet = {0};
    if (index < count) packet = read_packet(buffers[index], messages[index].msg_len);
    if (message.msg_iovlen > 0 && (index == count || octets + packet.count + 64 > verdict_octets)) {
      if (sendmsg(descriptor, &message, 0) < 0) fail("verdict");
      message.msg_iovlen = octets = 0;
    }
    if (!packet.octets) continue;
    renew_checksum(packet.octets, packet.count);
    unsigned char *header = headers[index];
    size_t size = begin_verdict(header, packet.id, NFQNL_MSG_VERDICT);
    *(struct nlattr *)(header + size) =
        (struct nlattr){.nla_len = NLA_HDRLEN + packet.count, .nla_type = NFQA_PAYLOAD};
    size += NLA_HDRLEN;
    ((struct nlmsghdr *)header)->nlmsg_len = size + packet.count;
    size_t rest = NLMSG_ALIGN(packet.count) - packet.count;
    pieces[message.msg_iovlen++] = (struct iovec){header, size};
    pieces[message.msg_iovlen++] = (struct iovec){packet.octets, packet.count};
    if (rest) pieces[message.msg_iovlen++] = (struct iovec){padding, rest};
    octets += size + packet.count + rest;
  }
}

int main(int count, char **words) {
  int is_mangling = count > 1 && strcmp(words[1], "mangle") == 0;
  int is_segmented = count == 4 && strcmp(words[3], "segmented") == 0;
  if (count < 3 || (count == 4 && !is_segmented) || count > 4 || (!is_mangling && strcmp(words[1], "accept") != 0)) {
    fprintf(stderr, "usage: queue accept|mangle QUEUE [segmented]\n");
    return 2;
  }
  queue = (uint16_t)atoi(words[2]);
  set_up(is_segmented);
  puts("ready");
  fflush(stdout);
  for (;;) {
    int received = recvmmsg(descriptor, messages, batch, MSG_WAITFORONE, NULL);
    if (received < 0) {
      if (errno == EINTR) continue;
      fail("receive");
    }
    if (is_mangling) mangle_all(received); else accept_all(received);
  }
}
