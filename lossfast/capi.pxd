# The C interface for Cython: `from lossfast.capi cimport lossfast_import, …`; include/lossfast.h says what each does.
cdef extern from "lossfast.h":
    enum:
        LOSSFAST_ABI
        LOSSFAST_ARRAYS

    ctypedef struct lossfast_loss:
        int arrays

    int lossfast_import() except -1
    int lossfast_bind(lossfast_loss *loss, object given, const char *curvature) except -1
    int lossfast_compute_f32(
        const lossfast_loss *loss, Py_ssize_t n, const float *const *arrays, double *sum, float *value,
        float *const *grads, float *const *hesses
    ) noexcept nogil
    int lossfast_compute_f64(
        const lossfast_loss *loss, Py_ssize_t n, const double *const *arrays, double *sum, double *value,
        double *const *grads, double *const *hesses
    ) noexcept nogil
