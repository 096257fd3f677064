/* SPDX-License-Identifier: MIT */
/* The Python face of the pump: one type, whose methods are the verbs of wgbpf.datapath.interface. */
#include "object.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- life --- */

static void stop_threads(struct pump *p)
{
	uint64_t one = 1;

	if (!p->running)
		return;
	(void)!write(p->stop_fd, &one, sizeof(one));
	Py_BEGIN_ALLOW_THREADS
	pthread_join(p->tx_thread, NULL);
	pthread_join(p->rx_thread, NULL);
	Py_END_ALLOW_THREADS
	(void)!read(p->stop_fd, &one, sizeof(one));
	p->running = false;
}

static void pump_dealloc(PumpObject *self)
{
	struct pump *p = self->pump;
	struct event *e;

	if (p) {
		stop_threads(p);
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
		free(p->tun_buffer);
		free(p->segment);
		free(p->outbox.data);
		free(p->udp_buffer);
		free(p->arena);
		if (p->event_fd >= 0)
			close(p->event_fd);
		if (p->stop_fd >= 0)
			close(p->stop_fd);
		free(p);
	}
	Py_TYPE(self)->tp_free((PyObject *)self);
}

static int pump_init(PumpObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "tun", "vnet", "uso", NULL };
	int tun, vnet, uso;

	if (self->pump) {
		PyErr_SetString(PyExc_RuntimeError, "a Pump is made once");
		return -1;
	}
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "ipp", names, &tun, &vnet, &uso))
		return -1;
	struct pump *p = calloc(1, sizeof(*p));
	if (!p) {
		PyErr_NoMemory();
		return -1;
	}
	self->pump = p;
	p->tun = tun;
	p->vnet = vnet;
	p->uso = uso;
	p->udp4 = p->udp6 = -1;
	p->mtu = 1420;
	p->events_tail = &p->events_head;
	pthread_mutex_init(&p->events_lock, NULL);
	pthread_mutex_init(&p->paths, NULL);
	pthread_rwlockattr_t attributes;
	pthread_rwlockattr_init(&attributes);
	/* Python must not wait for ever behind two busy threads. */
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&p->lock, &attributes);
	pthread_rwlockattr_destroy(&attributes);
	p->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	p->stop_fd = eventfd(0, EFD_CLOEXEC);
	p->tun_buffer = malloc(MAX_PACKET + VNET_HEADER + 64);
	p->segment = malloc(MAX_PACKET + 64);
	/* Room for one message behind a full box: it is sealed there before it is known to be too much. */
	p->outbox.data = malloc(2 * (MAX_PACKET + DATA_OVERHEAD + 64));
	p->udp_buffer = malloc(MAX_PACKET + 64);
	p->arena = malloc(ARENA + 64);
	if (p->event_fd < 0 || p->stop_fd < 0) {
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	if (!p->tun_buffer || !p->segment || !p->outbox.data || !p->udp_buffer || !p->arena) {
		PyErr_NoMemory();
		return -1;
	}
	return 0;
}

/* start(udp4, udp6, gso, gro): udp6 may be -1. */
static PyObject *pump_start(PumpObject *self, PyObject *args)
{
	struct pump *p = self->pump;
	int udp4, udp6, gso, gro;

	if (!PyArg_ParseTuple(args, "iipp", &udp4, &udp6, &gso, &gro))
		return NULL;
	stop_threads(p);
	p->udp4 = udp4;
	p->udp6 = udp6;
	p->gso = gso;
	p->gro = gro;
	if (pthread_create(&p->tx_thread, NULL, tx_main, p)) {
		PyErr_SetString(PyExc_OSError, "no thread to be had");
		return NULL;
	}
	if (pthread_create(&p->rx_thread, NULL, rx_main, p)) {
		uint64_t one = 1;
		(void)!write(p->stop_fd, &one, sizeof(one));
		pthread_join(p->tx_thread, NULL);
		(void)!read(p->stop_fd, &one, sizeof(one));
		PyErr_SetString(PyExc_OSError, "no thread to be had");
		return NULL;
	}
	p->running = true;
	Py_RETURN_NONE;
}

static PyObject *pump_stop(PumpObject *self, PyObject *Py_UNUSED(ignored))
{
	stop_threads(self->pump);
	Py_RETURN_NONE;
}

/* --- events and facts --- */

static PyObject *address(uint8_t family, const uint8_t *raw)
{
	return PyBytes_FromStringAndSize((const char *)raw, family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0);
}

/* (kind, number, data, remote, port, scope, local, ifindex), or None when there is no more. */
static PyObject *pump_take(PumpObject *self, PyObject *Py_UNUSED(ignored))
{
	struct pump *p = self->pump;
	struct event *e = event_take(p);

	if (!e) {
		uint64_t seen;
		(void)!read(p->event_fd, &seen, sizeof(seen));
		/* One that came between the look and the read has been seen by nobody. */
		e = event_take(p);
		if (!e)
			Py_RETURN_NONE;
		(void)!write(p->event_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
	}
	PyObject *result = Py_BuildValue("iIy#NIINI", (int)e->kind, e->number, e->data, (Py_ssize_t)e->size,
					 address(e->path.family, e->path.remote), e->path.port, e->path.scope,
					 address(e->path.local_family, e->path.local), e->path.ifindex);
	free(e);
	return result;
}

static PyObject *traffic_of(const struct peer *peer)
{
	const struct session *s = peer->current;

	return Py_BuildValue("IKKKKKKKKKKK", peer->number, peer->rx_bytes, peer->tx_bytes, peer->rx_packets,
			     peer->tx_packets, peer->last_sent, peer->last_received, peer->last_data_sent,
			     peer->last_data_received, peer->unanswered_sent, peer->unanswered_received,
			     s ? s->counter : 0ull);
}

/* One tuple for each peer that changed since the last call. */
static PyObject *pump_collect(PumpObject *self, PyObject *Py_UNUSED(ignored))
{
	struct pump *p = self->pump;
	PyObject *all = PyList_New(0);

	if (!all)
		return NULL;
	__atomic_store_n(&p->active, 0, __ATOMIC_SEQ_CST);
	read_lock(p);
	for (uint32_t n = 0; n < p->peers_size && all; n++) {
		struct peer *peer = p->peers[n];
		if (!peer || !__atomic_exchange_n(&peer->dirty, false, __ATOMIC_ACQUIRE))
			continue;
		PyObject *one = traffic_of(peer);
		if (!one || PyList_Append(all, one))
			Py_CLEAR(all);
		Py_XDECREF(one);
	}
	unlock(p);
	return all;
}

static PyObject *pump_counts(PumpObject *self, PyObject *Py_UNUSED(ignored))
{
	PyObject *all = PyTuple_New(COUNTS);

	for (int n = 0; all && n < COUNTS; n++) {
		uint64_t value = __atomic_load_n(&self->pump->counts[n], __ATOMIC_RELAXED);
		PyTuple_SET_ITEM(all, n, PyLong_FromUnsignedLongLong(value));
	}
	return all;
}

static PyObject *get_event_fd(PumpObject *self, void *Py_UNUSED(closure))
{
	return PyLong_FromLong(self->pump->event_fd);
}

static PyObject *get_gso(PumpObject *self, void *Py_UNUSED(closure))
{
	return PyBool_FromLong(__atomic_load_n(&self->pump->gso, __ATOMIC_RELAXED));
}

static PyMethodDef methods[] = {
	{ "start", (PyCFunction)pump_start, METH_VARARGS, "start(udp4, udp6, gso, gro): begin to carry packets" },
	{ "stop", (PyCFunction)pump_stop, METH_NOARGS, "end the threads" },
	{ "take", (PyCFunction)pump_take, METH_NOARGS, "the next event, or None" },
	{ "collect", (PyCFunction)pump_collect, METH_NOARGS, NULL },
	{ "counts", (PyCFunction)pump_counts, METH_NOARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef properties[] = {
	{ "event_fd", (getter)get_event_fd, NULL, "readable when an event waits", NULL },
	{ "gso", (getter)get_gso, NULL, "whether sends are joined by UDP_SEGMENT", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyTypeObject pump_type = {
	PyVarObject_HEAD_INIT(NULL, 0).tp_name = "wgbpf.native._pump.Pump",
	.tp_basicsize = sizeof(PumpObject),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_new = PyType_GenericNew,
	.tp_init = (initproc)pump_init,
	.tp_dealloc = (destructor)pump_dealloc,
	.tp_methods = methods,
	.tp_getset = properties,
};

static struct PyModuleDef definition = { PyModuleDef_HEAD_INIT, "_pump", NULL, -1, NULL, NULL, NULL, NULL, NULL };

PyMODINIT_FUNC PyInit__pump(void)
{
	PyObject *module;

	if (PyType_Ready(&pump_type) < 0)
		return NULL;
	module = PyModule_Create(&definition);
	for (PyMethodDef *verb = pump_verbs; module && verb->ml_name; verb++) {
		PyObject *method = PyDescr_NewMethod(&pump_type, verb);
		if (!method || PyDict_SetItemString(pump_type.tp_dict, verb->ml_name, method))
			Py_CLEAR(module);
		Py_XDECREF(method);
	}
	if (module && PyModule_AddObjectRef(module, "Pump", (PyObject *)&pump_type) < 0)
		Py_CLEAR(module);
	return module;
}
