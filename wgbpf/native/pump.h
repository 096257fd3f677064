/* SPDX-License-Identifier: MIT */
/* The native pump: sessions, peers and routes that Python installs, and two threads for each queue that carry packets.
 *
 * A queue is one descriptor of the TUN device and UDP sockets of its own. A session's datagrams arrive at one queue
 * (datapath/reuseport.py), inner packets of a flow leave by one (the kernel's choice), so that their order holds.
 *
 * Locking: `lock` is held for reading by a thread while it handles a batch, for writing by Python while it changes
 * sessions, peers or routes. What threads change meanwhile: counters and stamps (atomically), a session's counter
 * (atomically, so that no value is had twice), its replay window (its own mutex), a peer's path (`paths`).
 */
#ifndef WGBPF_PUMP_H
#define WGBPF_PUMP_H

#include <netinet/in.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "aead.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define DATA_HEADER 16
#define DATA_OVERHEAD (DATA_HEADER + TAG_SIZE)
#define MESSAGE_DATA 4
#define MAX_PACKET 65535
#define MAX_UDP_PAYLOAD 65507
#define MAX_SEGMENTS 64
#define MAX_QUEUES 16
#define VNET_HEADER 10
#define BATCH 64
/* A packet after so many ns without one likely comes alone: no look for another one delays what its answer needs. */
#define REST 100000

#define REJECT_AFTER_NS (180ull * 1000000000ull)
#define REJECT_AFTER_MESSAGES (UINT64_MAX - (1ull << 13))
#define WINDOW_WORDS 128
#define WINDOW (WINDOW_WORDS * 64 - 64)

/* Names and order are those of COUNTS in wgbpf/datapath/tun_native.py; a test compares them. */
enum count {
	RX_PACKETS, RX_BYTES, TX_PACKETS, TX_BYTES,
	RX_BAD_LENGTH, RX_UNKNOWN_INDEX, RX_KEY_EXPIRED, RX_BAD_TAG, RX_REPLAY, RX_BAD_INNER_PACKET,
	RX_FORBIDDEN_SOURCE, RX_BAD_ECN, RX_INTERFACE_FULL, RX_QUEUE_FULL,
	TX_BAD_INNER_PACKET, TX_KEY_EXPIRED, TX_NO_ROUTE, TX_NO_ENDPOINT, TX_SEND_FAILED, TX_QUEUE_FULL,
	GSO_FALLBACKS,
	COUNTS
};

enum event_kind { EV_HANDSHAKE, EV_NEEDS_SESSION, EV_CONFIRMED, EV_ROAMED, EV_ACTIVE, EV_GONE, EV_NO_ROUTE };

/* Where a peer is, and by which of our addresses it was reached (local_family 0: routing decides). */
struct path {
	uint8_t family; /* AF_INET, AF_INET6; 0: unknown */
	uint8_t local_family;
	uint16_t port; /* host order */
	uint32_t scope;
	uint32_t ifindex;
	uint8_t remote[16];
	uint8_t local[16];
};

struct event {
	struct event *next;
	enum event_kind kind;
	uint32_t number; /* a peer's, or a session's local index */
	struct path path;
	size_t size;
	uint8_t data[];
};

struct session {
	struct session *next;
	struct peer *peer;
	uint32_t local_index, remote_index;
	uint64_t created; /* CLOCK_BOOTTIME, ns */
	bool receive_only;
	uint64_t counter; /* the next to send with */
	uint8_t send_key[KEY_SIZE], receive_key[KEY_SIZE];
	pthread_mutex_t receiving; /* for what follows; held for the messages of one datagram that GRO joined */
	uint64_t received; /* highest counter + 1 */
	uint64_t window[WINDOW_WORDS];
};

/* Stamps are CLOCK_BOOTTIME ns, 0: never. */
struct peer {
	uint32_t number;
	bool dirty;
	struct path path;
	struct session *current, *unconfirmed;
	uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets;
	uint64_t last_sent, last_received, last_data_sent, last_data_received;
	uint64_t unanswered_sent, unanswered_received;
};

struct node {
	uint32_t child[2];
	int64_t peer; /* -1: none */
};

/* A binary trie of one address family; node 0 is the root. */
struct routes {
	struct node *nodes;
	uint32_t used, size, free; /* `free` heads the list of freed nodes */
};

/* The last address that a thread asked the routes for. */
struct known_route {
	uint64_t generation;
	uint8_t version;
	uint8_t address[16];
	struct peer *peer;
};

/* Sealed messages of equal size on their way to one peer: one system call. */
struct outbox {
	struct peer *peer;
	struct path path;
	uint8_t ds;
	bool closed; /* a shorter message ended it */
	unsigned segments;
	size_t segment_size, size;
	uint8_t *data;
};

/* Inner packets of one flow, on their way to the TUN as one super-packet. */
struct bundle {
	bool used, tcp, closed;
	uint8_t version, header; /* length of IP and transport header */
	uint8_t ip_header;
	unsigned count;
	uint32_t next_seq;
	uint16_t gso_size, next_id;
	size_t payload;
	uint8_t *first; /* the first packet */
	struct { uint8_t *data; size_t size; } piece[MAX_SEGMENTS];
};
#define BUNDLES 16
#define ARENA (1u << 19)

struct queue {
	struct pump *pump;
	int tun, udp4, udp6;
	int epoll, parted_fd;
	bool joined; /* the receiving thread has the TUN and what is for sending; threads.c */
	int connected; /* a socket for one peer, or -1; changes only while joined, and then by the receiving thread */
	/* of the thread that has the TUN */
	uint8_t *tun_buffer, *header; /* `header`: of the super-packet that is being cut */
	struct outbox outbox;
	struct known_route destination;
	struct path connected_to, steady; /* of `connected` (family 0: send nothing by it), and where the last message went */
	unsigned steadily; /* how many in a row */
	struct aead_scratch *sealing;
	int sent_last; /* packets in the last batch */
	uint64_t sent; /* load_units */
	uint64_t looked_out; /* when the TUN was last looked at */
	uint64_t marked, marked_at; /* the load at some time */
	/* of the receiving thread */
	uint8_t *arena; /* datagrams, opened where they lie, until their packets are written */
	size_t arena_used;
	struct bundle bundles[BUNDLES];
	struct known_route source;
	struct aead_scratch *opening;
	struct path heard; /* where the last authentic datagram came from, and when */
	uint64_t heard_at;
	int received_last;
	uint64_t received, looked_in;
	int home, schedstat; /* affinity.c */
	unsigned until_look, elsewhere;
	uint64_t waited, slices, home_since, away, away_until;
};

/* What a thread that looked at the TUN does next; LATER: it is down, GONE: it exists no more. */
enum look { LOOK_WAIT, LOOK_AGAIN, LOOK_LATER, LOOK_GONE };

enum { READY_UDP4 = 1, READY_UDP6 = 2, READY_CONNECTED = 4, READY_TUN = 8 };

struct pump {
	const struct aead *aead;
	int stop_fd, event_fd;
	bool vnet, uso, gso, gro, running, stopping;
	uint32_t mtu;
	unsigned queue_count;
	struct queue queues[MAX_QUEUES];
	pthread_t threads[2 * MAX_QUEUES];
	pthread_rwlock_t lock;
	uint64_t generation; /* of peers, routes and sessions: a change makes what threads remember of them void */
	pthread_mutex_t paths; /* the threads' own lock for `path` of peers */
	struct session *sessions[1 << 12];
	struct peer **peers;
	uint32_t peers_size;
	struct routes routes4, routes6;
	uint64_t counts[COUNTS];
	int active;
	pthread_mutex_t events_lock;
	struct event *events_head, **events_tail;
	unsigned events_waiting;
};

static inline void count(struct pump *p, enum count which, uint64_t n)
{
	__atomic_fetch_add(&p->counts[which], n, __ATOMIC_RELAXED);
}

/* A packet is one, a super-packet as many as it is worth in work. */
static inline unsigned load_units(size_t size) { return 1 + (unsigned)(size >> 11); }

static inline uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline void put16(uint8_t *p, uint32_t v) { p[0] = (uint8_t)(v >> 8); p[1] = (uint8_t)v; }
static inline uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }
static inline void put32(uint8_t *p, uint32_t v) { put16(p, v >> 16); put16(p + 2, v & 0xffff); }

/* queue.c */
bool pump_begin(struct pump *p, const struct aead *aead);
void pump_end(struct pump *p);
bool queue_begin(struct pump *p, int tun);

/* threads.c */
bool threads_begin(struct pump *p);
void threads_end(struct pump *p);

/* session.c */
uint64_t boot_ns(void);
struct session *session_new(const uint8_t *send_key, const uint8_t *receive_key);
void session_free(struct session *s);
struct session *session_find(struct pump *p, uint32_t local_index);
bool session_may_send(const struct session *s, uint64_t now);
bool session_reserve(struct session *s, unsigned messages, uint64_t *counter);
size_t session_seal(struct pump *p, struct aead_scratch *scratch, const struct session *s, uint64_t counter, uint8_t *out,
		    const uint8_t *packet, size_t size);
bool window_accept(struct session *s, uint64_t counter);

/* routes.c */
int routes_insert(struct routes *r, const uint8_t *prefix, unsigned length, uint32_t peer);
void routes_remove(struct routes *r, const uint8_t *prefix, unsigned length);
int64_t routes_lookup(const struct routes *r, const uint8_t *address, unsigned bits);
void routes_free(struct routes *r);

/* inner.c */
uint16_t checksum_finish(uint64_t sum);
uint64_t checksum_add(const struct pump *p, uint64_t sum, const uint8_t *data, size_t size);
uint64_t checksum_pseudo(const uint8_t *packet, uint8_t proto, size_t length);
uint64_t checksum_short(uint64_t sum, const uint8_t *data, size_t size);
size_t inner_length(const uint8_t *packet, size_t size);
struct peer *inner_destination(struct pump *p, struct known_route *known, const uint8_t *packet, size_t size, bool *is_ip);
struct peer *inner_source(struct pump *p, struct known_route *known, const uint8_t *packet);
uint8_t inner_ds(const uint8_t *packet);
bool inner_decapsulate_ecn(uint8_t *packet, uint8_t outer_ds);

/* events.c */
void event_push(struct pump *p, enum event_kind kind, uint32_t number, const struct path *path,
		const uint8_t *data, size_t size, enum count when_full);
struct event *event_take(struct pump *p);
void note_active(struct pump *p);

/* connected.c */
int connected_socket(struct queue *q, const struct path *path);
void connect_when_steady(struct queue *q);

/* affinity.c */
void affinity_begin(struct queue *q);
void affinity_end(struct queue *q);
void affinity_follow(struct queue *q, bool came);
void affinity_release(struct queue *q);

/* outbox.c */
socklen_t to_sockaddr(uint8_t family, const uint8_t *address, uint16_t port, uint32_t scope, struct sockaddr_storage *out);
struct path peer_path(struct pump *p, const struct peer *peer);
void outbox_flush(struct queue *q, struct outbox *o);

/* send.c */
enum look send_batch(struct queue *q, bool again);
void send_super(struct queue *q, size_t size, uint64_t now);
bool send_one(struct pump *p, struct session *s, const uint8_t *packet, size_t size, uint64_t now);

/* segment.c: what the TUN handed over, as the packets that go on the wire. */
struct segments {
	uint8_t *packet;
	const uint8_t *saved; /* the headers as they came */
	size_t size, header, ip_header, start, mss, at;
	unsigned count, number; /* of all, and of the next */
	uint8_t proto; /* 0: one packet as it is */
};
bool segments_plan(struct pump *p, struct segments *s, const uint8_t *vnet, uint8_t *packet, size_t size, uint8_t *save);
uint8_t *segments_next(struct pump *p, struct segments *s, size_t *size);

/* receive.c */
struct arrival {
	struct path from;
	uint8_t ds;
	size_t segment; /* size of what GRO joined */
	uint64_t now;
};
void receive_datagram(struct queue *q, uint8_t *data, size_t size, const struct arrival *a);
bool receive(struct queue *q, int fd, uint64_t now);
bool receive_batch(struct queue *q, unsigned ready, bool again, int *datagrams);

/* coalesce.c */
void deliver(struct queue *q, uint8_t *packet, size_t size);
void deliver_flush(struct queue *q);

#endif
