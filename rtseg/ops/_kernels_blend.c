/* A paint onto a plane by a mask, both enlarged bilinearly on the way, row by row. Products are divided by 255 and
   rounded each by itself, as in `rtseg/ops/blend.py`. */

#include "_kernels.h"

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

PyObject *py_blend(PyObject *module, PyObject *args)
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
    }
    return finish(planes, 4, good, done);
}
