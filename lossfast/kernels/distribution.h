/* Distribution losses: the divergence of two distributions, and the likelihoods of counts and of normal variables. */
#ifndef LF_DISTRIBUTION_H
#define LF_DISTRIBUTION_H

#include "elementwise.h"

/* a * b, where 0 * inf is 0: the term is absent. nan_or_zero: NaN where a or b is. */
static ALWAYS_INLINE REAL product(REAL a, REAL b, REAL nan_or_zero) {
    const REAL y = a * b;
    return y == y ? y : nan_or_zero;
}

/* ---- Kullback-Leibler divergence ----------------------------------------------------------------------------- */

/* t (log t - x). Mass 0 adds nothing, whatever the log-probability is; by the target its slope is -inf. Below 0 there
 * is no logarithm, but by the input the slope is -t as in PyTorch. */
ELEMENTWISE(kl_div, (input, target), ()) {
    const REAL x = input, t = target, log_t = lf_log(t), nan_or_zero = NAN_OF(x, t);
    return (POINT){.value = t == R(0.0) ? nan_or_zero : t * (log_t - x),
                   .grad = {nan_or_zero - t, t == R(0.0) ? nan_or_zero - REAL_INF : log_t - x + R(1.0)},
                   .hess = {nan_or_zero, t < R(0.0) ? log_t : R(1.0) / ABS(t) + nan_or_zero}};
}

/* mass * d with mass = e^t: 0 at t = -inf; an infinite d stays where the mass of a finite t underflows, and a d of 0
 * where it overflows. */
static ALWAYS_INLINE REAL weighted_by_exp(REAL t, REAL mass, REAL d, REAL nan_or_zero) {
    return t == -REAL_INF ? nan_or_zero : ABS(d) == REAL_INF ? d : product(mass, d, NAN_OF(mass, d));
}

/* e^t (t - x) */
ELEMENTWISE(kl_div_log_target, (input, target), ()) {
    const REAL x = input, t = target, mass = lf_exp(t), d = t - x, nan_or_zero = NAN_OF(x, t);
    return (POINT){.value = weighted_by_exp(t, mass, d, nan_or_zero),
                   .grad = {nan_or_zero - mass, weighted_by_exp(t, mass, d + R(1.0), nan_or_zero)},
                   .hess = {nan_or_zero, weighted_by_exp(t, mass, d + R(2.0), nan_or_zero)}};
}

/* ---- Poisson ------------------------------------------------------------------------------------------------- */

/* Stirling's log t! = t (log t - 1) + log(2 pi t) / 2 where t > 1, else 0: t shift + rest, with its derivatives
 * log_t + half and bend. */
typedef struct {
    REAL shift, rest, log_t, half, bend;
} STIRLING;

static ALWAYS_INLINE STIRLING stirling(REAL t, int full) {
    const REAL log_t = lf_log(t), inverse = R(1.0) / t;
    STIRLING sum = {0};
    if (full) {
        sum.shift = t > R(1.0) ? log_t - R(1.0) : R(0.0);
        sum.rest = t > R(1.0) ? FMA(log_t, R(0.5), R(0.918938533204672742)) : R(0.0); /* log(2 pi) / 2 */
        sum.log_t = t > R(1.0) ? log_t : R(0.0);
        sum.half = t > R(1.0) ? R(0.5) * inverse : R(0.0);
        sum.bend = t > R(1.0) ? inverse * (R(1.0) - R(0.5) * inverse) : R(0.0);
    }
    return sum;
}

/* rate - t log rate + log t!. An infinite rate outweighs its logarithm, which the callers keep finite there. */
static ALWAYS_INLINE REAL poisson_value(REAL rate, REAL log_rate, REAL t, STIRLING factorial, REAL nan_or_zero) {
    return rate - product(t, log_rate - factorial.shift, nan_or_zero) + factorial.rest;
}

static ALWAYS_INLINE POINT poisson_of_log_rate(REAL x, REAL t, int full) {
    const REAL rate = lf_exp(x), nan_or_zero = NAN_OF(x, t), hess = rate + nan_or_zero;
    const STIRLING factorial = stirling(t, full);
    return (POINT){.value = poisson_value(rate, x > VM_EXP_MAX ? VM_EXP_MAX : x, t, factorial, nan_or_zero),
                   .grad = {rate - t, factorial.log_t - x + factorial.half + nan_or_zero},
                   .hess = {hess, factorial.bend + nan_or_zero},
                   .fisher = {hess, factorial.bend + nan_or_zero}};
}

/* About 1 the logarithm of rate + eps needs what the sum was rounded by (Knuth's two-sum). */
static ALWAYS_INLINE POINT poisson_of_rate(REAL x, REAL t, REAL eps, int full) {
    const REAL rate = x + eps, back = rate - x, low = (x - (rate - back)) + (eps - back), inverse = R(1.0) / rate;
    const REAL log_rate = lf_log(rate) + ((rate > R(0.5)) & (rate < R(2.0)) ? low * inverse : R(0.0));
    const REAL nan_or_zero = NAN_OF(x, t), ratio = t == R(0.0) ? nan_or_zero : t / rate;
    const STIRLING factorial = stirling(t, full);
    return (POINT){.value =
                       poisson_value(x, rate == REAL_INF ? VM_EXP_MAX : log_rate, t, factorial, NAN_OF(log_rate, t)),
                   .grad = {R(1.0) - ratio, factorial.log_t - log_rate + factorial.half + nan_or_zero},
                   .hess = {t == R(0.0) ? nan_or_zero : ratio / rate, factorial.bend + nan_or_zero},
                   .fisher = {inverse + nan_or_zero, factorial.bend + nan_or_zero}};
}

ELEMENTWISE(poisson_nll, (input, target), ()) { return poisson_of_log_rate(input, target, 0); }
ELEMENTWISE(poisson_nll_full, (input, target), ()) { return poisson_of_log_rate(input, target, 1); }
ELEMENTWISE(poisson_nll_rate, (input, target), (eps)) { return poisson_of_rate(input, target, eps, 0); }
ELEMENTWISE(poisson_nll_rate_full, (input, target), (eps)) { return poisson_of_rate(input, target, eps, 1); }

/* ---- normal -------------------------------------------------------------------------------------------------- */

/* log(v) / 2 + d^2 / (2 v). d / v is formed first: d * d may overflow where the loss does not. As in PyTorch the
 * gradient by the variance is that at v = max(var, eps), below eps too. */
ELEMENTWISE(gaussian_nll, (input, target, var), (eps, full)) {
    const REAL d = input - target, v = AT_LEAST(var, eps), inverse = R(1.0) / v, z = d / v, excess = d * z;
    const REAL log_v = lf_log(AT_LEAST(v, real_of(1))); /* finite where v is 0: the other term decides */
    const REAL nan_or_zero = NAN_OF(d, v), by_input = inverse + nan_or_zero;
    return (POINT){.value = R(0.5) * (log_v + excess) + full * R(0.918938533204672742), /* log(2 pi) / 2 */
                   .grad = {z, -z, R(0.5) * inverse * (R(1.0) - excess)},
                   .hess = {by_input, by_input, inverse * (inverse * (excess - R(0.5)))},
                   .fisher = {by_input, by_input, R(0.5) * inverse * inverse + nan_or_zero},
                   .invalid = NONZERO_IF(var < R(0.0))};
}

#endif
