/* Sends frames from a file in turn, at a rate, from random source addresses; into a veth of a network namespace of
 * its own, and nowhere else.
 *
 * flood INTERFACE FILE RATE SECONDS CPU SOURCES
 *   FILE: frames, each behind its length (two bytes, little-endian); Ethernet, IPv4 without options, UDP.
 *   RATE: frames a second; 0: as many as it can.
 *   SOURCES: as many addresses from 198.18.0.1 on, and any port; 0: leave both as they are.
 * Prints how many frames the kernel took and how many it refused.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAMESPACES "/run/netns"
#define LAB "wgl"
#define BATCH 64
#define MAX_FRAMES 65536
#define MAX_FRAME 2048
#define MAX_SECONDS 60
#define MAX_RATE 5000000
#define FIRST_SOURCE 0xc6120001u /* 198.18.0.1: benchmarking, RFC 2544 */
#define IP 14
#define UDP (IP + 20)

static uint16_t lengths[MAX_FRAMES];
static const uint8_t *frames[MAX_FRAMES];
static uint8_t room[BATCH][MAX_FRAME];
static uint64_t state;

static int give_up(const char *why)
{
	fprintf(stderr, "flood: %s\n", why);
	return 1;
}

static uint64_t chance(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Whether this process is in a network namespace that the lab named. */
static int is_in_lab(void)
{
	struct stat ours, theirs;
	struct dirent *entry;
	int found = 0;
	DIR *all = opendir(NAMESPACES);

	if (!all || stat("/proc/self/ns/net", &ours)) {
		if (all)
			closedir(all);
		return 0;
	}
	while ((entry = readdir(all)))
		if (!strncmp(entry->d_name, LAB, strlen(LAB)) && !fstatat(dirfd(all), entry->d_name, &theirs, 0) &&
		    theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev)
			found = 1;
	closedir(all);
	return found;
}

static int is_veth(int fd, const char *interface)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq request = { 0 };

	strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
	request.ifr_data = (void *)&info;
	return !ioctl(fd, SIOCETHTOOL, &request) && !strcmp(info.driver, "veth");
}

static int read_frames(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t head[2];
	int count = 0;

	if (!file)
		return 0;
	while (count < MAX_FRAMES && fread(head, 1, 2, file) == 2) {
		int length = head[0] | head[1] << 8;
		uint8_t *frame = malloc(MAX_FRAME);
		if (!frame || length > MAX_FRAME || length < UDP + 8 || fread(frame, 1, length, file) != (size_t)length)
			break;
		frames[count] = frame;
		lengths[count++] = length;
	}
	fclose(file);
	return count;
}

static void disguise(uint8_t *frame, uint32_t sources)
{
	uint64_t r = chance();
	uint32_t address = htonl(FIRST_SOURCE + (uint32_t)(r % sources)), sum = 0;
	uint16_t port = htons(1024 + (r >> 40) % 60000), word;

	memcpy(frame + IP + 12, &address, 4);
	memcpy(frame + UDP, &port, 2);
	memset(frame + UDP + 6, 0, 2); /* no UDP checksum: allowed over IPv4 */
	memset(frame + IP + 10, 0, 2);
	for (int n = 0; n < 20; n += 2) {
		memcpy(&word, frame + IP + n, 2);
		sum += word;
	}
	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	word = ~sum;
	memcpy(frame + IP + 10, &word, 2);
}

int main(int argc, char **argv)
{
	struct mmsghdr messages[BATCH] = { 0 };
	struct iovec parts[BATCH];
	unsigned long long sent = 0, refused = 0, next = 0;
	const struct timespec pause = { 0, 50000 };

	if (argc != 7)
		return give_up("INTERFACE FILE RATE SECONDS CPU SOURCES");
	double rate = atof(argv[3]), seconds = atof(argv[4]);
	uint32_t sources = strtoul(argv[6], NULL, 10);
	int fd = socket(AF_PACKET, SOCK_RAW, 0), yes = 1;
	if (fd < 0)
		return give_up(strerror(errno));
	if (!is_in_lab() || !is_veth(fd, argv[1]))
		return give_up("refused: this is no veth of a network namespace of the lab");
	if (seconds > MAX_SECONDS || rate > MAX_RATE || seconds <= 0 || rate < 0)
		return give_up("refused: at most 60 s and 5,000,000 frames a second");
	int count = read_frames(argv[2]);
	if (!count)
		return give_up("no frames");
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	CPU_SET(atoi(argv[5]), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		return give_up("no such CPU");
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(argv[1]) };
	if (bind(fd, (void *)&to, sizeof(to)))
		return give_up(strerror(errno));
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof(yes));
	state = time(NULL) * 2654435761u + getpid();
	double began = now(), t = began;
	while (t - began < seconds) {
		unsigned long long due = rate > 0 ? (unsigned long long)((t - began) * rate) : sent + refused + BATCH;
		long batch = due > sent + refused ? (long)(due - sent - refused) : 0;
		if (batch > BATCH)
			batch = BATCH;
		if (!batch)
			nanosleep(&pause, NULL); /* leaves the CPU to those that are flooded */
		for (long n = 0; n < batch; n++, next++) {
			int which = next % count;
			memcpy(room[n], frames[which], lengths[which]);
			if (sources)
				disguise(room[n], sources);
			parts[n] = (struct iovec){ room[n], lengths[which] };
			messages[n].msg_hdr.msg_iov = &parts[n];
			messages[n].msg_hdr.msg_iovlen = 1;
		}
		for (long done = 0; done < batch;) {
			int taken = sendmmsg(fd, messages + done, batch - done, 0);
			if (taken < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
				return give_up(strerror(errno));
			sent += taken > 0 ? taken : 0;
			refused += taken > 0 ? 0 : 1;
			done += taken > 0 ? taken : 1;
		}
		t = now();
	}
	printf("sent %llu refused %llu seconds %.3f\n", sent, refused, t - began);
	return 0;
}
