/* Functions for what DPDK offers only as inline functions, macros or thread-local variables, and the
 * capture of what EAL says while it starts. Those of the packet path take bursts. No logic else. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_version.h>

#include "wrapper.h"

int shim_eal_init(int argc, char **argv, char **log)
{
	char *text = NULL;
	size_t length = 0;
	FILE *memory = open_memstream(&text, &length);
	FILE *out = stdout;
	FILE *err = stderr;
	int result;

	*log = NULL;
	if (memory == NULL)
		return rte_eal_init(argc, argv);

	/* The usage text goes to stdout, getopt's complaints go to stderr, the rest is logged. Only C's
	 * streams are exchanged, not the descriptors. */
	rte_openlog_stream(memory);
	stdout = memory;
	stderr = memory;
	result = rte_eal_init(argc, argv);
	stdout = out;
	stderr = err;
	rte_openlog_stream(NULL);

	/* Not closed: one of EAL's own threads may be about to write to it. */
	fflush(memory);
	if (text != NULL)
		*log = strndup(text, length);
	return result;
}

void shim_free(void *memory)
{
	free(memory);
}

int shim_errno(void)
{
	return rte_errno;
}

unsigned int shim_lcore_id(void)
{
	return rte_lcore_id();
}

uint64_t shim_cycles(void)
{
	return rte_rdtsc();
}

int shim_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int n)
{
	return rte_pktmbuf_alloc_bulk(pool, mbufs, n);
}

void shim_mbuf_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

void shim_mbuf_free_bulk(struct rte_mbuf **mbufs, unsigned int n)
{
	rte_pktmbuf_free_bulk(mbufs, n);
}

int shim_mbuf_linearize(struct rte_mbuf *mbuf)
{
	return rte_pktmbuf_linearize(mbuf);
}

int shim_mbuf_chain(struct rte_mbuf *head, struct rte_mbuf *tail)
{
	return rte_pktmbuf_chain(head, tail);
}

uint16_t shim_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_rx_burst(port, queue, mbufs, n);
}

uint16_t shim_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, mbufs, n);
}

int shim_eth_link_is_up(uint16_t port)
{
	struct rte_eth_link link;
	int result;

	memset(&link, 0, sizeof(link));
	result = rte_eth_link_get_nowait(port, &link);
	return result < 0 ? result : link.link_status == RTE_ETH_LINK_UP;
}

unsigned int shim_ring_enqueue_burst(struct rte_ring *ring, struct rte_mbuf **mbufs, unsigned int n)
{
	return rte_ring_enqueue_burst(ring, (void *const *)mbufs, n, NULL);
}

unsigned int shim_ring_dequeue_burst(struct rte_ring *ring, struct rte_mbuf **mbufs, unsigned int n)
{
	return rte_ring_dequeue_burst(ring, (void **)mbufs, n, NULL);
}

int shim_tel_data_add_dict_u64(struct rte_tel_data *data, const char *name, uint64_t value)
{
#if RTE_VERSION >= RTE_VERSION_NUM(23, 3, 0, 0)
	return rte_tel_data_add_dict_uint(data, name, value);
#else
	return rte_tel_data_add_dict_u64(data, name, value);
#endif
}
