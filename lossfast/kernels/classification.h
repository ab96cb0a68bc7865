/* Classification: binary (elementwise) and over a class axis (rowwise). */
#ifndef LF_CLASSIFICATION_H
#define LF_CLASSIFICATION_H

#include "elementwise.h"
#include "rowwise.h"

/* ---- binary -------------------------------------------------------------------------------------------------- */

/* Logarithms are held above -100 and the gradient's denominator above float32(1e-12), as PyTorch does in both
 * precisions: the gradient is that of the loss with a bounded slope, not of the clamped value. */
ELEMENTWISE(bce, (input, target), ()) {
    const REAL x = input, y = R(1.0) - input, t = target, u = R(1.0) - target;
    const REAL log_x = lf_log(x), log_y = lf_log1p(-x);
    /* log(y / x); about x = 1/2 the difference of the logarithms would cancel */
    const REAL log_ratio = (x > R(0.25)) & (x < R(0.75)) ? lf_log1p((R(1.0) - R(2.0) * x) / x) : log_y - log_x;
    return (POINT){.value = -(t * AT_LEAST(log_x, R(-100.0)) + u * AT_LEAST(log_y, R(-100.0))),
                   .grad = {(x - t) / AT_LEAST(x * y, (REAL)1e-12f), log_ratio},
                   .hess = {TERM(t, R(1.0) / (x * x)) + TERM(u, R(1.0) / (y * y)), NAN_OF(x, t)},
                   .fisher = {R(1.0) / (x * y) + NAN_OF(t, t), NAN_OF(x, t)},
                   .invalid = (x < R(0.0)) | (x > R(1.0)) | (t < R(0.0)) | (t > R(1.0))};
}

/* (1 - t) softplus(x) + w t softplus(-x): every term is positive for t in [0, 1], so nothing cancels as p -> t. */
static ALWAYS_INLINE POINT bce_of_logits(REAL x, REAL t, REAL positive_weight) {
    const LOGISTIC logistic = lf_logistic(x);
    const REAL negative = R(1.0) - t, positive = positive_weight * t, weight = negative + positive;
    const REAL variance = logistic.sigmoid * logistic.sigmoid_neg, nan_or_zero = NAN_OF(x, weight);
    return (POINT){
        .value = TERM(negative, logistic.softplus) + TERM(positive, logistic.softplus_neg),
        .grad = {negative * logistic.sigmoid - positive * logistic.sigmoid_neg,
                 positive_weight == R(1.0) ? -x : TERM(positive_weight, logistic.softplus_neg) - logistic.softplus},
        .hess = {weight * variance, nan_or_zero},
        .fisher = {weight * variance, nan_or_zero},
        .majorizer = {R(0.25) * weight + nan_or_zero, nan_or_zero}};
}

ELEMENTWISE(bce_with_logits, (input, target), ()) { return bce_of_logits(input, target, R(1.0)); }

ELEMENTWISE(bce_with_logits_weighted, (input, target, pos_weight), ()) {
    return bce_of_logits(input, target, pos_weight);
}

/* ---- negative log likelihood --------------------------------------------------------------------------------- */

/* before scaling; the exact one is 0 */
static ALWAYS_INLINE REAL nll_hess(const lf_row_settings *settings) {
    return settings->curvature == LF_UNIT ? R(1.0) : AT_LEAST(R(0.0), (REAL)settings->floor);
}

static void nll_lanes(const lf_row_settings *settings, const lf_rows *rows) {
    const REAL *x = rows->input, *scale = rows->scale;
    REAL *value = rows->value, *grad = rows->grad, *hess = rows->hess, grad_at_label[LF_LANES], nan_or_zero[LF_LANES];
    for (ptrdiff_t l = 0; l < rows->lanes; l++) {
        const int32_t label = rows->label[l];
        const REAL weight = label < 0 ? R(0.0) : class_weight(settings, label);
        const REAL log_prob = label < 0 ? R(0.0) : x[label * rows->stride + l];
        value[l] = label < 0 ? R(0.0) : -weight * log_prob;
        nan_or_zero[l] = log_prob == log_prob ? R(0.0) : log_prob;
        grad_at_label[l] = -weight * scale[l] + nan_or_zero[l];
    }
    for (ptrdiff_t c = 0; c < settings->classes; c++)
        for (ptrdiff_t l = 0; l < rows->lanes; l++) {
            if (grad)
                grad[c * rows->stride + l] = R(0.0);
            if (hess)
                hess[c * rows->stride + l] = rows->label[l] < 0 ? R(0.0) : nll_hess(settings) * scale[l];
        }
    for (ptrdiff_t l = 0; l < rows->lanes; l++) {
        const ptrdiff_t at = rows->label[l] * rows->stride + l;
        if (grad && rows->label[l] >= 0)
            grad[at] = grad_at_label[l];
        if (hess && rows->label[l] >= 0)
            hess[at] += nan_or_zero[l];
    }
}

static void nll_row(const lf_row_settings *settings, const lf_rows *rows) {
    const REAL *x = rows->input, scale = *(const REAL *)rows->scale;
    REAL *grad = rows->grad, *hess = rows->hess;
    const int32_t label = *rows->label;
    const REAL weight = label < 0 ? R(0.0) : class_weight(settings, label), log_prob = label < 0 ? R(0.0) : x[label];
    const REAL nan_or_zero = log_prob == log_prob ? R(0.0) : log_prob;
    *(REAL *)rows->value = label < 0 ? R(0.0) : -weight * log_prob;
    if (grad) {
        memset(grad, 0, (size_t)settings->classes * sizeof(REAL));
        if (label >= 0)
            grad[label] = -weight * scale + nan_or_zero;
    }
    if (hess) {
        fill(hess, settings->classes, label < 0 ? 0.0 : (double)(nll_hess(settings) * scale));
        if (label >= 0)
            hess[label] += nan_or_zero;
    }
}

ROWWISE(nll, .lanes = nll_lanes)

/* ---- cross entropy ------------------------------------------------------------------------------------------- */

/*
 * loss = -sum_c q_c log p_c with p = softmax(x), q_c = w_c ((1 - eps) t_c + eps / C), t the target probabilities or one
 * at the label. With m = max x and total = sum_c e^(x_c - m):
 *
 *     loss = sum_c q_c (m - x_c) + S log(total),   dx_c = p_c S - q_c,   d2x_c = S p_c (1 - p_c),   S = sum_c q_c
 *
 * where no term cancels. `rest` is total without the label's exponential (without the greatest one where there is no
 * label): as the label's p -> 1, loss = log1p(rest) and dx = -S rest / total keep their relative accuracy. */

/* Its one parameter. */
#define SMOOTHING(settings) ((settings)->parameters[0])

/* What row and lanes agree on, for one class. `target` is NULL with labels: their own mass is `own`, at the label. */
static ALWAYS_INLINE REAL spread_mass(const lf_row_settings *settings, const REAL *target, ptrdiff_t at, ptrdiff_t c) {
    const REAL uniform = (REAL)(SMOOTHING(settings) / (double)settings->classes);
    return class_weight(settings, c) * (target ? (REAL)(1.0 - SMOOTHING(settings)) * target[at] + uniform : uniform);
}

enum { SPREAD_BLOCK = LF_ROW_BLOCK };

/* The same of the classes from `start`, each loop without a condition. */
static void spread_masses(const lf_row_settings *settings, const REAL *target, ptrdiff_t start, ptrdiff_t n,
                          REAL *restrict q) {
    const REAL uniform = (REAL)(SMOOTHING(settings) / (double)settings->classes),
               share = (REAL)(1.0 - SMOOTHING(settings));
    const REAL *weight = settings->class_weight;
    if (target) {
#pragma omp simd
        for (ptrdiff_t c = 0; c < n; c++)
            q[c] = share * target[start + c] + uniform;
    } else {
        fill(q, n, (double)uniform);
    }
    if (weight) {
#pragma omp simd
        for (ptrdiff_t c = 0; c < n; c++)
            q[c] *= weight[start + c];
    }
}

/* The Hessian before scaling; p - p keeps NaN. */
static ALWAYS_INLINE REAL row_hess(const lf_row_settings *settings, REAL mass, REAL p, REAL one_minus_p) {
    const REAL hess = settings->curvature == LF_UNIT        ? R(1.0) + (p - p)
                      : settings->curvature == LF_MAJORIZER ? mass * (R(0.5) + (p - p))
                                                            : mass * (p * one_minus_p);
    return AT_LEAST(hess, (REAL)settings->floor);
}

/* One term of sum_c q_c (m - x_c): none where there is no mass or no distance, whatever the other is. */
static ALWAYS_INLINE REAL distance_term(REAL q, REAL distance) {
    return (q == R(0.0)) | (distance == R(0.0)) ? R(0.0) : q * distance;
}

/* The label's part of the loss, which smoothing can take away altogether. */
static ALWAYS_INLINE REAL label_term(const lf_row_settings *settings, REAL own, REAL negative_log_p) {
    return SMOOTHING(settings) == 1.0 ? R(0.0) : own * negative_log_p;
}

static void cross_entropy_row(const lf_row_settings *settings, const lf_rows *rows) {
    const ptrdiff_t n = settings->classes;
    const REAL *x = rows->input, *target = rows->target, scale = *(const REAL *)rows->scale;
    REAL *grad = rows->grad, *hess = rows->hess, *target_grad = rows->target_grad;
    const int32_t label = rows->label ? *rows->label : -1;
    if (rows->label && label < 0) {
        *(REAL *)rows->value = R(0.0);
        if (grad)
            memset(grad, 0, (size_t)n * sizeof(REAL));
        if (hess)
            memset(hess, 0, (size_t)n * sizeof(REAL));
        return;
    }
    const int spread = target || SMOOTHING(settings) > 0.0;
    const REAL max = row_max(x, n),
               own = target ? R(0.0) : (REAL)(1.0 - SMOOTHING(settings)) * class_weight(settings, label);
    const ptrdiff_t apart = target ? row_argmax(x, n, max) : label;
    const REAL x_apart = x[apart];

    /* Sums in float64 and in two steps: S p - q cancels, and an error of S would not. */
    const REAL spread_apart = spread ? spread_mass(settings, target, apart, apart) : R(0.0),
               q_apart = own + spread_apart;
    double others_total = 0.0, distance_total = (double)distance_term(spread_apart, max - x_apart);
    REAL q[SPREAD_BLOCK];
    for (ptrdiff_t start = 0; spread && start < n; start += SPREAD_BLOCK) {
        const ptrdiff_t count = n - start < SPREAD_BLOCK ? n - start : SPREAD_BLOCK;
        spread_masses(settings, target, start, count, q);
        if (start <= apart && apart < start + count)
            q[apart - start] = R(0.0);
        others_total += sum(q, count);
#pragma omp simd
        for (ptrdiff_t c = 0; c < count; c++)
            q[c] = distance_term(q[c], max - x[start + c]);
        distance_total += sum(q, count);
    }
    const double spread_total = others_total + (double)spread_apart;
    const REAL spread_sum = (REAL)spread_total, distance = (REAL)distance_total, others = (REAL)others_total;
    const REAL mass = (REAL)((double)own + spread_total);

    const REAL rest = row_exp_sum(x, n, max, apart, grad), exp_apart = lf_exp_nonpositive(x_apart - max),
               total = rest + exp_apart;
    const REAL log_total = log_of_total(x_apart == max, rest, total, exp_apart);
    *(REAL *)rows->value =
        target ? distance + mass * log_total
               : label_term(settings, own, (max - x_apart) + log_total) + (distance + spread_sum * log_total);

    if (target_grad)
        for (ptrdiff_t c = 0; c < n; c++) {
            const REAL weight = (REAL)(1.0 - SMOOTHING(settings)) * class_weight(settings, c);
            target_grad[c] = scale * TERM(weight, (max - x[c]) + log_total);
        }
    if (!grad)
        return;
    const REAL inverse = R(1.0) / total, slope = scale * (mass / total);
    if (hess)
        for (ptrdiff_t c = 0; c < n; c++) {
            const REAL p = grad[c] * inverse;
            hess[c] = scale * row_hess(settings, mass, p, (total - grad[c]) * inverse);
        }
    if (spread) {
        for (ptrdiff_t start = 0; start < n; start += SPREAD_BLOCK) {
            const ptrdiff_t count = n - start < SPREAD_BLOCK ? n - start : SPREAD_BLOCK;
            REAL *g = grad + start;
            spread_masses(settings, target, start, count, q);
#pragma omp simd
            for (ptrdiff_t c = 0; c < count; c++)
                g[c] = g[c] * slope - scale * q[c];
        }
    } else {
#pragma omp simd
        for (ptrdiff_t c = 0; c < n; c++)
            grad[c] *= slope;
    }
    const REAL p_apart = exp_apart / total, rest_over_total = rest / total;
    grad[apart] = scale * ((others * p_apart - q_apart * rest_over_total) + (mass - mass)); /* inf - inf is NaN */
    if (hess)
        hess[apart] = scale * row_hess(settings, mass, p_apart, rest_over_total);
}

static void cross_entropy_lanes(const lf_row_settings *settings, const lf_rows *rows) {
    const ptrdiff_t n = settings->classes, stride = rows->stride, lanes = rows->lanes;
    const REAL *x = rows->input, *target = rows->target, *scale = rows->scale;
    REAL *value = rows->value, *grad = rows->grad, *hess = rows->hess, *target_grad = rows->target_grad;
    const int spread = target || SMOOTHING(settings) > 0.0;
    REAL max[LF_LANES], own[LF_LANES], x_apart[LF_LANES], rest[LF_LANES], total[LF_LANES], log_total[LF_LANES];
    REAL q_apart[LF_LANES];
    double spread_sum[LF_LANES], distance[LF_LANES], others[LF_LANES]; /* as in the row */
    int32_t apart[LF_LANES] = {0}, kept[LF_LANES];

    lanes_max(rows, n, max);
    if (target)
        lanes_argmax(rows, n, max, apart);
    for (ptrdiff_t l = 0; l < lanes; l++) {
        kept[l] = !rows->label || rows->label[l] >= 0;
        if (!target)
            apart[l] = kept[l] ? rows->label[l] : 0;
        own[l] = target ? R(0.0) : (REAL)(1.0 - SMOOTHING(settings)) * class_weight(settings, apart[l]);
        x_apart[l] = x[apart[l] * stride + l];
        q_apart[l] = own[l];
        spread_sum[l] = distance[l] = others[l] = 0.0;
    }
    if (spread)
        for (ptrdiff_t c = 0; c < n; c++) {
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++) {
                const REAL q = spread_mass(settings, target, c * stride + l, c);
                spread_sum[l] += (double)q;
                distance[l] += (double)distance_term(q, max[l] - x[c * stride + l]);
                others[l] += apart[l] == (int32_t)c ? 0.0 : (double)q;
                q_apart[l] += apart[l] == (int32_t)c ? q : R(0.0);
            }
        }

    lanes_exp_sum(rows, n, max, apart, grad, stride, rest);
    REAL slope[LF_LANES], inverse[LF_LANES], grad_apart[LF_LANES], hess_apart[LF_LANES], mass[LF_LANES];
#pragma omp simd
    for (ptrdiff_t l = 0; l < lanes; l++) {
        const REAL exp_apart = lf_exp_nonpositive(x_apart[l] - max[l]);
        total[l] = rest[l] + exp_apart;
        log_total[l] = log_of_total(x_apart[l] == max[l], rest[l], total[l], exp_apart);
        mass[l] = (REAL)((double)own[l] + spread_sum[l]);
        const REAL at_label = label_term(settings, own[l], (max[l] - x_apart[l]) + log_total[l]);
        const REAL spread_value = (REAL)distance[l] + (REAL)spread_sum[l] * log_total[l];
        value[l] = kept[l] ? (target ? spread_value : spread ? at_label + spread_value : at_label) : R(0.0);
        inverse[l] = R(1.0) / total[l];
        slope[l] = scale[l] * (mass[l] / total[l]);
        const REAL p_apart = exp_apart / total[l], rest_over_total = rest[l] / total[l];
        grad_apart[l] = scale[l] * (((REAL)others[l] * p_apart - q_apart[l] * rest_over_total) + (mass[l] - mass[l]));
        hess_apart[l] = scale[l] * row_hess(settings, mass[l], p_apart, rest_over_total);
    }

    if (target_grad)
        for (ptrdiff_t c = 0; c < n; c++) {
            const REAL weight = (REAL)(1.0 - SMOOTHING(settings)) * class_weight(settings, c);
            for (ptrdiff_t l = 0; l < lanes; l++)
                target_grad[c * stride + l] = scale[l] * TERM(weight, (max[l] - x[c * stride + l]) + log_total[l]);
        }
    if (!grad)
        return;
    for (ptrdiff_t c = 0; c < n; c++) {
        REAL *g = grad + c * stride;
        if (hess) {
            REAL *h = hess + c * stride;
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++) {
                const REAL p = g[l] * inverse[l];
                const REAL other = scale[l] * row_hess(settings, mass[l], p, (total[l] - g[l]) * inverse[l]);
                h[l] = !kept[l] ? R(0.0) : apart[l] == (int32_t)c ? hess_apart[l] : other;
            }
        }
        if (spread) {
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++) {
                const REAL other = g[l] * slope[l] - scale[l] * spread_mass(settings, target, c * stride + l, c);
                g[l] = !kept[l] ? R(0.0) : apart[l] == (int32_t)c ? grad_apart[l] : other;
            }
        } else {
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++) {
                const REAL other = g[l] * slope[l];
                g[l] = !kept[l] ? R(0.0) : apart[l] == (int32_t)c ? grad_apart[l] : other;
            }
        }
    }
}

ROWWISE(cross_entropy, .lanes = cross_entropy_lanes, .few_classes = LF_FEW_CLASSES)

#endif
