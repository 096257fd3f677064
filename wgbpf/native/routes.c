/* SPDX-License-Identifier: MIT */
/* Cryptokey routing: a binary trie for each family. Callers hold the pump's lock. */
#include "pump.h"

#include <stdlib.h>
#include <string.h>

static int bit_at(const uint8_t *address, unsigned n)
{
	return address[n / 8] >> (7 - n % 8) & 1;
}

static uint32_t new_node(struct routes *r)
{
	uint32_t at = r->free;

	if (at) {
		r->free = r->nodes[at].child[0];
	} else {
		if (r->used == r->size) {
			uint32_t size = r->size ? 2 * r->size : 64;
			struct node *grown = realloc(r->nodes, size * sizeof(*grown));
			if (!grown)
				return 0;
			r->nodes = grown;
			r->size = size;
		}
		at = r->used++;
	}
	r->nodes[at] = (struct node){ .peer = -1 };
	return at;
}

/* 0, or -1 without memory. */
int routes_insert(struct routes *r, const uint8_t *prefix, unsigned length, uint32_t peer)
{
	uint32_t at = 0;

	if (!r->used) {
		new_node(r); /* the root, which is number 0 */
		if (!r->used)
			return -1;
	}
	for (unsigned n = 0; n < length; n++) {
		int bit = bit_at(prefix, n);
		if (!r->nodes[at].child[bit]) {
			uint32_t child = new_node(r);
			if (!child)
				return -1;
			r->nodes[at].child[bit] = child;
		}
		at = r->nodes[at].child[bit];
	}
	r->nodes[at].peer = peer;
	return 0;
}

void routes_remove(struct routes *r, const uint8_t *prefix, unsigned length)
{
	uint32_t path[129];

	if (!r->used)
		return;
	path[0] = 0;
	for (unsigned n = 0; n < length; n++) {
		path[n + 1] = r->nodes[path[n]].child[bit_at(prefix, n)];
		if (!path[n + 1])
			return;
	}
	r->nodes[path[length]].peer = -1;
	/* Give back the nodes that lead nowhere now. */
	for (unsigned n = length; n; n--) {
		struct node *leaf = &r->nodes[path[n]];
		if (leaf->peer >= 0 || leaf->child[0] || leaf->child[1])
			break;
		r->nodes[path[n - 1]].child[bit_at(prefix, n - 1)] = 0;
		leaf->child[0] = r->free;
		r->free = path[n];
	}
}

/* The peer of the longest prefix that holds the address, or -1. */
int64_t routes_lookup(const struct routes *r, const uint8_t *address, unsigned bits)
{
	int64_t found = -1;
	uint32_t at = 0;

	if (!r->used)
		return -1;
	for (unsigned n = 0;; n++) {
		const struct node *node = &r->nodes[at];
		if (node->peer >= 0)
			found = node->peer;
		if (n == bits)
			break;
		at = node->child[bit_at(address, n)];
		if (!at)
			break;
	}
	return found;
}

void routes_free(struct routes *r)
{
	free(r->nodes);
	memset(r, 0, sizeof(*r));
}
