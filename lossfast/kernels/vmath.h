/* Branch-free exp, log, log1p, expm1, tanh, sigmoid and softplus: a plain loop over any of them vectorises at every
 * instruction set. Written for the REAL of real.h; no libm, no tables, no intrinsics; ternaries are selects (the build
 * needs -fno-trapping-math for that), roundings are the point (never -ffast-math).
 *
 * A ULP is the spacing of REAL at the exact result, of the subnormals below the normal range; an overflow counts as
 * right where the correctly rounded result is infinite. LF_MAX_ULP_* are the promises, kept by tests/vmath/. NaN gives
 * NaN everywhere. The polynomials come from generate_vmath.py.
 *
 * Sources: W. J. Cody and W. Waite, Software Manual for the Elementary Functions (1980): reduction by ln 2 in two
 * parts. P. T. P. Tang, doi:10.1145/63522.214389 (1989) and doi:10.1145/146847.146928 (1992): exp and expm1 from 2^n
 * and a polynomial. T. J. Dekker, doi:10.1007/BF01397083 (1971): the rounding error of a sum as a second number. */
#ifndef LF_VMATH_H
#define LF_VMATH_H

#include "real.h"

#if LF_REAL_BITS == 32
#define VM_MANTISSA_BITS 23
#define VM_BIAS 127
#define VM_SHIFT R(0x1.8p23)        /* adding it rounds to an integer and leaves that in the low bits */
#define VM_INTEGER_BITS 0x4b000000u /* 2^23: or-ing an integer into it makes it a REAL */
#define VM_INTEGER R(0x1p23)
#define VM_ONE 0x3f800000u
#define VM_LOG_FROM 0x3f320000u /* 89/128 */
#define VM_MANTISSA_MASK 0x007fffffu
#define VM_SIGN_MASK 0x80000000u
#define VM_MIN_NORMAL R(0x1p-126)
#define VM_NORMALISE R(0x1p24)
#define VM_NORMALISE_BITS R(24.0)
#define VM_EXP_MIN R(-104.0) /* e^-104 is less than half the smallest subnormal */
#define VM_EXP_MAX R(89.0)   /* e^89 overflows, with n = 128 */
#define VM_SCALED_BITS 64
#define VM_UNSCALE R(0x1p-64)
#define VM_EXPM1_MIN R(-20.0)
#define VM_EXPM1_LARGE R(88.0) /* from here n may be 128 and is at least 127 */
#define VM_TANH_MAX R(20.0)
/* ln 2 = HI + LO; HI has 15 significant bits, so that n HI is exact for every exponent n. */
#define VM_LN2_HI R(0x1.62e4p-1)
#define VM_LN2_LO R(0x1.7f7d1cp-20)
#else
#define VM_MANTISSA_BITS 52
#define VM_BIAS 1023
#define VM_SHIFT R(0x1.8p52)
#define VM_INTEGER_BITS 0x4330000000000000u
#define VM_INTEGER R(0x1p52)
#define VM_ONE 0x3ff0000000000000u
#define VM_LOG_FROM 0x3fe6400000000000u
#define VM_MANTISSA_MASK 0x000fffffffffffffu
#define VM_SIGN_MASK 0x8000000000000000u
#define VM_MIN_NORMAL R(0x1p-1022)
#define VM_NORMALISE R(0x1p54)
#define VM_NORMALISE_BITS R(54.0)
#define VM_EXP_MIN R(-746.0)
#define VM_EXP_MAX R(710.0)
#define VM_SCALED_BITS 128
#define VM_UNSCALE R(0x1p-128)
#define VM_EXPM1_MIN R(-40.0)
#define VM_EXPM1_LARGE R(709.0)
#define VM_TANH_MAX R(40.0)
#define VM_LN2_HI R(0x1.62e42fefa38p-1)
#define VM_LN2_LO R(0x1.ef35793c7673p-45)
#endif
#define VM_LN2 R(0x1.62e42fefa39efp-1)
#define VM_LOG2E R(0x1.71547652b82fep0)

typedef struct {
    REAL softplus, softplus_neg, sigmoid, sigmoid_neg;
} LOGISTIC;

/* Internal. q of exp(t) = 1 + t + t^2 q(t), |t| <= ln 2 / 2. */
static ALWAYS_INLINE REAL vm_exp_tail(REAL t) {
#if LF_REAL_BITS == 32
    /* Relative error 2^-27.96. */
    REAL q = R(0.001386377495);
    q = FMA(q, t, R(0.008367476054));
    q = FMA(q, t, R(0.04166723788));
    q = FMA(q, t, R(0.1666653454));
    return FMA(q, t, R(0.5));
#else
    /* Relative error 2^-57.23. */
    REAL square = t * t;
    REAL even = R(0x1.ad2052b0acd18p-26);
    even = FMA(even, square, R(0x1.71df550ba206cp-19));
    even = FMA(even, square, R(0x1.a01a011c41874p-13));
    even = FMA(even, square, R(0x1.1111111128811p-7));
    even = FMA(even, square, R(0x1.5555555555501p-3));
    REAL odd = R(0x1.289f82c28afaep-22);
    odd = FMA(odd, square, R(0x1.a019ab34b7f74p-16));
    odd = FMA(odd, square, R(0x1.6c16c17cc102bp-10));
    odd = FMA(odd, square, R(0x1.555555555320dp-5));
    REAL q = FMA(odd, t, even);
    return FMA(q, t, R(0x1.0000000000000p-1));
#endif
}

/* Internal. q of log(1 + t) = t + t^2 q(t), 89/128 <= 1 + t <= 89/64. */
static ALWAYS_INLINE REAL vm_log_tail(REAL t) {
#if LF_REAL_BITS == 32
    /* Relative error 2^-27.24. */
    REAL square = t * t;
    REAL even = R(0.1329996586);
    even = FMA(even, square, R(0.1411935687));
    even = FMA(even, square, R(0.2000487596));
    even = FMA(even, square, R(0.3333328962));
    REAL odd = R(-0.08893514425);
    odd = FMA(odd, square, R(-0.1297522932));
    odd = FMA(odd, square, R(-0.1663166136));
    odd = FMA(odd, square, R(-0.2500070632));
    REAL q = FMA(odd, t, even);
    return FMA(q, t, R(-0.5));
#else
    /* Relative error 2^-56.56. */
    REAL square = t * t;
    REAL even = R(0x1.2c1e47210d700p-5);
    even = FMA(even, square, R(0x1.05fa3d6a0f01ap-4));
    even = FMA(even, square, R(0x1.cc4cebff35645p-5));
    even = FMA(even, square, R(0x1.1252788e7437dp-4));
    even = FMA(even, square, R(0x1.3afdeb76a8088p-4));
    even = FMA(even, square, R(0x1.745dfc8b57b81p-4));
    even = FMA(even, square, R(0x1.c71c6c1e0f677p-4));
    even = FMA(even, square, R(0x1.2492492ea5ed0p-3));
    even = FMA(even, square, R(0x1.9999999988359p-3));
    even = FMA(even, square, R(0x1.55555555555a4p-2));
    REAL odd = R(-0x1.1fa1eb6c40862p-4);
    odd = FMA(odd, square, R(-0x1.b166289e2b735p-5));
    odd = FMA(odd, square, R(-0x1.00427162ac248p-4));
    odd = FMA(odd, square, R(-0x1.24a3b6b84a4fap-4));
    odd = FMA(odd, square, R(-0x1.555364d71a75cp-4));
    odd = FMA(odd, square, R(-0x1.9999b0d6c0440p-4));
    odd = FMA(odd, square, R(-0x1.ffffff727042ap-4));
    odd = FMA(odd, square, R(-0x1.5555555623fc9p-3));
    odd = FMA(odd, square, R(-0x1.ffffffffff278p-3));
    REAL q = FMA(odd, t, even);
    return FMA(q, t, R(-0x1.0000000000000p-1));
#endif
}

/* Internal. q of log(1 + t) = t + t^2 q(t), -1/4 <= t <= 1/2. */
static ALWAYS_INLINE REAL vm_log1p_tail(REAL t) {
#if LF_REAL_BITS == 32
    /* Relative error 2^-26.64. */
    REAL square = t * t;
    REAL even = R(0.1046299785);
    even = FMA(even, square, R(0.144783929));
    even = FMA(even, square, R(0.1999086142));
    even = FMA(even, square, R(0.3333345056));
    REAL odd = R(-0.04507469386);
    odd = FMA(odd, square, R(-0.1316117644));
    odd = FMA(odd, square, R(-0.1664731354));
    odd = FMA(odd, square, R(-0.2500009537));
    REAL q = FMA(odd, t, even);
    return FMA(q, t, R(-0.5));
#else
    /* Relative error 2^-55.95. */
    REAL square = t * t;
    REAL even = R(0x1.091ec2b47c04fp-7);
    even = FMA(even, square, R(0x1.9f4be13282b9ep-5));
    even = FMA(even, square, R(0x1.f252b344043a7p-5));
    even = FMA(even, square, R(0x1.101cb0adb4b26p-4));
    even = FMA(even, square, R(0x1.3b1f03122648cp-4));
    even = FMA(even, square, R(0x1.745cec221a1c5p-4));
    even = FMA(even, square, R(0x1.c71c70de8b2c8p-4));
    even = FMA(even, square, R(0x1.2492492975240p-3));
    even = FMA(even, square, R(0x1.999999998c6cap-3));
    even = FMA(even, square, R(0x1.55555555555a0p-2));
    REAL odd = R(-0x1.e180b77adbedbp-6);
    odd = FMA(odd, square, R(-0x1.e8e7d2bfd14a7p-5));
    odd = FMA(odd, square, R(-0x1.fffce85c72546p-5));
    odd = FMA(odd, square, R(-0x1.2465755f0e739p-4));
    odd = FMA(odd, square, R(-0x1.55593962ffdabp-4));
    odd = FMA(odd, square, R(-0x1.999972ca75a67p-4));
    odd = FMA(odd, square, R(-0x1.00000063de756p-3));
    odd = FMA(odd, square, R(-0x1.5555555459278p-3));
    odd = FMA(odd, square, R(-0x1.0000000000772p-2));
    REAL q = FMA(odd, t, even);
    return FMA(q, t, R(-0x1.0000000000000p-1));
#endif
}

/* Internal. The power of two whose exponent field is given; what lies above the field is shifted out. */
static ALWAYS_INLINE REAL vm_power(UREAL field) { return real_of(field << VM_MANTISSA_BITS); }

/* Internal. r = x - n ln 2 = high + low, where high is exact, and rest = e^r - 1 - high. */
typedef struct {
    REAL high, rest;
} VM_REDUCED;

static ALWAYS_INLINE VM_REDUCED vm_reduce(REAL x, REAL n) {
    REAL high = FMA(n, -VM_LN2_HI, x), low = n * -VM_LN2_LO, r = high + low;
    return (VM_REDUCED){high, FMA(r * r, vm_exp_tail(r), low)};
}

/* Internal. x with the sign of y, where x is not negative or has that sign already. */
static ALWAYS_INLINE REAL vm_with_sign(REAL x, REAL y) { return real_of(bits_of(x) | (bits_of(y) & VM_SIGN_MASK)); }

/* Internal. x limited to [low, high], NaN as it is; two independent selects are two fewer compares than nested ones. */
static ALWAYS_INLINE REAL vm_clamp(REAL x, REAL low, REAL high) {
    REAL y = x < low ? low : x;
    return x > high ? high : y;
}

/* lf_exp: e^x.
 *   types   float32, float64
 *   domain  all numbers; overflows to inf, underflows gradually to 0
 *   bound   1 ULP
 *   worst   float32, all inputs: 0.877 with FMA, 0.899 without; float64, sampled: 0.859, 0.883
 *   method  x = n ln 2 + r, |r| <= ln 2 / 2, in two parts; e^r = 1 + (r + r^2 q(r)), degree 6 (11 in float64)
 *   source  Cody and Waite; Tang 1989 */
#define LF_MAX_ULP_EXP_F32 1.0
#define LF_MAX_ULP_EXP_F64 1.0
static ALWAYS_INLINE REAL lf_exp(REAL x) {
    x = vm_clamp(x, VM_EXP_MIN, VM_EXP_MAX);
    /* 2^n is made in two factors, of which each is normal and only the last product may be subnormal or overflow. */
    const REAL shift = VM_SHIFT + 2 * VM_BIAS;
    REAL shifted = FMA(x, VM_LOG2E, shift);
    UREAL both = bits_of(shifted), half = both >> 1;
    VM_REDUCED r = vm_reduce(x, shifted - shift);
    return (R(1.0) + (r.high + r.rest)) * vm_power(half) * vm_power(both - half);
}

/* Internal. exp(x) = scale (1 + rest) VM_UNSCALE for VM_EXP_MIN <= x <= 0. */
typedef struct {
    REAL scale, rest;
} VM_EXP;

static ALWAYS_INLINE VM_EXP vm_exp_parts(REAL x) {
    /* Without the upper half of the exponents this is a normal number for every n. */
    const REAL shift = VM_SHIFT + (VM_BIAS + VM_SCALED_BITS);
    REAL shifted = FMA(x, VM_LOG2E, shift);
    VM_REDUCED r = vm_reduce(x, shifted - shift);
    return (VM_EXP){vm_power(bits_of(shifted)), r.high + r.rest};
}

/* lf_exp_nonpositive: e^x, cheaper.
 *   types   float32, float64
 *   domain  x <= 0, -inf included
 *   bound   1 ULP
 *   worst   float32, all inputs: 0.877 with FMA, 0.895 without; float64, sampled: 0.862, 0.884
 *   method  that of lf_exp with 2^n in one factor
 *   source  as lf_exp */
#define LF_MAX_ULP_EXP_NONPOSITIVE_F32 1.0
#define LF_MAX_ULP_EXP_NONPOSITIVE_F64 1.0
static ALWAYS_INLINE REAL lf_exp_nonpositive(REAL x) {
    VM_EXP e = vm_exp_parts(x);
    REAL scaled = (R(1.0) + e.rest) * e.scale;
    /* 0 before it could underflow, which takes a processor a hundred cycles: masked logits are -inf */
    return (x < VM_EXP_MIN ? R(0.0) : scaled) * VM_UNSCALE;
}

/* Internal. k ln 2 + log(1 + f) + more, k an integer, 89/128 <= 1 + f <= 89/64. At both ends f^2 tail stays below 1/16:
 * the sum must not lose more than its last rounding. */
static ALWAYS_INLINE REAL vm_log_sum(REAL k, REAL f, REAL more) {
    REAL high = k * VM_LN2_HI, sum = high + f, low = high - sum + f;
    return sum + FMA(f * f, vm_log_tail(f), FMA(k, VM_LN2_LO, low + more));
}

/* Internal. log x for 0 < x < inf; less than log of the smallest number at 0. */
static ALWAYS_INLINE REAL vm_log_positive(REAL x) {
    REAL normal = x < VM_MIN_NORMAL ? x * VM_NORMALISE : x;
    REAL bias = x < VM_MIN_NORMAL ? VM_INTEGER + VM_BIAS + VM_NORMALISE_BITS : VM_INTEGER + VM_BIAS;
    /* x = 2^k (1 + f). */
    UREAL bits = bits_of(normal) + (VM_ONE - VM_LOG_FROM);
    REAL k = real_of((bits >> VM_MANTISSA_BITS) | VM_INTEGER_BITS) - bias;
    REAL f = real_of((bits & VM_MANTISSA_MASK) + VM_LOG_FROM) - R(1.0);
    return vm_log_sum(k, f, R(-0.0));
}

/* lf_log: log x.
 *   types   float32, float64
 *   domain  all numbers; -inf at 0, NaN below
 *   bound   1 ULP
 *   worst   float32, all inputs: 0.813 with FMA, 0.886 without; float64, sampled: 0.821, 0.844
 *   method  x = 2^k (1 + f), 89/128 <= 1 + f < 89/64; log(1 + f) = f + f^2 q(f), degree 10 (21), added to k ln 2 in
 *           two parts
 *   source  Cody and Waite; Dekker */
#define LF_MAX_ULP_LOG_F32 1.0
#define LF_MAX_ULP_LOG_F64 1.0
static ALWAYS_INLINE REAL lf_log(REAL x) {
    REAL y = vm_log_positive(x);
    y = x < REAL_INF ? y : REAL_INF;
    return x > R(0.0) ? y : x == R(0.0) ? -REAL_INF : REAL_NAN;
}

/* lf_log1p: log(1 + x).
 *   types   float32, float64
 *   domain  all numbers; -inf at -1, NaN below; log1p(-0) = -0
 *   bound   1 ULP
 *   worst   float32, all inputs: 0.856 with FMA, 0.886 without; float64, sampled: 0.811, 0.822
 *   method  that of lf_log, with f from x 2^-k and its rounding error carried along
 *   source  Dekker */
#define LF_MAX_ULP_LOG1P_F32 1.0
#define LF_MAX_ULP_LOG1P_F64 1.0
static ALWAYS_INLINE REAL lf_log1p(REAL x) {
    /* 1 + x = 2^k (1 + f), where the k of the rounded 1 + x will do. 2^(2-k) is a normal number for every k. */
    UREAL bits = bits_of(R(1.0) + x) + (VM_ONE - VM_LOG_FROM), field = bits >> VM_MANTISSA_BITS;
    REAL k = real_of(field | VM_INTEGER_BITS) - (VM_INTEGER + VM_BIAS);
    REAL scale = vm_power(2 * VM_BIAS + 2 - field);
    /* f = x 2^-k + (2^-k - 1). Only for k = 1 is this sum rounded where it matters, and there the second is larger. */
    REAL a = x * scale * R(0.25), b = FMA(scale, R(0.25), R(-1.0)), f = a + b, f_low = a - (f - b);
    REAL y = vm_with_sign(vm_log_sum(k, f, FMA(-f, f_low, f_low)), x);
    y = x < REAL_INF ? y : x;
    return x > R(-1.0) ? y : x == R(-1.0) ? -REAL_INF : REAL_NAN;
}

/* lf_log1p_unit: log(1 + e), cheaper.
 *   types   float32, float64
 *   domain  0 <= e <= 1
 *   bound   1.5 ULP
 *   worst   float32, all inputs: 0.908 with FMA, 1.039 without; float64, sampled: 1.277, 1.243
 *   method  a polynomial, from 1/2 on around 1: no exponents
 *   source  own */
#define LF_MAX_ULP_LOG1P_UNIT_F32 1.5
#define LF_MAX_ULP_LOG1P_UNIT_F64 1.5
static ALWAYS_INLINE REAL lf_log1p_unit(REAL e) {
    /* From 1/2 on as ln 2 + log(1 + (e - 1) / 2), whose argument is exact. */
    REAL f = e > R(0.5) ? FMA(e, R(0.5), R(-0.5)) : e;
    return FMA(f * f, vm_log1p_tail(f), f) + (e > R(0.5) ? VM_LN2 : R(-0.0));
}

/* Internal. e^x - 1 = high + low for x = r + n ln 2 and scale = 2^n. */
typedef struct {
    REAL high, low;
} VM_PAIR;

static ALWAYS_INLINE VM_PAIR vm_expm1_pair(REAL x, REAL n, REAL scale) {
    VM_REDUCED r = vm_reduce(x, n);
    REAL less = scale - R(1.0), high = FMA(scale, r.high, less);
    return (VM_PAIR){high, FMA(scale, r.rest, FMA(scale, r.high, less - high))};
}

/* lf_expm1: e^x - 1.
 *   types   float32, float64
 *   domain  all numbers; expm1(-0) = -0
 *   bound   1.5 ULP in float32, 2 in float64
 *   worst   float32, all inputs: 1.093 with FMA, 1.154 without; float64, sampled: 1.168, 1.163
 *   method  2^n (1 + r + r^2 q(r)) - 1 summed with the rounding error of its larger terms
 *   source  Tang 1992; Dekker */
#define LF_MAX_ULP_EXPM1_F32 1.5
#define LF_MAX_ULP_EXPM1_F64 2.0
static ALWAYS_INLINE REAL lf_expm1(REAL x) {
    REAL z = vm_clamp(x, VM_EXPM1_MIN, VM_EXP_MAX);
    const REAL shift = VM_SHIFT + VM_BIAS;
    REAL shifted = FMA(z, VM_LOG2E, shift);
    /* 2^n as 2 * 2^(n-1) where it could overflow; there the 1 does not matter. */
    REAL field = shifted - (x > VM_EXPM1_LARGE ? R(1.0) : R(0.0));
    VM_PAIR pair = vm_expm1_pair(z, shifted - shift, vm_power(bits_of(field)));
    REAL y = pair.high + pair.low;
    return vm_with_sign(x > VM_EXPM1_LARGE ? y + y : y, x);
}

/* lf_tanh: tanh x.
 *   types   float32, float64
 *   domain  all numbers; tanh(-0) = -0
 *   bound   2 ULP
 *   worst   float32, all inputs: 1.415 with FMA, 1.415 without; float64, sampled: 1.415, 1.415
 *   method  F / (2 - F), F = 1 - e^(-2|x|) in two parts; the quotient is corrected by its residual
 *   source  own, on that of lf_expm1 */
#define LF_MAX_ULP_TANH_F32 2.0
#define LF_MAX_ULP_TANH_F64 2.0
static ALWAYS_INLINE REAL lf_tanh(REAL x) {
    /* With F = 1 - e^(-2|x|) in [0, 1], tanh |x| = F / (2 - F). */
    REAL z = ABS(x) * R(-2.0);
    z = z < -VM_TANH_MAX ? -VM_TANH_MAX : z;
    const REAL shift = VM_SHIFT + VM_BIAS;
    REAL shifted = FMA(z, VM_LOG2E, shift);
    VM_PAIR pair = vm_expm1_pair(z, shifted - shift, vm_power(bits_of(shifted)));
    REAL f = -(pair.high + pair.low), f_low = -pair.high - f - pair.low;
    REAL q = R(1.0) / (R(2.0) - f), y = f * q;
    /* y <= f <= 2 y: the difference is exact. */
    REAL residual = FMA(y, f, f - (y + y)) + FMA(f_low, y, f_low);
    return vm_with_sign(FMA(residual, q, y), x);
}

/* lf_logistic: softplus(x) = log(1 + e^x), softplus(-x), sigmoid(x) = 1 / (1 + e^-x) and sigmoid(-x); what is not used
 * costs nothing.
 *   types   float32, float64
 *   domain  all numbers; each relatively accurate into the subnormals
 *   bound   1.5 ULP in float32, 2 in float64
 *   worst   float32, all inputs: 1.480 with FMA, 1.489 without; float64, sampled: 1.670, 1.653
 *   method  one exponential e = e^-|x|, kept as a power of two and a rest, one polynomial as in lf_log1p_unit, one
 *           division, corrected by its residual
 *   source  own */
#define LF_MAX_ULP_LOGISTIC_F32 1.5
#define LF_MAX_ULP_LOGISTIC_F64 2.0
static ALWAYS_INLINE LOGISTIC lf_logistic(REAL x) {
    LOGISTIC y;
    REAL z = -ABS(x);
    VM_EXP parts = vm_exp_parts(z < VM_EXP_MIN ? VM_EXP_MIN : z);
    /* A power of two, or 0 below the smallest. */
    REAL scale = parts.scale * VM_UNSCALE, e = (R(1.0) + parts.rest) * scale;
    /* log(1 + e) = base + low: the rounding of e plays in the square only, for e > 1/2 not at all. */
    REAL half = parts.scale * (VM_UNSCALE * R(0.5)), middle = FMA(parts.rest, half, half - R(0.5));
    REAL base = e > R(0.5) ? VM_LN2 : scale, linear = e > R(0.5) ? middle : parts.rest * scale;
    REAL f = e > R(0.5) ? middle : e, low = FMA(f * f, vm_log1p_tail(f), linear);
    y.softplus = (x > R(0.0) ? x : R(0.0)) + low + base;
    y.softplus_neg = (x > R(0.0) ? R(0.0) : -x) + low + base;
    /* 1 / (1 + e) or e / (1 + e), corrected by what it leaves; 1/2 <= y / a <= 1 makes a - y exact. */
    REAL q = R(1.0) / (R(1.0) + e);
    REAL a = x < R(0.0) ? e : R(1.0), p = a * q;
    y.sigmoid = FMA(FMA(-p, e, a - p), q, p);
    REAL b = x < R(0.0) ? R(1.0) : e, s = b * q;
    y.sigmoid_neg = FMA(FMA(-s, e, b - s), q, s);
    return y;
}

/* lf_sigmoid: 1 / (1 + e^-x).
 *   types   float32, float64
 *   domain  all numbers; relatively accurate into the subnormals
 *   bound   1.5 ULP in float32, 2 in float64
 *   worst   float32, all inputs: 1.480 with FMA, 1.489 without; float64, sampled: 1.463, 1.463
 *   method  a member of lf_logistic
 *   source  as lf_logistic */
#define LF_MAX_ULP_SIGMOID_F32 1.5
#define LF_MAX_ULP_SIGMOID_F64 2.0
static ALWAYS_INLINE REAL lf_sigmoid(REAL x) { return lf_logistic(x).sigmoid; }

/* lf_softplus: log(1 + e^x).
 *   types   float32, float64
 *   domain  all numbers; relatively accurate into the subnormals
 *   bound   1.5 ULP in float32, 2 in float64
 *   worst   float32, all inputs: 1.365 with FMA, 1.340 without; float64, sampled: 1.651, 1.653
 *   method  a member of lf_logistic
 *   source  as lf_logistic */
#define LF_MAX_ULP_SOFTPLUS_F32 1.5
#define LF_MAX_ULP_SOFTPLUS_F64 2.0
static ALWAYS_INLINE REAL lf_softplus(REAL x) { return lf_logistic(x).softplus; }

#endif
