/* Blocks in and out: conversion of any NumPy kind at any stride to contiguous REAL and back, and the passes over a
 * block that are nobody's loss: sums, products, fills. Compiled per instruction set like the losses, since they share
 * the loop with them. */
#ifndef LF_BLOCKS_H
#define LF_BLOCKS_H

#include "abi.h"
#include "real.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

/* ---- half precisions: IEEE binary16 and bfloat16, to and from float ------------------------------------------ */

static inline float float_of_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline uint32_t bits_of_float(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float float_of_half(uint16_t h) {
    /* Exponent and fraction read as a float are 2^-112 of the value; the product is exact, subnormals included. */
    const uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t finite = bits_of_float(float_of_bits(magnitude) * 0x1p112f);
    return float_of_bits(((h & 0x7c00) == 0x7c00 ? magnitude | 0x7f800000u : finite) | sign);
}

static inline uint16_t half_of_float(float x) {
    const uint32_t u = bits_of_float(x), magnitude = u & 0x7fffffffu, sign = (u >> 16) & 0x8000u;
    /* normal: rebias the exponent, round half to even; subnormal: adding 0.5f leaves multiples of 2^-24 in the fraction
     */
    const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    const uint32_t subnormal = bits_of_float(float_of_bits(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t half = magnitude < (113u << 23) ? subnormal : normal;
    half = magnitude >= 0x477ff000u ? 0x7c00u : half; /* 65520 and more round to infinity */
    half = magnitude > 0x7f800000u ? 0x7e00u : half;
    return (uint16_t)(half | sign);
}

static inline float float_of_bfloat16(uint16_t b) { return float_of_bits((uint32_t)b << 16); }

static inline uint16_t bfloat16_of_float(float x) {
    const uint32_t u = bits_of_float(x);
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

/* ---- one element of each kind -------------------------------------------------------------------------------- */

static inline uint8_t swap8(uint8_t u) { return u; }
static inline uint16_t swap16(uint16_t u) { return __builtin_bswap16(u); }
static inline uint32_t swap32(uint32_t u) { return __builtin_bswap32(u); }
static inline uint64_t swap64(uint64_t u) { return __builtin_bswap64(u); }

/* (kind, memory type, width in bits, REAL from the memory type) */
#define LF_FOR_KINDS(DO)                                                                                               \
    DO(LF_BOOL, uint8_t, 8, (REAL)(x != 0))                                                                            \
    DO(LF_INT8, int8_t, 8, (REAL)x)                                                                                    \
    DO(LF_UINT8, uint8_t, 8, (REAL)x)                                                                                  \
    DO(LF_INT16, int16_t, 16, (REAL)x)                                                                                 \
    DO(LF_UINT16, uint16_t, 16, (REAL)x)                                                                               \
    DO(LF_INT32, int32_t, 32, (REAL)x)                                                                                 \
    DO(LF_UINT32, uint32_t, 32, (REAL)x)                                                                               \
    DO(LF_INT64, int64_t, 64, (REAL)x)                                                                                 \
    DO(LF_UINT64, uint64_t, 64, (REAL)x)                                                                               \
    DO(LF_FLOAT16, uint16_t, 16, (REAL)float_of_half(x))                                                               \
    DO(LF_BFLOAT16, uint16_t, 16, (REAL)float_of_bfloat16(x))                                                          \
    DO(LF_FLOAT32, float, 32, (REAL)x)                                                                                 \
    DO(LF_FLOAT64, double, 64, (REAL)x)

/* (kind, memory type, width in bits, the memory type from REAL): the kinds that results may have */
#define LF_FOR_RESULT_KINDS(DO)                                                                                        \
    DO(LF_FLOAT16, uint16_t, 16, half_of_float((float)x))                                                              \
    DO(LF_BFLOAT16, uint16_t, 16, bfloat16_of_float((float)x))                                                         \
    DO(LF_FLOAT32, float, 32, (float)x)                                                                                \
    DO(LF_FLOAT64, double, 64, (double)x)

/* A stride known to the compiler vectorises; memcpy because a NumPy array may be misaligned. */
#define LF_LOAD_LOOP(type, width, value, step, swap)                                                                   \
    for (ptrdiff_t i = 0; i < n; i++) {                                                                                \
        uint##width##_t u;                                                                                             \
        type x;                                                                                                        \
        memcpy(&u, from + i * (step), sizeof u);                                                                       \
        u = swap(u);                                                                                                   \
        memcpy(&x, &u, sizeof x);                                                                                      \
        to[i] = value;                                                                                                 \
    }

#define LF_LOAD_CASE(kind, type, width, value)                                                                         \
    case kind:                                                                                                         \
        if (swapped) {                                                                                                 \
            LF_LOAD_LOOP(type, width, value, stride, swap##width)                                                      \
        } else if (stride == (ptrdiff_t)sizeof(type)) {                                                                \
            LF_LOAD_LOOP(type, width, value, (ptrdiff_t)sizeof(type), )                                                \
        } else {                                                                                                       \
            LF_LOAD_LOOP(type, width, value, stride, )                                                                 \
        }                                                                                                              \
        break;

static void load(lf_kind kind, int swapped, const char *from, ptrdiff_t stride, ptrdiff_t n, void *restrict to_) {
    REAL *restrict to = to_;
    switch (kind) {
        LF_FOR_KINDS(LF_LOAD_CASE)
    case LF_KINDS:
        break;
    }
}

#define LF_STORE_CASE(kind, type, width, value)                                                                        \
    case kind:                                                                                                         \
        for (ptrdiff_t i = 0; i < n; i++) {                                                                            \
            const REAL x = from[i];                                                                                    \
            const type y = value;                                                                                      \
            uint##width##_t u;                                                                                         \
            memcpy(&u, &y, sizeof u);                                                                                  \
            u = swapped ? swap##width(u) : u;                                                                          \
            memcpy(to + i * stride, &u, sizeof u);                                                                     \
        }                                                                                                              \
        break;

static void store(lf_kind kind, int swapped, char *to, ptrdiff_t stride, ptrdiff_t n, const void *from_) {
    const REAL *from = from_;
    switch (kind) {
        LF_FOR_RESULT_KINDS(LF_STORE_CASE)
    default:
        break;
    }
}

/* ---- a block of an array of any layout ----------------------------------------------------------------------- */

/* Calls RUN(pointer, stride, count, done) for every run along the last of the first axes of [start, start + n). */
#define LF_FOR_RUNS(array, axes, start, n, RUN)                                                                        \
    const int last = (axes) - 1;                                                                                       \
    ptrdiff_t index[LF_MAX_DIMS], rest = (start), done = 0;                                                            \
    char *pointer = (array)->data;                                                                                     \
    for (int axis = last; axis >= 0; axis--) {                                                                         \
        index[axis] = rest % (array)->shape[axis];                                                                     \
        rest /= (array)->shape[axis];                                                                                  \
        pointer += index[axis] * (array)->strides[axis];                                                               \
    }                                                                                                                  \
    while (done < (n)) {                                                                                               \
        const ptrdiff_t left = (array)->shape[last] - index[last], count = left < (n) - done ? left : (n) - done;      \
        RUN((array)->kind, (array)->swapped, pointer, (array)->strides[last], count, done);                            \
        done += count;                                                                                                 \
        pointer -= index[last] * (array)->strides[last];                                                               \
        index[last] = 0;                                                                                               \
        for (int axis = last - 1; axis >= 0; axis--) {                                                                 \
            pointer += (array)->strides[axis];                                                                         \
            if (++index[axis] < (array)->shape[axis])                                                                  \
                break;                                                                                                 \
            pointer -= index[axis] * (array)->strides[axis];                                                           \
            index[axis] = 0;                                                                                           \
        }                                                                                                              \
    }

/* Along the first axes, as if they were all. What is repeated is loaded once. */
static void gather_axes(const lf_array *array, int axes, ptrdiff_t start, ptrdiff_t n, REAL *to) {
    if (axes == 0) {
        load(array->kind, array->swapped, array->data, 0, 1, to);
        return;
    }
    const ptrdiff_t length = array->shape[axes - 1];
    if (array->strides[axes - 1] == 0) {
        /* Each element of the other axes fills a run: they wait behind, where no run ends before they are read. */
        const ptrdiff_t first = start / length, runs = (start + n - 1) / length - first + 1;
        const REAL *waiting = to + n - runs;
        gather_axes(array, axes - 1, first, runs, to + n - runs);
        for (ptrdiff_t run = 0, i = 0; run < runs; run++) {
            const ptrdiff_t whole = (first + run + 1) * length - start, end = whole < n ? whole : n;
            const REAL x = waiting[run];
            for (; i < end; i++)
                to[i] = x;
        }
        return;
    }
    int repeating = 0;
    ptrdiff_t period = 1;
    while (array->strides[repeating] == 0)
        repeating++;
    for (int axis = repeating; axis < axes; axis++)
        period *= array->shape[axis];
    const ptrdiff_t once = repeating && period < n ? period : n;
#define LF_LOAD_RUN(kind, swapped, pointer, stride, count, done) load(kind, swapped, pointer, stride, count, to + done)
    LF_FOR_RUNS(array, axes, start, once, LF_LOAD_RUN)
    for (ptrdiff_t filled = once; filled < n; filled *= 2)
        memcpy(to + filled, to, (size_t)(filled < n - filled ? filled : n - filled) * sizeof(REAL));
}

static const void *gather(const lf_array *array, ptrdiff_t start, ptrdiff_t n, void *scratch) {
    if (array->direct)
        return (const REAL *)array->data + start;
    gather_axes(array, array->ndim, start, n, scratch);
    return scratch;
}

#define LF_LABEL_CASE(kind, type, width)                                                                               \
    case kind:                                                                                                         \
        for (ptrdiff_t i = 0; i < n; i++) {                                                                            \
            uint##width##_t u;                                                                                         \
            type x;                                                                                                    \
            memcpy(&u, from + i * stride, sizeof u);                                                                   \
            u = swapped ? swap##width(u) : u;                                                                          \
            memcpy(&x, &u, sizeof x);                                                                                  \
            to[i] = (int64_t)x;                                                                                        \
        }                                                                                                              \
        break;

static void load_labels(lf_kind kind, int swapped, const char *from, ptrdiff_t stride, ptrdiff_t n, int64_t *to) {
    switch (kind) {
        LF_LABEL_CASE(LF_INT8, int8_t, 8)
        LF_LABEL_CASE(LF_UINT8, uint8_t, 8)
        LF_LABEL_CASE(LF_INT16, int16_t, 16)
        LF_LABEL_CASE(LF_UINT16, uint16_t, 16)
        LF_LABEL_CASE(LF_INT32, int32_t, 32)
        LF_LABEL_CASE(LF_UINT32, uint32_t, 32)
        LF_LABEL_CASE(LF_INT64, int64_t, 64)
    case LF_UINT64:
        for (ptrdiff_t i = 0; i < n; i++) {
            uint64_t u;
            memcpy(&u, from + i * stride, sizeof u);
            u = swapped ? swap64(u) : u;
            to[i] = u > (uint64_t)INT64_MAX ? INT64_MAX : (int64_t)u;
        }
        break;
    default:
        break;
    }
}

static void gather_labels(const lf_array *array, ptrdiff_t start, ptrdiff_t n, int64_t *labels) {
#define LF_LABEL_RUN(kind, swapped, pointer, stride, count, done)                                                      \
    load_labels(kind, swapped, pointer, stride, count, labels + done)
    LF_FOR_RUNS(array, array->ndim, start, n, LF_LABEL_RUN)
}

/* A label outside makes one of two differences negative, also where it wraps around; without a branch this is a vector
 * loop everywhere. */
static int outside(const int64_t *labels, ptrdiff_t n, int64_t low, int64_t high) {
    uint64_t signs = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        signs |= ((uint64_t)labels[i] - (uint64_t)low) | ((uint64_t)(high - 1) - (uint64_t)labels[i]);
    return (int)(signs >> 63);
}

static void narrow_labels(const int64_t *labels, ptrdiff_t n, int64_t classes, int ignoring, int64_t ignore_index,
                          int32_t *to) {
    const int64_t other = ignoring ? ignore_index : -1;
    for (ptrdiff_t i = 0; i < n; i++) {
        const int inside = (labels[i] >= 0) & (labels[i] < classes) & (labels[i] != other);
        to[i] = inside ? (int32_t)labels[i] : -1;
    }
}

static ptrdiff_t load_list(lf_kind kind, int swapped, const char *from, ptrdiff_t stride, ptrdiff_t n, int32_t *to,
                           ptrdiff_t to_stride) {
    enum { AT_ONCE = 8 }; /* most lists are short */
    int64_t labels[AT_ONCE];
    for (ptrdiff_t start = 0; start < n; start += AT_ONCE) {
        const ptrdiff_t count = n - start < AT_ONCE ? n - start : AT_ONCE;
        load_labels(kind, swapped, from + start * stride, stride, count, labels);
        for (ptrdiff_t k = 0; k < count; k++) {
            if (labels[k] < 0 || labels[k] >= n)
                return start + k;
            to[(start + k) * to_stride] = (int32_t)labels[k];
        }
    }
    return n;
}

static void scatter(const lf_array *array, ptrdiff_t start, ptrdiff_t n, const void *values) {
    const REAL *from = values;
    if (array->direct) {
        if (from != (const REAL *)array->data + start)
            memcpy((REAL *)array->data + start, from, (size_t)n * sizeof(REAL));
        return;
    }
#define LF_STORE_RUN(kind, swapped, pointer, stride, count, done)                                                      \
    store(kind, swapped, pointer, stride, count, from + done)
    LF_FOR_RUNS(array, array->ndim, start, n, LF_STORE_RUN)
}

/* Four numbers; compilers make no shuffles of a loop over rows and columns. */
typedef REAL QUAD __attribute__((vector_size(4 * sizeof(REAL))));
#if defined(__clang__)
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
typedef IREAL QUAD_INDEX __attribute__((vector_size(4 * sizeof(REAL))));
#define ZIP_LOW(a, b) __builtin_shuffle(a, b, (QUAD_INDEX){0, 4, 1, 5})
#define ZIP_HIGH(a, b) __builtin_shuffle(a, b, (QUAD_INDEX){2, 6, 3, 7})
#endif

/* Four rows of four: what is two rows apart is brought together, then what is one row apart. */
static ALWAYS_INLINE void transpose_quads(const REAL *from, ptrdiff_t from_stride, REAL *to, ptrdiff_t to_stride) {
    QUAD row[4];
    for (int r = 0; r < 4; r++)
        memcpy(&row[r], from + r * from_stride, sizeof(QUAD));
    const QUAD even_low = ZIP_LOW(row[0], row[2]), even_high = ZIP_HIGH(row[0], row[2]);
    const QUAD odd_low = ZIP_LOW(row[1], row[3]), odd_high = ZIP_HIGH(row[1], row[3]);
    const QUAD column[4] = {ZIP_LOW(even_low, odd_low), ZIP_HIGH(even_low, odd_low), ZIP_LOW(even_high, odd_high),
                            ZIP_HIGH(even_high, odd_high)};
    for (int c = 0; c < 4; c++)
        memcpy(to + c * to_stride, &column[c], sizeof(QUAD));
}

static void transpose(const void *from_, ptrdiff_t from_stride, void *to_, ptrdiff_t to_stride, ptrdiff_t rows,
                      ptrdiff_t columns) {
    const REAL *restrict from = from_;
    REAL *restrict to = to_;
    const ptrdiff_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
    for (ptrdiff_t c = 0; c < whole_columns; c += 4)
        for (ptrdiff_t r = 0; r < whole_rows; r += 4)
            transpose_quads(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t c = r < whole_rows ? whole_columns : 0; c < columns; c++)
            to[c * to_stride + r] = from[r * from_stride + c];
}

/* ---- passes over a block ------------------------------------------------------------------------------------- */

static void fill(void *to_, ptrdiff_t n, double value) {
    REAL *to = to_;
    for (ptrdiff_t i = 0; i < n; i++)
        to[i] = (REAL)value;
}

static void multiply(void *product_, const void *factor_, ptrdiff_t n) {
    REAL *product = product_;
    const REAL *factor = factor_;
#pragma omp simd
    for (ptrdiff_t i = 0; i < n; i++)
        product[i] *= factor[i];
}

static void accumulate(void *total_, const void *part_, double factor_, ptrdiff_t n) {
    REAL *total = total_;
    const REAL *part = part_, factor = (REAL)factor_;
    if (total == part) {
#pragma omp simd
        for (ptrdiff_t i = 0; i < n; i++)
            total[i] *= factor;
        return;
    }
#pragma omp simd
    for (ptrdiff_t i = 0; i < n; i++)
        total[i] = part[i] * factor + total[i];
}

/* As many lanes whatever the vector length, so that every instruction set adds in the same order; four vectors of the
 * longest are enough to hide the latency of an addition. */
enum { LF_SUM_LANES = 32 };

/* Halves of a vector stay in registers, where those of an array would pass through memory. */
typedef double OCT_OF_DOUBLES __attribute__((vector_size(8 * sizeof(double))));
typedef double QUAD_OF_DOUBLES __attribute__((vector_size(4 * sizeof(double))));

/* `count` is a power of two and at least 8; the first half and the second are added until one is left. */
static ALWAYS_INLINE double sum_of_lanes(double *lanes, int count) {
    for (int half = count / 2; half >= 8; half /= 2)
        for (int lane = 0; lane < half; lane++)
            lanes[lane] += lanes[lane + half];
    OCT_OF_DOUBLES eight;
    QUAD_OF_DOUBLES low, high;
    memcpy(&eight, lanes, sizeof eight);
    memcpy(&low, &eight, sizeof low);
    memcpy(&high, (const char *)&eight + sizeof low, sizeof high);
    low += high;
    return (low[0] + low[2]) + (low[1] + low[3]);
}

static double sum(const void *values_, ptrdiff_t n) {
    const REAL *values = values_;
    double lanes[LF_SUM_LANES] = {0};
    ptrdiff_t i = 0;
    for (; i + LF_SUM_LANES <= n; i += LF_SUM_LANES)
        for (int lane = 0; lane < LF_SUM_LANES; lane++)
            lanes[lane] += (double)values[i + lane];
    for (int lane = 0; i + lane < n; lane++)
        lanes[lane] += (double)values[i + lane];
    return sum_of_lanes(lanes, LF_SUM_LANES);
}

/* Rows of `length` numbers that lie side by side: the sum of each, divided; in place of the numbers too. */
static void sum_rows(const void *values_, ptrdiff_t rows, ptrdiff_t length, double divisor, void *sums_) {
    const REAL *values = values_;
    REAL *sums = sums_;
    for (ptrdiff_t row = 0; row < rows; row++, values += length) {
        double total = 0.0;
        if (length < LF_SUM_LANES)
            for (ptrdiff_t i = 0; i < length; i++)
                total += (double)values[i];
        else
            total = sum(values, length);
        sums[row] = (REAL)(total / divisor);
    }
}

/* ---- around the cache ----------------------------------------------------------------------------------------- */

/* What is written whole cache lines at a time does not have to be read for ownership first, and throws nothing out of
 * the cache. The lock that ends a thread's turn orders these stores before what follows. */
enum { LF_LINE = 64 / sizeof(REAL) };

/* How many numbers there are before the first whole line, of n. */
static ptrdiff_t before_line(const REAL *to, ptrdiff_t n) {
    const ptrdiff_t before = (ptrdiff_t)(-(uintptr_t)to % 64 / sizeof(REAL));
    return before < n ? before : n;
}

/* The lines from number i, where one begins, as far as they are whole before `end`; returns where that is. */
static ALWAYS_INLINE ptrdiff_t put_lines(REAL *to, const REAL *from, ptrdiff_t i, ptrdiff_t end) {
    for (; i + LF_LINE <= end; i += LF_LINE) {
        void *line = to + i;
#if defined(__AVX512F__)
        _mm512_stream_si512(line, _mm512_loadu_si512(from + i));
#elif defined(__SSE2__)
        for (int k = 0; k < 4; k++)
            _mm_stream_si128((__m128i *)line + k, _mm_loadu_si128((const __m128i *)(const void *)(from + i) + k));
#else
        memcpy(line, from + i, 64);
#endif
    }
    return i;
}

/* n zeros; those beside the whole lines as usual. */
static void clear_around_cache(REAL *to, ptrdiff_t n) {
    static const REAL zeros[LF_LINE];
    const ptrdiff_t before = before_line(to, n);
    ptrdiff_t i = before;
    memset(to, 0, (size_t)before * sizeof(REAL));
    for (; i + LF_LINE <= n; i += LF_LINE)
        put_lines(to + i, zeros, 0, LF_LINE);
    memset(to + i, 0, (size_t)(n - i) * sizeof(REAL));
}

/* n numbers; those beside the whole lines as usual. */
static void put_around_cache(REAL *to, const REAL *from, ptrdiff_t n) {
    const ptrdiff_t before = before_line(to, n), end = put_lines(to, from, before, n);
    memcpy(to, from, (size_t)before * sizeof(REAL));
    memcpy(to + end, from + end, (size_t)(n - end) * sizeof(REAL));
}

/* What the lanes read a little later. The processor's own prefetching stops at every page. */
static ALWAYS_INLINE void fetch_lanes(const REAL *from) {
    enum { AHEAD = 2048, LINE = 64 };
    for (size_t byte = 0; byte < LF_SUM_LANES * sizeof(REAL); byte += LINE)
        __builtin_prefetch((const char *)from + AHEAD + byte);
}

#endif
