/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* From an Ethernet frame to a WireGuard message: one step a line, and a name for each way out. */
#ifndef OUTER_H
#define OUTER_H

#include <stdbool.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include "bound.h"
#include "shared.h"

#define AF_INET 2
#define AF_INET6 10
#define IP_OFFSET 0x1fff
#define IP_MORE 0x2000
#define MAX_EXTENSIONS 8
#define VLAN_ID 0x0fff
#define OUTER_TTL 64

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
	__u8 ip; /* offset of the IP header */
	__u16 at; /* offset of the message */
	__u16 length; /* of the message, or of its first piece */
};

/* A_FRAGMENT: not the first one, so without ports. */
enum parsed { PARSED, NOT_OURS, A_FRAGMENT, FIRST_FRAGMENT };

/* `here`: bytes of the datagram that are in this packet. */
static __always_inline enum parsed parse_udp(struct xdp_md *ctx, struct outer *o, __u64 at, __u32 here, __be16 our_port,
					     bool fragment)
{
	BOUND(at, 0x7fff);
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct udphdr *udp = data + at;

	if ((void *)(udp + 1) > end || udp->dest != our_port)
		return NOT_OURS;
	__u32 length = fragment ? here : bpf_ntohs(udp->len);
	if (length < sizeof(*udp) || length > here)
		return NOT_OURS;
	o->port = udp->source;
	o->at = at + sizeof(*udp);
	o->length = length - sizeof(*udp);
	if (!bpf_map_lookup_elem(&locals, o->local))
		return NOT_OURS;
	return fragment ? FIRST_FRAGMENT : PARSED;
}

static __always_inline enum parsed parse_ipv4(struct xdp_md *ctx, struct outer *o, __u32 at, __be16 our_port)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + at;

	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5 || ip->protocol != IPPROTO_UDP)
		return NOT_OURS;
	if (ip->frag_off & bpf_htons(IP_OFFSET))
		return A_FRAGMENT;
	__u32 total = bpf_ntohs(ip->tot_len), header = ip->ihl * 4;
	if (total < header)
		return NOT_OURS;
	o->family = AF_INET;
	o->remote[0] = ip->saddr;
	o->local[0] = ip->daddr;
	o->ds = ip->tos;
	return parse_udp(ctx, o, at + header, total - header, our_port, ip->frag_off & bpf_htons(IP_MORE));
}

/* Behind the extension headers that a host may skip: `at` is the first one's, `kind` its type. */
static __always_inline enum parsed skip_extensions(struct xdp_md *ctx, struct outer *o, __u32 at, __u8 kind, __u32 here,
						   __be16 our_port)
{
	bool fragment = false;
	__u32 passed = 0;
	__u8 head[8];

	for (int n = 0; n < MAX_EXTENSIONS; n++) {
		if (kind == IPPROTO_UDP)
			return passed > here ? NOT_OURS :
					       parse_udp(ctx, o, at + passed, here - passed, our_port, fragment);
		if (bpf_xdp_load_bytes(ctx, at + passed, head, sizeof(head)))
			return NOT_OURS;
		if (kind == IPPROTO_FRAGMENT) {
			if (head[2] || head[3] & 0xf8)
				return A_FRAGMENT;
			fragment = true;
			passed += sizeof(head);
		} else if (kind == IPPROTO_HOPOPTS || kind == IPPROTO_ROUTING || kind == IPPROTO_DSTOPTS) {
			passed += (head[1] + 1) * 8;
		} else {
			return NOT_OURS;
		}
		kind = head[0];
	}
	return NOT_OURS;
}

static __always_inline enum parsed parse_ipv6(struct xdp_md *ctx, struct outer *o, __u32 at, __be16 our_port)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv6hdr *ip = data + at;

	if ((void *)(ip + 1) > end || ip->version != 6)
		return NOT_OURS;
	o->family = AF_INET6;
	__builtin_memcpy(o->remote, &ip->saddr, sizeof(o->remote));
	__builtin_memcpy(o->local, &ip->daddr, sizeof(o->local));
	o->ds = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	__u32 here = bpf_ntohs(ip->payload_len);
	at += sizeof(*ip);
	if (ip->nexthdr == IPPROTO_UDP)
		return parse_udp(ctx, o, at, here, our_port, false);
	return skip_extensions(ctx, o, at, ip->nexthdr, here, our_port);
}

/* Fills `o`, which is all zeros; an enum parsed. NOT_OURS goes up the stack untouched. A global function: verified once.
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
	o->ip = at;
	if (proto == bpf_htons(ETH_P_IP))
		return parse_ipv4(ctx, o, at, our_port);
	if (proto == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(ctx, o, at, our_port);
	return NOT_OURS;
}

/* What IP options and extension headers ask for is the stack's business. */
static __always_inline bool has_options(const struct outer *o)
{
	__u32 plain = o->family == AF_INET ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	return o->at != o->ip + plain + sizeof(struct udphdr);
}

#endif
