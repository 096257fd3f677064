/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* From the NIC to wg0: session, key, tag, replay, confirmation, roaming, then what is inside. */
#ifndef RECEIVE_H
#define RECEIVE_H

#include "guard.h"
#include "parse.h"
#include "session.h"

/* In front of a message: what the offsets of the cipher allow. */
#define MAX_HEADERS 512

enum ecn { NOT_ECT, ECT1, ECT0, CE };

/* --- steering --- */

static __always_inline void note_load(__u64 now)
{
	__u32 here = bpf_get_smp_processor_id();
	struct wg_load *l = bpf_map_lookup_elem(&loads, &here);

	if (!l)
		return;
	l->now++;
	if (now - l->since >= WG_STEER_WINDOW_NS) {
		l->last = now - l->since < 2 * WG_STEER_WINDOW_NS ? l->now : 0;
		l->now = 0;
		l->since = now;
	}
}

__noinline __u32 recent_load(__u32 cpu, __u64 now)
{
	struct wg_load *l = bpf_map_lookup_elem(&loads, &cpu);

	if (!l || now - l->since >= 2 * WG_STEER_WINDOW_NS)
		return 0;
	return l->now > l->last ? l->now : l->last;
}

/* The CPU that opens least; this one only where another one opens more than half as much. */
static __always_inline __u32 choose_cpu(__u32 cpus, __u32 here, __u64 now)
{
	__u32 best = here, least = recent_load(here, now) / 2 + 1;

	for (__u32 cpu = 0; cpu < WG_MAX_CPUS; cpu++) {
		if (cpu >= cpus)
			break;
		__u32 load = recent_load(cpu, now);
		if (cpu != here && load < least) {
			least = load;
			best = cpu;
		}
	}
	return best;
}

static __always_inline void give_cpu(struct wg_session *s, __u32 cpus, __u32 here, __u64 now)
{
	__u32 cpu = choose_cpu(cpus, here, now);

	if (s->cpu != cpu + 1)
		s->settled = 0;
	s->cpu = cpu + 1;
}

static __always_inline void start_window(struct wg_session *s, __u64 now)
{
	s->rate_since = now;
	s->rate_count = 0;
	s->rate_here = 0;
}

/* Where to open the session's packet: a CPU + 1, or 0 for here. Where the packets of a steered session begin to arrive
 * on its very CPU (the NIC's queue moved) it is given another one; when it stays below a quarter of the rate for ten
 * windows it goes back, long after the other CPU's queue has run empty. Packets that arrive on several CPUs all take
 * the queue of the one, so that order holds. The fields are a guess that races may blur: nothing but the load depends
 * on them.
 */
__noinline __u32 steer(__u32 index, __u64 now)
{
	struct wg_session *s = session_at(index);
	struct wg_control *c = controls();
	__u32 here = bpf_get_smp_processor_id();

	if (!s || !c || !c->steer_above || !s->cpu)
		return 0;
	s->rate_count++;
	s->rate_here += s->cpu == here + 1;
	if (now - s->rate_since >= 10 * WG_STEER_WINDOW_NS) {
		if (s->rate_count < c->steer_above * 10 / 4) {
			s->cpu = 0;
		} else {
			s->settled = s->rate_here == s->rate_count;
			if (s->rate_here > s->rate_count / 2)
				give_cpu(s, c->cpus, here, now);
		}
		start_window(s, now);
	}
	return s->settled && s->cpu == here + 1 ? 0 : s->cpu;
}

/* An authentic packet, opened where it arrived: above the rate the session is given a CPU. Forged ones do not count. */
__noinline int note_rate(__u32 index, __u64 now)
{
	struct wg_session *s = session_at(index);
	struct wg_control *c = controls();

	if (!s || !c || !c->steer_above || s->cpu)
		return 0;
	if (now - s->rate_since >= WG_STEER_WINDOW_NS) {
		start_window(s, now);
	} else if (++s->rate_count > c->steer_above) {
		give_cpu(s, c->cpus, bpf_get_smp_processor_id(), now);
		start_window(s, now);
	}
	return 0;
}

/* --- what an authentic packet proves --- */

static __always_inline bool same_address(const __be32 *a, const __be32 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

/* The endpoint follows authentic packets; the controller is told where to. */
static __noinline int roam(struct xdp_md *ctx, const struct outer *o, __u32 peer)
{
	struct wg_endpoint *e = bpf_map_lookup_elem(&endpoints, &peer);

	if (!e || (e->port == o->port && e->family == o->family && e->local_known &&
		   same_address(e->remote, o->remote) && same_address(e->local, o->local)))
		return 0;
	struct wg_event event = {
		.kind = WG_EVENT_ROAMED, .peer = peer, .family = o->family, .port = o->port,
		.ifindex = ctx->ingress_ifindex, .vlan = o->vlan, .local_known = 1,
	};
	__builtin_memcpy(event.remote, o->remote, sizeof(event.remote));
	__builtin_memcpy(event.local, o->local, sizeof(event.local));
	bpf_spin_lock(&e->lock);
	e->family = event.family;
	e->port = event.port;
	__builtin_memcpy(e->remote, event.remote, sizeof(e->remote));
	__builtin_memcpy(e->local, event.local, sizeof(e->local));
	e->ifindex = event.ifindex;
	e->vlan = event.vlan;
	e->local_known = 1;
	bpf_spin_unlock(&e->lock);
	tell(&event);
	return 1;
}

/* The first authentic packet under a responder's key: it is what the peer sends with from now on. */
static __noinline int confirm(__u32 peer, __u32 index)
{
	struct wg_sending *sends = bpf_map_lookup_elem(&sending, &peer);
	struct wg_event event = { .kind = WG_EVENT_CONFIRMED, .peer = peer, .index = index };

	if (sends) {
		sends->index = index;
		sends->valid = 1;
	}
	tell(&event);
	return 0;
}

/* --- the inner packet --- */

/* RFC 6040, figure 4; false where that says drop. */
static __always_inline bool merge_ecn(struct xdp_md *ctx, const struct inner *i, __u8 outer_ds, __u32 at)
{
	__u8 outer = outer_ds & 3, head[12], ecn;

	if (outer == CE && i->ecn == NOT_ECT)
		return false;
	if (outer == CE && i->ecn != CE)
		ecn = CE;
	else if (outer == ECT1 && i->ecn == ECT0)
		ecn = ECT1;
	else
		return true;
	if (bpf_xdp_load_bytes(ctx, at, head, sizeof(head)))
		return false;
	if (i->version == 6) {
		head[1] = (head[1] & ~0x30) | ecn << 4;
	} else {
		/* RFC 1624: HC' = ~(~HC + ~m + m'), where only the low byte of m differs. */
		__u32 sum = (__u16)~(head[10] << 8 | head[11]) + (__u16)~head[1];
		head[1] = (head[1] & ~3) | ecn;
		sum += head[1];
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		sum = ~sum;
		head[10] = sum >> 8;
		head[11] = sum;
	}
	return !bpf_xdp_store_bytes(ctx, at, head, sizeof(head));
}

/* Strips the frame down to the inner packet and sends it into wg0. */
static __always_inline int deliver(struct xdp_md *ctx, const struct inner *i, __u32 at)
{
	int surplus = (int)bpf_xdp_get_buff_len(ctx) - (int)(at + i->length);

	/* In generic mode the kernel (seen on 6.18) leaves the tail pointer of a packet whose tail was moved 14 bytes too
	 * far, and TCP appends there. One byte more than the IP length makes the stack trim, which puts it right.
	 */
	if (settings.generic)
		surplus--;

	if (surplus > 0 && bpf_xdp_adjust_tail(ctx, -surplus))
		return drop(WG_RX_FAILED);
	if (bpf_xdp_adjust_head(ctx, at - sizeof(struct ethhdr)))
		return drop(WG_RX_FAILED);
	struct ethhdr *eth = bytes_at(ctx, 0, sizeof(*eth));
	if (!eth)
		return drop(WG_RX_FAILED);
	for (int n = 0; n < ETH_ALEN; n++) {
		eth->h_dest[n] = settings.near_mac[n];
		eth->h_source[n] = settings.far_mac[n];
	}
	eth->h_proto = i->version == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	return bpf_redirect(settings.far_ifindex, 0);
}

static __always_inline void count_received(__u32 peer, __u32 size, bool empty, __u64 now)
{
	note_received(peer, size, empty, now);
	add(WG_RX_PACKETS, 1);
	add(WG_RX_BYTES, size);
}

/* Rule (h) of the protocol: the packet has proved the peer, whatever is in it. */
__noinline int accept(struct xdp_md *ctx, struct outer *o, __u32 peer, __u64 now)
{
	struct inner i = {};
	enum wg_count why = 0;

	if (!o || o->length < WG_OVERHEAD)
		return drop(WG_RX_FAILED);
	__u32 at = o->at + WG_HEADER_SIZE, room = o->length - WG_OVERHEAD;
	if (room == 0) {
		count_received(peer, o->length, true, now);
		return drop(WG_RX_KEEPALIVES);
	}
	if (!parse_inner(ctx, &i, at, room))
		why = WG_RX_BAD_INNER_PACKET;
	else if (owner_of(ctx, i.version, at + (i.version == 4 ? 12 : 8)) != peer)
		why = WG_RX_FORBIDDEN_SOURCE;
	else if (!merge_ecn(ctx, &i, o->ds, at))
		why = WG_RX_BAD_ECN;
	if (why) {
		note_received(peer, 0, false, now);
		return drop(why);
	}
	count_received(peer, o->length, false, now);
	return deliver(ctx, &i, at);
}

/* --- the message --- */

struct opening {
	struct chacha_key key;
	__u32 peer;
	__u32 first; /* the packet confirmed the key */
};

/* The key for a message that may still be opened; 0, or why not. */
__noinline int take_key(__u32 index, __u64 counter, struct opening *taken, __u64 now)
{
	struct wg_session *s = session_at(index);
	enum wg_count why = 0;

	if (!s || !taken)
		return WG_RX_UNKNOWN_INDEX;
	bpf_spin_lock(&s->lock);
	if (!is_session(s, index)) {
		why = WG_RX_UNKNOWN_INDEX;
	} else if (has_expired(s, now) || counter >= WG_REJECT_AFTER_MESSAGES) {
		why = WG_RX_KEY_EXPIRED;
	} else if (!window_accepts(s, counter)) {
		why = WG_RX_REPLAY;
	} else {
		__builtin_memcpy(taken->key.key, s->receive_key, sizeof(taken->key.key));
		taken->peer = s->peer;
	}
	bpf_spin_unlock(&s->lock);
	taken->key.nonce[0] = counter;
	taken->key.nonce[1] = counter >> 32;
	return why;
}

/* The message was authentic; 0, or why it is refused all the same: the slot changed hands meanwhile, or another
 * CPU took the same counter.
 */
__noinline int commit(__u32 index, __u64 counter, struct opening *taken)
{
	struct wg_session *s = session_at(index);
	enum wg_count why = 0;
	bool first = false;

	if (!s || !taken)
		return WG_RX_UNKNOWN_INDEX;
	bpf_spin_lock(&s->lock);
	if (!is_session(s, index)) {
		why = WG_RX_UNKNOWN_INDEX;
	} else if (!window_accepts(s, counter)) {
		why = WG_RX_REPLAY;
	} else {
		window_commit(s, counter);
		first = s->state == WG_UNCONFIRMED;
		if (first)
			s->state = WG_LIVE;
	}
	bpf_spin_unlock(&s->lock);
	taken->first = first;
	return why;
}

static __always_inline int open_data(struct xdp_md *ctx, struct outer *o, __u32 index, bool may_steer)
{
	struct opening taken = {};

	/* Without the lock: most packets of a flood end here. */
	struct wg_session *s = session_at(index);
	if (!s || !*(volatile __u32 *)&s->state || *(volatile __u32 *)&s->local_index != index)
		return drop(WG_RX_UNKNOWN_INDEX);
	if (has_options(o))
		return pass(WG_PASS_OTHER); /* comes back by the UDP socket */
	__u64 now = bpf_ktime_get_boot_ns();
	if (may_steer) {
		__u32 cpu = steer(index, now);
		if (cpu && bpf_redirect_map(&cpus, cpu - 1, 0) == XDP_REDIRECT) {
			add(WG_STEERED, 1);
			return XDP_REDIRECT;
		}
	}
	const struct data_header *header = bytes_at(ctx, o->at, sizeof(*header));
	if (!header)
		return drop(WG_RX_BAD_LENGTH);
	__u64 counter = header->counter;
	int why = take_key(index, counter, &taken, now);
	if (why)
		return drop(why);
	note_load(now);
	if (aead_open(ctx, &taken.key, o->at + WG_HEADER_SIZE, o->length - WG_OVERHEAD))
		return drop(WG_RX_BAD_TAG);
	why = commit(index, counter, &taken);
	if (why)
		return drop(why);
	if (may_steer)
		note_rate(index, now);
	roam(ctx, o, taken.peer);
	if (taken.first)
		confirm(taken.peer, index);
	return accept(ctx, o, taken.peer, now);
}

/* Not inlined: the guard has no use for their stack. Two of them: what runs on the CPUs of the cpumap must not hold the
 * cpumap, which holds it, or neither is ever freed.
 */
static __noinline int open_or_steer(struct xdp_md *ctx, struct outer *o, __u32 index)
{
	return open_data(ctx, o, index, true);
}

static __noinline int open_here(struct xdp_md *ctx, struct outer *o, __u32 index)
{
	return open_data(ctx, o, index, false);
}

/* A frame from a NIC; only there is a guard wanted, and steering. */
static __always_inline int receive(struct xdp_md *ctx, bool on_nic)
{
	struct outer o = {};
	struct head head = {};

	int verdict = hear(ctx, controls(), &o, &head);
	if (verdict != HEARD)
		return verdict;
	if (head.type != WG_DATA)
		return on_nic ? guard(ctx, &o, head.type) : pass(WG_PASS_HANDSHAKE);
	__u64 linear = (void *)(long)ctx->data_end - (void *)(long)ctx->data;
	if (o.at + o.length > linear || o.at > MAX_HEADERS || o.length > WG_MAX_INNER + WG_OVERHEAD)
		return pass(WG_PASS_BIG);
	return on_nic ? open_or_steer(ctx, &o, head.index) : open_here(ctx, &o, head.index);
}

#endif
