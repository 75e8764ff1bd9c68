#ifndef FLOWOS_CNETFILTER_H
#define FLOWOS_CNETFILTER_H
#include <netinet/in.h>
#include <sys/socket.h>
#include <linux/errqueue.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/virtio_net.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_queue/libnetfilter_queue.h>

/* glibc shows these two calls only under _GNU_SOURCE, which Swift's importer does not set. */
#ifndef __USE_GNU
struct mmsghdr {
  struct msghdr msg_hdr;
  unsigned int msg_len;
};
int recvmmsg(int, struct mmsghdr *, unsigned int, int, struct timespec *);
int sendmmsg(int, struct mmsghdr *, unsigned int, int);
#endif
#endif
