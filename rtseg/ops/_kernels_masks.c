/* Soft masks over time: mixed with their past, or moved along an optical flow. */

#include "_kernels.h"

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

PyObject *py_steady(PyObject *module, PyObject *args)
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
    }
    return finish(planes, 5, good, done);
}

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

PyObject *py_move(PyObject *module, PyObject *args)
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
    }
    return finish(planes, 4, good, done);
}
