/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* The one ABI between the BPF programs and wgbpf/datapath/abi.py. A test asks the compiler and compares. */
#ifndef WGBPF_H
#define WGBPF_H

#include <linux/bpf.h>
#include <linux/types.h>

#define WGBPF_ABI 2

#define WG_KEY_WORDS 8
#define WG_TAG_SIZE 16
#define WG_HEADER_SIZE 16
#define WG_OVERHEAD (WG_HEADER_SIZE + WG_TAG_SIZE)
#define WG_PADDING 16
#define WG_WINDOW_WORDS 128
/* One word of the bitmap is always kept free (RFC 6479). */
#define WG_WINDOW (WG_WINDOW_WORDS * 64 - 64)
#define WG_REJECT_AFTER_NS (180ULL * 1000000000ULL)
#define WG_REJECT_AFTER_MESSAGES (~0ULL - (1ULL << 13))

/* Longest inner packet that the programs seal or open: what is linear in one page. */
#define WG_MAX_INNER 3506
/* Packets that one peer may send to the controller in a second while it has no session. */
#define WG_STAGE_LIMIT 128
/* Packets without a peer go to the controller, for an ICMP answer: 50 a second, after a pause 50 at once. */
#define WG_REFUSE_INTERVAL_NS 20000000ULL
#define WG_REFUSE_BURST_NS 1000000000ULL
/* Frames of the controller on wg0: this EtherType (IEEE 802, local experimental), and in the last four bytes of the
 * destination the index of the session; so they are no longer than the packets they carry.
 */
#define WG_CONTROL_ETHERTYPE 0x88b5
#define WG_MAX_CPUS 64

/* Handshake messages, whole. */
#define WG_INITIATION_SIZE 148
#define WG_RESPONSE_SIZE 92
#define WG_COOKIE_REPLY_SIZE 64
/* The guard: an attacker fills no more than these. */
#define WG_MAX_SOURCES 65536
#define WG_MAX_DUPLICATES 8192
#define WG_DUPLICATE_NS 5000000000ULL
/* How long the guard's load state lasts once the rate has fallen, and how long the rate is counted. */
#define WG_LOAD_STICKY_NS 1000000000ULL
#define WG_LOAD_WINDOW_NS 100000000ULL
/* Settings of the guard are written beside the ones in use: a reader would have to sleep through so many changes. */
#define WG_GUARD_COPIES 8

enum wg_state {
	WG_EMPTY,
	WG_UNCONFIRMED, /* a responder's: the first authentic packet makes it LIVE and the peer's sending session */
	WG_LIVE,
	WG_RECEIVE_ONLY,
};

/* A keypair. Written whole by the controller under `lock` (BPF_F_LOCK). */
struct wg_session {
	struct bpf_spin_lock lock;
	__u32 local_index;
	__u32 remote_index;
	__u32 peer;
	__u32 state;
	/* Steering; written by the receiving CPUs only. */
	__u16 cpu; /* opened there, + 1; 0: where it arrives */
	__u16 settled; /* in the last window every packet arrived on `cpu` */
	__u64 created; /* CLOCK_BOOTTIME, ns */
	__u64 send_counter;
	__u64 received; /* highest counter received + 1 */
	__u32 send_key[WG_KEY_WORDS];
	__u32 receive_key[WG_KEY_WORDS];
	__u64 rate_since;
	__u32 rate_count;
	__u32 rate_here; /* of them, what arrived on `cpu` */
	__u64 window[WG_WINDOW_WORDS];
};

/* Where a peer is, and by which of our addresses it was reached. Network byte order; IPv4 in the first word. */
struct wg_endpoint {
	struct bpf_spin_lock lock;
	__u16 family; /* AF_INET, AF_INET6; 0: unknown */
	__be16 port;
	__be32 remote[4];
	__be32 local[4]; /* all zero: left to routing */
	__u32 ifindex;
	__u16 vlan; /* the tag that it arrived under */
	__u16 local_known;
};

/* What a peer sends with. */
struct wg_sending {
	__u32 index; /* local index of the session */
	__u32 valid;
	__u32 staged; /* packets given to the controller since staged_since */
	__u32 unused;
	__u64 staged_since;
};

/* Counters and stamps (CLOCK_BOOTTIME, ns; 0: never) of a peer; one cache line for each direction. */
struct wg_traffic {
	__u64 rx_packets;
	__u64 rx_bytes;
	__u64 last_received;
	__u64 last_data_received;
	__u64 unanswered_received;
	__u64 unused_rx[3];
	__u64 tx_packets;
	__u64 tx_bytes;
	__u64 last_sent;
	__u64 last_data_sent;
	__u64 unanswered_sent;
	__u64 send_counter;
	__u64 unused_tx[2];
};

/* Settings that change while the programs run. */
struct wg_control {
	__u32 listen_port; /* 0: nothing is ours */
	__u32 mtu;
	__u32 fwmark;
	__u32 active; /* 1 after the first traffic since the controller last collected */
	__u32 steer_above; /* packets in WG_STEER_WINDOW_NS of one session; 0: never */
	__u32 cpus; /* entries of the cpumap that work */
	__u64 refused_at; /* up to when the share of packets without a peer is used */
	__u64 sealing_since; /* how many packets were sealed since */
	__u32 sealing_count;
	__u32 busy; /* 1 from the event until the controller clears it */
	__u32 guard; /* the entry of `guards` that is valid, + 1; 0: no guard */
	__u32 unused;
	__u64 loaded_until; /* the controller's own queue of handshakes is long */
};

/* What one source may do: after a pause `burst` messages at once, then one each `cost`. */
struct wg_budget {
	__u64 cost_ns;
	__u64 burst_ns;
};

/* What the guard judges by; replaced whole. Hash states are those after the key block, keys the words of the bytes. */
struct wg_guard {
	__u32 mac1[WG_KEY_WORDS];
	__u32 cookie_key[WG_KEY_WORDS];
	__u32 secret[2][WG_KEY_WORDS]; /* the current and the previous */
	__u32 secrets; /* how many of them are valid */
	__u32 load_above; /* messages in WG_LOAD_WINDOW_NS */
	struct wg_budget unverified;
	struct wg_budget verified;
};

/* Whether handshakes must carry a cookie: written by the receiving CPUs, whose races blur the count. */
struct wg_guard_load {
	__u64 since;
	__u64 until; /* CLOCK_BOOTTIME, ns */
	__u32 count;
	__u32 unused;
};

/* Whose budget a message takes from: an IPv4 address or an IPv6 /64. */
struct wg_source {
	__u32 kind; /* AF_INET or AF_INET6, and WG_SOURCE_REPLIES */
	__be32 prefix[2];
};

/* Cookie replies that name a live handshake have a budget that forged initiations cannot use up. */
#define WG_SOURCE_REPLIES 0x100

#define WG_STEER_WINDOW_NS 10000000ULL

enum wg_event_kind {
	WG_EVENT_CONFIRMED = 1,
	WG_EVENT_ROAMED,
	WG_EVENT_ACTIVE,
	WG_EVENT_STAGE, /* an inner packet without a session */
	WG_EVENT_SEND, /* a sealed message that the stack has to send */
	WG_EVENT_REFUSE, /* an inner packet that no peer owns */
	WG_EVENT_BUSY, /* sealing above the rate */
};

struct wg_event {
	__u32 kind;
	__u32 peer;
	__u32 index;
	__u32 length; /* of the packet that follows */
	__u16 family;
	__be16 port;
	__be32 remote[4];
	__be32 local[4];
	__u32 ifindex;
	__u16 vlan;
	__u8 local_known;
	__u8 ds;
};

struct wg_prefix {
	__u32 bits;
	__u8 address[16];
};

/* Constants of the programs, set before they are loaded. */
struct wg_settings {
	__u32 slot_mask; /* the low bits of a receiver index that are its position in `sessions` */
	__u32 generic; /* on the NIC in generic mode */
	__u32 far_ifindex; /* the far end of wg0's veth pair: what is redirected to it arrives on wg0 */
	__u8 near_mac[6]; /* of wg0 */
	__u8 far_mac[6];
};

/* Every exit of every program, by name. The order is wgbpf/datapath/abi.py's. */
enum wg_count {
	WG_RX_PACKETS,
	WG_RX_BYTES,
	WG_RX_KEEPALIVES,
	WG_TX_PACKETS,
	WG_TX_BYTES,
	WG_TX_KEEPALIVES,
	WG_PASS_OTHER,
	WG_PASS_FRAGMENT,
	WG_PASS_HANDSHAKE,
	WG_PASS_BIG,
	WG_PASS_DATA,
	WG_COOKIES_SENT,
	WG_STEERED,
	WG_STEERED_ARRIVED,
	WG_SLOW_SEND,
	WG_STAGED,
	WG_EVENTS_LOST,
	WG_RX_BAD_TYPE,
	WG_RX_BAD_LENGTH,
	WG_RX_BAD_SOURCE,
	WG_RX_FRAGMENT,
	WG_RX_UNKNOWN_INDEX,
	WG_RX_BAD_MAC1,
	WG_RX_DUPLICATE,
	WG_RX_COOKIE_REQUIRED,
	WG_RX_RATE_LIMITED,
	WG_RX_KEY_EXPIRED,
	WG_RX_BAD_TAG,
	WG_RX_REPLAY,
	WG_RX_BAD_INNER_PACKET,
	WG_RX_FORBIDDEN_SOURCE,
	WG_RX_BAD_ECN,
	WG_RX_FAILED,
	WG_TX_BAD_INNER_PACKET,
	WG_TX_KEY_EXPIRED,
	WG_TX_NO_ROUTE,
	WG_TX_NO_ENDPOINT,
	WG_TX_TOO_BIG,
	WG_TX_STAGED_OVERFLOW,
	WG_TX_QUEUE_FULL,
	WG_TX_FAILED,
	WG_COUNTS,
};

_Static_assert(sizeof(struct wg_session) == 1152, "read by wgbpf/datapath/abi.py");
_Static_assert(sizeof(struct wg_endpoint) == 48, "read by wgbpf/datapath/abi.py");
_Static_assert(sizeof(struct wg_sending) == 24, "read by wgbpf/datapath/abi.py");
_Static_assert(sizeof(struct wg_traffic) == 128, "read by wgbpf/datapath/abi.py");
_Static_assert(sizeof(struct wg_control) == 64, "read by wgbpf/datapath/abi.py");
_Static_assert(sizeof(struct wg_guard) == 168, "read by wgbpf/datapath/abi.py");
_Static_assert(sizeof(struct wg_guard_load) == 24, "read by wgbpf/datapath/abi.py");
_Static_assert(sizeof(struct wg_source) == 12, "read by wgbpf/datapath/abi.py");
_Static_assert(sizeof(struct wg_event) == 60, "read by wgbpf/datapath/abi.py");
_Static_assert(sizeof(struct wg_prefix) == 20, "read by wgbpf/datapath/abi.py");

#endif
