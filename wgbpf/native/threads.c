/* SPDX-License-Identifier: MIT */
/* The two threads of a queue, and which of them reads the TUN.
 *
 * While there is little to carry, the receiving thread carries both directions: the answer to what it delivered is sent
 * by a thread that runs already, where waking another one costs more than all that is done to the packet. From some
 * rate on the sending thread has the TUN, so that each direction has a CPU. Who has the TUN has what queues keep for
 * sending.
 */
#include "pump.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MS 1000000ull
/* In the units of queue_load: above 6,000 a second the threads part, below 2,000 they join. */
#define BUSY_SPAN (10 * MS)
#define BUSY_UNITS 60
#define QUIET_SPAN (50 * MS)
#define QUIET_UNITS 100

static uint64_t queue_load(const struct queue *q)
{
	return __atomic_load_n(&q->sent, __ATOMIC_RELAXED) + __atomic_load_n(&q->received, __ATOMIC_RELAXED);
}

static bool watch(int epoll, int operation, int fd, unsigned bit)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = bit };

	return fd < 0 || !epoll_ctl(epoll, operation, fd, &e);
}

static void mark(struct queue *q, uint64_t now)
{
	q->marked_at = now;
	q->marked = queue_load(q);
}

/* By the receiving thread: from now on the sending thread reads the TUN. */
static void part(struct queue *q)
{
	uint64_t one = 1;

	affinity_release(q);
	watch(q->epoll, EPOLL_CTL_DEL, q->tun, 0);
	mark(q, q->looked_out);
	__atomic_store_n(&q->joined, false, __ATOMIC_RELEASE);
	(void)!write(q->parted_fd, &one, sizeof(one));
}

/* By the sending thread: from now on the receiving thread reads the TUN. That one must not stop watching before it was
 * told to watch, so it is told first.
 */
static void join(struct queue *q)
{
	mark(q, q->looked_out);
	if (watch(q->epoll, EPOLL_CTL_ADD, q->tun, READY_TUN))
		__atomic_store_n(&q->joined, true, __ATOMIC_RELEASE);
}

static bool joined(const struct queue *q)
{
	return __atomic_load_n(&q->joined, __ATOMIC_ACQUIRE);
}

static void part_when_busy(struct queue *q)
{
	if (queue_load(q) - q->marked > BUSY_UNITS)
		part(q);
	else if (q->looked_out - q->marked_at > BUSY_SPAN)
		mark(q, q->looked_out);
}

static void join_when_quiet(struct queue *q)
{
	if (q->looked_out - q->marked_at <= QUIET_SPAN)
		return;
	if (queue_load(q) - q->marked < QUIET_UNITS)
		join(q);
	else
		mark(q, q->looked_out);
}

/* Until the receiving thread has parted, or the threads shall stop. */
static void sleep_joined(const struct queue *q)
{
	struct pollfd wait[2] = { { .fd = q->parted_fd, .events = POLLIN }, { .fd = q->pump->stop_fd, .events = POLLIN } };
	uint64_t parted;

	if (poll(wait, 2, -1) > 0 && wait[0].revents)
		(void)!read(q->parted_fd, &parted, sizeof(parted));
}

static void *tx_main(void *arg)
{
	struct queue *q = arg;
	struct pump *p = q->pump;
	struct pollfd wait[2] = { { .fd = q->tun, .events = POLLIN }, { .fd = p->stop_fd, .events = POLLIN } };
	enum look look = LOOK_WAIT;

	while (!__atomic_load_n(&p->stopping, __ATOMIC_RELAXED)) {
		if (joined(q)) {
			sleep_joined(q);
			look = LOOK_WAIT;
			continue;
		}
		if (look == LOOK_WAIT && poll(wait, 2, -1) < 0 && errno != EINTR)
			break;
		pthread_rwlock_rdlock(&p->lock);
		look = send_batch(q, look == LOOK_AGAIN);
		pthread_rwlock_unlock(&p->lock);
		if (look == LOOK_GONE)
			break;
		if (look == LOOK_LATER) { /* poll says that it is readable all the same */
			poll(&wait[1], 1, 50);
			look = LOOK_WAIT;
		} else {
			join_when_quiet(q);
		}
	}
	if (look == LOOK_GONE && q == &p->queues[0])
		event_push(p, EV_GONE, 0, NULL, NULL, 0, TX_QUEUE_FULL);
	return NULL;
}

/* What is ready, as READY_ bits. */
static unsigned wait_for(const struct queue *q, int timeout)
{
	struct epoll_event events[5];
	unsigned ready = 0;

	for (int n = epoll_wait(q->epoll, events, 5, timeout); n > 0; n--)
		ready |= events[n - 1].data.u32;
	return ready;
}

static void *rx_main(void *arg)
{
	struct queue *q = arg;
	struct pump *p = q->pump;
	bool again = false;

	affinity_begin(q);
	while (!__atomic_load_n(&p->stopping, __ATOMIC_RELAXED)) {
		/* After work it looks again before it asks to be woken. */
		unsigned ready = wait_for(q, again ? 0 : -1);
		pthread_rwlock_rdlock(&p->lock);
		int datagrams = 0;
		bool more = ready & ~READY_TUN && receive_batch(q, ready, again, &datagrams);
		if (joined(q)) {
			enum look look = ready & READY_TUN || datagrams ? send_batch(q, again) : LOOK_WAIT;
			more |= look == LOOK_AGAIN;
			connect_when_steady(q);
			/* What a TUN that is down or gone asks for is the sending thread's. */
			if (look == LOOK_LATER || look == LOOK_GONE)
				part(q);
			else
				part_when_busy(q);
		}
		pthread_rwlock_unlock(&p->lock);
		if (joined(q))
			affinity_follow(q, ready & READY_CONNECTED);
		again = more;
	}
	affinity_end(q);
	return NULL;
}

/* --- begin and end --- */

static bool queue_connect(struct queue *q)
{
	q->epoll = epoll_create1(EPOLL_CLOEXEC);
	q->parted_fd = eventfd(0, EFD_CLOEXEC);
	q->joined = true;
	return q->epoll >= 0 && q->parted_fd >= 0 && watch(q->epoll, EPOLL_CTL_ADD, q->udp4, READY_UDP4) &&
	       watch(q->epoll, EPOLL_CTL_ADD, q->udp6, READY_UDP6) && watch(q->epoll, EPOLL_CTL_ADD, q->tun, READY_TUN) &&
	       watch(q->epoll, EPOLL_CTL_ADD, q->pump->stop_fd, 0);
}

static void queue_disconnect(struct queue *q)
{
	if (q->epoll >= 0)
		close(q->epoll);
	if (q->parted_fd >= 0)
		close(q->parted_fd);
	if (q->connected >= 0)
		close(q->connected);
	q->epoll = q->parted_fd = q->connected = -1;
	q->connected_to = (struct path){ 0 };
	q->steadily = 0;
}

static void stop_and_join(struct pump *p, unsigned count)
{
	uint64_t one = 1;

	__atomic_store_n(&p->stopping, true, __ATOMIC_RELAXED);
	(void)!write(p->stop_fd, &one, sizeof(one));
	for (unsigned n = 0; n < count; n++)
		pthread_join(p->threads[n], NULL);
	(void)!read(p->stop_fd, &one, sizeof(one));
	p->stopping = false;
	for (unsigned n = 0; n < p->queue_count; n++)
		queue_disconnect(&p->queues[n]);
}

/* False: no thread or no descriptor to be had. */
bool threads_begin(struct pump *p)
{
	unsigned count = 0;

	for (unsigned n = 0; n < p->queue_count; n++) {
		struct queue *q = &p->queues[n];
		if (!queue_connect(q) || pthread_create(&p->threads[count], NULL, tx_main, q))
			break;
		count++;
		if (pthread_create(&p->threads[count], NULL, rx_main, q))
			break;
		count++;
	}
	p->running = count == 2 * p->queue_count;
	if (!p->running)
		stop_and_join(p, count);
	return p->running;
}

void threads_end(struct pump *p)
{
	if (p->running)
		stop_and_join(p, 2 * p->queue_count);
	p->running = false;
}
