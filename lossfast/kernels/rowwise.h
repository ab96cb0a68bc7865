/* What losses over a class axis share: maximum, exponentials and their sum for one row (vectors along the classes) and
 * for many rows in lanes (vectors across the rows). A rowwise loss states itself for both shapes:
 *
 *     ROWWISE(name, few_classes) — name_row(settings, rows) and name_lanes(settings, rows) stand above it
 *
 * few_classes: with so many classes or fewer, rows whose classes are contiguous are transposed into lanes. */
#ifndef LF_ROWWISE_H
#define LF_ROWWISE_H

#include "abi.h"
#include "blocks.h"
#include "real.h"
#include "vmath.h"

/* Classes of one row that are exponentiated and summed while they are in the first-level cache. */
enum { LF_ROW_BLOCK = 1024 };
/* Classes whose exponentials a lane adds in REAL before they go to its float64 sum. */
enum { LF_CLASS_BLOCK = 16 };

/* ---- one row ------------------------------------------------------------------------------------------------- */

/* Classes side by side in a vector, whatever its length. The last of them are taken once more with those before, where
 * their number is no multiple: the compiler's epilogue would be a scalar each. */
enum { LF_ROW_LANES = 16 };

static ALWAYS_INLINE void greater_lanes(REAL *max, const REAL *x, int lanes) {
    for (int lane = 0; lane < lanes; lane++)
        max[lane] = x[lane] > max[lane] ? x[lane] : max[lane];
}

/* NaN is passed over; the exponentials find it. */
static REAL row_max(const REAL *x, ptrdiff_t n) {
    enum { WIDE = 4 * LF_ROW_LANES };
    REAL max[WIDE];
    for (int lane = 0; lane < WIDE; lane++)
        max[lane] = -REAL_INF;
    ptrdiff_t i = 0;
    for (; i + WIDE <= n; i += WIDE)
        greater_lanes(max, x + i, WIDE);
    for (; i + LF_ROW_LANES <= n; i += LF_ROW_LANES)
        greater_lanes(max, x + i, LF_ROW_LANES);
    if (n >= LF_ROW_LANES)
        greater_lanes(max, x + n - LF_ROW_LANES, LF_ROW_LANES);
    else
        greater_lanes(max, x, (int)n);
    for (int half = WIDE / 2; half; half /= 2)
        greater_lanes(max, max + half, half);
    return max[0];
}

/* The class of the maximum, or the last class of a row that has none (all NaN). */
static ptrdiff_t row_argmax(const REAL *x, ptrdiff_t n, REAL max) {
    ptrdiff_t c = 0;
    while (c < n - 1 && x[c] != max)
        c++;
    return c;
}

static ALWAYS_INLINE void exp_lanes(REAL *lanes, REAL max) {
#pragma omp simd
    for (int lane = 0; lane < LF_ROW_LANES; lane++)
        lanes[lane] = lf_exp_nonpositive(lanes[lane] - max);
}

/* row_exp_sum for the classes of one block. Four terms meet in REAL before their sum goes to float64: half the
 * conversions, and at most one ulp in all. */
static double block_exp_sum(const REAL *x, ptrdiff_t n, REAL max, ptrdiff_t without, REAL *exps) {
    const ptrdiff_t whole = n / LF_ROW_LANES * LF_ROW_LANES, tail = n - LF_ROW_LANES;
    double lanes[LF_ROW_LANES] = {0};
    REAL last[LF_ROW_LANES];
    if (tail < 0) {
        for (int lane = 0; lane < LF_ROW_LANES; lane++)
            last[lane] = lane < n ? x[lane] : -REAL_INF;
        exp_lanes(last, max);
        if (without >= 0)
            last[without] = R(0.0);
        memcpy(exps, last, (size_t)n * sizeof(REAL));
        return sum(last, LF_ROW_LANES);
    }
    memcpy(last, x + tail, sizeof last); /* before an exponential can replace it */
#pragma omp simd
    for (ptrdiff_t i = 0; i < whole; i++)
        exps[i] = lf_exp_nonpositive(x[i] - max);
    if (without >= 0 && without < whole)
        exps[without] = R(0.0);
    ptrdiff_t i = 0;
    for (; i + 4 * LF_ROW_LANES <= whole; i += 4 * LF_ROW_LANES)
        for (int lane = 0; lane < LF_ROW_LANES; lane++) {
            const REAL *y = exps + i + lane;
            lanes[lane] += (double)((y[0] + y[LF_ROW_LANES]) + (y[2 * LF_ROW_LANES] + y[3 * LF_ROW_LANES]));
        }
    for (; i < whole; i += LF_ROW_LANES)
        for (int lane = 0; lane < LF_ROW_LANES; lane++)
            lanes[lane] += (double)exps[i + lane];
    if (whole < n) {
        exp_lanes(last, max);
        if (without >= tail)
            last[without - tail] = R(0.0);
        for (int lane = 0; lane < LF_ROW_LANES; lane++)
            lanes[lane] += lane >= whole - tail ? (double)last[lane] : 0.0;
        memcpy(exps + tail, last, sizeof last);
    }
    return sum_of_lanes(lanes, LF_ROW_LANES);
}

/* The sum of e^(x - max) over all classes but `without`. The exponentials stay in `exps`, or nowhere if that is NULL;
 * that of `without` is left to the caller: kept out of the sum, it cannot swallow the small ones beside it. */
static REAL row_exp_sum(const REAL *x, ptrdiff_t n, REAL max, ptrdiff_t without, REAL *exps) {
    REAL buffer[LF_ROW_BLOCK];
    double total = 0.0;
    for (ptrdiff_t start = 0; start < n; start += LF_ROW_BLOCK) {
        const ptrdiff_t count = n - start < LF_ROW_BLOCK ? n - start : LF_ROW_BLOCK, at = without - start;
        total += block_exp_sum(x + start, count, max, at >= 0 && at < count ? at : -1, exps ? exps + start : buffer);
    }
    return (REAL)total;
}

/* ---- rows in lanes ------------------------------------------------------------------------------------------- */

static void lanes_max(const lf_rows *rows, ptrdiff_t classes, REAL *restrict max) {
    for (ptrdiff_t l = 0; l < LF_LANES; l++)
        max[l] = -REAL_INF;
    for (ptrdiff_t c = 0; c < classes; c++) {
        const REAL *x = (const REAL *)rows->input + c * rows->stride;
        for (ptrdiff_t l = 0; l < rows->lanes; l++)
            max[l] = x[l] > max[l] ? x[l] : max[l];
    }
}

static void lanes_argmax(const lf_rows *rows, ptrdiff_t classes, const REAL *restrict max, int32_t *restrict top) {
    for (ptrdiff_t l = 0; l < LF_LANES; l++)
        top[l] = (int32_t)(classes - 1);
    for (ptrdiff_t c = classes - 1; c-- > 0;) {
        const REAL *x = (const REAL *)rows->input + c * rows->stride;
        for (ptrdiff_t l = 0; l < rows->lanes; l++)
            top[l] = x[l] == max[l] ? (int32_t)c : top[l];
    }
}

/* As row_exp_sum, lane by lane; exps has the stride of the rows. */
static void lanes_exp_sum(const lf_rows *rows, ptrdiff_t classes, const REAL *restrict max,
                          const int32_t *restrict without, REAL *exps, REAL *restrict total) {
    double wide[LF_LANES];
    REAL partial[LF_LANES], buffer[LF_LANES];
    for (ptrdiff_t l = 0; l < rows->lanes; l++)
        wide[l] = 0.0;
    for (ptrdiff_t start = 0; start < classes; start += LF_CLASS_BLOCK) {
        const ptrdiff_t end = start + LF_CLASS_BLOCK < classes ? start + LF_CLASS_BLOCK : classes;
        for (ptrdiff_t l = 0; l < rows->lanes; l++)
            partial[l] = R(0.0);
        for (ptrdiff_t c = start; c < end; c++) {
            const REAL *x = (const REAL *)rows->input + c * rows->stride;
            REAL *e = exps ? exps + c * rows->stride : buffer;
#pragma omp simd
            for (ptrdiff_t l = 0; l < rows->lanes; l++) {
                const REAL exp = lf_exp_nonpositive(x[l] - max[l]);
                partial[l] += without[l] == (int32_t)c ? R(0.0) : exp;
                e[l] = exp;
            }
        }
        for (ptrdiff_t l = 0; l < rows->lanes; l++)
            wide[l] += (double)partial[l];
    }
    for (ptrdiff_t l = 0; l < rows->lanes; l++)
        total[l] = (REAL)wide[l];
}

#define ROWWISE(name, few_classes) enum { name##_few_classes = few_classes };
#define ROWWISE_ENTRY(name) {#name, name##_few_classes, name##_row, name##_lanes},

#endif
