/* The loops over pixels that cost most, in C: what `rtseg/ops/kernels.py` offers, and nothing else.

   Everything here has a twin in Python (OpenCV and NumPy) that says what is right: see there. Without a compiler this
   file is left out. Buffers come in by the buffer protocol, are checked, and the GIL is released while they are worked
   on. Resizing is bilinear with half-pixel centres and repeated edges, as everywhere in rtseg. */

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
static int take(PyObject *object, Plane *plane, const char *name, char format, int writable)
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

static void release(Plane *planes, int count)
{
    for (int i = 0; i < count; i++)
        if (planes[i].at != NULL)
            PyBuffer_Release(&planes[i].view);
}

static const uint8_t *row_of(const Plane *plane, Py_ssize_t y) { return plane->at + y * plane->pitch; }

/* ---- bilinear enlarging -------------------------------------------------------------------------------------- */

/* Where sample `x` of `many` lies among `few`: the lower neighbour, and the weight of the upper in 1/256. */
static void place(Py_ssize_t x, Py_ssize_t few, Py_ssize_t many, Py_ssize_t *index, int *weight)
{
    double at = ((double)x + 0.5) * (double)few / (double)many - 0.5;
    if (at <= 0.0) {
        *index = 0, *weight = 0;
    } else if (at >= (double)(few - 1)) {
        *index = few - 1, *weight = 0;
    } else {
        *index = (Py_ssize_t)at;
        *weight = (int)((at - (double)*index) * 256.0 + 0.5);
    }
}

/* How rows of a small plane become rows of a large one. ratio: 1, 2, 4, 8 or 16 both ways, or 0 for anything else. */
typedef struct {
    const Plane *small;
    Py_ssize_t height, width;
    int ratio;
    int32_t *index;
    int32_t *weight;
    uint16_t *between; /* the two rows mixed, a pixel of margin at each side */
    uint8_t *wide;
} Enlarger;

static int enlarger_init(Enlarger *e, const Plane *small, Py_ssize_t height, Py_ssize_t width)
{
    e->small = small, e->height = height, e->width = width, e->ratio = 0;
    e->index = e->weight = NULL;
    for (int ratio = 1; ratio <= 16; ratio *= 2)
        if (height == ratio * small->height && width == ratio * small->width)
            e->ratio = ratio;
    e->between = malloc((size_t)(small->width + 2) * sizeof(uint16_t));
    e->wide = malloc((size_t)(width + 64));
    if (e->ratio == 0) {
        e->index = malloc((size_t)width * sizeof(int32_t));
        e->weight = malloc((size_t)width * sizeof(int32_t));
        if (e->index == NULL || e->weight == NULL)
            return 0;
        for (Py_ssize_t x = 0; x < width; x++) {
            Py_ssize_t index;
            int weight;
            place(x, small->width, width, &index, &weight);
            e->index[x] = (int32_t)index, e->weight[x] = weight;
        }
    }
    return e->between != NULL && e->wide != NULL;
}

static void enlarger_free(Enlarger *e)
{
    free(e->index), free(e->weight), free(e->between), free(e->wide);
}

FAST static void mix_rows(const uint8_t *upper, const uint8_t *lower, int weight, int whole, Py_ssize_t n, uint16_t *out)
{
    uint16_t first = (uint16_t)(whole - weight), second = (uint16_t)weight;
    for (Py_ssize_t i = 0; i < n; i++)
        out[i] = (uint16_t)(upper[i] * first + lower[i] * second);
}

/* `between` (with its margin) holds values times 2 * ratio; exact, since all weights are odd multiples of 1 / ratio / 2. */
#define STRETCH(RATIO, SHIFT)                                                                                          \
    FAST static void stretch_##RATIO(const uint16_t *between, Py_ssize_t from, Py_ssize_t to, uint8_t *out)            \
    {                                                                                                                  \
        for (Py_ssize_t i = from; i < to; i++) {                                                                       \
            uint16_t a = between[i], b = between[i + 1];                                                               \
            for (int k = 0; k < RATIO; k++)                                                                            \
                out[i * RATIO + k] =                                                                                   \
                    (uint8_t)((uint16_t)(a * (2 * RATIO - 2 * k - 1) + b * (2 * k + 1) + (1 << (SHIFT - 1))) >> SHIFT); \
        }                                                                                                              \
    }
STRETCH(2, 4)
STRETCH(4, 6)
STRETCH(8, 8)

FAST static void stretch_16(const uint16_t *between, Py_ssize_t from, Py_ssize_t to, uint8_t *out)
{
    for (Py_ssize_t i = from; i < to; i++) {
        uint32_t a = between[i], b = between[i + 1];
        for (int k = 0; k < 16; k++)
            out[i * 16 + k] = (uint8_t)((a * (31 - 2 * k) + b * (2 * k + 1) + 512) >> 10);
    }
}

FAST static void stretch_any(const uint16_t *between, const int32_t *index, const int32_t *weight, Py_ssize_t from,
                             Py_ssize_t to, uint8_t *out)
{
    for (Py_ssize_t x = from; x < to; x++) {
        int32_t a = between[index[x]], b = between[index[x] + 1];
        out[x] = (uint8_t)((a * (256 - weight[x]) + b * weight[x] + 32768) >> 16);
    }
}

/* Columns from..to of row y of the large plane; the pointer is to column 0. */
static const uint8_t *enlarged_row(Enlarger *e, Py_ssize_t y, Py_ssize_t from, Py_ssize_t to)
{
    const Plane *small = e->small;
    if (e->ratio == 1 || from >= to)
        return row_of(small, e->ratio == 1 ? y : 0);
    Py_ssize_t upper, lower;
    int weight;
    place(y, small->height, e->height, &upper, &weight);
    lower = upper + 1 < small->height ? upper + 1 : upper;
    if (e->ratio == 0) {
        Py_ssize_t first = e->index[from], last = e->index[to - 1] + 2;
        if (last > small->width)
            last = small->width;
        mix_rows(row_of(small, upper) + first, row_of(small, lower) + first, weight, 256, last - first, e->between + first);
        if (last == small->width)
            e->between[last] = e->between[last - 1];
        stretch_any(e->between, e->index, e->weight, from, to, e->wide);
        return e->wide;
    }
    /* Segment i lies between the centres of samples i - 1 and i, which `between` holds at i and i + 1. */
    int ratio = e->ratio;
    Py_ssize_t begin = (from + ratio / 2) / ratio, end = (to + ratio / 2 - 1) / ratio + 1;
    Py_ssize_t first = begin > 0 ? begin - 1 : 0, last = end < small->width ? end + 1 : small->width;
    uint16_t *between = e->between + 1;
    mix_rows(row_of(small, upper) + first, row_of(small, lower) + first, weight * 2 * ratio / 256, 2 * ratio, last - first,
             between + first);
    if (first == 0)
        e->between[0] = e->between[1];
    if (last == small->width)
        between[last] = between[last - 1];
    switch (ratio) {
    case 2: stretch_2(e->between, begin, end, e->wide); break;
    case 4: stretch_4(e->between, begin, end, e->wide); break;
    case 8: stretch_8(e->between, begin, end, e->wide); break;
    default: stretch_16(e->between, begin, end, e->wide);
    }
    return e->wide + ratio / 2;
}

/* ---- blending: products are divided by 255 and rounded each by itself, as in `rtseg/ops/blend.py` -------------------------------------------------------------------------------------------------- */

FAST static void blend_row(const uint8_t *base, const uint8_t *paint, const uint8_t *alpha, Py_ssize_t n, uint8_t *out)
{
#pragma GCC ivdep
    for (Py_ssize_t x = 0; x < n; x++) {
        uint16_t a = alpha[x];
        uint16_t below = (uint16_t)(base[x] * (uint16_t)(255 - a) + 128), over = (uint16_t)(paint[x] * a + 128);
        out[x] = (uint8_t)(((uint16_t)(below + (below >> 8)) >> 8) + ((uint16_t)(over + (over >> 8)) >> 8));
    }
}

/* The columns of a mask's row that are of the left end's level (0 or 255) or of the right end's: up to `left`, from
   `right` on. */
typedef struct {
    int32_t left, right;
} Sure;

static Sure sure_ends(const uint8_t *row, Py_ssize_t n)
{
    Sure ends = {0, (int32_t)n};
    uint64_t word, left = row[0] ? UINT64_MAX : 0, right = row[n - 1] ? UINT64_MAX : 0;
    if (row[0] == 0 || row[0] == 255) {
        while (ends.left + 8 <= n && (memcpy(&word, row + ends.left, 8), word == left))
            ends.left += 8;
        while (ends.left < n && row[ends.left] == row[0])
            ends.left++;
    }
    if (row[n - 1] == 0 || row[n - 1] == 255) {
        while (ends.right >= 8 && (memcpy(&word, row + ends.right - 8, 8), word == right))
            ends.right -= 8;
        while (ends.right > 0 && row[ends.right - 1] == row[n - 1])
            ends.right--;
    }
    return ends;
}

static void copy_part(uint8_t *out, const uint8_t *from, Py_ssize_t start, Py_ssize_t stop)
{
    if (stop > start && out != from)
        memcpy(out + start, from + start, (size_t)(stop - start));
}

static int blend_planes(Plane *out, Plane *base, Plane *paint, int level, Plane *mask)
{
    Enlarger alpha, colour;
    Py_ssize_t width = out->width;
    int ready = enlarger_init(&alpha, mask, out->height, width);
    int made = paint == NULL ? 1 : enlarger_init(&colour, paint, out->height, width);
    Sure *ends = malloc((size_t)mask->height * sizeof(Sure));
    uint8_t *flat = paint == NULL ? malloc((size_t)width) : NULL;
    ready = ready && made && ends != NULL && (paint != NULL || flat != NULL);
    if (ready && paint == NULL)
        memset(flat, level, (size_t)width);
    for (Py_ssize_t y = 0; ready && y < mask->height; y++)
        ends[y] = sure_ends(row_of(mask, y), mask->width);
    for (Py_ssize_t y = 0; ready && y < out->height; y++) {
        Py_ssize_t upper, lower, from = 0, to = width;
        int weight;
        place(y, mask->height, out->height, &upper, &weight);
        lower = weight == 0 || upper + 1 >= mask->height ? upper : upper + 1;
        const uint8_t *first = row_of(mask, upper), *second = row_of(mask, lower);
        Py_ssize_t n = mask->width;
        Sure *a = &ends[upper], *b = &ends[lower];
        if (first[0] == second[0] && a->left > 0 && b->left > 0) {
            Py_ssize_t left = a->left < b->left ? a->left : b->left;
            from = left >= n ? width : ((left - 1) * width) / n; /* bilinear reaches a sample further */
        }
        if (first[n - 1] == second[n - 1] && a->right < n && b->right < n) {
            Py_ssize_t right = a->right > b->right ? a->right : b->right;
            to = right <= 0 ? 0 : ((right + 1) * width + n - 1) / n;
            to = to > width ? width : to;
        }
        if (to < from)
            to = from;
        uint8_t *target = out->at + y * out->pitch;
        const uint8_t *below = row_of(base, y), *over;
        int left = first[0] == 255, right = first[n - 1] == 255;
        Py_ssize_t start = left ? 0 : from, stop = right ? width : to;
        over = paint == NULL ? flat : enlarged_row(&colour, y, start, stop);
        copy_part(target, left ? over : below, 0, from);
        copy_part(target, right ? over : below, to, width);
        if (from < to) {
            const uint8_t *row = enlarged_row(&alpha, y, from, to);
            blend_row(below + from, over + from, row + from, to - from, target + from);
        }
    }
    if (made && paint != NULL)
        enlarger_free(&colour);
    enlarger_free(&alpha);
    free(ends), free(flat);
    return ready;
}

static PyObject *py_blend(PyObject *module, PyObject *args)
{
    PyObject *objects[4];
    Plane planes[4] = {0};
    int level = -1, done = 0, good;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOO:blend", &objects[0], &objects[1], &objects[2], &objects[3]))
        return NULL;
    if (PyLong_Check(objects[2])) {
        level = (int)PyLong_AsLong(objects[2]);
        if (level < 0 || level > 255) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "a level must be 0..255");
            return NULL;
        }
    }
    good = take(objects[0], &planes[0], "out", 'B', 1) && take(objects[1], &planes[1], "base", 'B', 0) &&
           (level >= 0 || take(objects[2], &planes[2], "paint", 'B', 0)) && take(objects[3], &planes[3], "mask", 'B', 0);
    if (good && (planes[0].height != planes[1].height || planes[0].width != planes[1].width)) {
        PyErr_SetString(PyExc_ValueError, "base must have the shape of out");
        good = 0;
    }
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        done = blend_planes(&planes[0], &planes[1], level < 0 ? &planes[2] : NULL, level, &planes[3]);
        Py_END_ALLOW_THREADS
        if (!done)
            PyErr_NoMemory();
    }
    release(planes, 4);
    if (!done)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- steadying ------------------------------------------------------------------------------------------------- */

FAST static void least_and_most(const uint8_t *a, const uint8_t *b, const uint8_t *c, Py_ssize_t n, uint8_t *least,
                                uint8_t *most)
{
    for (Py_ssize_t x = 0; x < n; x++) {
        uint8_t low = a[x] < b[x] ? a[x] : b[x], high = a[x] > b[x] ? a[x] : b[x];
        least[x] = c[x] < low ? c[x] : low;
        most[x] = c[x] > high ? c[x] : high;
    }
}

/* Of three neighbours in a row, in place of themselves; `edge` is not 0 where they differ. */
FAST static void extremes_across(const uint8_t *least, const uint8_t *most, Py_ssize_t n, uint8_t *low, uint8_t *high,
                                 uint8_t *edge)
{
    for (Py_ssize_t x = 1; x + 1 < n; x++) {
        uint8_t a = least[x - 1] < least[x] ? least[x - 1] : least[x], b = most[x - 1] > most[x] ? most[x - 1] : most[x];
        low[x] = least[x + 1] < a ? least[x + 1] : a;
        high[x] = most[x + 1] > b ? most[x + 1] : b;
        edge[x] = (uint8_t)(high[x] - low[x]);
    }
    for (Py_ssize_t x = 0; x < n; x += n > 1 ? n - 1 : 1) {
        Py_ssize_t other = n == 1 ? 0 : x == 0 ? 1 : x - 1;
        low[x] = least[other] < least[x] ? least[other] : least[x];
        high[x] = most[other] > most[x] ? most[other] : most[x];
        edge[x] = (uint8_t)(high[x] - low[x]);
    }
}

static uint8_t sample(const Plane *plane, float x, float y)
{
    float right = (float)(plane->width - 1), bottom = (float)(plane->height - 1);
    x = x < 0.0f ? 0.0f : x > right ? right : x;
    y = y < 0.0f ? 0.0f : y > bottom ? bottom : y;
    Py_ssize_t column = (Py_ssize_t)x, row = (Py_ssize_t)y;
    Py_ssize_t next = column + 1 < plane->width ? column + 1 : column;
    const uint8_t *upper = row_of(plane, row);
    const uint8_t *lower = row + 1 < plane->height ? upper + plane->pitch : upper;
    float u = x - (float)column, v = y - (float)row;
    float top = (float)upper[column] + ((float)upper[next] - (float)upper[column]) * u;
    float low = (float)lower[column] + ((float)lower[next] - (float)lower[column]) * u;
    return (uint8_t)(top + (low - top) * v + 0.5f);
}

static int steady_plane(Plane *out, Plane *mask, Plane *past, Plane *trust, Plane *flow)
{
    Py_ssize_t height = mask->height, width = mask->width, rows = trust->height, columns = trust->width;
    uint8_t *least = malloc((size_t)(5 * width)), *most = least + width;
    uint8_t *lows = least + 2 * width, *highs = least + 3 * width, *edge = least + 4 * width;
    int32_t *nearest = malloc((size_t)width * sizeof(int32_t));
    int ready = least != NULL && nearest != NULL;
    float ratio_x = (float)width / (float)columns, ratio_y = (float)height / (float)rows;
    for (Py_ssize_t x = 0; ready && x < width; x++)
        nearest[x] = (int32_t)(((double)x + 0.5) * (double)columns / (double)width);
    for (Py_ssize_t y = 0; ready && y < height; y++) {
        const uint8_t *now = row_of(mask, y), *old = row_of(past, y);
        uint8_t *target = out->at + y * out->pitch;
        Py_ssize_t small = (Py_ssize_t)(((double)y + 0.5) * (double)rows / (double)height);
        const uint8_t *trusted = row_of(trust, small);
        const float *moved = flow == NULL ? NULL : (const float *)row_of(flow, small);
        memcpy(target, now, (size_t)width);
        least_and_most(row_of(mask, y > 0 ? y - 1 : y), now, row_of(mask, y + 1 < height ? y + 1 : y), width, least, most);
        extremes_across(least, most, width, lows, highs, edge);
        uint64_t word;
        for (Py_ssize_t x = 0; x < width; x++) {
            if (x + 8 <= width && (memcpy(&word, edge + x, 8), word == 0)) {
                x += 7; /* flat: nothing of the past is within its range */
                continue;
            }
            if (edge[x] == 0)
                continue;
            int low = lows[x], high = highs[x];
            int32_t at = nearest[x];
            int history = old[x], weight = trusted[at];
            if (moved != NULL)
                history = sample(past, (float)x + moved[2 * at] * ratio_x, (float)y + moved[2 * at + 1] * ratio_y);
            history = history < low ? low : history > high ? high : history;
            int kept = now[x] * (255 - weight) + 128, taken = history * weight + 128;
            target[x] = (uint8_t)(((kept + (kept >> 8)) >> 8) + ((taken + (taken >> 8)) >> 8));
        }
    }
    free(least), free(nearest);
    return ready;
}

static PyObject *py_steady(PyObject *module, PyObject *args)
{
    PyObject *objects[5];
    Plane planes[5] = {0};
    int done = 0, good;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOO:steady", &objects[0], &objects[1], &objects[2], &objects[3], &objects[4]))
        return NULL;
    int moving = objects[4] != Py_None;
    good = take(objects[0], &planes[0], "out", 'B', 1) && take(objects[1], &planes[1], "mask", 'B', 0) &&
           take(objects[2], &planes[2], "past", 'B', 0) && take(objects[3], &planes[3], "trust", 'B', 0) &&
           (!moving || take(objects[4], &planes[4], "flow", 'f', 0));
    for (int i = 1; good && i < 3; i++)
        good = planes[i].height == planes[0].height && planes[i].width == planes[0].width;
    if (good && moving)
        good = planes[4].height == planes[3].height && planes[4].width == 2 * planes[3].width;
    if (!good && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "mask and past must have the shape of out, and flow two columns for each of trust");
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        done = steady_plane(&planes[0], &planes[1], &planes[2], &planes[3], moving ? &planes[4] : NULL);
        Py_END_ALLOW_THREADS
        if (!done)
            PyErr_NoMemory();
    }
    release(planes, 5);
    if (!done)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- moving ------------------------------------------------------------------------------------------------------ */

static int move_plane(Plane *out, Plane *mask, Plane *flow, Plane *gain, int least)
{
    Py_ssize_t height = mask->height, width = mask->width, rows = gain->height, columns = gain->width;
    int32_t *nearest = malloc((size_t)width * sizeof(int32_t));
    if (nearest == NULL)
        return 0;
    float ratio_x = (float)width / (float)columns, ratio_y = (float)height / (float)rows;
    for (Py_ssize_t x = 0; x < width; x++)
        nearest[x] = (int32_t)(((double)x + 0.5) * (double)columns / (double)width);
    for (Py_ssize_t y = 0; y < height; y++) {
        uint8_t *target = out->at + y * out->pitch;
        Py_ssize_t small = (Py_ssize_t)(((double)y + 0.5) * (double)rows / (double)height);
        const uint8_t *gained = row_of(gain, small);
        const float *moved = (const float *)row_of(flow, small);
        memcpy(target, row_of(mask, y), (size_t)width);
        for (Py_ssize_t x = 0; x < width; x++) {
            int32_t at = nearest[x];
            if (gained[at] >= least)
                target[x] = sample(mask, (float)x + moved[2 * at] * ratio_x, (float)y + moved[2 * at + 1] * ratio_y);
        }
    }
    free(nearest);
    return 1;
}

static PyObject *py_move(PyObject *module, PyObject *args)
{
    PyObject *objects[4];
    Plane planes[4] = {0};
    int least, done = 0, good;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOi:move", &objects[0], &objects[1], &objects[2], &objects[3], &least))
        return NULL;
    good = take(objects[0], &planes[0], "out", 'B', 1) && take(objects[1], &planes[1], "mask", 'B', 0) &&
           take(objects[2], &planes[2], "flow", 'f', 0) && take(objects[3], &planes[3], "gain", 'B', 0) &&
           planes[1].height == planes[0].height && planes[1].width == planes[0].width &&
           planes[2].height == planes[3].height && planes[2].width == 2 * planes[3].width;
    if (!good && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "mask must have the shape of out, and flow two columns for each of gain");
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        done = move_plane(&planes[0], &planes[1], &planes[2], &planes[3], least);
        Py_END_ALLOW_THREADS
        if (!done)
            PyErr_NoMemory();
    }
    release(planes, 4);
    if (!done)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- redrawing edges ------------------------------------------------------------------------------------------- */

enum { REACH = 3, WINDOW = 2 * REACH + 1 };

typedef struct {
    float prior, slope;
    uint8_t low, high; /* levels from `low` to `high` are unsure; below they count as 0, above as 255 */
} EdgeRule;

/* Index mirrored about the first and the last sample (BORDER_REFLECT_101). */
static Py_ssize_t mirrored(Py_ssize_t i, Py_ssize_t n)
{
    while (n > 1 && (i < 0 || i >= n))
        i = i < 0 ? -i : 2 * n - 2 - i;
    return n > 1 ? i : 0;
}

FAST static void add_row(const uint8_t *mask, const uint8_t *luma, Py_ssize_t n, uint16_t *masks, uint16_t *lumas,
                         uint32_t *products)
{
    for (Py_ssize_t x = 0; x < n; x++) {
        masks[x] = (uint16_t)(masks[x] + mask[x]);
        lumas[x] = (uint16_t)(lumas[x] + luma[x]);
        products[x] += (uint32_t)mask[x] * luma[x];
    }
}

/* What is sure of a row of the mask: 1 of nothing, 2 of the subject, 0 for what is unsure. */
FAST static void sort_row(const uint8_t *mask, Py_ssize_t n, uint8_t low, uint8_t high, uint8_t *kind, float *offset)
{
    for (Py_ssize_t x = 0; x < n; x++)
        kind[x] = (uint8_t)((mask[x] < low ? 1 : 0) + (mask[x] > high ? 2 : 0));
    for (Py_ssize_t x = 0; x < n; x++)
        offset[x] = mask[x] > high ? 255.0f : 0.0f;
}

/* Between four samples that are sure of one thing everything is of one level. */
FAST static void sort_cells(const uint8_t *above, const uint8_t *below, Py_ssize_t n, uint8_t *cells)
{
    for (Py_ssize_t x = 0; x + 1 < n; x++)
        cells[x] = above[x] & below[x] & above[x + 1] & below[x + 1];
    cells[n - 1] = above[n - 1] & below[n - 1];
}

static Py_ssize_t run_end(const uint8_t *row, Py_ssize_t from, Py_ssize_t n)
{
    uint64_t word, same = row[from] * UINT64_C(0x0101010101010101);
    while (from + 8 <= n && (memcpy(&word, row + from, 8), word == same))
        from += 8;
    uint8_t level = (uint8_t)same;
    while (from < n && row[from] == level)
        from++;
    return from;
}

/* Gain and offset of a row: alpha = gain * luma + offset. */
static void fit_row(const Plane *mask, const Plane *luma, Py_ssize_t y, const EdgeRule *rule, uint8_t *kind, float *gain,
                    float *offset, uint16_t *masks, uint16_t *lumas, uint32_t *products)
{
    Py_ssize_t width = mask->width, first = 0, last = width;
    const uint8_t *row = row_of(mask, y);
    sort_row(row, width, rule->low, rule->high, kind, offset);
    memset(gain, 0, (size_t)width * sizeof *gain);
    while (first < width && kind[first] != 0)
        first = run_end(kind, first, width);
    if (first == width)
        return;
    while (kind[--last] != 0)
        ;
    Py_ssize_t from = first > REACH ? first - REACH : 0, to = last + REACH + 1 < width ? last + REACH + 1 : width;
    if (first < REACH) /* mirrored at the left end, what lies right of it is needed too */
        to = to < REACH + 1 ? (REACH + 1 < width ? REACH + 1 : width) : to;
    if (last > width - 1 - REACH)
        from = from > width - 1 - REACH ? (width - 1 - REACH > 0 ? width - 1 - REACH : 0) : from;
    memset(masks + from, 0, (size_t)(to - from) * sizeof *masks);
    memset(lumas + from, 0, (size_t)(to - from) * sizeof *lumas);
    memset(products + from, 0, (size_t)(to - from) * sizeof *products);
    for (int k = -REACH; k <= REACH; k++) {
        Py_ssize_t at = mirrored(y + k, mask->height);
        add_row(row_of(mask, at) + from, row_of(luma, at) + from, to - from, masks + from, lumas + from, products + from);
    }
    const float area = (float)(WINDOW * WINDOW);
    for (Py_ssize_t x = first; x <= last; x++) {
        if (kind[x] != 0) {
            x = run_end(kind, x, last + 1) - 1;
            continue;
        }
        uint32_t own = 0, light = 0, product = 0;
        if (x >= REACH && x + REACH < width) {
            for (Py_ssize_t k = x - REACH; k <= x + REACH; k++)
                own += masks[k], light += lumas[k], product += products[k];
        } else {
            for (Py_ssize_t k = x - REACH; k <= x + REACH; k++) {
                Py_ssize_t at = mirrored(k, width);
                own += masks[at], light += lumas[at], product += products[at];
            }
        }
        float weight = (float)own / (255.0f * area), subject = (float)product / (255.0f * area);
        float around = ((float)light / area - subject) / (1.001f - weight);
        float contrast = subject / (weight + 0.001f) - around;
        float scale = 255.0f * rule->slope / (contrast * contrast + rule->prior);
        gain[x] = contrast * scale;
        offset[x] = ((float)row[x] * (rule->prior / 255.0f) - contrast * around) * scale + 127.5f * (1.0f - rule->slope);
    }
}

FAST static void mix_floats(const float *a, const float *b, float weight, Py_ssize_t from, Py_ssize_t to, float *out)
{
    for (Py_ssize_t x = from; x < to; x++)
        out[x] = a[x] + (b[x] - a[x]) * weight;
}

FAST static void draw_row(const float *gain, const float *offset, const int32_t *index, const float *weight,
                          const uint8_t *luma, Py_ssize_t from, Py_ssize_t to, uint8_t *out)
{
    for (Py_ssize_t x = from; x < to; x++) {
        int32_t i = index[x];
        float w = weight[x];
        float slope = gain[i] + (gain[i + 1] - gain[i]) * w, alpha = offset[i] + (offset[i + 1] - offset[i]) * w;
        alpha = slope * (float)luma[x] + alpha;
        alpha = alpha < 0.0f ? 0.0f : alpha > 255.0f ? 255.0f : alpha;
        out[x] = (uint8_t)(int32_t)(alpha + 0.5f);
    }
}

static int redraw_plane(Plane *out, Plane *mask, Plane *coarse, Plane *fine, const EdgeRule *rule)
{
    Py_ssize_t height = mask->height, width = mask->width, many = out->width, stride = width + 1;
    float *memory = malloc((size_t)(6 * stride + many) * sizeof(float));
    int32_t *index = malloc((size_t)(many + width + 1) * sizeof(int32_t)), *start = index + many;
    uint32_t *sums = malloc((size_t)(2 * width) * sizeof(uint32_t));
    uint8_t *sure = malloc((size_t)(3 * width)), *cells = sure + 2 * width;
    if (memory == NULL || index == NULL || sums == NULL || sure == NULL) {
        free(memory), free(index), free(sums), free(sure);
        return 0;
    }
    uint32_t *products = sums;
    uint16_t *masks = (uint16_t *)(sums + width), *lumas = masks + width;
    float *weights = memory + 6 * stride, *slope = memory + 4 * stride, *alpha = memory + 5 * stride;
    float *gains[2] = {memory, memory + stride}, *offsets[2] = {memory + 2 * stride, memory + 3 * stride};
    Py_ssize_t fitted[2] = {-1, -1};
    uint8_t *kinds[2] = {sure, sure + width};
    for (Py_ssize_t x = 0; x < many; x++) {
        double at = ((double)x + 0.5) * (double)width / (double)many - 0.5;
        at = at < 0.0 ? 0.0 : at > (double)(width - 1) ? (double)(width - 1) : at;
        index[x] = (int32_t)at;
        weights[x] = (float)(at - (double)index[x]);
    }
    for (Py_ssize_t i = 0, x = 0; i <= width; i++) {
        while (x < many && index[x] < i)
            x++;
        start[i] = (int32_t)x;
    }
    for (Py_ssize_t y = 0; y < out->height; y++) {
        double at = ((double)y + 0.5) * (double)height / (double)out->height - 0.5;
        at = at < 0.0 ? 0.0 : at > (double)(height - 1) ? (double)(height - 1) : at;
        Py_ssize_t upper = (Py_ssize_t)at, lower = upper + 1 < height ? upper + 1 : upper;
        int slots[2] = {(int)(upper & 1), (int)(lower & 1)};
        Py_ssize_t rows[2] = {upper, lower};
        for (int i = 0; i < 2; i++) {
            int slot = slots[i];
            if (fitted[slot] == rows[i])
                continue;
            fit_row(mask, coarse, rows[i], rule, kinds[slot], gains[slot], offsets[slot], masks, lumas, products);
            fitted[slot] = rows[i];
        }
        sort_cells(kinds[slots[0]], kinds[slots[1]], width, cells);
        uint8_t *target = out->at + y * out->pitch;
        float weight = (float)(at - (double)upper);
        for (Py_ssize_t i = 0, stop; i < width; i = stop) {
            stop = run_end(cells, i, width);
            if (cells[i] != 0) {
                memset(target + start[i], cells[i] == 1 ? 0 : 255, (size_t)(start[stop] - start[i]));
                continue;
            }
            Py_ssize_t last = stop + 1 < width ? stop + 1 : width;
            mix_floats(gains[slots[0]], gains[slots[1]], weight, i, last, slope);
            mix_floats(offsets[slots[0]], offsets[slots[1]], weight, i, last, alpha);
            if (last == width)
                slope[width] = slope[width - 1], alpha[width] = alpha[width - 1];
            draw_row(slope, alpha, index, weights, row_of(fine, y), start[i], start[stop], target);
        }
    }
    free(memory), free(index), free(sums), free(sure);
    return 1;
}

static PyObject *py_redraw(PyObject *module, PyObject *args)
{
    PyObject *objects[4];
    Plane planes[4] = {0};
    EdgeRule rule;
    int done = 0, good = 1;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOffbb:redraw", &objects[0], &objects[1], &objects[2], &objects[3], &rule.prior,
                          &rule.slope, &rule.low, &rule.high))
        return NULL;
    const char *names[4] = {"out", "mask", "coarse", "fine"};
    for (int i = 0; good && i < 4; i++)
        good = take(objects[i], &planes[i], names[i], 'B', i == 0);
    good = good && planes[2].height == planes[1].height && planes[2].width == planes[1].width &&
           planes[3].height == planes[0].height && planes[3].width == planes[0].width;
    if (!good && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "coarse must have the shape of mask, and fine that of out");
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        done = redraw_plane(&planes[0], &planes[1], &planes[2], &planes[3], &rule);
        Py_END_ALLOW_THREADS
        if (!done)
            PyErr_NoMemory();
    }
    release(planes, 4);
    if (!done)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"blend", py_blend, METH_VARARGS, NULL},
    {"steady", py_steady, METH_VARARGS, NULL},
    {"move", py_move, METH_VARARGS, NULL},
    {"redraw", py_redraw, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernels", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void) { return PyModule_Create(&definition); }
