/* SPDX-License-Identifier: MIT */
/* What Python installs and takes away: peers, routes, sessions. */
#include "object.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct peer *peer_at(struct pump *p, unsigned number)
{
	return number < p->peers_size ? p->peers[number] : NULL;
}

static PyObject *pump_set_mtu(PumpObject *self, PyObject *args)
{
	unsigned mtu;

	if (!PyArg_ParseTuple(args, "I", &mtu))
		return NULL;
	write_lock(self->pump);
	self->pump->mtu = mtu;
	unlock(self->pump);
	Py_RETURN_NONE;
}

/* --- peers and routes --- */

static PyObject *pump_add_peer(PumpObject *self, PyObject *args)
{
	struct pump *p = self->pump;
	unsigned number;

	if (!PyArg_ParseTuple(args, "I", &number))
		return NULL;
	if (number >= 1u << 20) {
		PyErr_SetString(PyExc_ValueError, "peer number");
		return NULL;
	}
	write_lock(p);
	if (number >= p->peers_size) {
		uint32_t size = p->peers_size ? p->peers_size : 64;
		while (size <= number)
			size *= 2;
		struct peer **grown = realloc(p->peers, size * sizeof(*grown));
		if (grown) {
			memset(grown + p->peers_size, 0, (size - p->peers_size) * sizeof(*grown));
			p->peers = grown;
			p->peers_size = size;
		}
	}
	if (number < p->peers_size && !p->peers[number]) {
		p->peers[number] = calloc(1, sizeof(struct peer));
		if (p->peers[number])
			p->peers[number]->number = number;
	}
	bool done = peer_at(p, number) != NULL;
	unlock(p);
	if (!done)
		return PyErr_NoMemory();
	Py_RETURN_NONE;
}

static void drop_session(struct pump *p, struct session **at)
{
	struct session *s = *at;

	*at = s->next;
	if (s->peer->current == s)
		s->peer->current = NULL;
	if (s->peer->unconfirmed == s)
		s->peer->unconfirmed = NULL;
	session_free(s);
	(void)p;
}

/* Its routes must have been removed before. */
static PyObject *pump_remove_peer(PumpObject *self, PyObject *args)
{
	struct pump *p = self->pump;
	unsigned number;

	if (!PyArg_ParseTuple(args, "I", &number))
		return NULL;
	write_lock(p);
	struct peer *peer = peer_at(p, number);
	if (peer) {
		for (size_t n = 0; n < sizeof(p->sessions) / sizeof(*p->sessions); n++)
			for (struct session **at = &p->sessions[n]; *at;)
				if ((*at)->peer == peer)
					drop_session(p, at);
				else
					at = &(*at)->next;
		p->peers[number] = NULL;
		free(peer);
	}
	unlock(p);
	Py_RETURN_NONE;
}

/* set_endpoint(number, remote, port, scope, local, ifindex): raw addresses; empty: unknown, or for routing to decide. */
static PyObject *pump_set_endpoint(PumpObject *self, PyObject *args)
{
	struct pump *p = self->pump;
	unsigned number, port, scope, ifindex;
	const uint8_t *remote, *local;
	Py_ssize_t remote_size, local_size;
	struct path path = { 0 };

	if (!PyArg_ParseTuple(args, "Iy#IIy#I", &number, &remote, &remote_size, &port, &scope, &local, &local_size,
			      &ifindex))
		return NULL;
	if ((remote_size && remote_size != 4 && remote_size != 16) || (local_size && local_size != remote_size) ||
	    port > 65535) {
		PyErr_SetString(PyExc_ValueError, "an address has 4 or 16 bytes, a port 16 bits");
		return NULL;
	}
	path.family = remote_size == 4 ? AF_INET : remote_size == 16 ? AF_INET6 : 0;
	path.local_family = local_size ? path.family : 0;
	path.port = (uint16_t)port;
	path.scope = scope;
	path.ifindex = local_size ? ifindex : 0;
	memcpy(path.remote, remote, (size_t)remote_size);
	memcpy(path.local, local, (size_t)local_size);
	write_lock(p);
	struct peer *peer = peer_at(p, number);
	if (peer)
		peer->path = path;
	unlock(p);
	Py_RETURN_NONE;
}

static struct routes *routes_for(struct pump *p, Py_ssize_t size, unsigned length)
{
	if ((size != 4 && size != 16) || length > 8 * (unsigned)size) {
		PyErr_SetString(PyExc_ValueError, "a prefix has 4 or 16 bytes and no more bits than that");
		return NULL;
	}
	return size == 4 ? &p->routes4 : &p->routes6;
}

static PyObject *pump_insert(PumpObject *self, PyObject *args)
{
	struct pump *p = self->pump;
	const uint8_t *prefix;
	Py_ssize_t size;
	unsigned length, number;

	if (!PyArg_ParseTuple(args, "y#II", &prefix, &size, &length, &number))
		return NULL;
	struct routes *r = routes_for(p, size, length);
	if (!r)
		return NULL;
	write_lock(p);
	int failed = routes_insert(r, prefix, length, number);
	unlock(p);
	if (failed)
		return PyErr_NoMemory();
	Py_RETURN_NONE;
}

static PyObject *pump_remove(PumpObject *self, PyObject *args)
{
	struct pump *p = self->pump;
	const uint8_t *prefix;
	Py_ssize_t size;
	unsigned length;

	if (!PyArg_ParseTuple(args, "y#I", &prefix, &size, &length))
		return NULL;
	struct routes *r = routes_for(p, size, length);
	if (!r)
		return NULL;
	write_lock(p);
	routes_remove(r, prefix, length);
	unlock(p);
	Py_RETURN_NONE;
}

/* --- sessions --- */

/* install(peer, local, remote, send key, receive key, created ns, initiator) */
static PyObject *pump_install(PumpObject *self, PyObject *args)
{
	struct pump *p = self->pump;
	unsigned number, local, remote;
	unsigned long long created;
	Py_buffer send, receive;
	int initiator;

	if (!PyArg_ParseTuple(args, "IIIy*y*Kp", &number, &local, &remote, &send, &receive, &created, &initiator))
		return NULL;
	struct session *s = NULL;
	if (send.len == KEY_SIZE && receive.len == KEY_SIZE)
		s = session_new(send.buf, receive.buf);
	PyBuffer_Release(&send);
	PyBuffer_Release(&receive);
	if (!s) {
		PyErr_SetString(PyExc_ValueError, "a session has two keys of 32 bytes");
		return NULL;
	}
	s->local_index = local;
	s->remote_index = remote;
	s->created = created;
	write_lock(p);
	s->peer = peer_at(p, number);
	if (s->peer && !session_find(p, local)) {
		struct session **bucket = &p->sessions[local % (sizeof(p->sessions) / sizeof(*p->sessions))];
		s->next = *bucket;
		*bucket = s;
		s->peer->unconfirmed = initiator ? NULL : s;
		if (initiator)
			s->peer->current = s;
		s = NULL;
	}
	unlock(p);
	if (s) {
		session_free(s);
		PyErr_SetString(PyExc_ValueError, "no such peer, or the index is in use");
		return NULL;
	}
	Py_RETURN_NONE;
}

static PyObject *pump_restrict(PumpObject *self, PyObject *args)
{
	struct pump *p = self->pump;
	unsigned local;

	if (!PyArg_ParseTuple(args, "I", &local))
		return NULL;
	write_lock(p);
	struct session *s = session_find(p, local);
	if (s)
		s->receive_only = true;
	unlock(p);
	Py_RETURN_NONE;
}

static PyObject *pump_retire(PumpObject *self, PyObject *args)
{
	struct pump *p = self->pump;
	unsigned local;

	if (!PyArg_ParseTuple(args, "I", &local))
		return NULL;
	write_lock(p);
	struct session **at = &p->sessions[local % (sizeof(p->sessions) / sizeof(*p->sessions))];
	while (*at && (*at)->local_index != local)
		at = &(*at)->next;
	if (*at)
		drop_session(p, at);
	unlock(p);
	Py_RETURN_NONE;
}

/* transmit(local index, packet): an empty packet is a keepalive. */
static PyObject *pump_transmit(PumpObject *self, PyObject *args)
{
	struct pump *p = self->pump;
	unsigned local;
	Py_buffer packet;
	bool sent = false;

	if (!PyArg_ParseTuple(args, "Iy*", &local, &packet))
		return NULL;
	if (packet.len > MAX_PACKET) {
		PyBuffer_Release(&packet);
		PyErr_SetString(PyExc_ValueError, "longer than an IP packet");
		return NULL;
	}
	Py_BEGIN_ALLOW_THREADS
	pthread_rwlock_rdlock(&p->lock);
	struct session *s = session_find(p, local);
	if (s)
		sent = send_one(p, s, packet.buf, (size_t)packet.len, boot_ns());
	else
		count(p, TX_KEY_EXPIRED, 1);
	pthread_rwlock_unlock(&p->lock);
	Py_END_ALLOW_THREADS
	PyBuffer_Release(&packet);
	return PyBool_FromLong(sent);
}

PyMethodDef pump_verbs[] = {
	{ "set_mtu", (PyCFunction)pump_set_mtu, METH_VARARGS, NULL },
	{ "add_peer", (PyCFunction)pump_add_peer, METH_VARARGS, NULL },
	{ "remove_peer", (PyCFunction)pump_remove_peer, METH_VARARGS, NULL },
	{ "set_endpoint", (PyCFunction)pump_set_endpoint, METH_VARARGS, NULL },
	{ "insert", (PyCFunction)pump_insert, METH_VARARGS, "insert(prefix, length, peer)" },
	{ "remove", (PyCFunction)pump_remove, METH_VARARGS, "remove(prefix, length)" },
	{ "install", (PyCFunction)pump_install, METH_VARARGS, NULL },
	{ "restrict", (PyCFunction)pump_restrict, METH_VARARGS, NULL },
	{ "retire", (PyCFunction)pump_retire, METH_VARARGS, NULL },
	{ "transmit", (PyCFunction)pump_transmit, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};
