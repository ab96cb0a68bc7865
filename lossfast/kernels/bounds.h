/* What no loss beats on a machine: the traffic of its arrays, and one exponential per element. For measurements. */
#ifndef LF_BOUNDS_H
#define LF_BOUNDS_H

#include "activations.h"
#include "elementwise.h"

/* c = a - b: a prediction and a target read, a gradient written, nothing computed. `c` is aligned to 16 bytes. */
static ALWAYS_INLINE void subtracted(ptrdiff_t n, const REAL *a, const REAL *b, REAL *c, int around_cache) {
    ptrdiff_t start = 0;
    for (; start + LF_SUM_LANES <= n; start += LF_SUM_LANES) {
        REAL lanes[LF_SUM_LANES];
        for (int lane = 0; lane < LF_SUM_LANES; lane++)
            lanes[lane] = a[start + lane] - b[start + lane];
        if (around_cache) {
            fetch_lanes(a + start);
            fetch_lanes(b + start);
        }
        put_lanes(c + start, lanes, around_cache);
    }
    for (; start < n; start++)
        c[start] = a[start] - b[start];
}

static void subtract(ptrdiff_t n, const void *a, const void *b, void *c, int around_cache) {
    if (around_cache)
        subtracted(n, a, b, c, 1);
    else
        subtracted(n, a, b, c, 0);
}

/* The argument that a softmax and a sigmoid take the exponential of. */
static ALWAYS_INLINE REAL exp_nonpositive_of(REAL x) { return lf_exp_nonpositive(x); }

MAP(exp_nonpositive)

#endif
