"""The kernel tables, the instruction set in use, threads, and how a NumPy array is described to a kernel."""

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_New
from cpython.pyport cimport PY_SSIZE_T_MAX
from libc.math cimport INFINITY
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc
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


#: Where the kernels are in the tables.
cdef dict PLACES = {shape: {name: k for k, name in enumerate(names)} for shape, names in kernels().items()}


cdef int place_of(str shape, str name) except -1:
    """Where the kernel of a loop shape is in its table."""
    if name not in PLACES[shape]:
        raise LookupError(f"none of the {shape} kernels is named {name!r}")
    return PLACES[shape][name]


cdef int set_parameters(double *parameters, str name, tuple given, int most) except -1:
    """Parameters of a kernel, which takes no more than `most`, and zeros behind them."""
    cdef int k
    if len(given) > most:
        raise TypeError(f"{name!r} takes {most} parameters: {given}")
    for k in range(LF_MAX_PARAMETERS):
        parameters[k] = given[k] if k < len(given) else 0.0
    return 0


# ---- what a call asks for ------------------------------------------------------------------------------------------

#: The kernels' own numbers for the curvatures; psd is the exact one above a floor.
CURVATURES = {
    "exact": <int> LF_EXACT,
    "psd": <int> LF_EXACT,
    "fisher": <int> LF_FISHER,
    "majorizer": <int> LF_MAJORIZER,
    "unit": <int> LF_UNIT,
}


cdef int reduction_code(str reduction) except -1:
    return {"none": NONE, "mean": MEAN, "sum": SUM, "batchmean": BATCHMEAN}[reduction]


cdef int set_curvature(str curvature, int type_number, lf_curvature *code, double *floor) except -1:
    """Set what a loss that defines the curvature computes, and the least Hessian of this NumPy type before scaling."""
    code[0] = LF_EXACT
    floor[0] = -INFINITY
    if curvature == "exact":
        return 0
    code[0] = <lf_curvature> <int> CURVATURES[curvature]
    if curvature == "psd":  # the spacing of numbers at 1
        floor[0] = 2.0**-52 if type_number == cnp.NPY_DOUBLE else 2.0**-23 if type_number == cnp.NPY_FLOAT else 2.0**-10
    return 0


cdef bint asks_nothing(dict options, str but=None):
    """Whether all options have their defaults, one of them aside."""
    for name, value in options.items():
        if name != but and value is not None and not (name == "curvature" and value == "exact"):
            return False
    return True


cdef tuple chosen(object wrt, dict places):
    """The places of the arrays to differentiate by; None if these are not different names that have one."""
    cdef list found = []
    if type(wrt) is not str and type(wrt) is not tuple and type(wrt) is not list or not wrt:
        return None
    for name in (wrt,) if type(wrt) is str else wrt:
        place = places.get(name) if type(name) is str else None
        if place is None or place in found:
            return None
        found.append(place)
    return tuple(found)


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


# Work small enough to keep the interpreter's lock: releasing and taking it costs as much as 200 elements.
cdef Py_ssize_t KEEP_LOCK = 4096


cdef void run_unlocked(int threads, Py_ssize_t blocks, lf_task task, void *context, Py_ssize_t elements) noexcept:
    """As `run`, without the interpreter's lock if there are elements enough."""
    if elements <= KEEP_LOCK:
        lf_run(1, blocks, task, context)
    else:
        with nogil:
            lf_run(threads, blocks, task, context)


cdef double total(const double *partials, Py_ssize_t count) noexcept nogil:
    """In block order, whoever computed the blocks."""
    cdef double result = 0.0, error = 0.0
    cdef Py_ssize_t i
    for i in range(count):
        add_partial(&result, &error, partials[i])
    return added_up(result, error)


# ---- scratch memory ------------------------------------------------------------------------------------------------


cdef int allocate(
    Memory *memory, int threads, Py_ssize_t slot_bytes, Py_ssize_t rest_bytes, char *small, str hint=""
) except -1:
    """As much on cache lines for each thread, and what is behind: in `small`, SMALL bytes or NULL, if they suffice.

    `hint`: what to say after how much there is not.
    """
    cdef Py_ssize_t needed = PY_SSIZE_T_MAX
    cdef void *start = small
    memory.slot_bytes = padded(slot_bytes)
    memory.allocated = NULL
    if memory.slot_bytes <= (PY_SSIZE_T_MAX - rest_bytes - 64) // threads:
        needed = threads * memory.slot_bytes + rest_bytes + 64
    if small == NULL or needed > SMALL:
        start = memory.allocated = malloc(needed) if needed < PY_SSIZE_T_MAX else NULL
    if start == NULL:
        raise MemoryError(f"{slot_bytes} bytes of scratch memory for each of {threads} threads{hint}")
    memory.slots = <char *> ((<uintptr_t> start + 63) & ~<uintptr_t> 63)
    memory.rest = memory.slots + threads * memory.slot_bytes
    return 0


# ---- the arrays of a call ------------------------------------------------------------------------------------------

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
cdef enum:
    BUILTIN_TYPES = 24  # NPY_NTYPES_LEGACY
cdef int KIND_OF_TYPE[24]  # BUILTIN_TYPES
cdef Py_ssize_t KIND_BYTES[14]  # LF_KINDS and that itself


cdef int set_kinds() except -1:
    cdef cnp.dtype dtype
    KIND_BYTES[<int> LF_BFLOAT16] = 2
    for number in range(BUILTIN_TYPES):
        dtype = cnp.PyArray_DescrFromType(number)
        kind = KINDS.get((chr(dtype.kind), dtype.itemsize), LF_KINDS)  # a char to Cython
        KIND_OF_TYPE[number] = kind
        KIND_BYTES[<int> kind] = dtype.itemsize
    return 0


set_kinds()


cdef int kind_of_dtype(cnp.dtype dtype) except -1:
    """The kind of a dtype, LF_KINDS for one that the kernels do not read."""
    if dtype.type_num < BUILTIN_TYPES:
        return KIND_OF_TYPE[dtype.type_num]
    return LF_BFLOAT16 if dtype.name == "bfloat16" else LF_KINDS  # of ml_dtypes


cdef int kind_of(cnp.ndarray array) except -1:
    cdef int number = cnp.PyArray_TYPE(array)
    return KIND_OF_TYPE[number] if number < BUILTIN_TYPES else kind_of_dtype(array.dtype)


def readable(cnp.dtype dtype):
    """Whether the kernels convert this dtype block by block."""
    return kind_of_dtype(dtype) != LF_KINDS


cdef int value_type(tuple predictions, int itemsize) noexcept:
    """The NumPy type of unreduced losses: the half precision that all predictions have, or what is computed in."""
    for prediction in predictions:
        if cnp.PyArray_TYPE(<cnp.ndarray> prediction) != cnp.NPY_FLOAT16:
            return cnp.NPY_FLOAT if itemsize == 4 else cnp.NPY_DOUBLE
    return cnp.NPY_FLOAT16


cdef void set_space(Space *space, int ndim, const Py_ssize_t *shape) noexcept:
    """A space of these axes, without arrays yet."""
    cdef int axis
    space.ndim = ndim
    space.size = 1
    for axis in range(ndim):
        space.shape[axis] = shape[axis]
        space.size *= shape[axis]
    space.count = 0
    space.plain = True


cdef inline void join(Space *space, cnp.ndarray array, int kind, lf_array *described) noexcept:
    described.data = <char *> cnp.PyArray_DATA(array)
    described.kind = <lf_kind> kind
    described.swapped = not cnp.PyArray_ISNOTSWAPPED(array)
    space.arrays[space.count] = described
    space.count += 1


cdef int describe(Space *space, cnp.ndarray array, lf_array *described, int inner=0) except -1:
    """Take in an array as it is broadcast to all axes of a space but the `inner` last, which repeat it.

    Less than 0, so many axes more of the array, all of length 1. Returns whether the kernels read it and it broadcasts.
    """
    cdef int missing = space.ndim - inner - cnp.PyArray_NDIM(array), axis, kind = kind_of(array)
    cdef const cnp.npy_intp *shape = cnp.PyArray_DIMS(array)
    cdef const cnp.npy_intp *strides = cnp.PyArray_STRIDES(array)
    if missing < 0 or kind == LF_KINDS:
        return 0
    space.plain = space.plain and missing == 0 and inner == 0 and cnp.PyArray_IS_C_CONTIGUOUS(array)
    for axis in range(space.ndim):
        described.strides[axis] = 0
        if axis < missing or axis >= space.ndim - inner:
            continue
        if shape[axis - missing] == space.shape[axis]:
            described.strides[axis] = strides[axis - missing]
        elif shape[axis - missing] == 1:
            space.plain = False
        else:
            return 0
    join(space, array, kind, described)
    return 1


cdef int describe_rows(
    Space *space, cnp.ndarray array, int behind, Py_ssize_t length, lf_array *described, Py_ssize_t *stride
) except -1:
    """The same for an array that has one axis more, of this length, with so many axes of the space behind it.

    Described are the rows along this axis; `stride` is the distance between the elements of one, 0 where its only one
    is repeated.
    """
    cdef int missing = space.ndim + 1 - cnp.PyArray_NDIM(array), across = space.ndim - behind, axis
    cdef int kind = kind_of(array)
    cdef Py_ssize_t own, whole, step
    if missing < 0 or kind == LF_KINDS:
        return 0
    for axis in range(space.ndim + 1):
        step = 0
        if axis >= missing:
            own = cnp.PyArray_DIM(array, axis - missing)
            whole = length if axis == across else space.shape[axis - (axis > across)]
            if own == whole:
                step = cnp.PyArray_STRIDE(array, axis - missing)
            elif own != 1:
                return 0
        if axis == across:
            stride[0] = step
        else:
            described.strides[axis - (axis > across)] = step
    space.plain = False
    join(space, array, kind, described)
    return 1


cdef inline Py_ssize_t magnitude(Py_ssize_t stride) noexcept:
    return -stride if stride < 0 else stride


cdef void sort_axes(Space *space) noexcept:
    """Put the axes in the memory order of the first array."""
    cdef lf_array **arrays = space.arrays
    cdef Py_ssize_t *shape = space.shape
    cdef int axis, other, i
    for axis in range(1, space.ndim):  # insertion sort: stable, so that axes of equal stride stay in C order
        other = axis
        while other > 0 and magnitude(arrays[0].strides[other - 1]) < magnitude(arrays[0].strides[other]):
            shape[other], shape[other - 1] = shape[other - 1], shape[other]
            for i in range(space.count):
                exchange(arrays[i].strides, other)
            other -= 1


cdef inline void exchange(Py_ssize_t *strides, int axis) noexcept:
    strides[axis], strides[axis - 1] = strides[axis - 1], strides[axis]


cdef void merge_axes(Space *space, int itemsize) noexcept:
    """Leave as few axes as all arrays allow, but one."""
    cdef lf_array **arrays = space.arrays
    cdef int axis, i, kept = 0
    cdef Py_ssize_t length
    cdef bint mergeable
    for axis in range(space.ndim):
        length = space.shape[axis]
        if length == 1:
            continue
        mergeable = kept > 0
        for i in range(space.count):
            if not mergeable:
                break
            mergeable = arrays[i].strides[kept - 1] == arrays[i].strides[axis] * length
        if mergeable:
            kept -= 1
            length *= space.shape[kept]
        space.shape[kept] = length
        for i in range(space.count):
            arrays[i].strides[kept] = arrays[i].strides[axis]
        kept += 1
    if kept == 0:
        space.shape[0] = kept = 1
        for i in range(space.count):
            arrays[i].strides[0] = itemsize
    space.ndim = kept


cdef void settle(Space *space, int itemsize, bint in_order) noexcept:
    """Walk the axes in the memory order of the first array, with as few axes as all arrays allow.

    `in_order`: in C order instead, where the caller tells elements by their index. Sets `direct` where a block can be
    used in place.
    """
    cdef lf_array *array
    cdef int axis, i
    if space.plain:
        space.ndim = 1
        space.shape[0] = space.size
        for i in range(space.count):
            space.arrays[i].strides[0] = KIND_BYTES[<int> space.arrays[i].kind]
    else:
        if not in_order:
            sort_axes(space)
        merge_axes(space, itemsize)
    for i in range(space.count):
        array = space.arrays[i]
        array.ndim = space.ndim
        array.shape = space.shape
        array.direct = array.strides[space.ndim - 1] == itemsize and native(array, itemsize)
        for axis in range(space.ndim - 1):
            if array.strides[axis] != array.strides[axis + 1] * space.shape[axis + 1]:
                array.direct = False


# ---- weights -------------------------------------------------------------------------------------------------------


cdef int add_factors(Space *space, Factors *factors, tuple weights, tuple cotangents) except -1:
    """Take in arrays that multiply; returns whether all of them fit."""
    cdef bint fits = True
    factors.weights = len(weights)
    factors.cotangents = len(cotangents)
    for k, array in enumerate(weights + cotangents):
        fits = describe(space, array, &factors.array[<int> k]) and fits
    return fits


cdef int add_usual_factors(
    Space *space, int inner, Factors *factors, int reduction, object sample_weight, object grad_output
) except -1:
    """The same behind the weights that are there, for losses without the `inner` last axes; None is none.

    Returns whether they are arrays that fit, and the cotangent of one number is a float.
    """
    factors.cotangents = 0
    factors.scale = 1.0
    if sample_weight is not None:
        if type(sample_weight) is not cnp.ndarray:
            return 0
        if not describe(space, <cnp.ndarray> sample_weight, &factors.array[factors.weights], inner):
            return 0
        factors.weights += 1
    if grad_output is None:
        return 1
    if reduction != NONE:
        if type(grad_output) is not float:
            return 0
        factors.scale = grad_output
        return 1
    factors.cotangents = 1
    return type(grad_output) is cnp.ndarray and describe(
        space, <cnp.ndarray> grad_output, &factors.array[factors.weights], inner
    )


cdef int denominator_of(
    const Space *losses, int reduction, object in_mean, object sample_weight, double *denominator
) except -1:
    """What the sum of the losses is divided by; returns 0 where that cannot be done.

    `in_mean`: the weight of the loss, where it counts in a mean: as often as it is given, not as it is broadcast.
    """
    cdef double count = <double> losses.size
    denominator[0] = 1.0
    if reduction != MEAN and reduction != BATCHMEAN:
        return 1
    denominator[0] = count
    if in_mean is not None:
        if not weigh(losses, (in_mean,) if sample_weight is None else (in_mean, sample_weight), denominator):
            return 0
        denominator[0] *= <double> cnp.PyArray_SIZE(<cnp.ndarray> in_mean) / count
    elif sample_weight is not None and not weigh(losses, (sample_weight,), denominator):
        return 0
    if reduction == BATCHMEAN:
        denominator[0] = denominator[0] * <double> losses.shape[0] / count if losses.ndim else 1.0
    return denominator[0] != 0


cdef struct Weights:
    const lf_table *table
    Space space
    lf_array weight[2]
    Memory memory
    double *partials


cdef void add_block(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Weights *weights = <Weights *> context
    cdef const lf_table *table = weights.table
    cdef Py_ssize_t start = index * LF_BLOCK, n = weights.space.size - start
    cdef char *scratch = weights.memory.slots + thread * weights.memory.slot_bytes
    cdef char *product = scratch + weights.memory.slot_bytes // 2
    cdef const void *values
    if n > LF_BLOCK:
        n = LF_BLOCK
    values = table.gather(&weights.weight[0], start, n, scratch)
    if weights.space.count > 1:
        table.fill(product, n, 1.0)
        table.multiply(product, values, n)
        table.multiply(product, table.gather(&weights.weight[1], start, n, scratch), n)
        values = product
    weights.partials[index] = table.sum(values, n)


cdef int weigh(const Space *space, tuple arrays, double *sum) except -1:
    """The sum over a space, not settled and with elements, of the product of arrays; returns whether they broadcast."""
    cdef Weights call
    cdef char small[SMALL]
    cdef Py_ssize_t longest, blocks = (space.size + LF_BLOCK - 1) // LF_BLOCK
    cdef int threads = team(<double> space.size, blocks), itemsize = 8
    cdef cnp.ndarray weight
    set_space(&call.space, space.ndim, space.shape)
    for weight in arrays:
        if not describe(&call.space, weight, &call.weight[call.space.count]):
            return 0
    if len(arrays) == 1 and LF_FLOAT16 <= call.weight[0].kind <= LF_FLOAT32:
        itemsize = 4  # exact: sums are float64 always
    settle(&call.space, itemsize, False)
    call.table = table_of(itemsize)
    longest = min(space.size, <Py_ssize_t> LF_BLOCK)
    allocate(&call.memory, threads, 2 * padded(longest * itemsize), blocks * <Py_ssize_t> sizeof(double), small)
    call.partials = <double *> call.memory.rest
    run_unlocked(threads, blocks, add_block, &call, space.size)
    sum[0] = total(call.partials, blocks)
    free(call.memory.allocated)
    return 1


def weight_sum(tuple weights, tuple shape):
    """The sum over `shape`, which is not empty, of the product of at most two arrays that broadcast to it."""
    cdef Space space
    cdef Py_ssize_t dims[64]  # LF_MAX_DIMS
    cdef double result = 0.0
    cdef int axis
    for axis in range(len(shape)):
        dims[axis] = shape[axis]
    set_space(&space, len(shape), dims)
    if not weigh(&space, weights, &result):
        raise ValueError(f"{len(weights)} arrays do not broadcast to {shape}")
    return result


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


def empty_like(cnp.ndarray array, dtype):
    """As np.empty_like, likewise."""
    if cnp.PyArray_NBYTES(array) < LF_BUFFER_BYTES:
        return np.empty_like(array, dtype=dtype, subok=False)
    previous = cnp.PyDataMem_SetHandler(HANDLER)
    try:
        return np.empty_like(array, dtype=dtype, subok=False)
    finally:
        cnp.PyDataMem_SetHandler(previous)


cdef void extent(cnp.ndarray array, uintptr_t *start, uintptr_t *end) noexcept:
    """Where an array that is not empty lies in memory."""
    cdef Py_ssize_t reach
    cdef int axis
    start[0] = end[0] = <uintptr_t> cnp.PyArray_DATA(array)
    for axis in range(cnp.PyArray_NDIM(array)):
        reach = (cnp.PyArray_DIM(array, axis) - 1) * cnp.PyArray_STRIDE(array, axis)
        if reach < 0:
            start[0] += reach
        else:
            end[0] += reach
    end[0] += cnp.PyArray_ITEMSIZE(array)


cpdef bint apart(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether arrays that are not empty lie one behind the other in memory."""
    cdef uintptr_t start, end, other_start, other_end
    extent(a, &start, &end)
    extent(b, &other_start, &other_end)
    return end <= other_start or other_end <= start


cpdef bint identical(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether the elements of two arrays are the same cells of memory."""
    cdef int axis
    if (
        cnp.PyArray_DATA(a) != cnp.PyArray_DATA(b)
        or cnp.PyArray_ITEMSIZE(a) != cnp.PyArray_ITEMSIZE(b)
        or not same_shape(a, b)
    ):
        return False
    for axis in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_STRIDE(a, axis) != cnp.PyArray_STRIDE(b, axis):
            return False
    return True


cdef cnp.ndarray own_array(
    object out, int ndim, const Py_ssize_t *shape, int type_number, tuple replaceable, tuple others
):
    """The caller's array for a result of this shape and type, or None if there is more to do than to write to it.

    It may be one of those that are `replaceable`, and else shares no memory with them, nor with `others`, of which some
    may be None or a number.
    """
    cdef cnp.ndarray own
    cdef int axis
    if type(out) is not cnp.ndarray:
        return None
    own = <cnp.ndarray> out
    if (
        cnp.PyArray_TYPE(own) != type_number
        or cnp.PyArray_NDIM(own) != ndim
        or not cnp.PyArray_ISBEHAVED(own)
        or not (cnp.PyArray_IS_C_CONTIGUOUS(own) or cnp.PyArray_IS_F_CONTIGUOUS(own))
    ):
        return None
    for axis in range(ndim):
        if cnp.PyArray_DIM(own, axis) != shape[axis]:
            return None
    for array in replaceable:
        if not apart(own, <cnp.ndarray> array) and not identical(own, <cnp.ndarray> array):
            return None
    for array in others:
        if type(array) is cnp.ndarray and not apart(own, <cnp.ndarray> array):
            return None
    return own


cdef cnp.ndarray value_array(
    int ndim, const Py_ssize_t *shape, int type_number, object out, tuple replaceable, tuple others
):
    """Where unreduced losses go: a new array, or the caller's if there is one; None if that is not for `own_array`."""
    if out is None:
        return empty(ndim, <cnp.npy_intp *> shape, type_number)
    return own_array(out, ndim, shape, type_number, replaceable, others)


cdef list results_like(tuple arguments, int order, object out, tuple replaceable, tuple others):
    """Where gradients go, and if `order` is 2 then Hessians, by each of some arrays, as `value_array` says."""
    cdef int count = len(arguments), group, k
    cdef cnp.ndarray like, own
    cdef list results = []
    if out is not None and order == 2 and (type(out) is not tuple or len(<tuple> out) != 2):
        return None
    for group in range(order):
        part = out[group] if out is not None and order == 2 else out
        if part is not None and count > 1 and (type(part) is not tuple or len(<tuple> part) != count):
            return None
        for k in range(count):
            like = <cnp.ndarray> arguments[k]
            member = part[k] if part is not None and count > 1 else part
            if member is not None:
                own = own_array(
                    member, cnp.PyArray_NDIM(like), shape_of(like), cnp.PyArray_TYPE(like), replaceable, others
                )
                if own is None:
                    return None
                for other in results:
                    if not apart(own, <cnp.ndarray> other):
                        return None
                results.append(own)
            elif cnp.PyArray_IS_C_CONTIGUOUS(like):
                results.append(empty(cnp.PyArray_NDIM(like), cnp.PyArray_DIMS(like), cnp.PyArray_TYPE(like)))
            else:
                results.append(empty_like(like, like.dtype))
    return results


cdef object answer(object value, bint with_value, list results, int order):
    """Value, gradients and Hessians in the form of the method that was called."""
    cdef int count
    if order == 0:
        return value
    count = len(results) // order
    grad = results[0] if count == 1 else tuple(results[:count])
    if order == 1:
        return (value, grad) if with_value else grad
    hess = results[1] if count == 1 else tuple(results[count:])
    return (value, grad, hess) if with_value else (grad, hess)


def set_kept_bytes(size_t most):
    lf_set_kept_bytes(most)


def kept_bytes():
    """Bytes of freed results that are kept now, and how many may be."""
    return lf_kept_bytes(), lf_most_kept_bytes()


# ---- frames --------------------------------------------------------------------------------------------------------


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
    each.kind = <lf_kind> kind_of(array)
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
