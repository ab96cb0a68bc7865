/* The accuracy of vmath.h against libm: see usage() below. Compile it with the flags of one instruction set and one
 * LF_REAL_BITS. float32 is judged by double and can be exhausted; float64 is judged by long double and sampled, besides
 * a table of hard cases from mpmath. */
#include <stdio.h>
#include <stdlib.h>

#include "real.h"

#include "vmath.h"

#if LF_REAL_BITS == 32
typedef double REF;
#define REF_(name) name
#define DTYPE "float32"
#define BOUND(name) LF_MAX_ULP_##name##_F32
#define MANTISSA_BITS 23
#define MIN_EXPONENT (-126)
#define MAX_EXPONENT 127
#else
typedef long double REF;
#define REF_(name) name##l
#define DTYPE "float64"
#define BOUND(name) LF_MAX_ULP_##name##_F64
#define MANTISSA_BITS 52
#define MIN_EXPONENT (-1022)
#define MAX_EXPONENT 1023
#endif

enum { BLOCK = 4096 };

/* The references. Beyond the cutoffs the answer is known far below a thousandth of a ULP, and libm need not be asked:
 * that is most of the float32 numbers. */
#if LF_REAL_BITS == 32
static const REF LARGE = 110, TINY = 0x1p-36;
#else
static const REF LARGE = 800, TINY = 0x1p-70;
#endif

static REF ref_exp(REF x) {
    return x > LARGE ? (REF)INFINITY : x < -LARGE ? 0 : REF_(fabs)(x) < TINY ? 1 : REF_(exp)(x);
}

static REF ref_log(REF x) { return x < 0 ? (REF)NAN : REF_(log)(x); }

static REF ref_log1p(REF x) { return x < -1 ? (REF)NAN : REF_(fabs)(x) < TINY ? x : REF_(log1p)(x); }

static REF ref_expm1(REF x) {
    return x > LARGE ? (REF)INFINITY : x < -LARGE ? -1 : REF_(fabs)(x) < TINY ? x : REF_(expm1)(x);
}

static REF ref_tanh(REF x) {
    return REF_(fabs)(x) > LARGE ? REF_(copysign)(1, x) : REF_(fabs)(x) < TINY ? x : REF_(tanh)(x);
}

static REF ref_sigmoid(REF x) {
    REF e = ref_exp(-REF_(fabs)(x));
    return (x < 0 ? e : 1) / (1 + e);
}

static REF ref_softplus(REF x) {
    if (x > LARGE)
        return x;
    REF e = ref_exp(-REF_(fabs)(x));
    return (x > 0 ? x : 0) + (e < TINY ? e : REF_(log1p)(e));
}

static REF ref_sigmoid_neg(REF x) { return ref_sigmoid(-x); }

static REF ref_softplus_neg(REF x) { return ref_softplus(-x); }

/* name, expression, reference, bound, name and sign of the argument in the table of hard cases, domain, and two ranges
 * to sample uniformly */
#define FUNCTIONS(X)                                                                                                   \
    X(exp, lf_exp(x), ref_exp, EXP, "exp", 1, -INFINITY, INFINITY, -750, 715, -2, 2)                                   \
    X(exp_nonpositive, lf_exp_nonpositive(x), ref_exp, EXP_NONPOSITIVE, "exp", 1, -INFINITY, 0, -750, 0, -2, 0)        \
    X(log, lf_log(x), ref_log, LOG, "log", 1, -INFINITY, INFINITY, 0, 1000, 0.5, 2)                                    \
    X(log1p, lf_log1p(x), ref_log1p, LOG1P, "log1p", 1, -INFINITY, INFINITY, -1, 100, -1, 2)                           \
    X(log1p_unit, lf_log1p_unit(x), ref_log1p, LOG1P_UNIT, "log1p", 1, 0, 1, 0, 1, 0, 0.1)                             \
    X(expm1, lf_expm1(x), ref_expm1, EXPM1, "expm1", 1, -INFINITY, INFINITY, -45, 715, -2, 2)                          \
    X(tanh, lf_tanh(x), ref_tanh, TANH, "tanh", 1, -INFINITY, INFINITY, -21, 21, -2, 2)                                \
    X(sigmoid, lf_sigmoid(x), ref_sigmoid, SIGMOID, "sigmoid", 1, -INFINITY, INFINITY, -750, 40, -5, 5)                \
    X(softplus, lf_softplus(x), ref_softplus, SOFTPLUS, "softplus", 1, -INFINITY, INFINITY, -750, 40, -5, 5)           \
    X(logistic_softplus, lf_logistic(x).softplus, ref_softplus, LOGISTIC, "softplus", 1, -INFINITY, INFINITY, -750,    \
      40, -5, 5)                                                                                                       \
    X(logistic_softplus_neg, lf_logistic(x).softplus_neg, ref_softplus_neg, LOGISTIC, "softplus", -1, -INFINITY,       \
      INFINITY, -40, 750, -5, 5)                                                                                       \
    X(logistic_sigmoid, lf_logistic(x).sigmoid, ref_sigmoid, LOGISTIC, "sigmoid", 1, -INFINITY, INFINITY, -750, 40,    \
      -5, 5)                                                                                                           \
    X(logistic_sigmoid_neg, lf_logistic(x).sigmoid_neg, ref_sigmoid_neg, LOGISTIC, "sigmoid", -1, -INFINITY, INFINITY, \
      -40, 750, -5, 5)

typedef struct {
    const char *name;
    void (*run)(void);
    REF (*reference)(REF x);
    double bound;
    const char *table;
    int sign;
    double low, high, wide_low, wide_high, narrow_low, narrow_high;
} FUNCTION;

static REAL arguments[BLOCK], results[BLOCK];
static size_t filled;
static double worst;
static REAL worst_argument;

/* The distance of y from r in units of the spacing of REAL at r. */
static double ulp_error(REAL y, REF r) {
    if (isnan(r) || isnan(y))
        return isnan(r) && isnan(y) ? 0 : (double)INFINITY;
    if (isinf(r) || r == 0)
        return (REF)y == r && !signbit(y) == !signbit(r) ? 0 : (double)INFINITY;
    REF overflow = REF_(ldexp)(1, MAX_EXPONENT + 1), value = y;
    if (isinf(y)) {
        /* Right where the rounded result is infinite; otherwise the next number after the largest. */
        if ((y > 0) == (r > 0) && REF_(fabs)(r) >= overflow - REF_(ldexp)(1, MAX_EXPONENT - MANTISSA_BITS - 1))
            return 0;
        value = REF_(copysign)(overflow, y);
    }
#if LF_REAL_BITS == 32
    uint64_t bits;
    memcpy(&bits, &r, sizeof bits);
    int exponent = (int)(bits >> 52 & 0x7ff) - 1023;
    exponent = exponent < MIN_EXPONENT ? MIN_EXPONENT : exponent;
    bits = (uint64_t)(MANTISSA_BITS - exponent + 1023) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return fabs(value - r) * scale;
#else
    int exponent = ilogbl(r);
    exponent = exponent < MIN_EXPONENT ? MIN_EXPONENT : exponent;
    return (double)ldexpl(fabsl(value - r), MANTISSA_BITS - exponent);
#endif
}

static void judge(REAL x, REAL y, REF r) {
    double error = ulp_error(y, r);
    if (error > worst) {
        worst = error;
        worst_argument = x;
    }
}

/* Evaluate and judge the arguments collected so far. */
static void flush(const FUNCTION *function) {
    if (!filled)
        return;
    function->run();
    /* Every function here is monotonic: equal references at both ends of a sorted block are equal between. Unsorted
     * blocks lose nothing but the shortcut: they fall to the loop unless all results agree with the reference. */
    REF first = function->reference(arguments[0]), last = function->reference(arguments[filled - 1]);
    REAL flat = (REAL)first;
    int sorted = 1, equal = 1;
    for (size_t i = 1; i < filled; i++)
        sorted &= bits_of(arguments[i]) > bits_of(arguments[i - 1]);
    for (size_t i = 0; i < filled; i++)
        equal &= bits_of(results[i]) == bits_of(flat);
    if (!(sorted && equal && first == last && (REF)flat == first))
        for (size_t i = 0; i < filled; i++)
            judge(arguments[i], results[i], function->reference(arguments[i]));
    filled = 0;
}

static void add(const FUNCTION *function, REAL x) {
    if ((double)x < function->low || (double)x > function->high)
        return;
    arguments[filled++] = x;
    if (filled == BLOCK)
        flush(function);
}

/* x and its neighbours, of both signs. */
static void add_around(const FUNCTION *function, REAL x) {
    for (int offset = -4; offset <= 4; offset++) {
        REAL near = real_of(bits_of(x) + (UREAL)offset);
        add(function, near);
        add(function, -near);
    }
}

static void add_special(const FUNCTION *function) {
    const UREAL infinity = bits_of(REAL_INF), payloads[] = {1, 2, 0x1ff, 0x155555, 0x200000, 0x3fffff};
    add(function, R(0.0));
    add(function, R(-0.0));
    add_around(function, real_of(infinity));
    add_around(function, real_of(bits_of(REAL_NAN) + 4));
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        add(function, real_of(infinity | payloads[i]));
        add(function, real_of((infinity | payloads[i]) ^ bits_of(R(-0.0))));
        add(function, real_of(bits_of(REAL_NAN) | payloads[i]));
    }
    for (int exponent = MIN_EXPONENT - MANTISSA_BITS; exponent <= MAX_EXPONENT; exponent++)
        for (int step = 4; step < 8; step++)
            add_around(function, (REAL)REF_(ldexp)((REF)step / 4, exponent));
    /* Where the reduction turns to the next n, and where results overflow and underflow. */
    for (int n = 0; n <= 1100; n++) {
        add_around(function, (REAL)(n * REF_(log)(2)));
        add_around(function, (REAL)((n + (REF)0.5) * REF_(log)(2)));
        add_around(function, (REAL)(n + (REF)0.5) / 2);
    }
    const REF cutoffs[] = {(REF)2 / 3, (REF)4 / 3, REF_(sqrt)(2), REF_(sqrt)((REF)0.5), REF_(exp)(1), (REF)0.1};
    for (size_t i = 0; i < sizeof cutoffs / sizeof *cutoffs; i++)
        add_around(function, (REAL)cutoffs[i]);
    flush(function);
}

/* G. Marsaglia, doi:10.18637/jss.v008.i14, multiplied as by S. Vigna, doi:10.1145/2845077: xorshift64*. */
static uint64_t random_state;

static uint64_t random_bits(void) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1du;
}

static double random_between(double low, double high) {
    return low + (high - low) * ((double)(random_bits() >> 11) * 0x1p-53);
}

static void add_samples(const FUNCTION *function, uint64_t samples) {
    random_state = 0x9e3779b97f4a7c15u;
    for (uint64_t i = 0; i < samples; i++) {
        /* The upper bits are the better ones. */
        UREAL pattern = (UREAL)(random_bits() >> (64 - LF_REAL_BITS));
        add(function, i % 3 == 0   ? real_of(pattern)
                      : i % 3 == 1 ? (REAL)random_between(function->wide_low, function->wide_high)
                                   : (REAL)random_between(function->narrow_low, function->narrow_high));
    }
    flush(function);
}

static void add_all(const FUNCTION *function, uint64_t stride) {
    for (uint64_t pattern = 0; pattern <= UINT32_MAX; pattern += stride)
        add(function, real_of((UREAL)pattern));
    flush(function);
}

/* Lines of: function, argument, high, low, exponent; the reference is (high + low) 2^exponent. */
static void add_hard_cases(const FUNCTION *function, FILE *file) {
    char name[64];
    double argument, high, low;
    int exponent;
    rewind(file);
    while (fscanf(file, "%63s %la %la %la %d", name, &argument, &high, &low, &exponent) == 5) {
        argument *= function->sign;
        if (strcmp(name, function->table) || argument < function->low || argument > function->high)
            continue;
        for (size_t i = 0; i < BLOCK; i++)
            arguments[i] = (REAL)argument;
        function->run();
        judge(arguments[0], results[0], REF_(ldexp)((REF)high + (REF)low, exponent));
    }
    if (!feof(file)) {
        fputs("check_vmath: the table of hard cases cannot be read\n", stderr);
        exit(2);
    }
}

#define DEFINE_RUN(name, expression, ...)                                                                              \
    static void run_##name(void) {                                                                                     \
        for (size_t i = 0; i < BLOCK; i++) {                                                                           \
            REAL x = arguments[i];                                                                                     \
            results[i] = expression;                                                                                   \
        }                                                                                                              \
    }
FUNCTIONS(DEFINE_RUN)

#define ENTRY(name, expression, reference, bound, ...) {#name, run_##name, reference, BOUND(bound), __VA_ARGS__},
static const FUNCTION functions[] = {FUNCTIONS(ENTRY)};

static int usage(void) {
    fputs("usage: check_vmath [--function NAME] [--stride K] [--samples N] [--hard FILE]\n"
          "\n"
          "Compare the functions of vmath.h with libm and print a line each:\n"
          "    function dtype worst_ulp argument bound ok|FAIL\n"
          "The exit code is 1 if a bound is broken. Special and critical arguments are always tried.\n"
          "\n"
          "--function NAME  only this function\n"
          "--stride K       float32: every K-th of the 2^32 arguments (default 1: all)\n"
          "--samples N      float64: N arguments, random bits and uniform in two ranges (default 10000000)\n"
          "--hard FILE      float64: the references of this table too\n",
          stderr);
    return 2;
}

int main(int count, char **options) {
    const char *only = NULL;
    FILE *hard = NULL;
    uint64_t stride = 1, samples = 10000000;
    for (int i = 1; i < count; i += 2) {
        char *end = "";
        if (i + 1 == count)
            return usage();
        if (!strcmp(options[i], "--function"))
            only = options[i + 1];
        else if (!strcmp(options[i], "--stride"))
            stride = strtoull(options[i + 1], &end, 10);
        else if (!strcmp(options[i], "--samples"))
            samples = strtoull(options[i + 1], &end, 10);
        else if (!strcmp(options[i], "--hard")) {
            hard = fopen(options[i + 1], "r");
            if (!hard) {
                perror(options[i + 1]);
                return 2;
            }
        } else
            return usage();
        if (*end || !stride)
            return usage();
    }
    int found = 0, failed = 0;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        const FUNCTION *function = &functions[i];
        if (only && strcmp(only, function->name))
            continue;
        found = 1;
        worst = 0;
        worst_argument = 0;
        add_special(function);
        if (LF_REAL_BITS == 32)
            add_all(function, stride);
        else
            add_samples(function, samples);
        if (LF_REAL_BITS == 64 && hard)
            add_hard_cases(function, hard);
        int ok = worst <= function->bound;
        failed |= !ok;
        printf("%s " DTYPE " %.4f %a %.2f %s\n", function->name, worst, (double)worst_argument, function->bound,
               ok ? "ok" : "FAIL");
        fflush(stdout);
    }
    if (hard)
        fclose(hard);
    return found ? failed : usage();
}
