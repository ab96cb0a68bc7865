/* One text, two precisions: the build compiles every kernel once with LF_REAL_BITS=32 and once with 64.
 *
 *   REAL       float or double           IREAL / UREAL   the integers of its width
 *   R(0.5)     a literal of type REAL    FMA(a, b, c)    a * b + c, rounded once where the target can
 *
 * The library is built with -ffp-contract=off: left to itself gcc contracts a product that value and gradient share
 * differently in the loops that keep one of them and in those that keep both, and their bits part. */
#ifndef LF_REAL_H
#define LF_REAL_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if LF_REAL_BITS == 32
typedef float REAL;
typedef int32_t IREAL;
typedef uint32_t UREAL;
#define R(literal) literal##f
#define REAL_EPS 1.1920928955078125e-07f
#define REAL_FMA(a, b, c) __builtin_fmaf(a, b, c)
#define ABS(x) __builtin_fabsf(x)
#define SQRT(x) __builtin_sqrtf(x)
#elif LF_REAL_BITS == 64
typedef double REAL;
typedef int64_t IREAL;
typedef uint64_t UREAL;
#define R(literal) literal
#define REAL_EPS 2.220446049250313e-16
#define REAL_FMA(a, b, c) __builtin_fma(a, b, c)
#define ABS(x) __builtin_fabs(x)
#define SQRT(x) __builtin_sqrt(x)
#else
#error "LF_REAL_BITS must be 32 or 64"
#endif

#if defined(__FMA__) || defined(__aarch64__)
#define FMA(a, b, c) REAL_FMA(a, b, c)
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#endif

/* A call left in a loop keeps it scalar; the heuristics of a compiler are not to decide that. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

#define REAL_INF ((REAL)INFINITY)
#define REAL_NAN ((REAL)NAN)

/* A bit pattern read as a number and back; memcpy is the defined way and compiles to nothing. */
static inline UREAL bits_of(REAL x) {
    UREAL u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline REAL real_of(UREAL u) {
    REAL x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* An integer, not 0 if the condition holds; by way of a REAL, since SSE2 makes no 64-bit integers of a comparison. */
#define NONZERO_IF(condition) ((IREAL)bits_of((condition) ? R(1.0) : R(0.0)))

/* a where the mask is all ones, b where it is 0: of a condition that is the same for all elements gcc makes no vector
 * select. */
static ALWAYS_INLINE UREAL mask_of(int condition) { return condition ? ~(UREAL)0 : (UREAL)0; }

static ALWAYS_INLINE REAL either(UREAL mask, REAL a, REAL b) {
    return real_of((bits_of(a) & mask) | (bits_of(b) & ~mask));
}

#endif
