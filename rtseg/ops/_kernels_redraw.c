/* Edges of a soft mask drawn to where the luma has them: see `rtseg/ops/matte.py`. */

#include "_kernels.h"

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

PyObject *py_redraw(PyObject *module, PyObject *args)
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
    }
    return finish(planes, 4, good, done);
}
