/* SPDX-License-Identifier: MIT */
/* The Python object around a pump, and its lock as Python takes it: without the GIL. */
#ifndef WGBPF_OBJECT_H
#define WGBPF_OBJECT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pump.h"

typedef struct {
	PyObject_HEAD
	struct pump *pump;
} PumpObject;

static inline void write_lock(struct pump *p)
{
	Py_BEGIN_ALLOW_THREADS
	pthread_rwlock_wrlock(&p->lock);
	Py_END_ALLOW_THREADS
	p->generation++;
}

static inline void read_lock(struct pump *p)
{
	Py_BEGIN_ALLOW_THREADS
	pthread_rwlock_rdlock(&p->lock);
	Py_END_ALLOW_THREADS
}

static inline void unlock(struct pump *p)
{
	pthread_rwlock_unlock(&p->lock);
}

/* Peers, routes and sessions: verbs.c. */
extern PyMethodDef pump_verbs[];

/* pyaead.c */
extern PyMethodDef aead_functions[];
/* NULL: the best. NULL and a Python exception where the CPU has it not. */
const struct aead *aead_named(const char *name);

#endif
