/* The elementwise losses for other extensions: value, gradient and Hessian of n elements, without the GIL.
 *
 *     lossfast_loss loss;
 *     if (lossfast_import() < 0 || lossfast_bind(&loss, object, "exact") < 0)    with the GIL; a Python error is set
 *         return NULL;
 *     double sum;
 *     const double *arrays[] = {input, target};
 *     double *grads[] = {grad, NULL};
 *     invalid = lossfast_compute_f64(&loss, n, arrays, &sum, NULL, grads, NULL);   in any thread, without it
 *
 * `object` is a loss as Python makes it, such as lossfast.HuberLoss(delta=2.0, reduction="sum"): names, defaults and
 * checks of parameters are those of Python. `lossfast.get_include()` says where this file is; nothing is linked. */
#ifndef LOSSFAST_H
#define LOSSFAST_H

#include <Python.h>
#include <stddef.h>

/* Of what is declared here; lossfast_import refuses a library of another one. */
#define LOSSFAST_ABI 1

/* No loss has more. */
enum { LOSSFAST_ARRAYS = 4, LOSSFAST_PARAMETERS = 4 };

/* A loss with its parameters and its curvature: a value, to be copied and shared between threads as one likes. */
typedef struct {
    int arrays; /* that it takes, in the order of the Python call */
    /* the rest is lossfast's own */
    int kernel, curvature, averages;
    double floors[2], parameters[LOSSFAST_PARAMETERS];
} lossfast_loss;

typedef struct {
    int abi;
    int (*bind)(lossfast_loss *loss, PyObject *object, const char *curvature);
    int (*compute_f32)(const lossfast_loss *loss, ptrdiff_t n, const float *const *arrays, double *sum, float *value,
                       float *const *grads, float *const *hesses);
    int (*compute_f64)(const lossfast_loss *loss, ptrdiff_t n, const double *const *arrays, double *sum, double *value,
                       double *const *grads, double *const *hesses);
} lossfast_functions;

/* Set in each source file by its own call of lossfast_import. */
static const lossfast_functions *lossfast_imported;

/* Import the library; -1 with an ImportError if that fails. Once in each source file that uses it, with the GIL. */
static inline int lossfast_import(void) {
    const lossfast_functions *found =
        (const lossfast_functions *)PyCapsule_Import("lossfast._drivers.elementwise.C_API", 0);
    if (!found)
        return -1;
    if (found->abi != LOSSFAST_ABI) {
        PyErr_Format(PyExc_ImportError,
                     "this module was compiled for version %d of lossfast's C interface; the one installed is %d: "
                     "compile it again",
                     LOSSFAST_ABI, found->abi);
        return -1;
    }
    lossfast_imported = found;
    return 0;
}

/* Set `loss` to what a Python object of an elementwise loss computes, with Hessians of that curvature ("exact", "psd",
 * "fisher", "majorizer", "unit"); -1 with a Python error if it is none, has arrays among its parameters, has a
 * reduction other than "sum" or "none", or does not define the curvature. The object is not needed afterwards. With the
 * GIL. */
static inline int lossfast_bind(lossfast_loss *loss, PyObject *object, const char *curvature) {
    return lossfast_imported->bind(loss, object, curvature);
}

/* Compute n elements, 0 or more, on the calling thread. Results have the bits of the Python object's.
 *
 *     arrays   the loss's, `loss->arrays` of them, each of n elements side by side
 *     sum      the sum of the losses, added up in double, or NULL
 *     value    n losses, or NULL
 *     grads    the gradients by each array that has one in Python, NULL for those that are not wanted; or NULL
 *     hesses   the diagonals of the Hessians, likewise
 *
 * An array of results may be one of the arrays itself. A loss that Python averages over labels,
 * MultiLabelSoftMarginLoss, takes the n labels of one sample: `sum` and derivatives are those of the average, `value`
 * has its terms.
 *
 * Returns 1 if an element was outside of the domain of the loss, where Python raises ValueError; else 0. */
static inline int lossfast_compute_f32(const lossfast_loss *loss, ptrdiff_t n, const float *const *arrays, double *sum,
                                       float *value, float *const *grads, float *const *hesses) {
    return lossfast_imported->compute_f32(loss, n, arrays, sum, value, grads, hesses);
}

static inline int lossfast_compute_f64(const lossfast_loss *loss, ptrdiff_t n, const double *const *arrays, double *sum,
                                       double *value, double *const *grads, double *const *hesses) {
    return lossfast_imported->compute_f64(loss, n, arrays, sum, value, grads, hesses);
}

#endif
