/* Margin losses: a label ±1, or a set of labels, and the distance that a score keeps from the wrong side. */
#ifndef LF_MARGIN_H
#define LF_MARGIN_H

#include "elementwise.h"

/* The derivative of max(z, 0), with `slope` that of z; at the kink that of the side where z counts, as PyTorch's
 * clamp has it. */
#define HINGE_SLOPE(z, slope) ((z) >= R(0.0) ? (slope) : (z) < R(0.0) ? R(0.0) : (z))

ELEMENTWISE(soft_margin, (input, target), ()) {
    const REAL t = target, z = -(t * input);
    const LOGISTIC logistic = lf_logistic(z);
    const REAL variance = t * t * (logistic.sigmoid * logistic.sigmoid_neg);
    return (POINT){.value = logistic.softplus,
                   .grad = {-t * logistic.sigmoid},
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

#endif
