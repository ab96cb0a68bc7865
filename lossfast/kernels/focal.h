/* Focal losses (Lin et al. 2017, doi:10.1109/ICCV.2017.324): cross entropy, less of it where the label is likely. */
#ifndef LF_FOCAL_H
#define LF_FOCAL_H

#include "elementwise.h"
#include "rowwise.h"

/* ---- binary -------------------------------------------------------------------------------------------------- */

/* A logit and its label: p and q = 1 - p, the cross entropy, the probability u = p (1 - t) + q t of the other label,
 * and the weight of t positive and 1 - t negative labels. For t in [0, 1] all are sums of terms of one sign. */
typedef struct {
    REAL x, t, p, q, entropy, other, weight;
    LOGISTIC logistic;
} BINARY;

static ALWAYS_INLINE BINARY binary_of(REAL x, REAL t, REAL positive, REAL negative) {
    const LOGISTIC logistic = lf_logistic(x);
    const REAL rest = R(1.0) - t, p = logistic.sigmoid, q = logistic.sigmoid_neg;
    return (BINARY){.x = x,
                    .t = t,
                    .p = p,
                    .q = q,
                    .entropy = TERM(rest, logistic.softplus) + TERM(t, logistic.softplus_neg),
                    .other = p * rest + q * t,
                    .weight = positive * t + negative * rest,
                    .logistic = logistic};
}

/* u^gamma and what derivatives make of it: u^(gamma-1) p q, u^(gamma-2) (p q)^2 and u^(gamma-1) entropy. */
typedef struct {
    REAL power, slope, bend, steep;
} FOCUS;

/* weight u^gamma entropy. du/dx = (1 - 2 t) p q, d(entropy)/dx = p - t, d(p q)/dx = p q (q - p); du/dt = q - p,
 * d(entropy)/dt = -x. Where the entropy is infinite, p q has vanished faster. */
static ALWAYS_INLINE POINT focal_of(BINARY b, FOCUS f, REAL positive, REAL negative, REAL gamma) {
    const REAL sign = R(1.0) - R(2.0) * b.t, residual = (R(1.0) - b.t) * b.p - b.t * b.q;
    const REAL slope = TERM(f.slope, b.entropy), bend = TERM(f.bend, b.entropy), change = positive - negative;
    const REAL by_input = f.power * residual + gamma * sign * slope;
    const REAL hess = f.power * (b.p * b.q) + R(2.0) * gamma * sign * f.slope * residual +
                      gamma * ((gamma - R(1.0)) * (sign * sign) * bend + sign * (b.q - b.p) * slope);
    /* At an infinite logit the terms of the gradient by the target are all proportional to it. */
    const REAL near = f.power * (change * b.entropy - b.weight * b.x) + b.weight * gamma * (b.q - b.p) * f.steep;
    const REAL rate = b.x < R(0.0) ? b.t * change + b.weight * (R(1.0) + gamma)
                                   : (R(1.0) - b.t) * change - b.weight * (R(1.0) + gamma);
    const REAL far = TERM(f.power, TERM(rate, REAL_INF));
    return (POINT){.value = TERM(b.weight * f.power, b.entropy),
                   .grad = {b.weight * by_input, ABS(b.x) == REAL_INF ? far : near},
                   .hess = {b.weight * hess}};
}

ELEMENTWISE(sigmoid_focal_2, (input, target), (positive, negative)) {
    const BINARY b = binary_of(input, target, positive, negative);
    const REAL u = b.other, variance = b.p * b.q;
    const FOCUS f = {u * u, u * variance, variance * variance, u * b.entropy};
    return focal_of(b, f, positive, negative, R(2.0));
}

/* x with half of its bits, so that products of two are exact. */
static ALWAYS_INLINE REAL upper_half(REAL x) {
    return real_of(bits_of(x) >> ((VM_MANTISSA_BITS + 2) / 2) << ((VM_MANTISSA_BITS + 2) / 2));
}

/* gamma * x - product, where product is that rounded and gamma = high + low with a high of few bits (Dekker). */
static ALWAYS_INLINE REAL product_error(REAL gamma, REAL x, REAL product) {
#if defined(__FMA__) || defined(__aarch64__)
    return FMA(gamma, x, -product);
#else
    const REAL high = upper_half(gamma), low = gamma - high, x_high = upper_half(x), x_low = x - x_high;
    return high * x_high - product + high * x_low + low * x_high + low * x_low;
#endif
}

/* u^gamma = e^(-gamma (large + small)) with -log u = large + small: of a label 0 or 1 the wrong side of the logit,
 * which is exact, and softplus(-|x|); of others 0 and all. Only so the power does not lose log u times its last digits.
 */
static ALWAYS_INLINE REAL focal_power(BINARY b, REAL gamma) {
    const int one = b.t == R(1.0), zero = b.t == R(0.0);
    /* beyond this the power is 0; 0 * inf is not to be met */
    const REAL bound = R(1500.0) / gamma, limit = bound < R(1e30) ? bound : R(1e30);
    const REAL side = one ? b.x : zero ? -b.x : R(0.0), large = CLAMP(side, R(0.0), limit);
    const REAL near = b.x < R(0.0) ? b.logistic.softplus : b.logistic.softplus_neg;
    const REAL small = one | zero ? near : -lf_log(ABS(b.other));
    const REAL first = gamma * large, second = gamma * small, sum = first + second;
    const REAL rest = (first - sum) + second + product_error(gamma, large, first), power = lf_exp(-sum);
    return FMA(-rest, power, power);
}

/* Of a label 0 or 1, u^(gamma-1) p q is u^gamma p or u^gamma q, and entropy / u is 1 in the limit. `parity` is the sign
 * of u^gamma for negative u, which takes a target outside of [0, 1]; NaN where gamma is no integer. */
ELEMENTWISE(sigmoid_focal, (input, target), (positive, negative, gamma, parity)) {
    const BINARY b = binary_of(input, target, positive, negative);
    const REAL power = (gamma > R(0.0) ? focal_power(b, gamma) : R(1.0)) * (b.other < R(0.0) ? parity : R(1.0));
    const REAL ratio = b.t == R(1.0) ? b.p : b.t == R(0.0) ? b.q : b.p * b.q / b.other, slope = power * ratio;
    const REAL steep = power * (ABS(b.other) < VM_MIN_NORMAL ? R(1.0) : b.entropy / b.other);
    return focal_of(b, (FOCUS){power, slope, slope * ratio, steep}, positive, negative, gamma);
}

/* ---- over a class axis --------------------------------------------------------------------------------------- */

/*
 * loss = sum_c a_c f(p_c), f(p) = -(1 - p)^gamma log p, p = softmax(x), a_c = alpha_c q_c, q as in cross entropy.
 *
 * With u = 1 - p and L = -log p:
 *
 *     s = -p f'(p) = u^gamma (1 + gamma p L / u)
 *
 *     u t = u p s'(p) = gamma u^gamma p (L - 2 - (gamma - 1) p L / u)
 *
 *     dx_k = p_k A - a_k s_k, A = sum_c a_c s_c
 *
 *     d2x_k = p_k u_k A - a_k t_k (u_k - p_k) - p_k^2 T, T = sum_c a_c t_c
 *
 * As p -> 1, L / u -> 1, and no power of u below gamma is left: nothing overflows for gamma < 1. One class is kept
 * apart, the only one whose p can go to 1: its u is the sum of all other exponentials over the total, its L is log1p of
 * their sum over its own, and in dx and d2x its terms meet before they can cancel:
 *
 *     dx = p (A - a s) - a s u,   d2x = p u A - a u (u t) - p^2 (T - a t),   p_k^2 t = p_k (e_k / rest) (u t) elsewhere
 */
enum { FOCAL_SMOOTHING, FOCAL_GAMMA, FOCAL_ALPHA, FOCAL_TABLES = 3 };

typedef struct {
    REAL value, slope, bend; /* f, s, u t */
} FOCAL;

/* `square`: gamma is 2, which takes neither logarithm nor exponential. */
static ALWAYS_INLINE FOCAL focal_point(const int square, REAL gamma, REAL p, REAL u, REAL negative_log) {
    const REAL v = u > R(1.0) ? R(1.0) : u;                    /* where it was rounded above */
    const REAL exponent = square ? R(0.0) : gamma * lf_log(v); /* NaN as 0 log 0 */
    const REAL power = square ? v * v : exponent == exponent ? lf_exp_nonpositive(exponent) : R(1.0);
    const REAL ratio = v == R(0.0) ? R(1.0) : negative_log / v, p_ratio = TERM(p, ratio);
    return (FOCAL){.value = power * negative_log,
                   .slope = power * (R(1.0) + gamma * p_ratio),
                   .bend = gamma * power * TERM(p, negative_log - R(2.0) - (gamma - R(1.0)) * p_ratio)};
}

static ALWAYS_INLINE REAL focal_factor(const lf_row_settings *settings, ptrdiff_t c) {
    return (REAL)settings->parameters[FOCAL_ALPHA] * class_weight(settings, c);
}

/* What a_c is made of: alpha_c (own t_c + uniform). */
typedef struct {
    REAL own, uniform;
} FOCAL_SHARES;

static ALWAYS_INLINE FOCAL_SHARES focal_shares(const lf_row_settings *settings) {
    const double smoothing = settings->parameters[FOCAL_SMOOTHING];
    return (FOCAL_SHARES){(REAL)(1.0 - smoothing), (REAL)(smoothing / (double)settings->classes)};
}

/* The Hessian of a class that is not the one apart, before scaling. */
static ALWAYS_INLINE REAL focal_hess(REAL p, REAL u, REAL slopes, REAL own_bend, REAL bends, REAL exp, REAL rest,
                                     REAL apart_bend) {
    return (p * u * slopes - own_bend * (u - p)) - (p * p * bends + p * (TERM(exp, R(1.0) / rest) * apart_bend));
}

/* A label alone: one power for the whole row. What is known of each row, or lane, after a pass over it. */
typedef struct {
    SOFTMAX softmax;
    REAL total[LF_LANES], inverse[LF_LANES], slope[LF_LANES], bend[LF_LANES], step[LF_LANES];
    REAL grad_label[LF_LANES], hess_label[LF_LANES];
} FOCAL_ROWS;

static ALWAYS_INLINE void focal_labels_of(const int square, const lf_row_settings *settings, ptrdiff_t n,
                                          const REAL *scale, FOCAL_ROWS *f, REAL *value) {
    const SOFTMAX *s = &f->softmax;
    const REAL gamma = (REAL)settings->parameters[FOCAL_GAMMA];
    const CURVATURE curvature = curvature_of(settings);
    REAL factor[LF_LANES];
    for (ptrdiff_t l = 0; l < n; l++)
        factor[l] = focal_factor(settings, s->apart[l]);
#pragma omp simd
    for (ptrdiff_t l = 0; l < n; l++) {
        const REAL distance = s->max[l] - s->x_apart[l], exp_label = lf_exp_nonpositive(-distance);
        const REAL total = s->rest[l] + exp_label;
        const REAL log_total = log_of_total(s->x_apart[l] == s->max[l], s->rest[l], total, exp_label);
        const REAL p = exp_label / total, u = s->rest[l] / total;
        const FOCAL point = focal_point(square, gamma, p, u, distance + log_total);
        value[l] = s->kept[l] ? TERM(factor[l], point.value) + (log_total - log_total) : R(0.0);
        f->total[l] = total;
        f->inverse[l] = R(1.0) / total;
        f->slope[l] = factor[l] * point.slope;
        f->bend[l] = factor[l] * point.bend;
        f->step[l] = scale[l] * (f->slope[l] / total);
        f->grad_label[l] = -scale[l] * (f->slope[l] * u);
        f->hess_label[l] = scale[l] * curved(curvature, u * (p * f->slope[l] - f->bend[l]));
    }
}

static void focal_labels(const lf_row_settings *settings, ptrdiff_t n, const REAL *scale, FOCAL_ROWS *f, REAL *value) {
    if (settings->parameters[FOCAL_GAMMA] == 2.0)
        focal_labels_of(1, settings, n, scale, f, value);
    else
        focal_labels_of(0, settings, n, scale, f, value);
}

static void focal_label_some(const lf_row_settings *settings, const lf_rows *rows) {
    const ptrdiff_t n = settings->classes;
    const size_t bytes = (size_t)rows->lanes * sizeof(REAL);
    const CURVATURE curvature = curvature_of(settings);
    REAL scale[LF_TOGETHER] = {0}, value[LF_TOGETHER];
    FOCAL_ROWS f;
    memcpy(scale, rows->scale, bytes);
    rows_max(settings, rows, &f.softmax);
    rows_exp_sum(settings, rows, &f.softmax);
    focal_labels(settings, LF_TOGETHER, scale, &f, value);
    memcpy(rows->value, value, bytes);
    for (ptrdiff_t l = 0; rows->grad && l < rows->lanes; l++) {
        const ptrdiff_t label = rows->label[l];
        const REAL total = f.total[l], inverse = f.inverse[l], rest = f.softmax.rest[l];
        if (label < 0) {
            fill_row(settings, rows, l, R(0.0));
            continue;
        }
        if (rows->hess) {
            const REAL *draft = draft_row(rows, l);
            REAL *hess = ROW(rows, hess, LF_HESS, l);
#pragma omp simd
            for (ptrdiff_t c = 0; c < n; c++) {
                const REAL p = draft[c] * inverse, u = (total - draft[c]) * inverse;
                const REAL exact = focal_hess(p, u, f.slope[l], R(0.0), R(0.0), draft[c], rest, f.bend[l]);
                hess[c] = scale[l] * curved(curvature, exact);
            }
            hess[label] = f.hess_label[l];
        }
        finish_row(rows, l, n, f.step[l], label, f.grad_label[l]);
    }
}

static void focal_label_lanes(const lf_row_settings *settings, const lf_rows *rows) {
    const ptrdiff_t n = settings->classes, stride = rows->stride, lanes = rows->lanes;
    const REAL *scale = rows->scale;
    const CURVATURE curvature = curvature_of(settings);
    REAL *grad = rows->grad, *hess = rows->hess;
    FOCAL_ROWS f;
    SOFTMAX *s = &f.softmax;
    lanes_softmax(rows, n, s);
    lanes_exp_sum(rows, n, s->max, s->apart, grad, stride, s->rest);
    focal_labels(settings, lanes, scale, &f, rows->value);
    for (ptrdiff_t c = 0; grad && c < n; c++) {
        REAL *g = grad + c * stride, *h = hess ? hess + c * stride : NULL;
        if (h)
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++) {
                const REAL p = g[l] * f.inverse[l], u = (f.total[l] - g[l]) * f.inverse[l];
                const REAL other = focal_hess(p, u, f.slope[l], R(0.0), R(0.0), g[l], s->rest[l], f.bend[l]);
                const REAL other_hess = scale[l] * curved(curvature, other);
                h[l] = s->apart[l] == (int32_t)c ? f.hess_label[l] : other_hess;
            }
#pragma omp simd
        for (ptrdiff_t l = 0; l < lanes; l++) {
            const REAL other = g[l] * f.step[l];
            g[l] = s->apart[l] == (int32_t)c ? f.grad_label[l] : other;
        }
    }
    if (grad)
        clear_lanes(settings, rows);
}

/* Probabilities or a smoothed label: a power for every class. */

/* n classes of one row, or rows of one class, none of them the one apart, unless its exponential and its mass are 0: f,
 * a s, and a t where a Hessian is wanted. */
static ALWAYS_INLINE void focal_terms_of(const int square, const int bent, REAL gamma, ptrdiff_t n, const REAL *exps,
                                         const REAL *total, const REAL *negative_log, const REAL *mass, REAL *each,
                                         REAL *slopes, REAL *bends) {
#pragma omp simd
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL inverse = R(1.0) / total[i], u = (total[i] - exps[i]) * inverse;
        const FOCAL point = focal_point(square, gamma, exps[i] * inverse, u, negative_log[i]);
        each[i] = point.value;
        slopes[i] = mass[i] * point.slope;
        if (bent)
            bends[i] = mass[i] * (point.bend / u);
    }
}

static void focal_terms(REAL gamma, int bent, ptrdiff_t n, const REAL *exps, const REAL *total,
                        const REAL *negative_log, const REAL *mass, REAL *each, REAL *slopes, REAL *bends) {
    if (gamma == R(2.0) && !bent)
        focal_terms_of(1, 0, gamma, n, exps, total, negative_log, mass, each, slopes, bends);
    else if (gamma == R(2.0))
        focal_terms_of(1, 1, gamma, n, exps, total, negative_log, mass, each, slopes, bends);
    else if (!bent)
        focal_terms_of(0, 0, gamma, n, exps, total, negative_log, mass, each, slopes, bends);
    else
        focal_terms_of(0, 1, gamma, n, exps, total, negative_log, mass, each, slopes, bends);
}

/* One row. */
static void focal_spread_row(const lf_row_settings *settings, const lf_rows *rows) {
    const ptrdiff_t n = settings->classes;
    const REAL *x = rows->input, *target = rows->target, scale = *(const REAL *)rows->scale,
               gamma = (REAL)settings->parameters[FOCAL_GAMMA];
    const FOCAL_SHARES shares = focal_shares(settings);
    const CURVATURE curvature = curvature_of(settings);
    REAL *hess = rows->hess, *target_grad = rows->target_grad;
    REAL *exps = scratch_table(settings, rows, 0), *slopes = scratch_table(settings, rows, 1),
         *bends = scratch_table(settings, rows, 2);
    const int32_t label = rows->label ? *rows->label : -1;
    if (rows->label && label < 0) {
        *(REAL *)rows->value = R(0.0);
        fill_row(settings, rows, 0, R(0.0));
        return;
    }
    const REAL max = row_max(x, n);
    const ptrdiff_t apart = row_argmax(x, n, max);
    const REAL rest = row_exp_sum(x, n, max, apart, exps), exp_apart = lf_exp_nonpositive(x[apart] - max);
    const REAL total = rest + exp_apart, log_total = log_of_total(1, rest, total, exp_apart), inverse = R(1.0) / total;
    const REAL p_apart = exp_apart / total, u_apart = rest / total, negative_log_apart = (max - x[apart]) + log_total;
    const FOCAL point = gamma == R(2.0) ? focal_point(1, gamma, p_apart, u_apart, negative_log_apart)
                                        : focal_point(0, gamma, p_apart, u_apart, negative_log_apart);

    REAL own = R(0.0), totals[LF_LANES], mass[LF_LANES], negative_log[LF_LANES], each[LF_LANES];
    double value = 0.0, slope = 0.0, bend = 0.0;
    for (int i = 0; i < LF_LANES; i++)
        totals[i] = total;
    for (ptrdiff_t start = 0; start < n; start += LF_LANES) {
        const ptrdiff_t count = n - start < LF_LANES ? n - start : LF_LANES, at = apart - start;
        const ptrdiff_t whole = (count + LF_ROW_LANES - 1) / LF_ROW_LANES * LF_ROW_LANES;
#pragma omp simd
        for (ptrdiff_t i = 0; i < count; i++) {
            const REAL share = target ? target[start + i] : (int32_t)(start + i) == label ? R(1.0) : R(0.0);
            mass[i] = focal_factor(settings, start + i) * (shares.own * share + shares.uniform);
            negative_log[i] = (max - x[start + i]) + log_total;
        }
        for (ptrdiff_t i = count; i < whole; i++)
            mass[i] = negative_log[i] = exps[start + i] = R(0.0);
        if (at >= 0 && at < count)
            own = mass[at], mass[at] = R(0.0);
        focal_terms(gamma, hess != NULL, whole, exps + start, totals, negative_log, mass, each, slopes + start,
                    bends + start);
        if (target_grad)
#pragma omp simd
            for (ptrdiff_t i = 0; i < count; i++)
                target_grad[start + i] = scale * TERM(shares.own * focal_factor(settings, start + i), each[i]);
#pragma omp simd
        for (ptrdiff_t i = 0; i < whole; i++)
            each[i] = TERM(mass[i], each[i]);
        value += sum(each, whole);
        slope += sum(slopes + start, whole);
        bend += hess ? sum(bends + start, whole) : 0.0;
    }
    *(REAL *)rows->value = (REAL)(value + (double)TERM(own, point.value)) + (log_total - log_total);
    if (target_grad)
        target_grad[apart] = scale * TERM(shares.own * focal_factor(settings, apart), point.value);
    if (!rows->grad)
        return;
    const REAL other_slopes = (REAL)slope, other_bends = (REAL)bend;
    const REAL all_slopes = (REAL)(slope + (double)(own * point.slope)), step = all_slopes / total;
    REAL *draft = draft_row(rows, 0);
    if (hess)
#pragma omp simd
        for (ptrdiff_t c = 0; c < n; c++) {
            const REAL p = exps[c] * inverse, u = (total - exps[c]) * inverse;
            hess[c] = scale * curved(curvature, focal_hess(p, u, all_slopes, bends[c], other_bends, exps[c], rest,
                                                           own * point.bend));
        }
#pragma omp simd
    for (ptrdiff_t c = 0; c < whole_vectors(n); c++)
        draft[c] = scale * (exps[c] * step - slopes[c]);
    finish_row(rows, 0, n, R(1.0), apart, scale * (p_apart * other_slopes - own * point.slope * u_apart));
    if (hess)
        hess[apart] = scale * curved(curvature, p_apart * u_apart * all_slopes - own * point.bend * u_apart -
                                                    p_apart * p_apart * other_bends);
}

static void focal_spread_lanes(const lf_row_settings *settings, const lf_rows *rows) {
    const ptrdiff_t n = settings->classes, stride = rows->stride, own_stride = rows->own_stride, lanes = rows->lanes;
    const REAL *x = rows->input, *target = rows->target, *scale = rows->scale,
               gamma = (REAL)settings->parameters[FOCAL_GAMMA];
    const FOCAL_SHARES shares = focal_shares(settings);
    const CURVATURE curvature = curvature_of(settings);
    REAL *grad = rows->grad, *hess = rows->hess, *target_grad = rows->target_grad;
    REAL *exps = scratch_table(settings, rows, 0), *slopes = scratch_table(settings, rows, 1),
         *bends = scratch_table(settings, rows, 2);
    REAL max[LF_LANES], rest[LF_LANES], total[LF_LANES], log_total[LF_LANES], mass[LF_LANES], negative_log[LF_LANES];
    REAL p_apart[LF_LANES], u_apart[LF_LANES], apart_value[LF_LANES], apart_slope[LF_LANES], apart_bend[LF_LANES],
        own[LF_LANES], each[LF_LANES];
    double value[LF_LANES], slope[LF_LANES], bend[LF_LANES];
    int32_t apart[LF_LANES], label[LF_LANES] = {0};
    lanes_max(rows, n, max);
    lanes_argmax(rows, n, max, apart);
    lanes_exp_sum(rows, n, max, apart, exps, own_stride, rest);
    for (ptrdiff_t l = 0; l < lanes; l++) {
        label[l] = rows->label ? rows->label[l] : 0;
        negative_log[l] = max[l] - x[apart[l] * stride + l];
        value[l] = slope[l] = bend[l] = 0.0;
        own[l] = R(0.0);
    }
    const UREAL is_two = mask_of(gamma == R(2.0));
#pragma omp simd
    for (ptrdiff_t l = 0; l < lanes; l++) {
        const REAL exp_apart = lf_exp_nonpositive(-negative_log[l]);
        total[l] = rest[l] + exp_apart;
        log_total[l] = log_of_total(1, rest[l], total[l], exp_apart);
        negative_log[l] += log_total[l];
        p_apart[l] = exp_apart / total[l];
        u_apart[l] = rest[l] / total[l];
        const FOCAL general = focal_point(0, gamma, p_apart[l], u_apart[l], negative_log[l]);
        const FOCAL square = focal_point(1, gamma, p_apart[l], u_apart[l], negative_log[l]);
        apart_value[l] = either(is_two, square.value, general.value);
        apart_slope[l] = either(is_two, square.slope, general.slope);
        apart_bend[l] = either(is_two, square.bend, general.bend);
    }
    for (ptrdiff_t c = 0; c < n; c++) {
        const ptrdiff_t at = c * stride, own_at = c * own_stride;
        const REAL factor = focal_factor(settings, c), target_factor = shares.own * factor;
#pragma omp simd
        for (ptrdiff_t l = 0; l < lanes; l++)
            mass[l] = label[l] == (int32_t)c ? R(1.0) : R(0.0);
        if (target)
            memcpy(mass, target + at, (size_t)lanes * sizeof(REAL));
        for (ptrdiff_t l = 0; l < lanes; l++) {
            const REAL a = factor * (shares.own * mass[l] + shares.uniform), exp = exps[own_at + l], before = own[l];
            const int is_apart = apart[l] == (int32_t)c;
            own[l] = is_apart ? a : before;
            mass[l] = is_apart ? R(0.0) : a;
            exps[own_at + l] = is_apart ? R(0.0) : exp;
            negative_log[l] = (max[l] - x[at + l]) + log_total[l];
        }
        focal_terms(gamma, hess != NULL, lanes, exps + own_at, total, negative_log, mass, each, slopes + own_at,
                    bends + own_at);
        if (target_grad)
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++)
                target_grad[at + l] = scale[l] * TERM(target_factor, apart[l] == (int32_t)c ? apart_value[l] : each[l]);
#pragma omp simd
        for (ptrdiff_t l = 0; l < lanes; l++) {
            value[l] += (double)TERM(mass[l], each[l]);
            slope[l] += (double)slopes[own_at + l];
        }
        if (hess)
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++)
                bend[l] += (double)bends[own_at + l];
    }
#pragma omp simd
    for (ptrdiff_t l = 0; l < lanes; l++) {
        const REAL all = (REAL)(value[l] + (double)TERM(own[l], apart_value[l])) + (log_total[l] - log_total[l]);
        ((REAL *)rows->value)[l] = label[l] < 0 ? R(0.0) : all;
    }
    for (ptrdiff_t c = 0; grad && c < n; c++) {
        const ptrdiff_t at = c * stride, own_at = c * own_stride;
#pragma omp simd
        for (ptrdiff_t l = 0; l < lanes; l++) {
            const REAL own_slope = own[l] * apart_slope[l], all_slopes = (REAL)(slope[l] + (double)own_slope);
            const REAL other = exps[own_at + l] * (all_slopes / total[l]) - slopes[own_at + l];
            const REAL top = p_apart[l] * (REAL)slope[l] - own_slope * u_apart[l];
            const REAL slope_here = scale[l] * (apart[l] == (int32_t)c ? top : other);
            grad[at + l] = label[l] < 0 ? R(0.0) : slope_here;
        }
        if (hess)
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++) {
                const REAL own_bend = own[l] * apart_bend[l], exp = exps[own_at + l], inverse = R(1.0) / total[l];
                const REAL all_slopes = (REAL)(slope[l] + (double)(own[l] * apart_slope[l]));
                const REAL p = exp * inverse, u = (total[l] - exp) * inverse;
                const REAL other =
                    focal_hess(p, u, all_slopes, bends[own_at + l], (REAL)bend[l], exp, rest[l], own_bend);
                const REAL top = p_apart[l] * u_apart[l] * all_slopes - own_bend * u_apart[l] -
                                 p_apart[l] * p_apart[l] * (REAL)bend[l];
                const REAL hess_here = scale[l] * curved(curvature, apart[l] == (int32_t)c ? top : other);
                hess[at + l] = label[l] < 0 ? R(0.0) : hess_here;
            }
    }
}

static ALWAYS_INLINE int focal_of_labels(const lf_row_settings *settings, const lf_rows *rows) {
    return !rows->target && settings->parameters[FOCAL_SMOOTHING] == 0.0;
}

static void softmax_focal_row(const lf_row_settings *settings, const lf_rows *rows) {
    if (focal_of_labels(settings, rows))
        together(settings, rows, focal_label_some);
    else
        one_by_one(settings, rows, focal_spread_row);
}

static void softmax_focal_lanes(const lf_row_settings *settings, const lf_rows *rows) {
    if (focal_of_labels(settings, rows))
        focal_label_lanes(settings, rows);
    else
        focal_spread_lanes(settings, rows);
}

ROWWISE(softmax_focal, .lanes = softmax_focal_lanes, .few_classes = LF_FEW_CLASSES, .scratch = FOCAL_TABLES)

#endif
