# cython: language_level=3, boundscheck=False
"""An extension as somebody else would write it: the losses of groups of elements, computed without the GIL."""

from lossfast.capi cimport lossfast_bind, lossfast_compute_f64, lossfast_import, lossfast_loss

lossfast_import()


cdef class Groups:
    """The loss of each group of an array, [starts[k], starts[k + 1])."""

    cdef lossfast_loss loss

    def __init__(self, loss, str curvature="exact"):
        lossfast_bind(&self.loss, loss, curvature.encode())

    def compute(
        self, const double[::1] input, const double[::1] target, const Py_ssize_t[::1] starts, double[::1] sums,
        double[::1] grad
    ):
        """Write the sum of the losses of each group, and the gradients by the input of all."""
        cdef Py_ssize_t k
        cdef const double *arrays[2]
        cdef double *grads[2]
        with nogil:
            for k in range(sums.shape[0]):
                arrays[0], arrays[1] = &input[starts[k]], &target[starts[k]]
                grads[0], grads[1] = &grad[starts[k]], NULL
                lossfast_compute_f64(&self.loss, starts[k + 1] - starts[k], arrays, &sums[k], NULL, grads, NULL)
