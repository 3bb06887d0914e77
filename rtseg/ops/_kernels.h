/* What the compiled loops of `rtseg/ops/kernels.py` share: planes that come in by the buffer protocol, and their rows. */

#ifndef RTSEG_KERNELS_H
#define RTSEG_KERNELS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__)
#define FAST __attribute__((target_clones("avx2", "default")))
#else
#define FAST
#endif

typedef struct {
    Py_buffer view;
    uint8_t *at;
    Py_ssize_t height, width, pitch; /* pitch in bytes */
} Plane;

/* Take an array of two dimensions whose rows lie close; 0 and an exception where it is none. */
static inline int take(PyObject *object, Plane *plane, const char *name, char format, int writable)
{
    int flags = PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    plane->at = NULL;
    if (PyObject_GetBuffer(object, &plane->view, flags) < 0)
        return 0;
    Py_buffer *view = &plane->view;
    if (view->ndim != 2 || view->format[0] != format || view->format[1] != 0 || view->shape[0] < 1 ||
        view->shape[1] < 1 || view->strides[1] != view->itemsize || view->strides[0] < 0) {
        PyErr_Format(PyExc_ValueError, "%s must be two-dimensional of type %c with rows that lie close", name, format);
        PyBuffer_Release(view);
        return 0;
    }
    plane->at = view->buf;
    plane->height = view->shape[0], plane->width = view->shape[1], plane->pitch = view->strides[0];
    return 1;
}

static inline void release(Plane *planes, int count)
{
    for (int i = 0; i < count; i++)
        if (planes[i].at != NULL)
            PyBuffer_Release(&planes[i].view);
}

/* The end of every function: planes are given back, and what was `good` but is not `done` wanted memory. */
static inline PyObject *finish(Plane *planes, int count, int good, int done)
{
    release(planes, count);
    if (good && !done)
        return PyErr_NoMemory();
    return done ? Py_NewRef(Py_None) : NULL;
}

static inline const uint8_t *row_of(const Plane *plane, Py_ssize_t y) { return plane->at + y * plane->pitch; }

PyObject *py_blend(PyObject *module, PyObject *args);
PyObject *py_steady(PyObject *module, PyObject *args);
PyObject *py_move(PyObject *module, PyObject *args);
PyObject *py_redraw(PyObject *module, PyObject *args);

#endif
