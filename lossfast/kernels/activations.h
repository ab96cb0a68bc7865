/* The building blocks that users of losses ask for by name: maps of one number, and the softmax family over a row.
 * The softmax family writes its result where a loss would write its gradient. */
#ifndef LF_ACTIVATIONS_H
#define LF_ACTIVATIONS_H

#include "rowwise.h"

#define MAP(name)                                                                                                      \
    static void name##_map(ptrdiff_t n, const void *input, void *output) {                                             \
        const REAL *x = input;                                                                                         \
        REAL *y = output;                                                                                              \
        _Pragma("omp simd") for (ptrdiff_t i = 0; i < n; i++) y[i] = name##_of(x[i]);                                  \
    }

#define MAP_ENTRY(name) {#name, name##_map},

static ALWAYS_INLINE REAL sigmoid_of(REAL x) { return lf_sigmoid(x); }
static ALWAYS_INLINE REAL softplus_of(REAL x) { return lf_softplus(x); }
static ALWAYS_INLINE REAL log_sigmoid_of(REAL x) { return -lf_softplus(-x); }
static ALWAYS_INLINE REAL copy_of(REAL x) { return x; } /* from any dtype to any */

MAP(sigmoid)
MAP(softplus)
MAP(log_sigmoid)
MAP(copy)

/* The greatest exponential is 1 and stays out of the sum, so that log(sum) = log1p(rest) keeps its relative accuracy.
 */
static void softmax_of_row(const lf_row_settings *settings, const lf_rows *rows) {
    const ptrdiff_t n = settings->classes;
    const REAL *x = rows->input, max = row_max(x, n);
    REAL *exps = rows->draft;
    const ptrdiff_t top = row_argmax(x, n, max);
    const REAL exp_top = lf_exp_nonpositive(x[top] - max), total = row_exp_sum(x, n, max, top, exps) + exp_top;
#pragma omp simd
    for (ptrdiff_t c = 0; c < whole_vectors(n); c++)
        exps[c] /= total;
    finish_row(rows, 0, n, R(1.0), top, exp_top / total);
}

static void softmax_row(const lf_row_settings *settings, const lf_rows *rows) {
    one_by_one(settings, rows, softmax_of_row);
}

static void softmax_lanes(const lf_row_settings *settings, const lf_rows *rows) {
    REAL max[LF_LANES], total[LF_LANES], *out = rows->grad;
    int32_t nothing[LF_LANES];
    for (ptrdiff_t l = 0; l < LF_LANES; l++)
        nothing[l] = -1;
    lanes_max(rows, settings->classes, max);
    lanes_exp_sum(rows, settings->classes, max, nothing, out, rows->stride, total);
    for (ptrdiff_t c = 0; c < settings->classes; c++)
#pragma omp simd
        for (ptrdiff_t l = 0; l < rows->lanes; l++)
            out[c * rows->stride + l] /= total[l];
}

ROWWISE(softmax, .lanes = softmax_lanes, .few_classes = LF_FEW_CLASSES)

static void log_softmax_of_row(const lf_row_settings *settings, const lf_rows *rows) {
    const ptrdiff_t n = settings->classes;
    const REAL *x = rows->input, max = row_max(x, n);
    REAL *out = rows->grad;
    const ptrdiff_t top = row_argmax(x, n, max);
    const REAL log_total = lf_log1p(row_exp_sum(x, n, max, top, NULL) + (x[top] - max));
#pragma omp simd
    for (ptrdiff_t c = 0; c < n; c++)
        out[c] = (x[c] - max) - log_total;
}

static void log_softmax_row(const lf_row_settings *settings, const lf_rows *rows) {
    one_by_one(settings, rows, log_softmax_of_row);
}

static void log_softmax_lanes(const lf_row_settings *settings, const lf_rows *rows) {
    const REAL *x = rows->input;
    REAL max[LF_LANES], rest[LF_LANES], log_total[LF_LANES], *out = rows->grad;
    int32_t top[LF_LANES];
    lanes_max(rows, settings->classes, max);
    lanes_argmax(rows, settings->classes, max, top);
    lanes_exp_sum(rows, settings->classes, max, top, NULL, 0, rest);
    for (ptrdiff_t l = 0; l < rows->lanes; l++)
        rest[l] += x[top[l] * rows->stride + l] - max[l];
#pragma omp simd
    for (ptrdiff_t l = 0; l < rows->lanes; l++)
        log_total[l] = lf_log1p(rest[l]);
    for (ptrdiff_t c = 0; c < settings->classes; c++)
#pragma omp simd
        for (ptrdiff_t l = 0; l < rows->lanes; l++)
            out[c * rows->stride + l] = (x[c * rows->stride + l] - max[l]) - log_total[l];
}

ROWWISE(log_softmax, .lanes = log_softmax_lanes, .few_classes = LF_FEW_CLASSES)

/* An infinite maximum is the result: nothing finite adds to it, and inf - inf below would be NaN. NaN is found first.
 */
static ALWAYS_INLINE REAL log_sum_exp(REAL max, REAL rest, REAL nan_or_zero) {
    const REAL finite = max + lf_log1p(rest), unbounded = ABS(max) == REAL_INF ? max : finite;
    return nan_or_zero == R(0.0) ? unbounded : nan_or_zero;
}

static void logsumexp_of_row(const lf_row_settings *settings, const lf_rows *rows) {
    const ptrdiff_t n = settings->classes;
    const REAL *x = rows->input, max = row_max(x, n);
    REAL nan_or_zero = R(0.0);
    if (ABS(max) == REAL_INF)
        for (ptrdiff_t c = 0; c < n; c++)
            nan_or_zero = x[c] == x[c] ? nan_or_zero : x[c];
    const REAL rest = n ? row_exp_sum(x, n, max, row_argmax(x, n, max), NULL) : R(0.0);
    *(REAL *)rows->value = log_sum_exp(max, rest, nan_or_zero);
}

static void logsumexp_row(const lf_row_settings *settings, const lf_rows *rows) {
    one_by_one(settings, rows, logsumexp_of_row);
}

static void logsumexp_lanes(const lf_row_settings *settings, const lf_rows *rows) {
    REAL max[LF_LANES], rest[LF_LANES], nan_or_zero[LF_LANES], *value = rows->value;
    int32_t top[LF_LANES];
    lanes_max(rows, settings->classes, max);
    lanes_argmax(rows, settings->classes, max, top);
    lanes_exp_sum(rows, settings->classes, max, top, NULL, 0, rest);
    for (ptrdiff_t l = 0; l < rows->lanes; l++)
        nan_or_zero[l] = R(0.0);
    for (ptrdiff_t c = 0; c < settings->classes; c++) {
        const REAL *x = (const REAL *)rows->input + c * rows->stride;
#pragma omp simd
        for (ptrdiff_t l = 0; l < rows->lanes; l++)
            nan_or_zero[l] = x[l] == x[l] ? nan_or_zero[l] : x[l];
    }
#pragma omp simd
    for (ptrdiff_t l = 0; l < rows->lanes; l++)
        value[l] = log_sum_exp(max[l], rest[l], nan_or_zero[l]);
}

ROWWISE(logsumexp, .lanes = logsumexp_lanes, .few_classes = LF_FEW_CLASSES)

#endif
