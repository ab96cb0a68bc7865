/* What no loss beats on a machine: the traffic of its arrays, and one exponential per element. For measurements. */
#ifndef LF_BOUNDS_H
#define LF_BOUNDS_H

#include "activations.h"

/* c = a - b: a prediction and a target read, a gradient written, nothing computed. Around the cache c begins with a
 * line. */
static void subtract(ptrdiff_t n, const void *a_, const void *b_, void *c_, int around_cache) {
    const REAL *a = a_, *b = b_;
    REAL *c = c_;
    enum { AHEAD = 2048 }; /* as the losses fetch */
    ptrdiff_t i = 0;
    if (around_cache)
        for (; i + LF_LINE <= n; i += LF_LINE) {
            REAL line[LF_LINE];
            for (int k = 0; k < LF_LINE; k++)
                line[k] = a[i + k] - b[i + k];
            put_lines(c + i, line, 0, LF_LINE);
            __builtin_prefetch((const char *)(a + i) + AHEAD);
            __builtin_prefetch((const char *)(b + i) + AHEAD);
        }
    _Pragma("omp simd") for (ptrdiff_t k = i; k < n; k++) c[k] = a[k] - b[k];
}

/* The argument that a softmax and a sigmoid take the exponential of. */
static ALWAYS_INLINE REAL exp_nonpositive_of(REAL x) { return lf_exp_nonpositive(x); }

MAP(exp_nonpositive)

#endif
