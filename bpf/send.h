/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* From wg0 to the NIC: peer, session, seal, outer headers, route. What needs the stack goes to the controller. */
#ifndef SEND_H
#define SEND_H

#include "give.h"
#include "parse.h"
#include "route.h"
#include "session.h"

#define CONSUMED XDP_DROP

static __always_inline bool path_of(__u32 peer, struct path *p)
{
	struct wg_endpoint *e = bpf_map_lookup_elem(&endpoints, &peer);

	if (!e)
		return false;
	bpf_spin_lock(&e->lock);
	p->family = e->family;
	p->port = e->port;
	__builtin_memcpy(p->remote, e->remote, sizeof(p->remote));
	__builtin_memcpy(p->local, e->local, sizeof(p->local));
	p->local_known = e->local_known;
	bpf_spin_unlock(&e->lock);
	return p->family != 0;
}

/* --- what the controller has to do --- */

static __noinline int refuse(struct xdp_md *ctx, struct wg_control *c, const struct outgoing *o)
{
	struct wg_event event = { .kind = WG_EVENT_REFUSE, .length = o->length };
	__u64 since = c->refused_at;

	if (since + WG_REFUSE_BURST_NS < o->now)
		since = o->now - WG_REFUSE_BURST_NS;
	if (since + WG_REFUSE_INTERVAL_NS <= o->now) {
		c->refused_at = since + WG_REFUSE_INTERVAL_NS;
		give_packet(ctx, &event, o->at);
	}
	return drop(WG_TX_NO_ROUTE);
}

/* Without a key the packet waits with the controller; so many of a peer a second, that one peer without a key
 * does not take the queue from the others.
 */
static __noinline int stage(struct xdp_md *ctx, const struct outgoing *o)
{
	struct wg_event event = { .kind = WG_EVENT_STAGE, .peer = o->peer, .length = o->length };
	struct wg_sending *sends = bpf_map_lookup_elem(&sending, &o->peer);

	if (!sends)
		return drop(WG_TX_FAILED);
	if (o->now - sends->staged_since > 1000000000ULL) {
		sends->staged_since = o->now;
		sends->staged = 0;
	}
	if (sends->staged >= WG_STAGE_LIMIT)
		return drop(WG_TX_STAGED_OVERFLOW);
	__sync_fetch_and_add(&sends->staged, 1);
	if (!give_packet(ctx, &event, o->at))
		return drop(WG_TX_QUEUE_FULL);
	add(WG_STAGED, 1);
	return CONSUMED;
}

/* The sealed message at `at` leaves by the UDP socket: the stack resolves, fragments, chooses a source. */
static __noinline int send_slowly(struct xdp_md *ctx, const struct outgoing *o, const struct path *p, __u32 at)
{
	struct wg_event event = {
		.kind = WG_EVENT_SEND, .peer = o->peer, .length = o->padded + WG_OVERHEAD, .ds = o->ecn,
		.family = p->family, .port = p->port, .local_known = p->local_known,
	};

	__builtin_memcpy(event.remote, p->remote, sizeof(event.remote));
	__builtin_memcpy(event.local, p->local, sizeof(event.local));
	if (!give_packet(ctx, &event, at))
		return drop(WG_TX_QUEUE_FULL);
	add(WG_SLOW_SEND, 1);
	return CONSUMED;
}

/* --- outer headers --- */

/* Writes the UDP header at `at`. */
static __noinline int write_udp(struct xdp_md *ctx, const struct outgoing *o, const struct path *p, __u16 our_port,
				__u32 at)
{
	struct udphdr udp = {
		.source = bpf_htons(our_port), .dest = p->port, .len = bpf_htons(sizeof(udp) + WG_OVERHEAD + o->padded),
	};
	__u64 sum = o->sum;

	for (int n = 0; n < 4; n++)
		sum += (__u64)p->remote[n] + p->local[n];
	sum += bpf_htons(IPPROTO_UDP) + udp.len;
	sum += udp.source + udp.dest + udp.len;
	sum += (__u64)WG_DATA + o->remote_index + (__u32)o->counter + (o->counter >> 32);
	udp.check = ~fold(sum);
	if (!udp.check)
		udp.check = 0xffff;
	struct udphdr *to = bytes_at(ctx, at, sizeof(udp));
	if (!to)
		return -1;
	*to = udp;
	return 0;
}

static __noinline int write_ipv4(struct xdp_md *ctx, const struct outgoing *o, const struct path *p, __u32 length)
{
	struct iphdr ip = {
		.version = 4, .ihl = 5, .tos = o->ecn, .ttl = OUTER_TTL, .protocol = IPPROTO_UDP,
		.tot_len = bpf_htons(sizeof(ip) + length), .id = bpf_htons(o->counter),
		.saddr = p->local[0], .daddr = p->remote[0],
	};
	__u16 *words = (__u16 *)&ip;
	__u64 sum = 0;

	for (__u32 n = 0; n < sizeof(ip) / 2; n++)
		sum += words[n];
	ip.check = ~fold(sum);
	struct iphdr *to = bytes_at(ctx, sizeof(struct ethhdr), sizeof(ip));
	if (!to)
		return -1;
	*to = ip;
	return 0;
}

static __noinline int write_ipv6(struct xdp_md *ctx, const struct outgoing *o, const struct path *p, __u32 length)
{
	struct ipv6hdr ip = {
		.version = 6, .flow_lbl[0] = o->ecn << 4, .payload_len = bpf_htons(length),
		.nexthdr = IPPROTO_UDP, .hop_limit = OUTER_TTL,
	};

	__builtin_memcpy(&ip.saddr, p->local, sizeof(ip.saddr));
	__builtin_memcpy(&ip.daddr, p->remote, sizeof(ip.daddr));
	struct ipv6hdr *to = bytes_at(ctx, sizeof(struct ethhdr), sizeof(ip));
	if (!to)
		return -1;
	*to = ip;
	return 0;
}

/* The sealed message is at `at`: addresses it and sends it. */
static __noinline int send_out(struct xdp_md *ctx, const struct wg_control *c, const struct outgoing *o,
				    const struct path *p, __u32 at)
{
	__u32 message = o->padded + WG_OVERHEAD;
	__u32 udp_at = at - sizeof(struct udphdr);
	__u32 ip_length = udp_at - sizeof(struct ethhdr) + sizeof(struct udphdr) + message;
	__u32 nic = route(ctx, o, p, ip_length, c->fwmark);

	if (!nic)
		return send_slowly(ctx, o, p, at);
	if (write_udp(ctx, o, p, c->listen_port, udp_at))
		return drop(WG_TX_FAILED);
	int failed = p->family == AF_INET ? write_ipv4(ctx, o, p, sizeof(struct udphdr) + message) :
					    write_ipv6(ctx, o, p, sizeof(struct udphdr) + message);
	if (failed)
		return drop(WG_TX_FAILED);
	int verdict = bpf_redirect_map(&nics, nic, 0);
	return verdict == XDP_REDIRECT ? verdict : send_slowly(ctx, o, p, at);
}

/* --- sealing --- */

/* Zeros to a multiple of 16, never past the MTU (0: unknown). */
static __always_inline __u32 padded_length(__u32 length, __u32 mtu)
{
	__u32 last = length;

	if (mtu == 0)
		return (length + WG_PADDING - 1) & ~(WG_PADDING - 1);
	if (length > mtu)
		last = length % mtu;
	__u32 wanted = (last + WG_PADDING - 1) & ~(WG_PADDING - 1);
	return length - last + (wanted < mtu ? wanted : mtu);
}

/* Takes a counter and copies the key, together: a counter is used once, and with no other key. */
static __always_inline bool take_counter(struct wg_session *s, struct outgoing *o, struct chacha_key *key)
{
	bool taken = false;

	bpf_spin_lock(&s->lock);
	if (is_session(s, o->index) && s->state == WG_LIVE && (o->chosen || s->peer == o->peer) &&
	    !has_expired(s, o->now) && s->send_counter < WG_REJECT_AFTER_MESSAGES) {
		o->counter = s->send_counter++;
		o->peer = s->peer;
		o->remote_index = s->remote_index;
		__builtin_memcpy(key->key, s->send_key, sizeof(key->key));
		taken = true;
	}
	bpf_spin_unlock(&s->lock);
	return taken;
}

/* Above the rate the controller lets the far end's NAPI run in threads. A count that races blur is good enough. */
static __always_inline void note_sealing(struct wg_control *c, __u64 now)
{
	if (now - c->sealing_since >= WG_STEER_WINDOW_NS) {
		c->sealing_since = now;
		c->sealing_count = 0;
	} else if (++c->sealing_count > c->steer_above && c->steer_above && !c->busy &&
		   !__sync_lock_test_and_set(&c->busy, 1)) {
		wake_controller(WG_EVENT_BUSY);
	}
}

static __always_inline int seal(struct xdp_md *ctx, struct wg_control *c, struct outgoing *o,
				struct chacha_key *key, const struct path *p)
{
	__u32 ip = p->family == AF_INET ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u32 at = sizeof(struct ethhdr) + ip + sizeof(struct udphdr);
	__u32 growth = at + WG_OVERHEAD + o->padded - (o->at + o->length);

	if (bpf_xdp_adjust_head(ctx, -(int)growth))
		return drop(WG_TX_FAILED);
	key->nonce[0] = o->counter;
	key->nonce[1] = o->counter >> 32;
	/* From back to front: the inner packet moves WG_TAG_SIZE and the padding towards the head. */
	int sum = aead_seal(ctx, key, o->at + growth, at + WG_HEADER_SIZE, o->length, o->padded);
	if (sum < 0)
		return drop(WG_TX_FAILED);
	o->sum = sum;
	struct data_header *header = bytes_at(ctx, at, sizeof(*header));
	if (!header)
		return drop(WG_TX_FAILED);
	*header = (struct data_header){ WG_DATA, o->remote_index, o->counter };
	note_sealing(c, o->now);
	note_sent(o->peer, o->padded + WG_OVERHEAD, o->length == 0, o->counter, o->now);
	add(WG_TX_PACKETS, 1);
	add(WG_TX_BYTES, o->padded + WG_OVERHEAD);
	if (o->length == 0)
		add(WG_TX_KEEPALIVES, 1);
	return send_out(ctx, c, o, p, at);
}

/* --- the frame --- */

/* Whose packet it is and under which session; 0, or the reason why not. */
static __noinline enum wg_count address(struct xdp_md *ctx, struct outgoing *o)
{
	__u32 whole = (void *)(long)ctx->data_end - (void *)(long)ctx->data;
	const struct ethhdr *eth = bytes_at(ctx, 0, sizeof(*eth));
	struct inner i = {};

	if (!eth)
		return WG_TX_BAD_INNER_PACKET;
	o->at = sizeof(*eth);
	if (eth->h_proto == bpf_htons(WG_CONTROL_ETHERTYPE)) {
		__builtin_memcpy(&o->index, eth->h_dest + 2, sizeof(o->index));
		o->chosen = true;
	}
	if (whole < o->at || whole - o->at > WG_MAX_INNER)
		return WG_TX_TOO_BIG;
	o->length = whole - o->at;
	if (o->chosen && o->length == 0)
		return 0;
	if (!parse_inner(ctx, &i, o->at, o->length))
		return WG_TX_BAD_INNER_PACKET;
	o->ecn = i.ecn;
	if (o->chosen)
		return 0;
	o->peer = owner_of(ctx, i.version, o->at + (i.version == 4 ? 16 : 24));
	if (o->peer == NO_PEER)
		return WG_TX_NO_ROUTE;
	struct wg_sending *sends = bpf_map_lookup_elem(&sending, &o->peer);
	if (!sends || !sends->valid)
		return WG_STAGED;
	o->index = sends->index;
	return 0;
}

static __always_inline int send(struct xdp_md *ctx)
{
	struct wg_control *c = controls();
	struct outgoing o = { .now = bpf_ktime_get_boot_ns() };
	struct chacha_key key;
	struct path p;

	if (!c)
		return drop(WG_TX_FAILED);
	enum wg_count why = address(ctx, &o);
	if (why == WG_TX_NO_ROUTE)
		return refuse(ctx, c, &o);
	if (why == WG_STAGED)
		return stage(ctx, &o);
	if (why)
		return drop(why);
	struct wg_session *s = session_at(o.index);
	if (!s)
		return drop(WG_TX_FAILED);
	if (!take_counter(s, &o, &key))
		return o.chosen ? drop(WG_TX_KEY_EXPIRED) : stage(ctx, &o);
	if (!path_of(o.peer, &p))
		return drop(WG_TX_NO_ENDPOINT);
	o.padded = padded_length(o.length, c->mtu);
	return seal(ctx, c, &o, &key, &p);
}

#endif
