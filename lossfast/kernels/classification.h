/* Classification: binary (elementwise) and over a class axis (rowwise). */
#ifndef LF_CLASSIFICATION_H
#define LF_CLASSIFICATION_H

#include "elementwise.h"
#include "rowwise.h"

/* ---- binary -------------------------------------------------------------------------------------------------- */

/* Logarithms are held above -100 and the gradient's denominator above float32(1e-12), as PyTorch does in both
 * precisions: the gradient is that of the loss with a bounded slope, not of the clamped value.
 *
 * Of x and 1 - x one is at most 1/2, and both the lesser and 1 - 2 lesser for a lesser above 1/4 are exact: the greater
 * one's logarithm takes a polynomial without exponents. */
ELEMENTWISE(bce, (input, target), ()) {
    const REAL x = input, y = R(1.0) - input, t = target, u = R(1.0) - target, product = x * y;
    const int below = x < R(0.5);
    const REAL less = below ? x : y, log_less = AT_LEAST(vm_log_positive(ABS(less)), R(-100.0)); /* of -0 too */
    const REAL f = less > R(0.25) ? FMA(less, R(-2.0), R(1.0)) : -less;
    const REAL log_more = FMA(f * f, vm_log1p_tail(f), f) - (less > R(0.25) ? VM_LN2 : R(0.0));
    const REAL log_x = below ? log_less : log_more, log_y = below ? log_more : log_less;
    /* log(y / x); about x = 1/2 the difference of the logarithms would cancel, and no bound holds it */
    const REAL far = x == R(0.0) ? REAL_INF : y == R(0.0) ? -REAL_INF : lf_log1p(-x) - lf_log(x);
    const REAL log_ratio = (x > R(0.25)) & (x < R(0.75)) ? lf_log1p((R(1.0) - R(2.0) * x) / x) : far;
    return (POINT){.value = -(t * log_x + u * log_y),
                   .grad = {(x - t) / AT_LEAST(product, (REAL)1e-12f), log_ratio},
                   .hess = {TERM(t, R(1.0) / (x * x)) + TERM(u, R(1.0) / (y * y)), NAN_OF(x, t)},
                   .fisher = {R(1.0) / product + NAN_OF(t, t), NAN_OF(x, t)},
                   .invalid = NONZERO_IF(product < R(0.0)) | NONZERO_IF(t * u < R(0.0))}; /* beyond 0 or 1 */
}

/* (1 - t) softplus(x) + w t softplus(-x) with softplus(x) = max(x, 0) + log(1 + e), e = e^-|x|; the derivative is
 * (1 - t) s(x) - w t s(-x), where s(|x|) = 1 / (1 + e) and s(-|x|) = e / (1 + e). Of the two labels one is that of the
 * sign of x, the other of the `wrong` side. For t in [0, 1] every term of the value is positive: nothing cancels as
 * p -> t. */
static ALWAYS_INLINE POINT bce_of_logits(REAL x, REAL t, REAL positive_weight) {
    const REAL negative = R(1.0) - t, positive = positive_weight * t, weight = negative + positive;
    const REAL size = ABS(x), e = lf_exp_nonpositive(-size), log_term = lf_log1p_unit(e), total = R(1.0) + e;
    /* Selected by bits: of several conditions on the sign a compiler makes two paths, and computes both. */
    const UREAL sign = bits_of(x) & VM_SIGN_MASK, mask = (UREAL)((IREAL)sign >> (LF_REAL_BITS - 1));
    const UREAL both = bits_of(negative) ^ bits_of(positive), chosen = bits_of(negative) ^ (both & mask);
    const REAL wrong = real_of(chosen), right = real_of(chosen ^ both), slope = (wrong - right * e) / total;
    const REAL variance = e / (total * total), nan_or_zero = NAN_OF(x, weight);
    const REAL softplus = AT_LEAST(x, R(0.0)) + log_term, softplus_neg = AT_LEAST(-x, R(0.0)) + log_term;
    return (POINT){.value = TERM(wrong, size) + (positive_weight == R(1.0) ? log_term : weight * log_term),
                   .grad = {real_of(bits_of(slope) ^ sign),
                            positive_weight == R(1.0) ? -x : TERM(positive_weight, softplus_neg) - softplus},
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
    const REAL curvature = nll_hess(settings);
    for (ptrdiff_t c = 0; c < settings->classes; c++) {
        if (grad)
            memset(grad + c * rows->stride, 0, (size_t)rows->lanes * sizeof(REAL));
        if (hess)
#pragma omp simd
            for (ptrdiff_t l = 0; l < rows->lanes; l++) {
                const REAL kept = curvature * scale[l];
                hess[c * rows->stride + l] = rows->label[l] < 0 ? R(0.0) : kept;
            }
    }
    for (ptrdiff_t l = 0; l < rows->lanes; l++) {
        const ptrdiff_t at = rows->label[l] * rows->stride + l;
        if (grad && rows->label[l] >= 0)
            grad[at] = grad_at_label[l];
        if (hess && rows->label[l] >= 0)
            hess[at] += nan_or_zero[l];
    }
}

/* So many rows ahead a label's number is fetched. */
enum { NLL_AHEAD = 32 };

/* Gradients of zeros, at once where rows lie side by side. */
static void clear_rows(const lf_rows *rows, ptrdiff_t classes) {
    const int joined = rows->next[LF_GRAD] == classes;
    const ptrdiff_t count = joined ? 1 : rows->lanes, n = joined ? rows->lanes * classes : classes;
    for (ptrdiff_t l = 0; l < count; l++) {
        REAL *grad = ROW(rows, grad, LF_GRAD, l);
        if (rows->around_cache)
            clear_around_cache(grad, n);
        else
            memset(grad, 0, (size_t)n * sizeof(REAL));
    }
}

static void nll_row(const lf_row_settings *settings, const lf_rows *rows) {
    REAL nan_or_zero[LF_LANES];
    for (ptrdiff_t start = 0; start < rows->lanes; start += LF_LANES) {
        const ptrdiff_t left = rows->lanes - start, n = left < LF_LANES ? left : LF_LANES, next = rows->next[LF_INPUT];
        const lf_rows some = some_rows(rows, start, n);
        const int32_t *labels = some.label;
        const REAL *x = some.input, *scale = some.scale;
        REAL *value = some.value;
        for (ptrdiff_t l = 0; l < n; l++) {
            const ptrdiff_t ahead = l + NLL_AHEAD < left ? l + NLL_AHEAD : l;
            __builtin_prefetch(x + ahead * next + (labels[ahead] < 0 ? 0 : labels[ahead]));
            const REAL log_prob = labels[l] < 0 ? R(0.0) : x[l * next + labels[l]];
            value[l] = labels[l] < 0 ? R(0.0) : -class_weight(settings, labels[l]) * log_prob;
            nan_or_zero[l] = NAN_OF(log_prob, log_prob);
        }
        if (rows->grad) /* which the input may be */
            clear_rows(&some, settings->classes);
        for (ptrdiff_t l = 0; rows->grad && l < n; l++) {
            REAL *grad = ROW(&some, grad, LF_GRAD, l);
            if (labels[l] >= 0)
                grad[labels[l]] = -class_weight(settings, labels[l]) * scale[l] + nan_or_zero[l];
        }
        for (ptrdiff_t l = 0; rows->hess && l < n; l++) {
            REAL *hess = ROW(&some, hess, LF_HESS, l);
            fill(hess, settings->classes, labels[l] < 0 ? 0.0 : (double)(nll_hess(settings) * scale[l]));
            if (labels[l] >= 0)
                hess[labels[l]] += nan_or_zero[l];
        }
    }
}

ROWWISE(nll, .lanes = nll_lanes, .label_alone = 1)

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

/* The same of LF_ROW_LANES classes from `at`: 0 behind the last class and at `apart`. */
static ALWAYS_INLINE void spread_masses(const lf_row_settings *settings, const REAL *target, ptrdiff_t at,
                                        ptrdiff_t apart, REAL *q) {
    static const REAL none[LF_ROW_LANES], ones[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const ptrdiff_t n = settings->classes;
    const REAL uniform = (REAL)(SMOOTHING(settings) / (double)n), share = (REAL)(1.0 - SMOOTHING(settings));
    const REAL left = (REAL)(n - at), without = (REAL)(apart - at); /* SSE2 compares no 64-bit integers */
    REAL few_targets[LF_ROW_LANES], few_weights[LF_ROW_LANES];
    target = target ? lanes_at(target, at, n, R(0.0), few_targets) : none;
    const REAL *weight = settings->class_weight ? lanes_at(settings->class_weight, at, n, R(0.0), few_weights) : ones;
#pragma omp simd
    for (int lane = 0; lane < LF_ROW_LANES; lane++) {
        const REAL mass = weight[lane] * (share * target[lane] + uniform);
        q[lane] = ((REAL)lane < left) & ((REAL)lane != without) ? mass : R(0.0);
    }
}

/* The Hessian before scaling; p - p keeps NaN. */
static ALWAYS_INLINE REAL row_hess(const lf_row_settings *settings, REAL mass, REAL p, REAL one_minus_p) {
    const UREAL unit = mask_of(settings->curvature == LF_UNIT),
                majorizer = mask_of(settings->curvature == LF_MAJORIZER);
    const REAL nan_or_zero = p - p, exact = mass * (p * one_minus_p);
    const REAL hess = either(unit, R(1.0) + nan_or_zero, either(majorizer, mass * (R(0.5) + nan_or_zero), exact));
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

/* What is known of each row, or lane, when it has been passed over once, and what follows from that. */
typedef struct {
    SOFTMAX softmax;
    REAL own[LF_LANES], q_apart[LF_LANES]; /* the masses of the label itself, and of all there is at the class apart */
    double spread[LF_LANES], distance[LF_LANES], others[LF_LANES]; /* sums of q_c, q_c (m - x_c), q_c but for q_apart */
    REAL total[LF_LANES], log_total[LF_LANES], mass[LF_LANES], inverse[LF_LANES], slope[LF_LANES];
    REAL grad_apart[LF_LANES], hess_apart[LF_LANES];
} ENTROPY;

static ALWAYS_INLINE void own_masses(const lf_row_settings *settings, const lf_rows *rows, ENTROPY *e, ptrdiff_t n) {
    for (ptrdiff_t l = 0; l < n; l++) {
        e->own[l] =
            rows->target ? R(0.0) : (REAL)(1.0 - SMOOTHING(settings)) * class_weight(settings, e->softmax.apart[l]);
        e->q_apart[l] = e->own[l];
        e->spread[l] = e->distance[l] = e->others[l] = 0.0;
    }
}

/* Sums were made in float64 and in two steps: S p - q cancels, and an error of S would not. */
static void entropies(const lf_row_settings *settings, int spread, int probabilities, ptrdiff_t n, const REAL *scale,
                      ENTROPY *e, REAL *value) {
    const SOFTMAX *s = &e->softmax;
#pragma omp simd
    for (ptrdiff_t l = 0; l < n; l++) {
        const REAL distance = s->max[l] - s->x_apart[l], exp_apart = lf_exp_nonpositive(-distance);
        const REAL total = s->rest[l] + exp_apart;
        const REAL log_total = log_of_total(s->x_apart[l] == s->max[l], s->rest[l], total, exp_apart);
        const REAL mass = (REAL)((double)e->own[l] + e->spread[l]);
        const REAL at_label = label_term(settings, e->own[l], distance + log_total);
        const REAL spread_value = (REAL)e->distance[l] + (REAL)e->spread[l] * log_total;
        value[l] = s->kept[l] ? (probabilities ? spread_value : spread ? at_label + spread_value : at_label) : R(0.0);
        e->total[l] = total;
        e->log_total[l] = log_total;
        e->mass[l] = mass;
        e->inverse[l] = R(1.0) / total;
        e->slope[l] = scale[l] * (mass / total);
        const REAL p = exp_apart / total, rest = s->rest[l] / total; /* inf - inf is NaN */
        e->grad_apart[l] = scale[l] * (((REAL)e->others[l] * p - e->q_apart[l] * rest) + (mass - mass));
        e->hess_apart[l] = scale[l] * row_hess(settings, mass, p, rest);
    }
}

/* The masses of one row that are not the label's own. */
static void spread_row(const lf_row_settings *settings, const REAL *x, const REAL *target, ptrdiff_t l, ENTROPY *e) {
    const ptrdiff_t n = settings->classes, apart = e->softmax.apart[l];
    const REAL max = e->softmax.max[l], q_apart = spread_mass(settings, target, apart, apart);
    double others[LF_ROW_LANES] = {0}, distances[LF_ROW_LANES] = {0};
    for (ptrdiff_t c = 0; c < n; c += LF_ROW_LANES) {
        REAL q[LF_ROW_LANES], few[LF_ROW_LANES];
        const REAL *lanes = lanes_at(x, c, n, R(0.0), few);
        spread_masses(settings, target, c, apart, q);
#pragma omp simd
        for (int lane = 0; lane < LF_ROW_LANES; lane++) {
            others[lane] += (double)q[lane];
            distances[lane] += (double)distance_term(q[lane], max - lanes[lane]);
        }
    }
    e->q_apart[l] += q_apart;
    e->others[l] = sum_of_lanes(others, LF_ROW_LANES);
    e->distance[l] = sum_of_lanes(distances, LF_ROW_LANES) + (double)distance_term(q_apart, max - x[apart]);
    e->spread[l] = e->others[l] + (double)q_apart;
}

/* Exponentials become gradients, and Hessians where they are wanted. */
static void cross_entropy_gradient(const lf_row_settings *settings, const lf_rows *rows, ptrdiff_t l, int spread,
                                   const ENTROPY *e) {
    const ptrdiff_t n = settings->classes, apart = e->softmax.apart[l];
    const REAL *target = rows->target ? ROW(rows, target, LF_TARGET, l) : NULL;
    const REAL scale = ((const REAL *)rows->scale)[l], slope = e->slope[l];
    REAL *draft = draft_row(rows, l), q[LF_ROW_LANES];
    if (rows->hess) {
        REAL *hess = ROW(rows, hess, LF_HESS, l);
        const REAL total = e->total[l], inverse = e->inverse[l], mass = e->mass[l];
#pragma omp simd
        for (ptrdiff_t c = 0; c < n; c++) {
            const REAL p = draft[c] * inverse;
            hess[c] = scale * row_hess(settings, mass, p, (total - draft[c]) * inverse);
        }
        hess[apart] = e->hess_apart[l];
    }
    if (spread) {
        for (ptrdiff_t c = 0; c < n; c += LF_ROW_LANES) {
            REAL *g = draft + c;
            spread_masses(settings, target, c, apart, q);
#pragma omp simd
            for (int lane = 0; lane < LF_ROW_LANES; lane++)
                g[lane] = g[lane] * slope - scale * q[lane];
        }
    }
    finish_row(rows, l, n, spread ? R(1.0) : slope, apart, e->grad_apart[l]);
}

static void cross_entropy_some(const lf_row_settings *settings, const lf_rows *rows) {
    const ptrdiff_t n = settings->classes;
    const int spread = rows->target || SMOOTHING(settings) > 0.0;
    const size_t bytes = (size_t)rows->lanes * sizeof(REAL);
    REAL scale[LF_TOGETHER] = {0}, value[LF_TOGETHER];
    ENTROPY e;
    memcpy(scale, rows->scale, bytes);
    rows_max(settings, rows, &e.softmax);
    own_masses(settings, rows, &e, LF_TOGETHER);
    for (ptrdiff_t l = 0; spread && l < rows->lanes; l++) {
        const REAL *target = rows->target ? ROW(rows, target, LF_TARGET, l) : NULL;
        if (e.softmax.kept[l])
            spread_row(settings, ROW(rows, input, LF_INPUT, l), target, l, &e);
    }
    rows_exp_sum(settings, rows, &e.softmax);
    entropies(settings, spread, rows->target != NULL, LF_TOGETHER, scale, &e, value);
    memcpy(rows->value, value, bytes);
    for (ptrdiff_t l = 0; rows->target_grad && l < rows->lanes; l++) {
        const REAL *x = ROW(rows, input, LF_INPUT, l), max = e.softmax.max[l], log_total = e.log_total[l];
        REAL *target_grad = ROW(rows, target_grad, LF_TARGET_GRAD, l);
        for (ptrdiff_t c = 0; c < n; c++) {
            const REAL weight = (REAL)(1.0 - SMOOTHING(settings)) * class_weight(settings, c);
            target_grad[c] = scale[l] * TERM(weight, (max - x[c]) + log_total);
        }
    }
    for (ptrdiff_t l = 0; rows->grad && l < rows->lanes; l++) {
        if (e.softmax.kept[l])
            cross_entropy_gradient(settings, rows, l, spread, &e);
        else
            fill_row(settings, rows, l, R(0.0));
    }
}

static void cross_entropy_row(const lf_row_settings *settings, const lf_rows *rows) {
    together(settings, rows, cross_entropy_some);
}

/* Classes that a lane adds up before it adds their sum to that of others: in float64 the masses of a thousand classes
 * would lose two digits one after the other. */
enum { SPREAD_CLASSES = 64 };

static void cross_entropy_lanes(const lf_row_settings *settings, const lf_rows *rows) {
    const ptrdiff_t n = settings->classes, stride = rows->stride, lanes = rows->lanes;
    const REAL *x = rows->input, *target = rows->target, *scale = rows->scale;
    REAL *grad = rows->grad, *hess = rows->hess, *target_grad = rows->target_grad;
    const int spread = target || SMOOTHING(settings) > 0.0;
    ENTROPY e;
    SOFTMAX *s = &e.softmax;

    lanes_softmax(rows, n, s);
    own_masses(settings, rows, &e, lanes);
    for (ptrdiff_t start = 0; spread && start < n; start += SPREAD_CLASSES) {
        const ptrdiff_t end = n - start < SPREAD_CLASSES ? n : start + SPREAD_CLASSES;
        double later[3][LF_LANES] = {{0}};
        double *sums = start ? later[0] : e.spread, *distances = start ? later[1] : e.distance,
               *others = start ? later[2] : e.others;
        for (ptrdiff_t c = start; c < end; c++) {
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++) {
                const REAL q = spread_mass(settings, target, c * stride + l, c);
                sums[l] += (double)q;
                distances[l] += (double)distance_term(q, s->max[l] - x[c * stride + l]);
                others[l] += s->apart[l] == (int32_t)c ? 0.0 : (double)q;
                e.q_apart[l] += s->apart[l] == (int32_t)c ? q : R(0.0);
            }
        }
        if (start)
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++) {
                e.spread[l] += sums[l];
                e.distance[l] += distances[l];
                e.others[l] += others[l];
            }
    }
    lanes_exp_sum(rows, n, s->max, s->apart, grad, stride, s->rest);
    entropies(settings, spread, target != NULL, lanes, scale, &e, rows->value);

    if (target_grad)
        for (ptrdiff_t c = 0; c < n; c++) {
            const REAL weight = (REAL)(1.0 - SMOOTHING(settings)) * class_weight(settings, c);
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++)
                target_grad[c * stride + l] = scale[l] * TERM(weight, (s->max[l] - x[c * stride + l]) + e.log_total[l]);
        }
    if (!grad)
        return;
    for (ptrdiff_t c = 0; c < n; c++) {
        REAL *g = grad + c * stride;
        if (hess) {
            REAL *h = hess + c * stride;
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++) {
                const REAL p = g[l] * e.inverse[l];
                const REAL other = scale[l] * row_hess(settings, e.mass[l], p, (e.total[l] - g[l]) * e.inverse[l]);
                h[l] = s->apart[l] == (int32_t)c ? e.hess_apart[l] : other;
            }
        }
        if (spread) {
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++) {
                const REAL other = g[l] * e.slope[l] - scale[l] * spread_mass(settings, target, c * stride + l, c);
                g[l] = s->apart[l] == (int32_t)c ? e.grad_apart[l] : other;
            }
        } else {
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++) {
                const REAL other = g[l] * e.slope[l];
                g[l] = s->apart[l] == (int32_t)c ? e.grad_apart[l] : other;
            }
        }
    }
    clear_lanes(settings, rows);
}

ROWWISE(cross_entropy, .lanes = cross_entropy_lanes, .few_classes = LF_FEW_CLASSES)

#endif
