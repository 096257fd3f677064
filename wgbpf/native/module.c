/* SPDX-License-Identifier: MIT */
/* The Python face of the pump: one type, whose methods are the verbs of wgbpf.datapath.interface. */
#include "object.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- life --- */

static void stop_threads(struct pump *p)
{
	Py_BEGIN_ALLOW_THREADS
	threads_end(p);
	Py_END_ALLOW_THREADS
}

static void pump_dealloc(PumpObject *self)
{
	if (self->pump) {
		stop_threads(self->pump);
		pump_end(self->pump);
		free(self->pump);
	}
	Py_TYPE(self)->tp_free((PyObject *)self);
}

/* Pump(tuns, vnet, uso, crypto=None): a descriptor of the TUN device for each queue. */
static int pump_init(PumpObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "tuns", "vnet", "uso", "crypto", NULL };
	PyObject *tuns;
	int vnet, uso;
	const char *crypto = NULL;

	if (self->pump) {
		PyErr_SetString(PyExc_RuntimeError, "a Pump is made once");
		return -1;
	}
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!pp|z", names, &PyTuple_Type, &tuns, &vnet, &uso, &crypto))
		return -1;
	if (!PyTuple_GET_SIZE(tuns) || PyTuple_GET_SIZE(tuns) > MAX_QUEUES) {
		PyErr_Format(PyExc_ValueError, "one to %d queues", MAX_QUEUES);
		return -1;
	}
	const struct aead *aead = aead_named(crypto);
	if (!aead)
		return -1;
	struct pump *p = calloc(1, sizeof(*p));
	if (!p) {
		PyErr_NoMemory();
		return -1;
	}
	self->pump = p;
	p->vnet = vnet;
	p->uso = uso;
	if (!pump_begin(p, aead)) {
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	for (Py_ssize_t n = 0; n < PyTuple_GET_SIZE(tuns); n++) {
		long fd = PyLong_AsLong(PyTuple_GET_ITEM(tuns, n));
		if (fd == -1 && PyErr_Occurred())
			return -1;
		if (!queue_begin(p, (int)fd)) {
			PyErr_NoMemory();
			return -1;
		}
	}
	return 0;
}

/* start(sockets, gso, gro): for each queue the IPv4 and the IPv6 socket, which may be -1. */
static PyObject *pump_start(PumpObject *self, PyObject *args)
{
	struct pump *p = self->pump;
	PyObject *sockets;
	int gso, gro;

	if (!PyArg_ParseTuple(args, "O!pp", &PyTuple_Type, &sockets, &gso, &gro))
		return NULL;
	if (PyTuple_GET_SIZE(sockets) != p->queue_count) {
		PyErr_SetString(PyExc_ValueError, "every queue has its sockets");
		return NULL;
	}
	stop_threads(p);
	for (unsigned n = 0; n < p->queue_count; n++)
		if (!PyArg_ParseTuple(PyTuple_GET_ITEM(sockets, n), "ii", &p->queues[n].udp4, &p->queues[n].udp6))
			return NULL;
	p->gso = gso;
	p->gro = gro;
	if (!threads_begin(p)) {
		PyErr_SetString(PyExc_OSError, "no thread to be had");
		return NULL;
	}
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

static PyObject *get_crypto(PumpObject *self, void *Py_UNUSED(closure))
{
	return PyUnicode_FromString(self->pump->aead->name);
}

static PyMethodDef methods[] = {
	{ "start", (PyCFunction)pump_start, METH_VARARGS, "start(sockets, gso, gro): begin to carry packets" },
	{ "stop", (PyCFunction)pump_stop, METH_NOARGS, "end the threads" },
	{ "take", (PyCFunction)pump_take, METH_NOARGS, "the next event, or None" },
	{ "collect", (PyCFunction)pump_collect, METH_NOARGS, NULL },
	{ "counts", (PyCFunction)pump_counts, METH_NOARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef properties[] = {
	{ "event_fd", (getter)get_event_fd, NULL, "readable when an event waits", NULL },
	{ "crypto", (getter)get_crypto, NULL, "which implementation of the AEAD runs", NULL },
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

static struct PyModuleDef definition = { PyModuleDef_HEAD_INIT, "_pump", NULL, -1, aead_functions, NULL, NULL, NULL, NULL };

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
