# What a driver needs that makes the logits itself: a call, the loss, and the computation of some rows.
cimport numpy as cnp
from libc.stdint cimport int64_t

from lossfast._drivers.runtime cimport (
    Factors,
    Memory,
    Space,
    lf_array,
    lf_row_settings,
    lf_rowwise,
    lf_table,
)

cdef struct Call:
    Space space  # of the rows
    const lf_table *table
    const lf_rowwise *kernel
    lf_row_settings settings
    Py_ssize_t rows
    Py_ssize_t itemsize
    double scale
    lf_array tables[5]  # LF_ROW_TABLES; the row axes
    Py_ssize_t class_stride[5]  # bytes
    bint used[5]
    bint in_place[5]  # a tile of it can be handed to the kernel as it stands
    bint has_labels  # one for every row …
    bint has_lists  # … or a list of them, which is a table
    lf_array labels
    Py_ssize_t list_stride  # bytes
    bint ignoring
    int64_t ignore_index
    Factors factors
    bint value_wanted
    lf_array value
    bint in_lanes
    bint crossing  # a tile may go on from one run of the last row axis into the next
    Py_ssize_t tile  # rows of one block
    Py_ssize_t tiles_per_run
    Py_ssize_t blocks
    Memory memory
    double *partials
    Py_ssize_t labels_at  # in the scratch memory of a thread; before them the numbers of a row each
    Py_ssize_t tables_at
    Py_ssize_t kernel_scratch_at
    Py_ssize_t draft_at
    Py_ssize_t draft_bytes
    bint side_by_side  # the kernel takes all rows of a tile at once
    bint draft_is_grad  # its rows are whole vectors
    bint around_cache  # gradients are written so


cdef Py_ssize_t lay_out(Call *call) noexcept
cdef void compute(Call *call, Py_ssize_t start, Py_ssize_t n, double *partial, char *scratch) noexcept nogil


cdef class Rowwise:
    cdef int index, most_axes
    cdef double parameters[4]  # LF_MAX_PARAMETERS
    cdef bint lists, probabilities, ignoring, counting
    cdef int64_t ignore_index
    cdef cnp.ndarray single, double_  # the factors of the classes in both precisions, contiguous
    cdef bint factors_in_mean
    cdef int reduction
    cdef readonly str name

    cdef void bind(self, Call *call, Py_ssize_t classes, int itemsize) noexcept
    cdef Py_ssize_t look(self, cnp.ndarray labels, Py_ssize_t classes, object row_weight, double *weight) except -2
    cdef int prepare(self, cnp.ndarray x, cnp.ndarray y, Call *call) except -1
