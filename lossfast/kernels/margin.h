/* Margin losses: a label ±1, or a set of labels, and the distance that a score keeps from the wrong side. */
#ifndef LF_MARGIN_H
#define LF_MARGIN_H

#include "elementwise.h"
#include "rowwise.h"

/* The derivative of max(z, 0), with `slope` that of z; at the kink that of the side where z counts, as PyTorch's
 * clamp has it. */
#define HINGE_SLOPE(z, slope) ((z) >= R(0.0) ? (slope) : (z) < R(0.0) ? R(0.0) : (z))

/* softplus(z) = max(z, 0) + log(1 + e), e = e^-|z| */
ELEMENTWISE(soft_margin, (input, target), ()) {
    const REAL t = target, z = -(t * input), e = lf_exp_nonpositive(-ABS(z)), total = R(1.0) + e;
    const REAL variance = t * t * (e / (total * total));
    return (POINT){.value = AT_LEAST(z, R(0.0)) + lf_log1p_unit(e),
                   .grad = {-t * ((z < R(0.0) ? e : R(1.0)) / total)},
                   .hess = {variance},
                   .fisher = {variance},
                   .majorizer = {R(0.25) * t * t + NAN_OF(z, z)}};
}

ELEMENTWISE(margin_ranking, (input1, input2, target), (margin)) {
    const REAL d = input1 - input2, z = margin - target * d, zero = NAN_OF(z, z);
    return (POINT){.value = AT_LEAST(z, R(0.0)),
                   .grad = {HINGE_SLOPE(z, -target), HINGE_SLOPE(z, target), HINGE_SLOPE(z, -d)},
                   .hess = {zero, zero, zero}};
}

/* A target that is neither 1 nor -1 takes both sides, max(margin - x, 0) + x, written so that infinities do not meet.
 */
ELEMENTWISE(hinge_embedding, (input, target), (margin)) {
    const REAL x = input, gap = margin - x, nan_or_zero = NAN_OF(x, target);
    const int similar = target == R(1.0), dissimilar = target == R(-1.0);
    const REAL hinge = AT_LEAST(gap, R(0.0)), both = AT_LEAST(x, margin);
    const REAL slope = gap >= R(0.0) ? R(-1.0) : R(0.0);
    return (POINT){.value = (similar      ? x
                             : dissimilar ? hinge
                                          : both) +
                            nan_or_zero,
                   .grad = {(similar      ? R(1.0)
                             : dissimilar ? slope
                                          : R(1.0) + slope) +
                            nan_or_zero},
                   .hess = {nan_or_zero}};
}

/* ---- over a class axis ------------------------------------------------------------------------------------------- */

/* The order of the sum is PyTorch's, so that both see the same kink; what is not greater than 0 there counts nothing,
 * infinity less infinity included. Weston and Watkins (1999), with a label's class among the C of the mean. */
CLASS_TERM(multi_margin, (p, margin)) {
    const REAL z = (margin - at_label) + logit;
    const int squared = p == R(2.0), violated = z > R(0.0);
    return (TERM_POINT){.value = violated ? (squared ? z * z : z) : NAN_OF(logit, at_label),
                        .slope = violated ? (squared ? R(2.0) * z : R(1.0)) : R(0.0),
                        .hess = squared & violated ? R(2.0) : R(0.0)};
}

ROWWISE(multi_margin, .lanes = multi_margin_lanes, .few_classes = LF_REAL_BITS == 32 ? 110 : 48)

/*
 * Every label j against every class c that is no label: hinges of z = (1 - x_j) + x_c, and how many of them count, by c
 * and by j. Labels have -inf among the `others`, so that none of their hinges counts, and so has a list that is shorter
 * than that beside it among the `bounds`. NaN counts nothing here and is looked for apart.
 */
enum { LABELS_AT_ONCE = 4, MULTILABEL_TABLES = 3 };

#define HINGE(k, z) ((k) < together && (z) > R(0.0) ? (z) : R(0.0))
#define COUNTS(k, z) ((k) < together && (z) > R(0.0) ? R(1.0) : R(0.0))

/* `together` labels against n classes: the sum of the hinges is returned, how many count goes to the classes' `counts`
 * and the labels' `tally`. Sums of ones are exact, in whatever order a vector adds them. */
static ALWAYS_INLINE double add_hinges(const int together, ptrdiff_t n, const REAL *bound, const REAL *others,
                                       REAL *counts, REAL *tally) {
    REAL excess[LF_ROW_BLOCK], t0 = R(0.0), t1 = R(0.0), t2 = R(0.0), t3 = R(0.0);
    const REAL b0 = bound[0], b1 = bound[together > 1 ? 1 : 0], b2 = bound[together > 2 ? 2 : 0],
               b3 = bound[together > 3 ? 3 : 0];
#pragma omp simd reduction(+ : t0, t1, t2, t3)
    for (ptrdiff_t c = 0; c < n; c++) {
        const REAL x = others[c], z0 = b0 + x, z1 = b1 + x, z2 = b2 + x, z3 = b3 + x;
        excess[c] = (HINGE(0, z0) + HINGE(1, z1)) + (HINGE(2, z2) + HINGE(3, z3));
        counts[c] += (COUNTS(0, z0) + COUNTS(1, z1)) + (COUNTS(2, z2) + COUNTS(3, z3));
        t0 += COUNTS(0, z0), t1 += COUNTS(1, z1), t2 += COUNTS(2, z2), t3 += COUNTS(3, z3);
    }
    tally[0] = t0, tally[1] = t1, tally[2] = t2, tally[3] = t3;
    return sum(excess, n);
}

/* One row. */
static void multilabel_margin_row(const lf_row_settings *settings, const lf_rows *rows) {
    const ptrdiff_t n = settings->classes, whole = (n + LF_ROW_LANES - 1) / LF_ROW_LANES * LF_ROW_LANES;
    const REAL *x = rows->input, scale = *(const REAL *)rows->scale;
    REAL *others = scratch_table(settings, rows, 0), *counts = scratch_table(settings, rows, 1),
         *bounds = scratch_table(settings, rows, 2), *grad = rows->grad;
    int is_nan = 0;
    for (ptrdiff_t c = 0; c < n; c++) {
        others[c] = x[c];
        is_nan |= x[c] != x[c];
    }
    for (ptrdiff_t c = n; c < whole; c++)
        others[c] = -REAL_INF;
    memset(counts, 0, (size_t)whole * sizeof(REAL));
    for (ptrdiff_t k = 0; k < rows->labels; k++) {
        bounds[k] = R(1.0) - x[rows->label[k]];
        others[rows->label[k]] = -REAL_INF;
    }

    double total = 0.0;
    for (ptrdiff_t start = 0; start < whole; start += LF_ROW_BLOCK) {
        const ptrdiff_t classes = whole - start < LF_ROW_BLOCK ? whole - start : LF_ROW_BLOCK;
        for (ptrdiff_t k = 0; k < rows->labels; k += LABELS_AT_ONCE) {
            const ptrdiff_t left = rows->labels - k, together = left < LABELS_AT_ONCE ? left : LABELS_AT_ONCE;
            const REAL *bound = bounds + k;
            REAL tally[LABELS_AT_ONCE];
            total += together == 1   ? add_hinges(1, classes, bound, others + start, counts + start, tally)
                     : together == 2 ? add_hinges(2, classes, bound, others + start, counts + start, tally)
                     : together == 3 ? add_hinges(3, classes, bound, others + start, counts + start, tally)
                                     : add_hinges(4, classes, bound, others + start, counts + start, tally);
            for (ptrdiff_t i = 0; i < together; i++)
                counts[rows->label[k + i]] -= tally[i];
        }
    }
    *(REAL *)rows->value = is_nan ? REAL_NAN : (REAL)(total / (double)n);
    if (is_nan) {
        fill_row(settings, rows, 0, REAL_NAN);
        return;
    }
    const REAL share = scale / (REAL)n;
    if (grad)
#pragma omp simd
        for (ptrdiff_t c = 0; c < n; c++)
            grad[c] = counts[c] * share;
    if (rows->hess)
        fill(rows->hess, n, (double)(curved(curvature_of(settings), R(0.0)) * scale));
}

static void multilabel_margin_lanes(const lf_row_settings *settings, const lf_rows *rows) {
    const ptrdiff_t n = settings->classes, stride = rows->stride, own = rows->own_stride, lanes = rows->lanes;
    const REAL *x = rows->input, *scale = rows->scale;
    REAL *others = scratch_table(settings, rows, 0), *counts = scratch_table(settings, rows, 1),
         *bounds = scratch_table(settings, rows, 2), *value = rows->value, *grad = rows->grad, *hess = rows->hess;
    REAL nan_or_zero[LF_LANES], tally[LF_LANES];
    double values[LF_LANES];
    for (ptrdiff_t l = 0; l < lanes; l++)
        nan_or_zero[l] = R(0.0), values[l] = 0.0;
    for (ptrdiff_t c = 0; c < n; c++)
#pragma omp simd
        for (ptrdiff_t l = 0; l < lanes; l++) {
            const REAL logit = x[c * stride + l];
            others[c * own + l] = logit;
            counts[c * own + l] = R(0.0);
            nan_or_zero[l] += NAN_OF(logit, logit);
        }
    for (ptrdiff_t k = 0; k < rows->labels; k++)
        for (ptrdiff_t l = 0; l < lanes; l++) {
            const int32_t label = rows->label[k * own + l];
            bounds[k * own + l] = label < 0 ? -REAL_INF : R(1.0) - x[label * stride + l];
            if (label >= 0)
                others[label * own + l] = -REAL_INF;
        }
    for (ptrdiff_t k = 0; k < rows->labels; k++) {
        const REAL *bound = bounds + k * own;
        for (ptrdiff_t l = 0; l < lanes; l++)
            tally[l] = R(0.0);
        for (ptrdiff_t c = 0; c < n; c++)
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++) {
                const REAL z = bound[l] + others[c * own + l], one = z > R(0.0) ? R(1.0) : R(0.0);
                values[l] += (double)(z > R(0.0) ? z : R(0.0));
                counts[c * own + l] += one;
                tally[l] += one;
            }
        for (ptrdiff_t l = 0; l < lanes; l++)
            if (rows->label[k * own + l] >= 0)
                counts[rows->label[k * own + l] * own + l] -= tally[l];
    }
#pragma omp simd
    for (ptrdiff_t l = 0; l < lanes; l++)
        value[l] = (REAL)(values[l] / (double)n) + nan_or_zero[l];
    for (ptrdiff_t c = 0; grad && c < n; c++)
#pragma omp simd
        for (ptrdiff_t l = 0; l < lanes; l++)
            grad[c * stride + l] = counts[c * own + l] * (scale[l] / (REAL)n);
    for (ptrdiff_t c = 0; hess && c < n; c++)
#pragma omp simd
        for (ptrdiff_t l = 0; l < lanes; l++)
            hess[c * stride + l] = curved(curvature_of(settings), R(0.0)) * scale[l];
    spoil_lanes(settings, rows, nan_or_zero);
}

ROWWISE(multilabel_margin, .lanes = multilabel_margin_lanes, .few_classes = 32, .scratch = MULTILABEL_TABLES)

#endif
