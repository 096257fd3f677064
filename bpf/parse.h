/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* From an Ethernet frame to a WireGuard message: one step a line, and a name for each way out. */
#ifndef PARSE_H
#define PARSE_H

#include <stdbool.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include "maps.h"

#define AF_INET 2
#define AF_INET6 10
#define IP_FRAGMENT 0x3fff /* more fragments, or an offset */
#define VLAN_ID 0x0fff
#define MAX_FRAME 4096

struct vlan_header {
	__be16 tci;
	__be16 proto;
};

/* The outer headers of a datagram for our port on one of our addresses. */
struct outer {
	__u16 family;
	__be16 port; /* of the sender */
	__be32 remote[4];
	__be32 local[4];
	__u16 vlan;
	__u8 ds;
	__u16 at; /* offset of the message */
	__u16 length; /* of the message */
};

enum parsed { PARSED, NOT_OURS, A_FRAGMENT };

static __always_inline enum parsed parse_udp(struct xdp_md *ctx, struct outer *o, __u32 at, __u32 ip_payload,
					     __be16 our_port)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct udphdr *udp = data + at;

	if ((void *)(udp + 1) > end || udp->dest != our_port)
		return NOT_OURS;
	__u32 length = bpf_ntohs(udp->len);
	if (length < sizeof(*udp) || length > ip_payload)
		return NOT_OURS;
	o->port = udp->source;
	o->at = at + sizeof(*udp);
	o->length = length - sizeof(*udp);
	return bpf_map_lookup_elem(&locals, o->local) ? PARSED : NOT_OURS;
}

static __always_inline enum parsed parse_ipv4(struct xdp_md *ctx, struct outer *o, __u32 at, __be16 our_port)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + at;

	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl != 5 || ip->protocol != IPPROTO_UDP)
		return NOT_OURS;
	if (ip->frag_off & bpf_htons(IP_FRAGMENT))
		return A_FRAGMENT;
	__u32 total = bpf_ntohs(ip->tot_len);
	if (total < sizeof(*ip))
		return NOT_OURS;
	o->family = AF_INET;
	o->remote[0] = ip->saddr;
	o->local[0] = ip->daddr;
	o->ds = ip->tos;
	return parse_udp(ctx, o, at + sizeof(*ip), total - sizeof(*ip), our_port);
}

static __always_inline enum parsed parse_ipv6(struct xdp_md *ctx, struct outer *o, __u32 at, __be16 our_port)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv6hdr *ip = data + at;

	if ((void *)(ip + 1) > end || ip->version != 6)
		return NOT_OURS;
	if (ip->nexthdr == IPPROTO_FRAGMENT)
		return A_FRAGMENT;
	if (ip->nexthdr != IPPROTO_UDP)
		return NOT_OURS;
	o->family = AF_INET6;
	__builtin_memcpy(o->remote, &ip->saddr, sizeof(o->remote));
	__builtin_memcpy(o->local, &ip->daddr, sizeof(o->local));
	o->ds = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	return parse_udp(ctx, o, at + sizeof(*ip), bpf_ntohs(ip->payload_len), our_port);
}

/* Fills `o`, which is all zeros; an enum parsed. A global function: verified once. NOT_OURS goes up the stack untouched; so do IPv4 options and IPv6 extension
 * headers, whose datagrams come back from the UDP socket.
 */
__noinline int parse_outer(struct xdp_md *ctx, struct outer *o, __u16 our_port_host)
{
	__be16 our_port = bpf_htons(our_port_host);
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;

	if (!o || (void *)(eth + 1) > end)
		return NOT_OURS;
	__be16 proto = eth->h_proto;
	__u32 at = sizeof(*eth);
	if (proto == bpf_htons(ETH_P_8021Q)) {
		struct vlan_header *vlan = data + at;
		if ((void *)(vlan + 1) > end)
			return NOT_OURS;
		o->vlan = bpf_ntohs(vlan->tci) & VLAN_ID;
		proto = vlan->proto;
		at += sizeof(*vlan);
	}
	if (proto == bpf_htons(ETH_P_IP))
		return parse_ipv4(ctx, o, at, our_port);
	if (proto == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(ctx, o, at, our_port);
	return NOT_OURS;
}

/* What the tunnel looks at in an inner packet. */
struct inner {
	__u8 version;
	__u8 ecn;
	__u16 length; /* by its header */
};

/* The inner packet's header at `at`; false when it is no IP packet that fits into `room` bytes. */
static __always_inline bool parse_inner(struct xdp_md *ctx, struct inner *i, __u32 at, __u32 room)
{
	__u8 head[6];

	if (room < sizeof(struct iphdr) || bpf_xdp_load_bytes(ctx, at, head, sizeof(head)))
		return false;
	i->version = head[0] >> 4;
	if (i->version == 4) {
		i->length = head[2] << 8 | head[3];
		i->ecn = head[1] & 3;
		return i->length >= sizeof(struct iphdr) && i->length <= room;
	}
	if (i->version != 6 || room < sizeof(struct ipv6hdr))
		return false;
	__u32 length = (head[4] << 8 | head[5]) + sizeof(struct ipv6hdr);
	i->length = length;
	i->ecn = head[1] >> 4 & 3;
	return length <= room;
}

#define NO_PEER (~0U)

/* The peer that owns the inner address at offset `at`, or NO_PEER. */
static __always_inline __u32 owner_of(struct xdp_md *ctx, __u8 version, __u32 at)
{
	__u32 *peer;

	if (version == 4) {
		__be32 key[2] = { 32, 0 };
		if (bpf_xdp_load_bytes(ctx, at, &key[1], 4))
			return NO_PEER;
		peer = bpf_map_lookup_elem(&allowed4, key);
	} else {
		struct wg_prefix key = { .bits = 128 };
		if (bpf_xdp_load_bytes(ctx, at, key.address, 16))
			return NO_PEER;
		peer = bpf_map_lookup_elem(&allowed6, &key);
	}
	return peer ? *peer : NO_PEER;
}

#endif
