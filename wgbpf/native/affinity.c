/* SPDX-License-Identifier: MIT */
/* Where the receiving thread runs while there is little to carry: on the CPU that the datagrams arrive at.
 *
 * The scheduler likes to wake it on another CPU that is idle, and an idle CPU takes longer to wake than the packet takes,
 * most of all in a virtual machine. Where other work keeps the thread waiting there, it goes wherever it can for a while.
 */
#include "pump.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#define LOOK_EACH 3 /* times, and up to as many more, so that two ends on one machine do not move at once */
#define ELSEWHERE 64 /* times in a row that nothing came there: then it is no reason to stay */
#define CROWDED 200000 /* ns from being woken to running, on average since the last look */
/* For how long it stays away; each time for twice as long, unless it had been there for long. */
#define LEAST_AWAY 250000000ull
#define MOST_AWAY (64 * LEAST_AWAY)

/* False when the kernel does not tell how long the thread waited. */
static bool waited(struct queue *q, uint64_t *ns, uint64_t *times)
{
	char text[80];
	unsigned long long ran, all, slices;
	ssize_t size = pread(q->schedstat, text, sizeof(text) - 1, 0);

	if (size <= 0)
		return false;
	text[size] = 0;
	if (sscanf(text, "%llu %llu %llu", &ran, &all, &slices) != 3)
		return false;
	*ns = all - q->waited;
	*times = slices - q->slices;
	q->waited = all;
	q->slices = slices;
	return true;
}

/* Those of the process's first thread, which is never bound here: what the operator or the service manager chose. */
static bool allowed(cpu_set_t *cpus)
{
	return !sched_getaffinity(getpid(), sizeof(*cpus), cpus);
}

static void move_to(struct queue *q, int cpu)
{
	cpu_set_t cpus;
	uint64_t ns, times;

	if (!allowed(&cpus) || !CPU_ISSET(cpu, &cpus) || !waited(q, &ns, &times))
		return;
	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		return;
	q->home = cpu;
	q->home_since = q->looked_out;
}

void affinity_release(struct queue *q)
{
	cpu_set_t cpus;

	/* Bound otherwise meanwhile: not by us. */
	if (q->home >= 0 && !sched_getaffinity(0, sizeof(cpus), &cpus) && CPU_COUNT(&cpus) == 1 &&
	    CPU_ISSET(q->home, &cpus) && allowed(&cpus))
		sched_setaffinity(0, sizeof(cpus), &cpus);
	q->home = -1;
}

static void stay_away(struct queue *q)
{
	if (q->looked_out - q->home_since > 4 * q->away)
		q->away = 0;
	affinity_release(q);
	q->away = q->away ? 2 * q->away : LEAST_AWAY;
	if (q->away > MOST_AWAY)
		q->away = MOST_AWAY;
	q->away_until = q->looked_out + q->away;
}

/* At the receiving thread's begin. */
void affinity_begin(struct queue *q)
{
	q->home = -1;
	q->away = q->away_until = 0;
	q->schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
}

void affinity_end(struct queue *q)
{
	if (q->schedstat >= 0)
		close(q->schedstat);
}

/* After work, by the receiving thread while it has the TUN, without the lock. `came`: by the connected socket. */
void affinity_follow(struct queue *q, bool came)
{
	uint64_t ns, times;
	int cpu = -1;
	socklen_t size = sizeof(cpu);

	q->elsewhere = came ? 0 : q->elsewhere + 1;
	if (q->until_look) {
		q->until_look--;
		return;
	}
	q->until_look = LOOK_EACH + q->looked_out % LOOK_EACH;
	if (q->connected < 0 || q->elsewhere > ELSEWHERE)
		affinity_release(q);
	else if (q->home >= 0 && (!waited(q, &ns, &times) || ns > times * CROWDED))
		stay_away(q);
	/* The kernel keeps it for connected sockets only. */
	else if (came && q->looked_out >= q->away_until &&
		 !getsockopt(q->connected, SOL_SOCKET, SO_INCOMING_CPU, &cpu, &size) && cpu >= 0 && cpu < CPU_SETSIZE &&
		 cpu != q->home)
		move_to(q, cpu);
}
