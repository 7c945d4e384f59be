/* What bindgen reads: DPDK's headers, the shims, and constants that bindgen cannot evaluate itself.
 * Read at build time only; holds no code. */
#ifndef GETVPN_DPDK_WRAPPER_H
#define GETVPN_DPDK_WRAPPER_H

#ifndef ALLOW_EXPERIMENTAL_API
#define ALLOW_EXPERIMENTAL_API
#endif

#include <stddef.h>
#include <stdint.h>

#include <rte_acl.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_ip_frag.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <rte_telemetry.h>

/* Where the fields of an mbuf lie. offsetof finds them at any depth of anonymous structs and unions,
 * which have changed between DPDK releases. */
enum shim_mbuf_offset {
	SHIM_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	SHIM_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	SHIM_MBUF_REFCNT = offsetof(struct rte_mbuf, refcnt),
	SHIM_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	SHIM_MBUF_PORT = offsetof(struct rte_mbuf, port),
	SHIM_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	SHIM_MBUF_PACKET_TYPE = offsetof(struct rte_mbuf, packet_type),
	SHIM_MBUF_HASH = offsetof(struct rte_mbuf, hash),
	SHIM_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	SHIM_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	SHIM_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
	SHIM_MBUF_NEXT = offsetof(struct rte_mbuf, next),
	SHIM_MBUF_TX_OFFLOAD = offsetof(struct rte_mbuf, tx_offload),
	SHIM_MBUF_L2_LEN_BITS = RTE_MBUF_L2_LEN_BITS,
	SHIM_MBUF_L3_LEN_BITS = RTE_MBUF_L3_LEN_BITS,
};

/* A mark is a word in the place of the hash. */
_Static_assert(sizeof(((struct rte_mbuf *)0)->hash) == sizeof(uint64_t), "the hash of an mbuf is not eight octets");

/* Packet fields that a device spreads over its receive queues. */
static const uint64_t SHIM_RSS_IP = RTE_ETH_RSS_IP;
static const uint64_t SHIM_RSS_PORTS = RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP;

static const uint64_t SHIM_RX_OFFLOAD_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t SHIM_TX_OFFLOAD_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;

static const uint64_t SHIM_TX_IP_CHECKSUM = RTE_MBUF_F_TX_IP_CKSUM;

/* rte_eal_init with everything it says, be it by log, by stdout or by stderr, collected in *log, which
 * the caller frees with shim_free. May be NULL when out of memory. */
int shim_eal_init(int argc, char **argv, char **log);
void shim_free(void *memory);

/* rte_errno of this thread. */
int shim_errno(void);

/* This thread's lcore, or UINT32_MAX when it is none of EAL's. */
unsigned int shim_lcore_id(void);
uint64_t shim_cycles(void);

/* 0 when all n were allocated, otherwise none was. */
int shim_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int n);
void shim_mbuf_free(struct rte_mbuf *mbuf);
void shim_mbuf_free_bulk(struct rte_mbuf **mbufs, unsigned int n);
/* 0 when the packet lies in its first segment now; -1, and nothing changed, when it does not fit. */
int shim_mbuf_linearize(struct rte_mbuf *mbuf);
/* Appends the packet tail to the packet head; 0, or -EOVERFLOW and nothing changed. */
int shim_mbuf_chain(struct rte_mbuf *head, struct rte_mbuf *tail);

uint16_t shim_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);
uint16_t shim_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);

/* 1 when the port's link is up, 0 when it is down, negative when the driver cannot tell. */
int shim_eth_link_is_up(uint16_t port);

unsigned int shim_ring_enqueue_burst(struct rte_ring *ring, struct rte_mbuf **mbufs, unsigned int n);
unsigned int shim_ring_dequeue_burst(struct rte_ring *ring, struct rte_mbuf **mbufs, unsigned int n);
int shim_tel_data_add_dict_u64(struct rte_tel_data *data, const char *name, uint64_t value);

#endif
