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

/* NaN is passed over; the exponentials find it. */
static REAL row_max(const REAL *x, ptrdiff_t n) {
    REAL lanes[64], max = -REAL_INF;
    for (int lane = 0; lane < 64; lane++)
        lanes[lane] = -REAL_INF;
    ptrdiff_t i = 0;
    for (; i + 64 <= n; i += 64)
        for (int lane = 0; lane < 64; lane++)
            lanes[lane] = x[i + lane] > lanes[lane] ? x[i + lane] : lanes[lane];
    for (int lane = 0; i + lane < n; lane++)
        lanes[lane] = x[i + lane] > lanes[lane] ? x[i + lane] : lanes[lane];
    for (int lane = 0; lane < 64; lane++)
        max = lanes[lane] > max ? lanes[lane] : max;
    return max;
}

/* The class of the maximum, or the last class of a row that has none (all NaN). */
static ptrdiff_t row_argmax(const REAL *x, ptrdiff_t n, REAL max) {
    ptrdiff_t c = 0;
    while (c < n - 1 && x[c] != max)
        c++;
    return c;
}

/* Four terms meet in REAL before their sum goes to float64: half the conversions, and at most one ulp in all. */
static double row_sum(const REAL *x, ptrdiff_t n) {
    double lanes[16] = {0};
    ptrdiff_t i = 0;
    for (; i + 64 <= n; i += 64)
        for (int lane = 0; lane < 16; lane++) {
            const REAL *y = x + i + lane;
            lanes[lane] += (double)((y[0] + y[16]) + (y[32] + y[48]));
        }
    double total = i < n ? sum(x + i, n - i) : 0.0;
    for (int half = 8; half; half /= 2)
        for (int lane = 0; lane < half; lane++)
            lanes[lane] += lanes[lane + half];
    return lanes[0] + total;
}

/* The sum of e^(x - max) over all classes but `without`. The exponentials stay in `exps`, or nowhere if that is NULL;
 * that of `without` is left to the caller: kept out of the sum, it cannot swallow the small ones beside it. */
static REAL row_exp_sum(const REAL *x, ptrdiff_t n, REAL max, ptrdiff_t without, REAL *exps) {
    REAL buffer[LF_ROW_BLOCK];
    double total = 0.0;
    for (ptrdiff_t start = 0; start < n; start += LF_ROW_BLOCK) {
        const ptrdiff_t count = n - start < LF_ROW_BLOCK ? n - start : LF_ROW_BLOCK;
        REAL *e = exps ? exps + start : buffer;
#pragma omp simd
        for (ptrdiff_t i = 0; i < count; i++)
            e[i] = lf_exp_nonpositive(x[start + i] - max);
        if (without >= start && without < start + count)
            e[without - start] = R(0.0);
        total += row_sum(e, count);
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
