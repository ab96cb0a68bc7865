/* A caller's own compiled function as a loop of the elementwise driver. */
#ifndef LF_COMPILED_H
#define LF_COMPILED_H

#include "abi.h"

/* What lf_settings.context of such a loop points to. */
typedef struct {
    void (*function)(void); /* of one of the types below */
    void *user_data;
} lf_compiled;

#define LF_COMPILED_LOOPS(suffix, REAL)                                                                                \
    typedef void (*lf_compiled_##suffix)(ptrdiff_t n, const REAL *input, const REAL *target, REAL *value, REAL *grad,  \
                                         void *user_data);                                                             \
    static int lf_compiled_value_##suffix(ptrdiff_t n, const void *const *operands, const lf_settings *settings,       \
                                          void *const *outputs) {                                                      \
        const lf_compiled *own = settings->context;                                                                    \
        ((lf_compiled_##suffix)own->function)(n, operands[0], operands[1], outputs[LF_OUT_VALUE], NULL,                \
                                              own->user_data);                                                         \
        return 0;                                                                                                      \
    }                                                                                                                  \
    static int lf_compiled_value_grad_##suffix(ptrdiff_t n, const void *const *operands, const lf_settings *settings,  \
                                               void *const *outputs) {                                                 \
        const lf_compiled *own = settings->context;                                                                    \
        REAL *grad = outputs[LF_OUT_GRAD], scale = (REAL)settings->scale;                                              \
        ((lf_compiled_##suffix)own->function)(n, operands[0], operands[1], outputs[LF_OUT_VALUE], grad,                \
                                              own->user_data);                                                         \
        for (ptrdiff_t i = 0; i < n; i++)                                                                              \
            grad[i] *= scale;                                                                                          \
        return 0;                                                                                                      \
    }                                                                                                                  \
    static const lf_elementwise lf_compiled_kernel_##suffix = {                                                        \
        .name = "compiled",                                                                                            \
        .operands = 2,                                                                                                 \
        .loops = {[LF_VALUE] = lf_compiled_value_##suffix, [LF_VALUE_GRAD] = lf_compiled_value_grad_##suffix}};

LF_COMPILED_LOOPS(f32, float)
LF_COMPILED_LOOPS(f64, double)

#endif
