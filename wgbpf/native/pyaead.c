/* SPDX-License-Identifier: MIT */
/* The AEAD by itself, for tests and measurements: functions of the module. */
#include "object.h"

#include <string.h>
#include <time.h>

const struct aead *aead_named(const char *name)
{
	if (!name)
		return aead_best();
	for (int n = 0; aead_all[n]; n++)
		if (aead_all[n]->works() && !strcmp(aead_all[n]->name, name))
			return aead_all[n];
	PyErr_Format(PyExc_ValueError, "no %s on this CPU", name);
	return NULL;
}

static PyObject *implementations(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
	PyObject *all = PyList_New(0);

	for (int n = 0; all && aead_all[n]; n++) {
		PyObject *name = aead_all[n]->works() ? PyUnicode_FromString(aead_all[n]->name) : NULL;
		if (name && PyList_Append(all, name))
			Py_CLEAR(all);
		Py_XDECREF(name);
	}
	return all;
}

/* What is sealed or opened lies `in_at` bytes into a buffer, the result `out_at`; both may overlap as aead.h allows. */
struct call {
	const struct aead *aead;
	struct aead_scratch *scratch;
	Py_buffer key, text;
	unsigned long long counter;
	unsigned long in_at, out_at, padded;
	uint8_t *buffer;
};

static void call_end(struct call *c)
{
	PyMem_Free(c->buffer);
	aead_scratch_free(c->scratch);
	PyBuffer_Release(&c->key);
	PyBuffer_Release(&c->text);
}

static bool call_begin(struct call *c, PyObject *args, const char *format)
{
	const char *name;

	*c = (struct call){ 0 };
	if (!PyArg_ParseTuple(args, format, &name, &c->key, &c->counter, &c->text, &c->padded, &c->in_at, &c->out_at))
		return false;
	c->aead = aead_named(name);
	c->scratch = aead_scratch_new();
	if (c->padded < (unsigned long)c->text.len)
		c->padded = (unsigned long)c->text.len;
	c->buffer = PyMem_Calloc(1, c->in_at + c->out_at + c->padded + TAG_SIZE);
	if (c->aead && c->scratch && c->buffer && c->key.len == KEY_SIZE) {
		memcpy(c->buffer + c->in_at, c->text.buf, (size_t)c->text.len);
		return true;
	}
	if (!PyErr_Occurred())
		PyErr_SetString(PyExc_ValueError, "a key has 32 bytes");
	call_end(c);
	return false;
}

/* seal(name, key, counter, text, padded=0, in_at=0, out_at=0) */
static PyObject *seal(PyObject *Py_UNUSED(module), PyObject *args)
{
	PyObject *result = NULL;
	struct call c;

	if (!call_begin(&c, args, "sy*Ky*|kkk"))
		return NULL;
	uint8_t *out = c.buffer + c.out_at;
	if (c.aead->seal(c.scratch, c.key.buf, c.counter, out, c.buffer + c.in_at, (size_t)c.text.len, c.padded))
		result = PyBytes_FromStringAndSize((char *)out, (Py_ssize_t)c.padded + TAG_SIZE);
	else
		PyErr_SetString(PyExc_ValueError, "not sealed");
	call_end(&c);
	return result;
}

/* open(name, key, counter, sealed, 0, in_at=0, out_at=0): None where the tag is wrong, after a look at what was written. */
static PyObject *open_sealed(PyObject *Py_UNUSED(module), PyObject *args)
{
	PyObject *result = NULL;
	struct call c;

	if (!call_begin(&c, args, "sy*Ky*|kkk"))
		return NULL;
	if (c.text.len < TAG_SIZE) {
		PyErr_SetString(PyExc_ValueError, "shorter than its tag");
	} else {
		uint8_t *out = c.buffer + c.out_at;
		size_t size = (size_t)c.text.len - TAG_SIZE;
		if (c.aead->open(c.scratch, c.key.buf, c.counter, out, c.buffer + c.in_at, size))
			result = PyBytes_FromStringAndSize((char *)out, (Py_ssize_t)size);
		else
			result = Py_NewRef(Py_None);
	}
	call_end(&c);
	return result;
}

/* measure(name, size, times): nanoseconds for sealing a packet, the key set up once. */
static PyObject *measure(PyObject *Py_UNUSED(module), PyObject *args)
{
	static uint8_t in[65536], out[65536 + TAG_SIZE];
	static const uint8_t key[KEY_SIZE] = { 1 };
	struct timespec begin, end;
	unsigned size, times;
	const char *name;

	if (!PyArg_ParseTuple(args, "sII", &name, &size, &times))
		return NULL;
	const struct aead *aead = aead_named(name);
	if (!aead || size > sizeof(in) || !times)
		return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "at most 65536 bytes, at least once");
	struct aead_scratch *scratch = aead_scratch_new();
	if (!scratch)
		return PyErr_NoMemory();
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (unsigned n = 0; n < times; n++)
		aead->seal(scratch, key, n, out, in, size, size);
	clock_gettime(CLOCK_MONOTONIC, &end);
	aead_scratch_free(scratch);
	double ns = (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
	return PyFloat_FromDouble(ns / times);
}

PyMethodDef aead_functions[] = {
	{ "implementations", implementations, METH_NOARGS, "names of those that this CPU has, best first" },
	{ "seal", seal, METH_VARARGS, NULL },
	{ "open", open_sealed, METH_VARARGS, NULL },
	{ "measure", measure, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};
