/* SPDX-License-Identifier: MIT */
/* What the threads have to tell Python: a bounded queue and an eventfd that says it is not empty. */
#include "pump.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_WAITING 8192

/* Never blocks; a full queue counts under `when_full`. */
void event_push(struct pump *p, enum event_kind kind, uint32_t number, const struct path *path,
		const uint8_t *data, size_t size, enum count when_full)
{
	struct event *e = malloc(sizeof(*e) + size);
	bool full;

	if (!e) {
		count(p, when_full, 1);
		return;
	}
	*e = (struct event){ .kind = kind, .number = number, .size = size };
	if (path)
		e->path = *path;
	if (size)
		memcpy(e->data, data, size);
	pthread_mutex_lock(&p->events_lock);
	/* Facts without a packet are few and must not be lost. */
	full = size && p->events_waiting >= MAX_WAITING;
	if (!full) {
		*p->events_tail = e;
		p->events_tail = &e->next;
		p->events_waiting++;
	}
	pthread_mutex_unlock(&p->events_lock);
	if (full) {
		count(p, when_full, 1);
		free(e);
		return;
	}
	uint64_t one = 1;
	(void)!write(p->event_fd, &one, sizeof(one));
}

struct event *event_take(struct pump *p)
{
	pthread_mutex_lock(&p->events_lock);
	struct event *e = p->events_head;
	if (e) {
		p->events_head = e->next;
		if (!p->events_head)
			p->events_tail = &p->events_head;
		p->events_waiting--;
	}
	pthread_mutex_unlock(&p->events_lock);
	return e;
}

/* First traffic since Python last collected. */
void note_active(struct pump *p)
{
	if (!__atomic_load_n(&p->active, __ATOMIC_RELAXED) && !__atomic_exchange_n(&p->active, 1, __ATOMIC_RELAXED))
		event_push(p, EV_ACTIVE, 0, NULL, NULL, 0, RX_QUEUE_FULL);
}
