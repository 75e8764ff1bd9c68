// The references that FlowOS is measured against: the tightest loops that read every packet of a netfilter queue.
//
//   queue accept QUEUE [segmented]   accepts every packet
//   queue headers QUEUE [segmented]  the same with no more than the first 128 octets of each (the copy range)
//   queue mangle QUEUE [segmented]   copies every packet back, with a new transport checksum over all of it
//   queue packet QUEUE               drops TCP over IPv4 and sends it anew, for the kernel to cut and to compute its checksums:
//                                    with a packet socket into the interface lo; mangles all other packets
//   queue tun QUEUE                  the same through a TUN of its own, flowos0
//
// Packets come whole and unsegmented (NFQA_CFG_F_GSO); with `segmented` the kernel cuts them before they are queued, as it
// does for readers that cannot take long ones. Writes "ready" when it reads, and runs until a signal ends it.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { batch = 32, buffer_size = 72 << 10, verdict_octets = 512 << 10, verdict_header = 36 };

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

static void set_up(int is_segmented, uint32_t copy_range) {
  descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0) fail("netlink");
  int receive_buffer = 128 << 20, send_buffer = 2 * verdict_octets, one = 1;
  if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof(int)) != 0 ||
      setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &send_buffer, sizeof(int)) != 0)
    fail("buffers");
  setsockopt(descriptor, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
  setsockopt(descriptor, SOL_NETLINK, NETLINK_NO_ENOBUFS, &one, sizeof one);

  _Alignas(8) char request[256];
  struct nlmsghdr *header = begin(request, NFQNL_MSG_CONFIG, queue);
  struct nfqnl_msg_config_cmd command = {.command = NFQNL_CFG_CMD_BIND};
  struct nfqnl_msg_config_params parameters = {.copy_range = htonl(copy_range), .copy_mode = NFQNL_COPY_PACKET};
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

// What a super-packet leaves by: a packet socket or a TUN, each with a virtio-net header in front of the packet.
static int road;
static int is_tun;
enum { segment_mtu = 1500 };

static void open_road(void) {
  int one = 1;
  if (!is_tun) {
    road = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (road < 0 || setsockopt(road, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) != 0) fail("packet socket");
    int send_buffer = 8 << 20;
    if (setsockopt(road, SOL_SOCKET, SO_SNDBUFFORCE, &send_buffer, sizeof(int)) != 0) fail("send buffer");
    return;
  }
  road = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  struct ifreq request = {.ifr_name = "flowos0", .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
  if (road < 0 || ioctl(road, TUNSETIFF, &request) != 0) fail("TUN");
  if (ioctl(road, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) != 0) fail("TUN offload");
  int any = socket(AF_INET, SOCK_DGRAM, 0);
  request.ifr_flags = IFF_UP;
  if (any < 0 || ioctl(any, SIOCSIFFLAGS, &request) != 0) fail("TUN up");
  close(any);
}

// What goes with one super-packet: its own headers, and the address of lo.
struct departure {
  struct virtio_net_hdr header;
  struct ethhdr ethernet;
  struct sockaddr_ll address;
  struct iovec pieces[3];
};

static int can_be_injected(const struct packet *packet) {
  return packet->octets[0] >> 4 == 4 && packet->octets[9] == IPPROTO_TCP;
}

static void make_departure(struct departure *departure, unsigned char *packet, size_t count) {
  size_t start = (packet[0] & 15) * 4, headers = start + (packet[start + 12] >> 4) * 4;
  uint64_t pseudo = sum(packet + 12, 8) + htons(packet[9]) + htons((uint16_t)(count - start));
  *(uint16_t *)(packet + start + 16) = ~fold(pseudo);
  size_t link = is_tun ? 0 : sizeof departure->ethernet;
  *departure = (struct departure){
      .header = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = link + start, .csum_offset = 16},
      .ethernet = {.h_proto = htons(ETH_P_IP)},
      .address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = 1, .sll_halen = 6}};
  if (count > segment_mtu) {
    departure->header.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
    departure->header.gso_size = segment_mtu - headers;
    departure->header.hdr_len = link + headers;
  }
  departure->pieces[0] = (struct iovec){&departure->header, sizeof departure->header};
  departure->pieces[1] = (struct iovec){&departure->ethernet, link};
  departure->pieces[2] = (struct iovec){packet, count};
}

static size_t begin_verdict(unsigned char *at, uint32_t id, uint16_t type, uint32_t what) {
  struct nlmsghdr *header = begin(at, type, queue);
  struct nfqnl_msg_verdict_hdr verdict = {.verdict = htonl(what), .id = id};
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
  size_t size = begin_verdict(verdict, last, NFQNL_MSG_VERDICT_BATCH, NF_ACCEPT);
  if (send(descriptor, verdict, size, 0) < 0) fail("verdict");
}

// As many verdicts in one call as the send buffer takes; packets go back from where they were received to. Where is_injecting,
// TCP over IPv4 is dropped, and sent anew behind all verdicts.
static void mangle_all(int count, int is_injecting) {
  static _Alignas(8) unsigned char headers[batch][verdict_header];
  static struct iovec pieces[3 * batch];
  static struct departure departures[batch];
  static struct mmsghdr leaving[batch];
  static unsigned char padding[4];
  struct msghdr message = {.msg_iov = pieces};
  size_t octets = 0;
  int departing = 0;
  for (int index = 0; index <= count; index++) {
    struct packet packet = {0};
    if (index < count) packet = read_packet(buffers[index], messages[index].msg_len);
    if (message.msg_iovlen > 0 && (index == count || octets + packet.count + 64 > verdict_octets)) {
      if (sendmsg(descriptor, &message, 0) < 0) fail("verdict");
      message.msg_iovlen = octets = 0;
    }
    if (!packet.octets) continue;
    unsigned char *header = headers[index];
    if (is_injecting && can_be_injected(&packet)) {
      size_t size = begin_verdict(header, packet.id, NFQNL_MSG_VERDICT, NF_DROP);
      pieces[message.msg_iovlen++] = (struct iovec){header, size};
      octets += size;
      make_departure(&departures[departing], packet.octets, packet.count);
      leaving[departing].msg_hdr = (struct msghdr){.msg_name = &departures[departing].address,
                                                   .msg_namelen = sizeof(struct sockaddr_ll),
                                                   .msg_iov = departures[departing].pieces,
                                                   .msg_iovlen = 3};
      departing++;
      continue;
    }
    renew_checksum(packet.octets, packet.count);
    size_t size = begin_verdict(header, packet.id, NFQNL_MSG_VERDICT, NF_ACCEPT);
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
  if (is_tun) {
    for (int index = 0; index < departing; index++)
      if (writev(road, departures[index].pieces, 3) < 0) fail("TUN");
  } else {
    for (int sent = 0; sent < departing;) {
      int taken = sendmmsg(road, leaving + sent, departing - sent, 0);
      if (taken < 0) fail("packet socket");
      sent += taken;
    }
  }
}

int main(int count, char **words) {
  const char *mode = count > 1 ? words[1] : "";
  int is_mangling = strcmp(mode, "mangle") == 0, has_headers_alone = strcmp(mode, "headers") == 0;
  is_tun = strcmp(mode, "tun") == 0;
  int is_injecting = is_tun || strcmp(mode, "packet") == 0;
  int is_segmented = count == 4 && !is_injecting && strcmp(words[3], "segmented") == 0;
  if (count < 3 || count > 4 || (count == 4 && !is_segmented) ||
      (!is_mangling && !is_injecting && !has_headers_alone && strcmp(mode, "accept") != 0)) {
    fprintf(stderr, "usage: queue accept|headers|mangle QUEUE [segmented]\n       queue packet|tun QUEUE\n");
    return 2;
  }
  queue = (uint16_t)atoi(words[2]);
  if (is_injecting) open_road();
  set_up(is_segmented, has_headers_alone ? 128 : 0xffff);
  puts("ready");
  fflush(stdout);
  for (;;) {
    int received = recvmmsg(descriptor, messages, batch, MSG_WAITFORONE, NULL);
    if (received < 0) {
      if (errno == EINTR) continue;
      fail("receive");
    }
    if (is_mangling || is_injecting) mangle_all(received, is_injecting); else accept_all(received);
  }
}
