"""The kernel tables, the instruction set in use, threads, and how a NumPy array is described to a kernel."""

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport fabs, isfinite
from libc.string cimport strcpy

import numpy as np

cnp.import_array()

cdef extern from "buffers.h" nogil:
    enum:
        LF_BUFFER_BYTES
    void *lf_buffer_malloc(void *context, size_t size)
    void *lf_buffer_calloc(void *context, size_t count, size_t size)
    void *lf_buffer_realloc(void *context, void *memory, size_t size)
    void lf_buffer_free(void *context, void *memory, size_t size)
    void lf_set_kept_bytes(size_t most)
    size_t lf_most_kept_bytes()
    size_t lf_kept_bytes()

cdef extern from "cpu.h" nogil:
    int lf_isa_count()
    const char *lf_isa_name(int isa)
    int lf_isa_available(int isa)
    int lf_isa_active()
    void lf_isa_activate(int isa)
    const lf_table *lf_table_f32()
    const lf_table *lf_table_f64()

cdef extern from "parallel.h" nogil:
    int lf_threads()
    void lf_set_threads(int n)
    void lf_set_thresholds(double awake_nanoseconds, double asleep_nanoseconds)
    int lf_team(double serial_nanoseconds, Py_ssize_t blocks)
    void lf_run(int threads, Py_ssize_t blocks, lf_task task, void *context)
    int lf_openmp_version()


# ---- instruction sets ----------------------------------------------------------------------------------------------


def built_isas():
    """Names of the instruction sets that this build has kernels for, the oldest first."""
    return [lf_isa_name(isa).decode() for isa in range(lf_isa_count())]


def available_isas():
    """Names of those that this processor can run."""
    return [lf_isa_name(isa).decode() for isa in range(lf_isa_count()) if lf_isa_available(isa)]


def active_isa():
    """Name of the one in use."""
    return lf_isa_name(lf_isa_active()).decode()


def use_isa(str name):
    """Compute every later call with this instruction set."""
    if name not in available_isas():
        raise ValueError(
            f"the instruction set {name!r} is not available here: choose one of {', '.join(available_isas())}"
        )
    lf_isa_activate(built_isas().index(name))


cdef const lf_table *table_of(int itemsize) noexcept nogil:
    return lf_table_f32() if itemsize == 4 else lf_table_f64()


def kernels():
    """What the kernel table holds: name to (number of operands, number of parameters) by loop shape."""
    cdef const lf_table *table = table_of(8)
    return {
        "elementwise": {
            table.elementwise[i].name.decode(): (table.elementwise[i].operands, table.elementwise[i].parameters)
            for i in range(table.elementwise_count)
        },
        "rowwise": {table.rowwise[i].name.decode(): () for i in range(table.rowwise_count)},
        "pairwise": {
            table.pairwise[i].name.decode(): (table.pairwise[i].embeddings, table.pairwise[i].parameters)
            for i in range(table.pairwise_count)
        },
        "maps": {table.maps[i].name.decode(): () for i in range(table.map_count)},
    }


cdef int reduction_code(str reduction) except -1:
    return {"none": NONE, "mean": MEAN, "sum": SUM, "batchmean": BATCHMEAN}[reduction]


# ---- threads -------------------------------------------------------------------------------------------------------


def thread_count():
    return lf_threads()


def set_thread_count(int n):
    lf_set_threads(n)


def set_thresholds(double awake_nanoseconds, double asleep_nanoseconds):
    """Work below which a call stays serial: with helpers awake, and with helpers asleep (tests, measurements)."""
    lf_set_thresholds(awake_nanoseconds, asleep_nanoseconds)


def openmp_version():
    """The OpenMP specification's date that the build knows, 0 without OpenMP."""
    return lf_openmp_version()


cdef int team(double serial_nanoseconds, Py_ssize_t blocks) noexcept nogil:
    return lf_team(serial_nanoseconds, blocks)


cdef void run(int threads, Py_ssize_t blocks, lf_task task, void *context) noexcept nogil:
    lf_run(threads, blocks, task, context)


cdef double total(const double *partials, Py_ssize_t count) noexcept nogil:
    """In block order, whoever computed the blocks, with the rounding errors added up beside (Neumaier 1974)."""
    cdef double result = 0.0, error = 0.0, partial, rounded
    cdef Py_ssize_t i
    for i in range(count):
        partial = partials[i]
        rounded = result + partial
        if fabs(result) >= fabs(partial):
            error += (result - rounded) + partial
        else:
            error += (partial - rounded) + result
        result = rounded
    return result + error if isfinite(error) else result


# ---- results -------------------------------------------------------------------------------------------------------

cdef cnp.PyDataMem_Handler BUFFERS
strcpy(BUFFERS.name, "lossfast")
BUFFERS.version = 1
BUFFERS.allocator.ctx = NULL
BUFFERS.allocator.malloc = lf_buffer_malloc
BUFFERS.allocator.calloc = lf_buffer_calloc
BUFFERS.allocator.realloc = lf_buffer_realloc
BUFFERS.allocator.free = lf_buffer_free
cdef object HANDLER = PyCapsule_New(&BUFFERS, "mem_handler", NULL)


cdef cnp.ndarray empty(int ndim, cnp.npy_intp *dims, int type):
    """As PyArray_EMPTY in C order; great ones begin on a cache line, in memory of earlier results if there is some."""
    cdef double bytes = 8.0  # float64 at most
    cdef int axis
    for axis in range(ndim):
        bytes *= dims[axis]
    if bytes < LF_BUFFER_BYTES:
        return cnp.PyArray_EMPTY(ndim, dims, type, 0)
    previous = cnp.PyDataMem_SetHandler(HANDLER)
    try:
        return cnp.PyArray_EMPTY(ndim, dims, type, 0)
    finally:
        cnp.PyDataMem_SetHandler(previous)


cdef inline bint disjoint(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two C-contiguous arrays share no byte."""
    cdef const char *start = <const char *> cnp.PyArray_DATA(a)
    cdef const char *other = <const char *> cnp.PyArray_DATA(b)
    return start + cnp.PyArray_NBYTES(a) <= other or other + cnp.PyArray_NBYTES(b) <= start


cdef cnp.ndarray result_like(cnp.ndarray like, object out, tuple arrays):
    """Where the derivative by a C-contiguous array goes: to `out`, or to a fresh array where that is None.

    None if `out` is not as plain as the call, whose `arrays` it must not share memory with.
    """
    cdef cnp.ndarray own
    cdef int axis
    if out is None:
        return empty(cnp.PyArray_NDIM(like), cnp.PyArray_DIMS(like), cnp.PyArray_TYPE(like))
    if type(out) is not cnp.ndarray:
        return None
    own = <cnp.ndarray> out
    if (
        cnp.PyArray_TYPE(own) != cnp.PyArray_TYPE(like)
        or not cnp.PyArray_ISCARRAY(own)
        or cnp.PyArray_NDIM(own) != cnp.PyArray_NDIM(like)
    ):
        return None
    for axis in range(cnp.PyArray_NDIM(like)):
        if cnp.PyArray_DIM(own, axis) != cnp.PyArray_DIM(like, axis):
            return None
    for array in arrays:
        if not disjoint(own, <cnp.ndarray> array):
            return None
    return own


def empty_like(cnp.ndarray array, dtype):
    """As np.empty_like, likewise."""
    if cnp.PyArray_NBYTES(array) < LF_BUFFER_BYTES:
        return np.empty_like(array, dtype=dtype, subok=False)
    previous = cnp.PyDataMem_SetHandler(HANDLER)
    try:
        return np.empty_like(array, dtype=dtype, subok=False)
    finally:
        cnp.PyDataMem_SetHandler(previous)


def set_kept_bytes(size_t most):
    lf_set_kept_bytes(most)


def kept_bytes():
    """Bytes of freed results that are kept now, and how many may be."""
    return lf_kept_bytes(), lf_most_kept_bytes()


# ---- arrays --------------------------------------------------------------------------------------------------------

cdef dict KINDS = {
    ("b", 1): LF_BOOL,
    ("i", 1): LF_INT8,
    ("u", 1): LF_UINT8,
    ("i", 2): LF_INT16,
    ("u", 2): LF_UINT16,
    ("i", 4): LF_INT32,
    ("u", 4): LF_UINT32,
    ("i", 8): LF_INT64,
    ("u", 8): LF_UINT64,
    ("f", 2): LF_FLOAT16,
    ("f", 4): LF_FLOAT32,
    ("f", 8): LF_FLOAT64,
}


cdef int kind_of(cnp.dtype dtype) except -1:
    """The kind of a dtype, LF_KINDS for one that the kernels do not read."""
    if dtype.type_num >= 256:  # a user-defined type: ml_dtypes
        return LF_BFLOAT16 if dtype.name == "bfloat16" else LF_KINDS
    return KINDS.get((chr(dtype.kind), dtype.itemsize), LF_KINDS)  # a char to Cython


def readable(dtype):
    """Whether the kernels convert this dtype block by block."""
    return kind_of(dtype) != LF_KINDS


cdef int describe_frames(Frames *described, cnp.ndarray array, int itemsize, bint batch_first) except -1:
    """Fill in frames of any dtype and layout, of a batch or of one sequence."""
    cdef int batched = cnp.PyArray_NDIM(array) == 3
    cdef int frame = batched and batch_first, sequence = not batch_first
    cdef lf_frames *each = &described.each
    described.count = cnp.PyArray_DIM(array, sequence) if batched else 1
    described.sequence_stride = cnp.PyArray_STRIDE(array, sequence) if batched else 0
    each.frames = cnp.PyArray_DIM(array, frame)
    each.classes = cnp.PyArray_DIM(array, batched + 1)
    each.input = <const char *> cnp.PyArray_DATA(array)
    each.kind = <lf_kind> kind_of(array.dtype)
    each.swapped = not cnp.PyArray_ISNOTSWAPPED(array)
    each.frame_stride = cnp.PyArray_STRIDE(array, frame)
    each.class_stride = cnp.PyArray_STRIDE(array, batched + 1)
    each.direct = (
        each.kind == (LF_FLOAT32 if itemsize == 4 else LF_FLOAT64)
        and not each.swapped
        and each.class_stride == itemsize
        and each.frame_stride % itemsize == 0
        and described.sequence_stride % itemsize == 0
        and <size_t> each.input % <size_t> itemsize == 0
    )
    return 0


cdef int describe(object array, object shape, lf_array *described) except -1:
    """Fill in an array as it is broadcast to `shape`, one stride per axis."""
    cdef cnp.ndarray a = array
    cdef cnp.dtype dtype = a.dtype
    cdef int ndim = len(shape), missing = ndim - a.ndim, axis
    described.data = <char *> cnp.PyArray_DATA(a)
    described.kind = <lf_kind> kind_of(dtype)
    described.swapped = not dtype.isnative
    described.ndim = ndim
    for axis in range(ndim):
        if axis < missing or cnp.PyArray_DIM(a, axis - missing) != shape[axis]:
            described.strides[axis] = 0
        else:
            described.strides[axis] = cnp.PyArray_STRIDE(a, axis - missing)
    return 0


cdef inline Py_ssize_t magnitude(Py_ssize_t stride) noexcept nogil:
    return -stride if stride < 0 else stride


cdef int settle(
    int ndim, Py_ssize_t *shape, lf_array **arrays, int count, int itemsize, bint in_order
) noexcept:
    """Walk the axes in the memory order of the first array, with as few axes as all arrays allow; returns how many.

    `in_order`: in C order instead, where the caller tells elements by their index.

    `arrays` share `shape`, which is rewritten with their strides. Sets `direct` where a block can be used in place.
    """
    cdef int axis, other, kept = 0, i
    cdef Py_ssize_t length, stride
    cdef bint mergeable
    for axis in range(1, ndim):  # insertion sort: stable, so that axes of equal stride stay in C order
        other = axis
        while other > 0 and magnitude(arrays[0].strides[other - 1]) < magnitude(arrays[0].strides[other]):
            if in_order:
                break
            shape[other], shape[other - 1] = shape[other - 1], shape[other]
            for i in range(count):
                stride = arrays[i].strides[other]
                arrays[i].strides[other] = arrays[i].strides[other - 1]
                arrays[i].strides[other - 1] = stride
            other -= 1
    for axis in range(ndim):
        length = shape[axis]
        if length == 1:
            continue
        mergeable = kept > 0
        for i in range(count):
            if not mergeable:
                break
            mergeable = arrays[i].strides[kept - 1] == arrays[i].strides[axis] * length
        if mergeable:
            kept -= 1
            length *= shape[kept]
        shape[kept] = length
        for i in range(count):
            arrays[i].strides[kept] = arrays[i].strides[axis]
        kept += 1
    if kept == 0:
        shape[0] = 1
        kept = 1
        for i in range(count):
            arrays[i].strides[0] = itemsize
    for i in range(count):
        arrays[i].ndim = kept
        arrays[i].shape = shape
        arrays[i].direct = (
            kept == 1
            and arrays[i].strides[0] == itemsize
            and not arrays[i].swapped
            and arrays[i].kind == (LF_FLOAT32 if itemsize == 4 else LF_FLOAT64)
            and <size_t> arrays[i].data % itemsize == 0
        )
    return kept
