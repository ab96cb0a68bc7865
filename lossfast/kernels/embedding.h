/* Embeddings: distances between rows of features, and the losses that are made of them. */
#ifndef LF_EMBEDDING_H
#define LF_EMBEDDING_H

#include "elementwise.h"
#include "pairwise.h"
#include "vmath.h"

/* ---- the range of a computation ------------------------------------------------------------------------------ */

/* Rows are computed plainly first. Where the result shows that a square has overflowed or vanished, they are computed
 * once more with scaled features (J. L. Blue, doi:10.1145/355769.355771, 1978): times 2^-600 the greatest doubles have
 * squares, and times 2^600 the smallest do. Sums between the limits have lost nothing. An infinite feature then counts
 * as more than any finite one and as much as another infinite one, so that it has a direction. */
#if LF_REAL_BITS == 32
#define LEAST_SQUARES 0.0
#define GREATEST_SQUARES 1.7976931348623157e308
#define LEAST_ORDINARY 0x1p-100
#define GREATEST_ORDINARY 0x1p100
#else
#define LEAST_SQUARES 0x1p-900
#define GREATEST_SQUARES 0x1p800
#define LEAST_ORDINARY 0x1p-400
#define GREATEST_ORDINARY 0x1p400
#endif
#define SCALED_INFINITY 0x1p425

/* 1, or what features are to be multiplied by, for this sum of their squares; NaN is left alone. */
static ALWAYS_INLINE double rescaling(double squares) {
    return squares > GREATEST_SQUARES ? 0x1p-600 : squares < LEAST_SQUARES ? 0x1p600 : 1.0;
}

static ALWAYS_INLINE double scaled(double x, double scale) {
    const double y = x * scale;
    return CLAMP(y, -SCALED_INFINITY, SCALED_INFINITY);
}

/* Whether products of features with this number stay away from the limits of REAL. */
static ALWAYS_INLINE int ordinary(double x) {
    const double size = __builtin_fabs(x);
    return size == 0.0 || (size >= LEAST_ORDINARY && size <= GREATEST_ORDINARY);
}

/* ---- distances of a difference e = u - v + eps --------------------------------------------------------------- */

/* The norms of p = 1 and 2, that of 2 squared, those of an infinite p (the greatest or the least |e|) and of p = 0 (the
 * number of features that differ), and of any other p. */
typedef enum { MANHATTAN, EUCLIDEAN, SQUARED, EXTREME, DIFFERING, POWER } METRIC;

typedef struct {
    const REAL *u, *v;
    ptrdiff_t n;
    double eps, p;
} POINTS;

/* `sum` is over the features and of what the metric adds up, each multiplied by `scale` (for POWER: divided); `power`
 * is the exponent of its derivative. */
typedef struct {
    double value, scale, sum;
    REAL power;
} DISTANCE;

static ALWAYS_INLINE double difference(const POINTS *points, ptrdiff_t i) {
    return (double)points->u[i] - (double)points->v[i] + points->eps;
}

static double sum_of_sizes(const POINTS *points) {
    LF_REDUCE(total, points->n, 0.0, LF_ADD, sum += __builtin_fabs(difference(points, i)))
    return total;
}

static double sum_of_squares(const POINTS *points) {
    LF_REDUCE(total, points->n, 0.0, LF_ADD, const double e = difference(points, i); sum = DOUBLE_FMA(e, e, sum))
    return total;
}

static double sum_of_scaled_squares(const POINTS *points, double scale) {
    LF_REDUCE(total, points->n, 0.0, LF_ADD, const double e = scaled(difference(points, i), scale);
              sum = DOUBLE_FMA(e, e, sum))
    return total;
}

/* The sum is NaN if an e is. */
static double count_differing(const POINTS *points) {
    LF_REDUCE(total, points->n, 0.0, LF_ADD, const double e = difference(points, i);
              sum += e == e ? (double)(e != 0.0) : e)
    return total;
}

/* How many |e| equal `size`. */
static double count_of_size(const POINTS *points, double size) {
    LF_REDUCE(total, points->n, 0.0, LF_ADD, sum += (double)(__builtin_fabs(difference(points, i)) == size))
    return total;
}

/* The greatest |e|, NaN if one is. */
static double greatest(const POINTS *points) {
    LF_REDUCE(size, points->n, 0.0, LF_MAX_OR_NAN, const double e = __builtin_fabs(difference(points, i));
              sum = LF_MAX_OR_NAN(e, sum))
    return size;
}

static double least(const POINTS *points) {
    LF_REDUCE(size, points->n, -(double)INFINITY, LF_MAX_OR_NAN,
              const double e = -__builtin_fabs(difference(points, i));
              sum = LF_MAX_OR_NAN(e, sum))
    return points->n ? -size : 0.0;
}

/* |e| as a part of the extreme one. */
static ALWAYS_INLINE REAL part_of(double e, double extreme) {
    const double size = __builtin_fabs(e);
    return (REAL)(size == extreme ? 1.0 : size / extreme);
}

/* part^power, 0 for the part 0: the term of p > 0, and the derivative where there is none. */
static ALWAYS_INLINE REAL part_to_the(REAL part, REAL power) {
    return part == R(0.0) ? R(0.0) : lf_exp(power * lf_log(part));
}

static ALWAYS_INLINE REAL finite_power(double power) { return (REAL)CLAMP(power, -0x1p120, 0x1p120); }

static double sum_of_powers(const POINTS *points, double extreme) {
    const REAL p = finite_power(points->p);
    LF_REDUCE(total, points->n, 0.0, LF_ADD, const REAL part = part_of(difference(points, i), extreme);
              sum += (double)part_to_the(part, p))
    return total;
}

static ALWAYS_INLINE DISTANCE distance(METRIC metric, const POINTS *points) {
    DISTANCE d = {.scale = 1.0, .power = finite_power(points->p - 1.0)};
    switch (metric) {
    case MANHATTAN:
        d.value = sum_of_sizes(points);
        break;
    case SQUARED:
        d.value = sum_of_squares(points);
        break;
    case EUCLIDEAN:
        d.sum = sum_of_squares(points);
        d.scale = rescaling(d.sum);
        if (d.scale != 1.0)
            d.sum = sum_of_scaled_squares(points, d.scale);
        d.value = __builtin_sqrt(d.sum) / d.scale;
        break;
    case EXTREME:
        d.value = points->p > 0.0 ? greatest(points) : least(points);
        break;
    case DIFFERING:
        d.value = count_differing(points);
        break;
    case POWER: /* no part is more than 1 for p > 0, none less for p < 0: no power overflows */
        d.scale = d.value = points->p > 0.0 ? greatest(points) : least(points);
        if (d.scale > 0.0) {
            d.sum = sum_of_powers(points, d.scale);
            d.value *= __builtin_pow(d.sum, 1.0 / points->p);
        }
        break;
    }
    return d;
}

/* The derivative of a distance by u_i is slope * direction(e_i), that by v_i its negative. At the distance 0 it is 0,
 * and where several features are the extreme one they share it: what PyTorch has. */
static ALWAYS_INLINE double slope(METRIC metric, const POINTS *points, const DISTANCE *d) {
    switch (metric) {
    case MANHATTAN:
        return 1.0;
    case SQUARED:
        return 2.0;
    case EUCLIDEAN:
        return d->sum > 0.0 ? 1.0 / __builtin_sqrt(d->sum) : 0.0;
    case EXTREME:
        return 1.0 / count_of_size(points, d->value);
    case DIFFERING:
        break;
    case POWER:
        return d->scale > 0.0 ? __builtin_pow(d->sum, (1.0 - points->p) / points->p) : 0.0;
    }
    return 0.0;
}

static ALWAYS_INLINE double direction(METRIC metric, const POINTS *points, ptrdiff_t i, const DISTANCE *d) {
    const double e = difference(points, i);
    double size;
    switch (metric) {
    case MANHATTAN:
        size = e == 0.0 ? 0.0 : 1.0;
        break;
    case SQUARED:
        return e;
    case EUCLIDEAN:
        return scaled(e, d->scale);
    case EXTREME:
        size = e != 0.0 && __builtin_fabs(e) == d->value ? 1.0 : 0.0;
        break;
    case DIFFERING:
        return 0.0;
    case POWER:
        size = (double)part_to_the(part_of(e, d->scale), d->power);
        break;
    }
    return e < 0.0 ? -size : size;
}

/* Features that are differentiated in one go. */
enum { LF_SLOPES = 128 };

/* The derivatives by u[first] to u[first + count - 1], times a weight, which has the slope in it. The weight 0 says
 * that the distance does not count, however great it is. */
static ALWAYS_INLINE void weighted_slopes(METRIC metric, const POINTS *points, const DISTANCE *d, double weight,
                                          ptrdiff_t first, int count, REAL *slopes) {
    const POINTS p = *points;
    const DISTANCE distance = *d;
    if (weight == 0.0) {
        memset(slopes, 0, (size_t)count * sizeof(REAL));
        return;
    }
#pragma omp simd
    for (int k = 0; k < count; k++)
        slopes[k] = (REAL)(direction(metric, &p, first + k, &distance) * weight);
}

/* One of them in REAL, where has_plain_slope says so. */
static ALWAYS_INLINE REAL plain_slope(METRIC metric, const POINTS *points, ptrdiff_t i, double weight) {
    const REAL e = points->u[i] - points->v[i] + (REAL)points->eps;
    return (metric != MANHATTAN ? e : e > R(0.0) ? R(1.0) : e < R(0.0) ? R(-1.0) : R(0.0)) * (REAL)weight;
}

/* 0 where the factor 0 says that a term is absent. */
static ALWAYS_INLINE double times(double factor, double x) { return factor == 0.0 ? 0.0 : factor * x; }

static ALWAYS_INLINE int has_plain_slope(METRIC metric, const DISTANCE *d, double weight) {
    return metric == MANHATTAN ||
           ((metric == EUCLIDEAN || metric == SQUARED) && d->scale == 1.0 && ordinary(d->value) && ordinary(weight));
}

/* ---- triplets: max(margin + d(anchor, positive) - d(anchor, negative), 0) ------------------------------------ */

enum { ANCHOR, POSITIVE, NEGATIVE };

/* What the distances of (anchor, positive), (anchor, negative) and (positive, negative) count in the loss: its
 * derivatives by them. */
typedef struct {
    double ap, an, pn;
} SHARES;

/* Writes the value; returns whether there are gradients to write. With `swap` the nearer of anchor and positive is
 * compared with the negative, and they share the derivative of a tie. */
static ALWAYS_INLINE int hinge_of_triplet(const PAIR *pair, double margin, int swap, double ap, double an, double pn,
                                          SHARES *shares) {
    const double nearer = an != an || an <= pn ? an : pn, share = !swap || an < pn ? 1.0 : an > pn ? 0.0 : 0.5;
    const double z = margin + ap - (swap ? nearer : an);
    *pair->value = (REAL)AT_LEAST(z, 0.0);
    *shares = (SHARES){pair->scale, -pair->scale * share, -pair->scale * (1.0 - share)};
    if (!pair->grads[ANCHOR])
        return 0;
    if (z >= 0.0)
        return 1;
    fill_gradients(pair, 3, z < 0.0 ? 0.0 * pair->scale : z);
    return 0;
}

/* Where two embeddings have one feature, which is repeated for the third, their distance has derivatives by that one
 * alone: what is left for the features behind it. */
static ALWAYS_INLINE SHARES of_long_ones(SHARES shares, int ap, int an, int pn) {
    return (SHARES){ap ? shares.ap : 0.0, an ? shares.an : 0.0, pn ? shares.pn : 0.0};
}

/* Features [from, to) of the gradients. */
static ALWAYS_INLINE void triplet_gradients(METRIC metric, const PAIR *pair, const POINTS points[3],
                                            const DISTANCE d[3], SHARES weights, ptrdiff_t from, ptrdiff_t to) {
    REAL *by_anchor = pair->grads[ANCHOR], *by_positive = pair->grads[POSITIVE], *by_negative = pair->grads[NEGATIVE];
    const double weight[3] = {weights.ap, weights.an, weights.pn};
    REAL slopes[3][LF_SLOPES];
    for (ptrdiff_t first = from; first < to; first += LF_SLOPES) {
        const int count = to - first < LF_SLOPES ? (int)(to - first) : LF_SLOPES;
        for (int k = 0; k < 3; k++)
            weighted_slopes(metric, &points[k], &d[k], weight[k], first, count, slopes[k]);
#pragma omp simd
        for (int k = 0; k < count; k++) {
            const REAL x = slopes[0][k], y = slopes[1][k], z = slopes[2][k];
            by_anchor[first + k] = x + y;
            by_positive[first + k] = z - x;
            by_negative[first + k] = -y - z;
        }
    }
}

/* The same in REAL, where all have plain slopes. */
static ALWAYS_INLINE void plain_triplet_gradients(METRIC metric, int swapped, const PAIR *pair, const POINTS points[3],
                                                  SHARES weights, ptrdiff_t from, ptrdiff_t to) {
    REAL *by_anchor = pair->grads[ANCHOR], *by_positive = pair->grads[POSITIVE], *by_negative = pair->grads[NEGATIVE];
    const POINTS ap = points[0], an = points[1], pn = points[2];
#pragma omp simd
    for (ptrdiff_t i = from; i < to; i++) {
        const REAL x = plain_slope(metric, &ap, i, weights.ap), y = plain_slope(metric, &an, i, weights.an),
                   z = swapped ? plain_slope(metric, &pn, i, weights.pn) : R(0.0);
        by_anchor[i] = x + y;
        by_positive[i] = swapped ? z - x : -x;
        by_negative[i] = swapped ? -y - z : -y;
    }
}

static ALWAYS_INLINE int triplet_of_differences(METRIC metric, const PAIR *pair, double margin, double p, double eps,
                                                int swap) {
    const REAL *const *x = pair->embeddings;
    const ptrdiff_t n = pair->features, *length = pair->lengths;
    const ptrdiff_t anchor = length[ANCHOR], positive = length[POSITIVE], negative = length[NEGATIVE];
    const POINTS points[3] = {{x[ANCHOR], x[POSITIVE], anchor > positive ? anchor : positive, eps, p},
                              {x[ANCHOR], x[NEGATIVE], anchor > negative ? anchor : negative, eps, p},
                              {x[POSITIVE], x[NEGATIVE], positive > negative ? positive : negative, eps, p}};
    DISTANCE d[3] = {distance(metric, &points[0]), distance(metric, &points[1]), {.scale = 1.0}};
    SHARES weights;
    if (swap)
        d[2] = distance(metric, &points[2]);
    if (!hinge_of_triplet(pair, margin, swap, d[0].value, d[1].value, d[2].value, &weights))
        return 0;
    if (metric == DIFFERING) {
        fill_gradients(pair, 3, 0.0 * pair->scale);
        return 0;
    }
    weights.ap = times(weights.ap, slope(metric, &points[0], &d[0]));
    weights.an = times(weights.an, slope(metric, &points[1], &d[1]));
    if (swap)
        weights.pn = times(weights.pn, slope(metric, &points[2], &d[2]));
    const int plain = has_plain_slope(metric, &d[0], weights.ap) && has_plain_slope(metric, &d[1], weights.an) &&
                      has_plain_slope(metric, &d[2], weights.pn);
    const ptrdiff_t n_ap = points[0].n, n_an = points[1].n, n_pn = points[2].n;
    ptrdiff_t from = 0, to = n_ap == n_an && n_an == n_pn ? n : 1;
    while (from < n) {
        if (!plain)
            triplet_gradients(metric, pair, points, d, weights, from, to);
        else if (weights.pn != 0.0)
            plain_triplet_gradients(metric, 1, pair, points, weights, from, to);
        else
            plain_triplet_gradients(metric, 0, pair, points, weights, from, to);
        weights = of_long_ones(weights, n_ap == n, n_an == n, n_pn == n);
        from = to;
        to = n;
    }
    return 0;
}

/* V. Balntas et al., doi:10.5244/C.30.119 (2016). */
PAIRWISE(triplet_margin, 3, (margin, p, eps, swap)) {
    const int swaps = swap != 0.0;
    return p == 2.0       ? triplet_of_differences(EUCLIDEAN, pair, margin, p, eps, swaps)
           : p == 1.0     ? triplet_of_differences(MANHATTAN, pair, margin, p, eps, swaps)
           : p == 0.0     ? triplet_of_differences(DIFFERING, pair, margin, p, eps, swaps)
           : p - p == 0.0 ? triplet_of_differences(POWER, pair, margin, p, eps, swaps)
                          : triplet_of_differences(EXTREME, pair, margin, p, eps, swaps);
}

/* ---- cosines ------------------------------------------------------------------------------------------------- */

static double sum_of_products(const REAL *u, const REAL *v, ptrdiff_t n) {
    LF_REDUCE(total, n, 0.0, LF_ADD, sum = DOUBLE_FMA((double)u[i], (double)v[i], sum))
    return total;
}

static double sum_of_scaled_products(const REAL *u, double u_scale, const REAL *v, double v_scale, ptrdiff_t n) {
    LF_REDUCE(total, n, 0.0, LF_ADD, const double y = scaled((double)u[i], u_scale), z = scaled((double)v[i], v_scale);
              sum = DOUBLE_FMA(y, z, sum))
    return total;
}

/* An embedding whose features are multiplied by `scale`, and the sum of the squares of n of them. */
typedef struct {
    const REAL *x;
    ptrdiff_t n;
    double scale, squares;
} VECTOR;

/* Only down: what is added to a norm, or held against it, hides that a small one has vanished. */
static ALWAYS_INLINE VECTOR vector_of(const REAL *x, ptrdiff_t n) {
    VECTOR vector = {x, n, 1.0, sum_of_products(x, x, n)};
    if (vector.squares > GREATEST_SQUARES) {
        vector.scale = rescaling(vector.squares);
        vector.squares = sum_of_scaled_products(x, vector.scale, x, vector.scale, n);
    }
    return vector;
}

/* The cosine of n features, and its derivatives: both * v - u_own * u by u, and alike by v, all of scaled features. */
typedef struct {
    double cosine, both, u_own, v_own;
} COSINE;

/* u.v / (|u| |v|) with the norm |u| = max(sqrt(u.u + added), least), whose derivative is that of the root also where
 * `least` is greater: PyTorch's. An embedding of one feature has it repeated. */
static ALWAYS_INLINE COSINE cosine_of(const VECTOR *u, const VECTOR *v, ptrdiff_t n, double added, double least) {
    const double product = u->scale == 1.0 && v->scale == 1.0
                               ? sum_of_products(u->x, v->x, n)
                               : sum_of_scaled_products(u->x, u->scale, v->x, v->scale, n);
    const double u_squares = u->n == n ? u->squares : u->squares * (double)n,
                 v_squares = v->n == n ? v->squares : v->squares * (double)n;
    const double u_root = __builtin_sqrt(u_squares + added * (u->scale * u->scale)),
                 v_root = __builtin_sqrt(v_squares + added * (v->scale * v->scale));
    const double u_norm = AT_LEAST(u_root, least * u->scale), v_norm = AT_LEAST(v_root, least * v->scale);
    const double both = 1.0 / (u_norm * v_norm), cosine = product / (u_norm * v_norm);
    return (COSINE){cosine, both, u_root > 0.0 ? cosine / (u_norm * u_root) : 0.0,
                    v_root > 0.0 ? cosine / (v_norm * v_root) : 0.0};
}

/* PyTorch adds this to the squared norms, in both precisions. */
#define COSINE_EMBEDDING_EPS ((double)1e-12f)

PAIRWISE(cosine_embedding, 2, (margin)) {
    const ptrdiff_t n = pair->features;
    const VECTOR u = vector_of(pair->embeddings[0], n), v = vector_of(pair->embeddings[1], n);
    const COSINE c = cosine_of(&u, &v, n, COSINE_EMBEDDING_EPS, 0.0);
    const double t = pair->target, z = c.cosine - margin, nan_or_zero = (c.cosine - c.cosine) + (t == t ? 0.0 : t);
    const double value = t == 1.0 ? 1.0 - c.cosine : t == -1.0 ? AT_LEAST(z, 0.0) : nan_or_zero;
    const double by_cosine = t == 1.0 ? -1.0 : t == -1.0 && z >= 0.0 ? 1.0 : 0.0;
    *pair->value = (REAL)value;
    if (!pair->grads[0])
        return 0;
    if (value != value || by_cosine == 0.0) {
        fill_gradients(pair, 2, value == value ? 0.0 * pair->scale : value);
        return 0;
    }
    const double both = by_cosine * pair->scale * c.both, u_own = by_cosine * pair->scale * c.u_own,
                 v_own = by_cosine * pair->scale * c.v_own;
    REAL *by_u = pair->grads[0], *by_v = pair->grads[1];
    if (u.scale == 1.0 && v.scale == 1.0 && ordinary(both) && ordinary(u_own) && ordinary(v_own)) {
        const REAL other = (REAL)both, own_u = (REAL)u_own, own_v = (REAL)v_own;
#pragma omp simd
        for (ptrdiff_t i = 0; i < n; i++) {
            const REAL y = u.x[i], z = v.x[i];
            by_u[i] = FMA(other, z, -(own_u * y));
            by_v[i] = FMA(other, y, -(own_v * z));
        }
    } else {
#pragma omp simd
        for (ptrdiff_t i = 0; i < n; i++) {
            const double y = scaled((double)u.x[i], u.scale), z = scaled((double)v.x[i], v.scale);
            by_u[i] = (REAL)(u.scale * (both * z - u_own * y));
            by_v[i] = (REAL)(v.scale * (both * y - v_own * z));
        }
    }
    return 0;
}

/* The derivatives of a loss of three embeddings by each, as multiples of all of them, of scaled features as in COSINE.
 */
typedef struct {
    double aa, pp, nn, ap, an, pn;
} MIXTURE;

static ALWAYS_INLINE MIXTURE mixture_of(SHARES shares, const COSINE *ap, const COSINE *an, const COSINE *pn) {
    return (MIXTURE){.aa = shares.ap * ap->u_own + shares.an * an->u_own,
                     .pp = shares.ap * ap->v_own + shares.pn * pn->u_own,
                     .nn = shares.an * an->v_own + shares.pn * pn->v_own,
                     .ap = -shares.ap * ap->both,
                     .an = -shares.an * an->both,
                     .pn = -shares.pn * pn->both};
}

/* Features [from, to) of the gradients. */
static ALWAYS_INLINE void mixed_gradients(const PAIR *pair, const VECTOR *a, const VECTOR *p, const VECTOR *n,
                                          MIXTURE m, ptrdiff_t from, ptrdiff_t to) {
    REAL *by_anchor = pair->grads[ANCHOR], *by_positive = pair->grads[POSITIVE], *by_negative = pair->grads[NEGATIVE];
    const REAL *anchor = a->x, *positive = p->x, *negative = n->x;
    const double a_scale = a->scale, p_scale = p->scale, n_scale = n->scale;
    if (a_scale == 1.0 && p_scale == 1.0 && n_scale == 1.0 && ordinary(m.aa) && ordinary(m.pp) && ordinary(m.nn) &&
        ordinary(m.ap) && ordinary(m.an) && ordinary(m.pn)) {
        const REAL aa = (REAL)m.aa, pp = (REAL)m.pp, nn = (REAL)m.nn, ap = (REAL)m.ap, an = (REAL)m.an, pn = (REAL)m.pn;
#pragma omp simd
        for (ptrdiff_t i = from; i < to; i++) {
            const REAL x = anchor[i], y = positive[i], z = negative[i];
            by_anchor[i] = FMA(aa, x, FMA(ap, y, an * z));
            by_positive[i] = FMA(pp, y, FMA(ap, x, pn * z));
            by_negative[i] = FMA(nn, z, FMA(an, x, pn * y));
        }
    } else {
#pragma omp simd
        for (ptrdiff_t i = from; i < to; i++) {
            const double x = scaled((double)anchor[i], a_scale), y = scaled((double)positive[i], p_scale),
                         z = scaled((double)negative[i], n_scale);
            by_anchor[i] = (REAL)(a_scale * (m.aa * x + m.ap * y + m.an * z));
            by_positive[i] = (REAL)(p_scale * (m.ap * x + m.pp * y + m.pn * z));
            by_negative[i] = (REAL)(n_scale * (m.an * x + m.pn * y + m.nn * z));
        }
    }
}

/* The least norm of PyTorch's cosine_similarity. */
#define COSINE_SIMILARITY_EPS 1e-8

static ALWAYS_INLINE int triplet_of_cosines(const PAIR *pair, double margin, int swap) {
    const ptrdiff_t *length = pair->lengths;
    const VECTOR a = vector_of(pair->embeddings[ANCHOR], length[ANCHOR]),
                 p = vector_of(pair->embeddings[POSITIVE], length[POSITIVE]),
                 n = vector_of(pair->embeddings[NEGATIVE], length[NEGATIVE]);
    const ptrdiff_t ap_n = a.n > p.n ? a.n : p.n, an_n = a.n > n.n ? a.n : n.n, pn_n = p.n > n.n ? p.n : n.n;
    const COSINE ap = cosine_of(&a, &p, ap_n, 0.0, COSINE_SIMILARITY_EPS),
                 an = cosine_of(&a, &n, an_n, 0.0, COSINE_SIMILARITY_EPS);
    COSINE pn = {0};
    SHARES shares;
    if (swap)
        pn = cosine_of(&p, &n, pn_n, 0.0, COSINE_SIMILARITY_EPS);
    if (!hinge_of_triplet(pair, margin, swap, 1.0 - ap.cosine, 1.0 - an.cosine, 1.0 - pn.cosine, &shares))
        return 0;
    const ptrdiff_t features = pair->features;
    ptrdiff_t from = 0, to = ap_n == an_n && an_n == pn_n ? features : 1;
    while (from < features) {
        mixed_gradients(pair, &a, &p, &n, mixture_of(shares, &ap, &an, &pn), from, to);
        shares = of_long_ones(shares, ap_n == features, an_n == features, pn_n == features);
        from = to;
        to = features;
    }
    return 0;
}

/* Distances that are no norms: one minus the cosine, or else the square of the Euclidean distance. */
PAIRWISE(triplet_margin_with_distance, 3, (margin, swap, cosine)) {
    return cosine != 0.0 ? triplet_of_cosines(pair, margin, swap != 0.0)
                         : triplet_of_differences(SQUARED, pair, margin, 2.0, 0.0, swap != 0.0);
}

/* ---- contrastive: near where the target is 1, apart by a margin where it is 0 -------------------------------- */

/* R. Hadsell, S. Chopra, Y. LeCun, doi:10.1109/CVPR.2006.100 (2006): of distances d, with h = max(margin - d, 0),
 * target d^2 + (1 - target) h^2, or d and h not squared. d^2 - h^2 is margin (2 d - margin) where h counts. */
static ALWAYS_INLINE POINT contrastive_of_distance(const int squared, REAL d, REAL y, REAL margin, REAL factor) {
    const REAL other = R(1.0) - y, gap = margin - d, h = AT_LEAST(gap, R(0.0));
    const REAL hinge = gap >= R(0.0) ? R(1.0) : R(0.0), nan_or_zero = NAN_OF(d, y);
    const REAL value = squared ? TERM(y, d * d) + TERM(other, h * h) : TERM(y, d) + TERM(other, h);
    const REAL slope = squared ? R(2.0) * (TERM(y, d) - TERM(other, h)) : y - other * hinge;
    const REAL excess = gap > R(0.0) ? R(2.0) * d - margin : d, by = gap > R(0.0) ? margin : d;
    const REAL curvature = squared ? R(2.0) * (y + other * hinge) : R(0.0);
    return (POINT){.value = factor * value + nan_or_zero,
                   .grad = {factor * slope + nan_or_zero, factor * (squared ? by * excess : excess) + nan_or_zero},
                   .hess = {factor * curvature + nan_or_zero, nan_or_zero},
                   .invalid = NONZERO_IF(y * other < R(0.0))}; /* beyond 0 or 1 */
}

ELEMENTWISE(distance_contrastive, (input, target), (margin, factor)) {
    return contrastive_of_distance(0, input, target, margin, factor);
}

ELEMENTWISE(distance_contrastive_squared, (input, target), (margin, factor)) {
    return contrastive_of_distance(1, input, target, margin, factor);
}

PAIRWISE(contrastive, 2, (margin, factor, squared)) {
    const POINTS points = {pair->embeddings[0], pair->embeddings[1], pair->features, 0.0, 2.0};
    const DISTANCE d = distance(EUCLIDEAN, &points);
    const double y = pair->target, other = 1.0 - y, gap = margin - d.value, h = AT_LEAST(gap, 0.0);
    const double square = d.scale == 1.0 ? d.sum : d.value * d.value;
    const double value =
        factor * (squared != 0.0 ? times(y, square) + times(other, h * h) : times(y, d.value) + times(other, h));
    const int invalid = y < 0.0 || y > 1.0;
    *pair->value = (REAL)value;
    if (pair->target_grad) {
        const double excess = gap > 0.0 ? 2.0 * d.value - margin : d.value;
        const double by_target = squared == 0.0 ? excess : gap > 0.0 ? margin * excess : square;
        *pair->target_grad = (REAL)(value == value ? pair->scale * factor * by_target : value);
    }
    if (!pair->grads[0])
        return invalid;
    if (value != value) {
        fill_gradients(pair, 2, value);
        return invalid;
    }
    /* the gradient is a multiple of the differences and one of their direction */
    const double scale = pair->scale * factor, slope_of_d = slope(EUCLIDEAN, &points, &d);
    const double of_difference = squared != 0.0 ? 2.0 * scale * y : 0.0;
    const double of_direction =
        slope_of_d * scale * (squared != 0.0 ? -2.0 * other * h : y - (gap >= 0.0 ? other : 0.0));
    const double weight = of_difference + of_direction;
    REAL *by_u = pair->grads[0], *by_v = pair->grads[1];
    const POINTS p = points;
    if (weight == 0.0 && (d.scale == 1.0 || of_difference == 0.0))
        fill_gradients(pair, 2, 0.0);
    else if (has_plain_slope(EUCLIDEAN, &d, weight)) {
#pragma omp simd
        for (ptrdiff_t i = 0; i < p.n; i++) {
            const REAL x = plain_slope(EUCLIDEAN, &p, i, weight);
            by_u[i] = x;
            by_v[i] = -x;
        }
    } else {
#pragma omp simd
        for (ptrdiff_t i = 0; i < p.n; i++) {
            const double x =
                times(of_difference, difference(&p, i)) + times(of_direction, direction(EUCLIDEAN, &p, i, &d));
            by_u[i] = (REAL)x;
            by_v[i] = (REAL)-x;
        }
    }
    return invalid;
}

#endif
