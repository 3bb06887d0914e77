/* The loops over pixels that cost most, in C: what `rtseg/ops/kernels.py` offers, and nothing else.

   Everything here has a twin in Python (OpenCV and NumPy) that says what is right: see there. Without a compiler this
   file is left out. Buffers come in by the buffer protocol, are checked, and the GIL is released while they are worked
   on. Resizing is bilinear with half-pixel centres and repeated edges, as everywhere in rtseg. */

#include "_kernels.h"

static PyMethodDef methods[] = {
    {"blend", py_blend, METH_VARARGS, NULL},
    {"steady", py_steady, METH_VARARGS, NULL},
    {"move", py_move, METH_VARARGS, NULL},
    {"redraw", py_redraw, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernels", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void) { return PyModule_Create(&definition); }
