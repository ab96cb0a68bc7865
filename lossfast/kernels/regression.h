/* Regression losses of one prediction and one target; d = input - target. */
#ifndef LF_REGRESSION_H
#define LF_REGRESSION_H

#include "elementwise.h"

/* -1, 0 or 1; NaN stays NaN. */
#define SIGN(x) ((x) > R(0.0) ? R(1.0) : (x) < R(0.0) ? R(-1.0) : (x))

ELEMENTWISE(mse, (input, target), ()) {
    const REAL d = input - target;
    return (POINT){.value = d * d,
                   .grad = {R(2.0) * d, R(-2.0) * d},
                   .hess = {d == d ? R(2.0) : d, d == d ? R(2.0) : d},
                   .fisher = {d == d ? R(2.0) : d, d == d ? R(2.0) : d},
                   .majorizer = {d == d ? R(2.0) : d, d == d ? R(2.0) : d}};
}

/* The majorizer of |d| at d is the parabola of curvature 1/|d|; at the kink it has none, eps keeps it finite. */
ELEMENTWISE(l1, (input, target), ()) {
    const REAL d = input - target, a = ABS(d), zero = d == d ? R(0.0) : d;
    const REAL majorizer = R(1.0) / AT_LEAST(a, REAL_EPS);
    return (POINT){.value = a, .grad = {SIGN(d), -SIGN(d)}, .hess = {zero, zero}, .majorizer = {majorizer, majorizer}};
}

/* Huber (1964), doi:10.1214/aoms/1177703732. With |d| and delta both infinite the linear side counts: NaN, as in
 * PyTorch. */
ELEMENTWISE(huber, (input, target), (delta)) {
    const REAL d = input - target, a = ABS(d), grad = CLAMP(d, -delta, delta);
    const REAL hess = a <= delta ? R(1.0) : a > delta ? R(0.0) : a, majorizer = a <= delta ? R(1.0) : delta / a;
    return (POINT){.value = a < delta ? R(0.5) * a * a : delta * (a - R(0.5) * delta),
                   .grad = {grad, -grad},
                   .hess = {hess, hess},
                   .majorizer = {majorizer, majorizer}};
}

/* Huber's loss over beta (Girshick 2015, doi:10.1109/ICCV.2015.169). d / beta is formed first: d * d may overflow where
 * the loss does not. beta = 0 never takes the quadratic side and is the absolute error. */
ELEMENTWISE(smooth_l1, (input, target), (beta)) {
    const REAL d = input - target, a = ABS(d), ratio = a / beta, peak = beta > R(0.0) ? R(1.0) / beta : R(0.0);
    const REAL grad = a < beta ? d / beta : SIGN(d), hess = a <= beta ? peak : a > beta ? R(0.0) : a;
    const REAL majorizer = R(1.0) / AT_LEAST(a, beta > R(0.0) ? beta : REAL_EPS);
    return (POINT){.value = a < beta ? R(0.5) * a * ratio : a - R(0.5) * beta,
                   .grad = {grad, -grad},
                   .hess = {hess, hess},
                   .majorizer = {majorizer, majorizer}};
}

/* Beaton and Tukey (1974), doi:10.1080/00401706.1974.10489171. With u = (d / c)^2 and w = 1 - u the loss is
 * c^2 / 6 (1 - w^3), written near 0 as d^2 / 2 (1 - u + u^2 / 3), which does not cancel there. */
ELEMENTWISE(tukey_biweight, (input, target), (c)) {
    const REAL d = input - target, a = ABS(d), ratio = a / c, u = ratio * ratio, w = FMA(-ratio, ratio, R(1.0));
    const REAL top = c * c / R(6.0), flat = a >= c ? R(0.0) : a;
    const REAL inner = u < R(0.5) ? R(0.5) * a * a * (R(1.0) - u * (R(1.0) - u / R(3.0))) : top * (R(1.0) - w * w * w);
    const REAL grad = a < c ? d * (w * w) : flat, hess = a < c ? w * (R(1.0) - R(5.0) * u) : flat;
    const REAL majorizer = a < c ? w * w : flat;
    return (POINT){.value = a < c    ? inner
                            : a >= c ? top
                                     : a,
                   .grad = {grad, -grad},
                   .hess = {hess, hess},
                   .majorizer = {majorizer, majorizer}};
}

#endif
