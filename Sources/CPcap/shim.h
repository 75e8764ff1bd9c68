#ifndef FLOWOS_CPCAP_H
#define FLOWOS_CPCAP_H
#include <pcap/pcap.h>
#endif
