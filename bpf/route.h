/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* The way to a peer by the stack's tables, which are asked again after a moment, not for every packet. */
#ifndef ROUTE_H
#define ROUTE_H

#include <stdbool.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include "bound.h"
#include "shared.h"

/* BPF_FIB_LOOKUP_MARK, Linux 6.10; older kernels refuse the lookup and the stack routes. */
#define FIB_MARK (1U << 5)
#define KNOWN_ROUTES 64
#define ROUTE_LIFE_NS 1000000ULL

/* A packet on its way. */
struct outgoing {
	__u32 peer;
	__u32 index; /* of the session */
	__u32 remote_index;
	__u32 at; /* of the inner packet */
	__u32 length;
	__u32 padded;
	__u64 counter;
	__u64 now; /* CLOCK_BOOTTIME, ns */
	__u16 sum; /* of the ciphertext and the tag */
	__u8 ecn;
	bool chosen; /* the controller named the session */
};

/* A copy of the peer's endpoint, taken whole. */
struct path {
	__u16 family;
	__be16 port;
	__be32 remote[4];
	__be32 local[4];
	__u32 local_known;
};

/* By the low bits of the peer's number; each CPU has its own. */
struct known_route {
	__u64 until;
	struct path path;
	__u32 mark;
	__u32 nic;
	__u32 mtu;
	__u8 dmac[ETH_ALEN];
	__u8 smac[ETH_ALEN];
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KNOWN_ROUTES);
	__type(key, __u32);
	__type(value, struct known_route);
} known_routes SEC(".maps");

static __always_inline bool same_path(const struct path *a, const struct path *b)
{
	const __u32 *x = (const void *)a, *y = (const void *)b;
	__u32 differ = 0;

	for (__u32 n = 0; n < sizeof(*a) / sizeof(*x); n++)
		differ |= x[n] ^ y[n];
	return !differ;
}

/* Asks the stack's tables for `known->path`. */
static __noinline bool find_route(struct xdp_md *ctx, struct known_route *known, __u32 ip_length)
{
	const struct path *p = &known->path;
	struct bpf_fib_lookup fib = {
		.family = p->family, .l4_protocol = IPPROTO_UDP, .dport = p->port, .tot_len = ip_length,
		.ifindex = ctx->ingress_ifindex,
	};

	if (!p->local_known)
		return false;
	if (p->family == AF_INET) {
		fib.ipv4_src = p->local[0];
		fib.ipv4_dst = p->remote[0];
	} else {
		__builtin_memcpy(fib.ipv6_src, p->local, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, p->remote, sizeof(fib.ipv6_dst));
	}
	if (known->mark)
		__builtin_memcpy(fib.smac, &known->mark, sizeof(known->mark));
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), known->mark ? FIB_MARK : 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return false;
	known->nic = fib.ifindex;
	known->mtu = fib.mtu_result;
	__builtin_memcpy(known->dmac, fib.dmac, ETH_ALEN);
	__builtin_memcpy(known->smac, fib.smac, ETH_ALEN);
	return true;
}

/* The NIC's index, and the Ethernet header is written; or 0: the stack has to route. */
static __noinline __u32 route(struct xdp_md *ctx, const struct outgoing *o, const struct path *p, __u32 ip_length,
			      __u32 mark)
{
	__u32 slot = o->peer % KNOWN_ROUTES;
	struct known_route *known = bpf_map_lookup_elem(&known_routes, &slot);

	if (!known)
		return 0;
	if (o->now >= known->until || known->mark != mark || ip_length > known->mtu || !same_path(&known->path, p)) {
		known->until = 0;
		known->path = *p;
		known->mark = mark;
		if (!find_route(ctx, known, ip_length))
			return 0;
		known->until = o->now + ROUTE_LIFE_NS;
	}
	struct ethhdr *eth = bytes_at(ctx, 0, sizeof(*eth));
	if (!eth)
		return 0;
	__builtin_memcpy(eth->h_dest, known->dmac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, known->smac, ETH_ALEN);
	eth->h_proto = p->family == AF_INET ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	return known->nic;
}

#endif
