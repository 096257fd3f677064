/* SPDX-License-Identifier: MIT */
/* The life of a pump and of its queues' buffers. */
#include "pump.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* False with errno. What has been made is freed by pump_end, also after a failure. */
bool pump_begin(struct pump *p, const struct aead *aead)
{
	pthread_rwlockattr_t attributes;

	p->aead = aead;
	p->mtu = 1420;
	p->generation = 1; /* a thread knows nothing before it asked */
	p->events_tail = &p->events_head;
	pthread_mutex_init(&p->events_lock, NULL);
	pthread_mutex_init(&p->paths, NULL);
	pthread_rwlockattr_init(&attributes);
	/* Python must not wait for ever behind two busy threads. */
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&p->lock, &attributes);
	pthread_rwlockattr_destroy(&attributes);
	p->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	p->stop_fd = eventfd(0, EFD_CLOEXEC);
	return p->event_fd >= 0 && p->stop_fd >= 0;
}

bool queue_begin(struct pump *p, int tun)
{
	struct queue *q = &p->queues[p->queue_count++];

	q->pump = p;
	q->tun = tun;
	q->udp4 = q->udp6 = q->connected = q->epoll = q->parted_fd = -1;
	q->tun_buffer = malloc(MAX_PACKET + VNET_HEADER + 64);
	q->header = malloc(MAX_PACKET);
	/* Room for one message behind a full box: it is sealed there before it is known to be too much. */
	q->outbox.data = malloc(2 * (MAX_PACKET + DATA_OVERHEAD + 64));
	q->arena = malloc(ARENA + 64);
	q->sealing = aead_scratch_new();
	q->opening = aead_scratch_new();
	return q->tun_buffer && q->header && q->outbox.data && q->arena && q->sealing && q->opening;
}

static void queue_end(struct queue *q)
{
	free(q->tun_buffer);
	free(q->header);
	free(q->outbox.data);
	free(q->arena);
	aead_scratch_free(q->sealing);
	aead_scratch_free(q->opening);
}

void pump_end(struct pump *p)
{
	struct event *e;

	while ((e = event_take(p)))
		free(e);
	for (size_t n = 0; n < sizeof(p->sessions) / sizeof(*p->sessions); n++)
		while (p->sessions[n]) {
			struct session *s = p->sessions[n];
			p->sessions[n] = s->next;
			session_free(s);
		}
	for (uint32_t n = 0; n < p->peers_size; n++)
		free(p->peers[n]);
	free(p->peers);
	routes_free(&p->routes4);
	routes_free(&p->routes6);
	for (unsigned n = 0; n < p->queue_count; n++)
		queue_end(&p->queues[n]);
	if (p->event_fd >= 0)
		close(p->event_fd);
	if (p->stop_fd >= 0)
		close(p->stop_fd);
	pthread_rwlock_destroy(&p->lock);
	pthread_mutex_destroy(&p->paths);
	pthread_mutex_destroy(&p->events_lock);
}
