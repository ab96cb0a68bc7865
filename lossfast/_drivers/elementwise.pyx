"""Losses of one element at a time: blocks of the common iteration space, weights, reductions, results of any layout."""

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetContext, PyCapsule_GetName, PyCapsule_GetPointer
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc

from lossfast._drivers.runtime cimport (
    BATCHMEAN,
    LF_BLOCK,
    LF_EVERYTHING,
    LF_EXACT,
    LF_MAX_OPERANDS,
    LF_MAX_PARAMETERS,
    LF_OUT_GRAD,
    LF_OUT_HESS,
    LF_OUT_VALUE,
    LF_OUTPUTS,
    LF_VALUE,
    LF_VALUE_GRAD,
    LF_VALUE_GRAD_HESS,
    LF_VALUE_GRADS,
    MEAN,
    NONE,
    describe,
    lf_array,
    lf_curvature,
    lf_elementwise,
    lf_elementwise_loop,
    lf_elementwise_sum,
    lf_settings,
    lf_table,
    padded,
    reduction_code,
    result_like,
    run,
    settle,
    table_of,
    team,
    total,
)

cdef extern from "compiled.h" nogil:
    ctypedef struct lf_compiled:
        void (*function)() noexcept nogil
        void *user_data
    const lf_elementwise lf_compiled_kernel_f32
    const lf_elementwise lf_compiled_kernel_f64

cnp.import_array()

# Nanoseconds per element on one thread, for the decision whether to wake others; a factor of two is harmless.
cdef double COST = 0.5
# … of a caller's function, which is seldom vectorised.
cdef double COMPILED_COST = 2.0
# Gradients from this size on are written around the cache: they leave it before they are read again, and not to read
# them for ownership first saves a quarter of the traffic.
cdef Py_ssize_t STREAM_BYTES = 32 << 20
# Work small enough to keep the interpreter's lock: releasing and taking it costs as much as 200 elements.
cdef Py_ssize_t KEEP_LOCK = 4096
cdef double NEGATIVE_INFINITY = -float("inf")

cdef enum:
    MULTIPLIERS = 3


cdef struct Call:
    const lf_table *table
    lf_elementwise_loop loop  # NULL: every value is 1, what is summed are the weights
    lf_settings settings
    Py_ssize_t n
    Py_ssize_t itemsize
    Py_ssize_t row  # elements of one unreduced loss, their sum divided by `divisor`; 0 where every element is one
    double divisor
    Py_ssize_t run_length  # elements that blocks divide among themselves: all, or those of a row longer than a block
    Py_ssize_t block_length
    int operands
    lf_array operand[4]  # LF_MAX_OPERANDS
    int multipliers  # of value, gradients and Hessians …
    int cotangents  # … and of gradients and Hessians alone, behind them
    lf_array multiplier[3]  # MULTIPLIERS
    int wanted[9]  # LF_OUTPUTS
    int produced[9]  # by the loop, wanted or not
    lf_array output[9]
    lf_elementwise_sum sum_loop  # instead of the loop where only the sum of the values is wanted
    int around_cache
    double cost  # nanoseconds per element
    double *partials
    char *scratch
    Py_ssize_t scratch_bytes
    int invalid


cdef inline bint written_in_place(Call *call, int k) noexcept nogil:
    return call.wanted[k] and call.output[k].direct and not (call.row and k == LF_OUT_VALUE)


cdef int slots(Call *call) noexcept nogil:
    """Blocks of scratch memory that one thread needs."""
    cdef int k, count = 0
    for k in range(call.operands):
        if not call.operand[k].direct:
            count += 1
    for k in range(call.multipliers + call.cotangents):
        if not call.multiplier[k].direct:
            count += 1
    for k in range(LF_OUTPUTS):
        if call.produced[k] and not written_in_place(call, k):
            count += 1
    return count


cdef void block(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Call *call = <Call *> context
    cdef const lf_table *table = call.table
    cdef Py_ssize_t per_run = (call.run_length + call.block_length - 1) // call.block_length
    cdef Py_ssize_t offset = index % per_run * call.block_length, start = index // per_run * call.run_length + offset
    cdef Py_ssize_t n = call.run_length - offset, bytes
    cdef char *free_scratch = call.scratch + thread * call.scratch_bytes
    cdef const void *operands[4]
    cdef const void *multipliers[3]
    cdef void *outputs[9]
    cdef int k, m
    if n > call.block_length:
        n = call.block_length
    bytes = padded(n * call.itemsize)
    for k in range(call.operands):
        operands[k] = table.gather(&call.operand[k], start, n, free_scratch)
        if not call.operand[k].direct:
            free_scratch += bytes
    for m in range(call.multipliers + call.cotangents):
        multipliers[m] = table.gather(&call.multiplier[m], start, n, free_scratch)
        if not call.multiplier[m].direct:
            free_scratch += bytes
    for k in range(LF_OUTPUTS):
        outputs[k] = NULL
        if call.produced[k]:
            if written_in_place(call, k):
                outputs[k] = call.output[k].data + start * call.itemsize
            else:
                outputs[k] = free_scratch
                free_scratch += bytes
    if call.sum_loop != NULL:
        if call.sum_loop(
            n, operands, &call.settings, outputs[LF_OUT_GRAD], call.around_cache, &call.partials[index]
        ):
            call.invalid = 1
    elif call.loop == NULL:
        table.fill(outputs[LF_OUT_VALUE], n, 1.0)
    elif call.loop(n, operands, &call.settings, outputs):
        call.invalid = 1  # every thread that writes writes the same
    for m in range(call.multipliers + call.cotangents):
        if m < call.multipliers:
            table.multiply(outputs[LF_OUT_VALUE], multipliers[m], n)
        for k in range(LF_OUT_GRAD, LF_OUTPUTS):
            if call.wanted[k]:
                table.multiply(outputs[k], multipliers[m], n)
    if call.partials != NULL and call.sum_loop == NULL:
        call.partials[index] = table.sum(outputs[LF_OUT_VALUE], n)
    for k in range(LF_OUTPUTS):
        if not call.wanted[k]:
            continue
        if k > LF_OUT_VALUE or not call.row:
            table.scatter(&call.output[k], start, n, outputs[k])
        elif call.row <= call.block_length:
            put_rows(call, start, n, <char *> outputs[k])


cdef void put_rows(Call *call, Py_ssize_t start, Py_ssize_t n, char *values) noexcept nogil:
    """Write the losses of whole rows; their sums replace the first of `values`, which have been read by then."""
    cdef Py_ssize_t rows = n // call.row, i
    for i in range(rows):
        put_row(call, values + i * call.itemsize, call.table.sum(values + i * call.row * call.itemsize, call.row))
    call.table.scatter(&call.output[LF_OUT_VALUE], start // call.row, rows, values)


cdef inline void put_row(Call *call, void *value, double row_sum) noexcept nogil:
    call.table.fill(value, 1, row_sum / call.divisor)


cdef void put_long_rows(Call *call) noexcept nogil:
    """Write the losses of rows that took several blocks each."""
    cdef Py_ssize_t per_row = (call.row + call.block_length - 1) // call.block_length, i
    cdef double value
    for i in range(call.n // call.row):
        put_row(call, &value, total(call.partials + i * per_row, per_row))
        call.table.scatter(&call.output[LF_OUT_VALUE], i, 1, &value)


cdef void set_loop(
    Call *call, const lf_elementwise *kernel, bint grad, bint hess, bint others, lf_curvature curvature
) noexcept nogil:
    """The loop for these derivatives; `others`: also by operands beyond the first."""
    cdef bint everything = hess and (others or curvature != LF_EXACT)
    cdef int which, k
    if everything:
        which = LF_EVERYTHING
    elif hess:
        which = LF_VALUE_GRAD_HESS
    elif others:
        which = LF_VALUE_GRADS
    else:
        which = LF_VALUE_GRAD if grad else LF_VALUE
    call.loop = kernel.loops[which]
    call.sum_loop = NULL if others or hess else kernel.value_sum_grad if grad else kernel.value_sum
    for k in range(LF_OUTPUTS):
        call.produced[k] = call.wanted[k] = 0
    call.produced[LF_OUT_VALUE] = 1
    for k in range(kernel.operands if others or everything else 1):
        call.produced[LF_OUT_GRAD + k] = grad or hess
        call.produced[LF_OUT_HESS + k] = hess


cdef void choose_sum_loop(Call *call, bint summed) noexcept nogil:
    """Keep the loop that adds up the values only where nothing else is done with them."""
    cdef lf_array *grad = &call.output[LF_OUT_GRAD]
    cdef int k
    if not summed or call.wanted[LF_OUT_VALUE] or call.multipliers + call.cotangents:
        call.sum_loop = NULL
    if call.sum_loop == NULL:
        return
    call.produced[LF_OUT_VALUE] = 0
    call.around_cache = 0
    if call.wanted[LF_OUT_GRAD] and grad.direct and call.n * call.itemsize >= STREAM_BYTES:
        call.around_cache = 1
        for k in range(call.operands):
            if call.operand[k].data == grad.data:  # in place: in the cache already
                call.around_cache = 0


cdef void keep_apart(Call *call) noexcept nogil:
    """Compute in scratch memory what replaces an operand: its own loop reads one element before it writes that one."""
    cdef int k, j
    for k in range(LF_OUTPUTS):
        for j in range(call.operands):
            if call.wanted[k] and call.output[k].data == call.operand[j].data:
                call.output[k].direct = 0


cdef int execute(Call *call, double *sum_of_values) except -1:
    """Run all blocks; `sum_of_values` may be NULL where none is wanted."""
    cdef Py_ssize_t longest, blocks
    cdef bint long_rows = call.row > LF_BLOCK
    call.run_length = call.row if long_rows else call.n
    call.block_length = LF_BLOCK // call.row * call.row if call.row and not long_rows else LF_BLOCK
    longest = call.run_length if call.run_length < call.block_length else call.block_length
    blocks = call.n // call.run_length * ((call.run_length + call.block_length - 1) // call.block_length)
    long_rows = long_rows and call.wanted[LF_OUT_VALUE]
    cdef int threads = team(call.n * call.cost * (call.itemsize >> 2), blocks)
    cdef double few_partials[16]
    cdef double *partials = NULL
    cdef void *memory = NULL
    cdef char small[4096 + 64]
    cdef Py_ssize_t scratch, needed
    choose_sum_loop(call, sum_of_values != NULL)
    call.scratch_bytes = slots(call) * padded(longest * call.itemsize)
    call.invalid = 0
    scratch = threads * call.scratch_bytes
    needed = scratch + 64 + (blocks * <Py_ssize_t> sizeof(double) if blocks > 16 else 0)
    if scratch <= 4096 and blocks <= 16:
        call.scratch = <char *> ((<uintptr_t> small + 63) & ~<uintptr_t> 63)
        partials = few_partials
    else:
        memory = malloc(needed)
        if memory == NULL:
            raise MemoryError(f"{needed} bytes of scratch memory for {threads} threads")
        call.scratch = <char *> ((<uintptr_t> memory + 63) & ~<uintptr_t> 63)
        partials = <double *> (call.scratch + scratch) if blocks > 16 else few_partials
    call.partials = partials if sum_of_values != NULL or long_rows else NULL
    if call.n <= KEEP_LOCK:
        run(1, blocks, block, call)
    else:
        with nogil:
            run(threads, blocks, block, call)
    if long_rows:
        put_long_rows(call)
    if sum_of_values != NULL:
        sum_of_values[0] = total(partials, blocks)
    free(memory)
    return 0


cdef object new_result(Call *call, int which, cnp.ndarray like, object out=None, tuple arrays=()):
    """An array for an output of the call, alike in shape and dtype; None if the caller's own does not serve."""
    cdef cnp.ndarray result = result_like(like, out, arrays)
    if result is None:
        return None
    call.wanted[which] = call.output[which].direct = 1
    call.output[which].data = <char *> cnp.PyArray_DATA(result)
    return result


cdef class Elementwise:
    """The bound kernel of one loss: parameters set, instruction set and precision chosen at each call."""

    cdef int index, operands
    cdef tuple predictions
    cdef bint others
    cdef double parameters[4]
    cdef int reduction
    cdef readonly str name

    def __init__(self, str name, tuple parameters=(), *, tuple predictions=(0,), str reduction="sum"):
        """`predictions`: the operands that `quick` differentiates by."""
        cdef const lf_table *table = table_of(8)
        cdef bytes wanted = name.encode()
        cdef int k
        self.name = name
        self.predictions = predictions
        self.others = predictions != (0,)
        self.reduction = reduction_code(reduction)
        self.index = -1
        for k in range(table.elementwise_count):
            if table.elementwise[k].name == wanted:
                self.index = k
        if self.index < 0:
            raise LookupError(f"no elementwise kernel is named {name!r}")
        self.operands = table.elementwise[self.index].operands
        if len(parameters) != table.elementwise[self.index].parameters:
            raise TypeError(f"{name!r} takes {table.elementwise[self.index].parameters} parameters: {parameters}")
        for k in range(LF_MAX_PARAMETERS):
            self.parameters[k] = parameters[k] if k < len(parameters) else 0.0

    cdef const lf_elementwise *bind(self, Call *call) noexcept:
        """Set what the loss brings to a call of this item size; its kernel, NULL if it has none of this precision."""
        cdef int k
        call.table = table_of(call.itemsize)
        call.cost = COST
        for k in range(LF_MAX_PARAMETERS):
            call.settings.parameters[k] = self.parameters[k]
        call.settings.context = NULL
        return &call.table.elementwise[self.index]

    cdef bint prepare(self, tuple arrays, int order, Call *call) noexcept:
        """Set up a plain call; whether it is one.

        Plain: alike in shape and in native float dtype, aligned, C-contiguous, not empty.
        """
        cdef cnp.ndarray first, array
        cdef const lf_elementwise *kernel
        cdef int k, axis
        if len(arrays) != self.operands or type(arrays[0]) is not cnp.ndarray:
            return False
        first = <cnp.ndarray> arrays[0]
        if cnp.PyArray_TYPE(first) != cnp.NPY_FLOAT and cnp.PyArray_TYPE(first) != cnp.NPY_DOUBLE:
            return False
        for k in range(self.operands):
            if type(arrays[k]) is not cnp.ndarray:
                return False
            array = <cnp.ndarray> arrays[k]
            if (
                cnp.PyArray_TYPE(array) != cnp.PyArray_TYPE(first)
                or not cnp.PyArray_ISCARRAY_RO(array)
                or cnp.PyArray_NDIM(array) != cnp.PyArray_NDIM(first)
            ):
                return False
            for axis in range(cnp.PyArray_NDIM(first)):
                if cnp.PyArray_DIM(array, axis) != cnp.PyArray_DIM(first, axis):
                    return False
            call.operand[k].direct = 1
            call.operand[k].data = <char *> cnp.PyArray_DATA(array)
        call.n = cnp.PyArray_SIZE(first)
        call.row = 0
        if call.n == 0:
            return False
        call.itemsize = cnp.PyArray_ITEMSIZE(first)
        kernel = self.bind(call)
        if kernel == NULL:
            return False
        call.operands = self.operands
        call.multipliers = call.cotangents = 0
        call.divisor = 1.0
        if self.reduction == MEAN:
            call.divisor = <double> call.n
        elif self.reduction == BATCHMEAN and cnp.PyArray_NDIM(first) > 0:
            call.divisor = <double> cnp.PyArray_DIM(first, 0)
        call.settings.scale = 1.0 / call.divisor
        call.settings.floor = NEGATIVE_INFINITY
        call.settings.curvature = LF_EXACT
        set_loop(call, kernel, order > 0, order > 1, order > 0 and self.others, LF_EXACT)
        return True

    def quick(self, tuple arrays, int order, out=None):
        """Value, gradient and Hessian, as many as `order` says, of a plain call inside the domain; None for others.

        One result comes by itself, several in a tuple; so do the gradients by one prediction or by several. `out`: the
        caller's array for the gradient, if there is one.
        """
        cdef Call call
        cdef double value_sum
        if not self.prepare(arrays, order, &call):
            return None
        first = <cnp.ndarray> arrays[0]
        grad = self.new_results(&call, LF_OUT_GRAD, first, out, arrays) if order > 0 else None
        if order > 0 and grad is None:
            return None
        value = new_result(&call, LF_OUT_VALUE, first) if self.reduction == NONE else None
        hess = self.new_results(&call, LF_OUT_HESS, first) if order > 1 else None
        execute(&call, NULL if self.reduction == NONE else &value_sum)
        if call.invalid:
            return None
        if self.reduction != NONE:
            value = value_sum / call.divisor
        return value if order == 0 else (value, grad) if order == 1 else (value, grad, hess)

    cdef object new_results(self, Call *call, int which, cnp.ndarray like, object out=None, tuple arrays=()):
        """Arrays for the derivatives by the predictions; None if the caller's own does not serve."""
        if not self.others:
            return new_result(call, which, like, out, arrays)
        if out is not None:
            return None
        return tuple([new_result(call, which + <int> k, like) for k in self.predictions])

    def run(
        self,
        tuple operands,
        tuple shape,
        int itemsize,
        tuple multipliers,
        tuple cotangents,
        double scale,
        double floor,
        int curvature,
        object value,
        tuple grads,
        tuple hesses,
        bint reduced,
        Py_ssize_t row=0,
        double divisor=1.0,
    ):
        """The general call: arrays of any readable dtype and layout that broadcast to `shape`, which is not empty.

        `value`, `grads[k]` and `hesses[k]` are result arrays of `shape`, or None. Returns the sum of the weighted
        values if `reduced`, and whether an operand was outside of the domain. With `row`, the length of the last axis,
        `value` has the other axes and holds sums over the last one, divided by `divisor`.
        """
        cdef Call call
        cdef const lf_elementwise *kernel
        cdef Py_ssize_t dims[64]  # LF_MAX_DIMS
        cdef Py_ssize_t rows[64]
        cdef lf_array *arrays[16]
        cdef lf_array *row_values = NULL
        cdef int k, count = 0, axis
        cdef double value_sum = 0.0
        cdef bint hess = False, grad = False, others = False
        call.n = 1
        for axis in range(len(shape)):
            dims[axis] = shape[axis]
            call.n *= dims[axis]
        call.row = row
        call.divisor = divisor
        call.itemsize = itemsize
        kernel = self.bind(&call)
        if kernel == NULL:
            raise LookupError(f"{self.name!r} does not compute in {itemsize} bytes")
        for k in range(len(operands)):
            if grads[k] is not None or hesses[k] is not None:
                others = others or k > 0
                grad = True
                hess = hess or hesses[k] is not None
        call.settings.scale = scale
        call.settings.floor = floor
        call.settings.curvature = <lf_curvature> curvature
        set_loop(&call, kernel, grad, hess, others, call.settings.curvature)
        call.operands = self.operands
        for k in range(self.operands):
            describe(operands[k], shape, &call.operand[k])
            arrays[count] = &call.operand[k]
            count += 1
        call.multipliers = len(multipliers)
        call.cotangents = len(cotangents)
        for k, array in enumerate(multipliers + cotangents):
            describe(array, shape, &call.multiplier[k])
            arrays[count] = &call.multiplier[k]
            count += 1
        results = [value]
        results += [grads[k] if k < len(grads) else None for k in range(LF_MAX_OPERANDS)]
        results += [hesses[k] if k < len(hesses) else None for k in range(LF_MAX_OPERANDS)]
        for k, array in enumerate(results):
            if array is None:
                continue
            call.wanted[k] = 1
            if row and k == LF_OUT_VALUE:
                for axis in range(len(shape) - 1):
                    rows[axis] = dims[axis]
                describe(array, shape[: len(shape) - 1], &call.output[k])
                row_values = &call.output[k]
                settle(len(shape) - 1, rows, &row_values, 1, itemsize, True)
                continue
            describe(array, shape, &call.output[k])
            arrays[count] = &call.output[k]
            count += 1
        settle(len(shape), dims, arrays, count, itemsize, row > 0)
        if call.settings.context != NULL:
            keep_apart(&call)
        execute(&call, &value_sum if reduced else NULL)
        return value_sum, bool(call.invalid)


cdef class Compiled(Elementwise):
    """The same for a caller's own functions, as capsules like those of scipy.LowLevelCallable."""

    cdef lf_compiled single, double_
    cdef object kept

    def __init__(self, object single, object double_, *, str reduction):
        """`single`, `double_`: of the two precisions; None where there is none."""
        self.name = "compiled"
        self.operands = 2
        self.predictions = (0,)
        self.others = False
        self.reduction = reduction_code(reduction)
        self.kept = single, double_
        set_compiled(&self.single, single)
        set_compiled(&self.double_, double_)

    @property
    def addresses(self):
        """Where the functions and their data are: what two of them are the same by."""
        return (
            <uintptr_t> self.single.function,
            <uintptr_t> self.single.user_data,
            <uintptr_t> self.double_.function,
            <uintptr_t> self.double_.user_data,
        )

    cdef const lf_elementwise *bind(self, Call *call) noexcept:
        cdef lf_compiled *own = &self.single if call.itemsize == 4 else &self.double_
        call.table = table_of(call.itemsize)
        call.cost = COMPILED_COST
        call.settings.context = own
        if own.function == NULL:
            return NULL
        return &lf_compiled_kernel_f32 if call.itemsize == 4 else &lf_compiled_kernel_f64


cdef int set_compiled(lf_compiled *own, object capsule) except -1:
    own.function = NULL
    own.user_data = NULL
    if capsule is not None:
        own.function = <void (*)() noexcept nogil> PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))
        own.user_data = PyCapsule_GetContext(capsule)
    return 0


cdef struct SumCall:
    Call *calls  # of the first, the wanted outputs are those of the sum
    const double *factors
    int count
    Py_ssize_t blocks
    double *partials  # of one loss after the other; NULL where the values are wanted themselves
    char *scratch
    Py_ssize_t slot
    int invalid


cdef void sum_block(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef SumCall *summed = <SumCall *> context
    cdef Call *lead = summed.calls
    cdef Call *call
    cdef Py_ssize_t start = index * LF_BLOCK, n = lead.n - start, offset = start * lead.itemsize
    cdef char *scratch = summed.scratch + thread * LF_OUTPUTS * summed.slot
    cdef const void *operands[4]
    cdef void *outputs[9]
    cdef int m, k
    if n > LF_BLOCK:
        n = LF_BLOCK
    for m in range(summed.count):
        call = &summed.calls[m]
        for k in range(call.operands):
            operands[k] = call.operand[k].data + offset
        for k in range(LF_OUTPUTS):
            outputs[k] = NULL
            if call.produced[k]:
                outputs[k] = lead.output[k].data + offset if m == 0 and lead.wanted[k] else scratch + k * summed.slot
        if call.loop(n, operands, &call.settings, outputs):
            summed.invalid = 1
        if summed.partials != NULL:
            summed.partials[m * summed.blocks + index] = call.table.sum(outputs[LF_OUT_VALUE], n)
        for k in range(LF_OUTPUTS):
            if lead.wanted[k]:
                call.table.accumulate(lead.output[k].data + offset, outputs[k], summed.factors[m], n)


cdef class ElementwiseSum:
    """Kernels of the same arrays and one reduction, added up with factors: plain calls in one pass over memory.

    What comes has the bits of the losses' own results, each times its factor, added up in their order.
    """

    cdef tuple kernels
    cdef tuple factors

    def __init__(self, tuple kernels, tuple factors):
        self.kernels = kernels
        self.factors = factors

    def quick(self, tuple arrays, int order, out=None):
        """As of one kernel, but nothing is written to the caller's array if one of the losses refuses its arrays."""
        cdef SumCall summed
        cdef Elementwise lead = self.kernels[0], kernel
        cdef int count = len(self.kernels), m
        cdef size_t calls = count * sizeof(Call), factors = count * sizeof(double)
        cdef char *memory
        cdef double *factor
        if out is not None:
            return None
        memory = <char *> malloc(calls + factors)
        factor = <double *> (memory + calls)
        if memory == NULL:
            raise MemoryError(f"{calls + factors} bytes for {count} losses")
        summed.calls = <Call *> memory
        summed.factors = factor
        summed.count = count
        try:
            for m in range(count):
                kernel = self.kernels[m]
                if not kernel.prepare(arrays, order, &summed.calls[m]):
                    return None
                factor[m] = self.factors[m]
            first = <cnp.ndarray> arrays[0]
            grad = lead.new_results(summed.calls, LF_OUT_GRAD, first) if order > 0 else None
            value = new_result(summed.calls, LF_OUT_VALUE, first) if lead.reduction == NONE else None
            hess = lead.new_results(summed.calls, LF_OUT_HESS, first) if order > 1 else None
            values = execute_sum(&summed, lead.reduction != NONE)
        finally:
            free(memory)
        if values is None:
            return None
        for m in range(count if lead.reduction != NONE else 0):
            part = values[m] * self.factors[m]
            value = part if value is None else value + part
        return value if order == 0 else (value, grad) if order == 1 else (value, grad, hess)


cdef object execute_sum(SumCall *summed, bint reduced):
    """Run all blocks; the value of every loss if they are `reduced`, and None outside of a domain."""
    cdef Call *lead = summed.calls
    cdef Py_ssize_t longest = lead.n if lead.n < LF_BLOCK else LF_BLOCK
    cdef double cost = 0.0
    cdef int m, threads
    for m in range(summed.count):
        cost += summed.calls[m].cost
    summed.invalid = 0
    summed.blocks = (lead.n + LF_BLOCK - 1) // LF_BLOCK
    summed.slot = padded(longest * lead.itemsize)
    threads = team(lead.n * cost * (lead.itemsize >> 2), summed.blocks)
    cdef Py_ssize_t scratch = threads * LF_OUTPUTS * summed.slot
    cdef Py_ssize_t needed = 64 + scratch + summed.count * summed.blocks * <Py_ssize_t> sizeof(double)
    cdef void *memory = malloc(needed)
    if memory == NULL:
        raise MemoryError(f"{needed} bytes of scratch memory for {threads} threads")
    summed.scratch = <char *> ((<uintptr_t> memory + 63) & ~<uintptr_t> 63)
    summed.partials = <double *> (summed.scratch + scratch) if reduced else NULL
    if lead.n <= KEEP_LOCK:
        run(1, summed.blocks, sum_block, summed)
    else:
        with nogil:
            run(threads, summed.blocks, sum_block, summed)
    values = [
        total(summed.partials + m * summed.blocks, summed.blocks) / summed.calls[m].divisor
        for m in range(summed.count if reduced else 0)
    ]
    free(memory)
    return None if summed.invalid else values


def weight_sum(tuple weights, tuple shape):
    """The sum over `shape`, which is not empty, of the product of arrays that broadcast to it."""
    cdef Call call
    cdef Py_ssize_t dims[64]  # LF_MAX_DIMS
    cdef lf_array *arrays[3]  # MULTIPLIERS
    cdef int k
    cdef double result = 0.0
    call.n = 1
    for k in range(len(shape)):
        dims[k] = shape[k]
        call.n *= dims[k]
    call.row = 0
    call.itemsize = 8
    call.table = table_of(8)
    call.cost = COST
    call.loop = NULL
    call.sum_loop = NULL
    call.operands = call.cotangents = 0
    call.multipliers = len(weights)
    for k in range(LF_OUTPUTS):
        call.wanted[k] = call.produced[k] = 0
    call.produced[LF_OUT_VALUE] = 1
    for k in range(call.multipliers):
        describe(weights[k], shape, &call.multiplier[k])
        arrays[k] = &call.multiplier[k]
    settle(len(shape), dims, arrays, call.multipliers, 8, False)
    execute(&call, &result)
    return result


def map_array(str name, cnp.ndarray array, cnp.ndarray out, int itemsize):
    """Apply a map of the kernel table to every element; `out` has the shape of `array` and may be it."""
    cdef Py_ssize_t dims[64]  # LF_MAX_DIMS
    cdef lf_array *arrays[2]
    cdef MapCall mapped
    cdef int k, index = -1
    cdef bytes wanted = name.encode()
    cdef Py_ssize_t longest
    mapped.table = table_of(itemsize)
    for k in range(mapped.table.map_count):
        if mapped.table.maps[k].name == wanted:
            index = k
    if index < 0:
        raise LookupError(f"no map is named {name!r}")
    mapped.loop = mapped.table.maps[index].loop
    mapped.n = array.size
    mapped.itemsize = itemsize
    shape = (<object> array).shape
    for k in range(array.ndim):
        dims[k] = shape[k]
    describe(array, shape, &mapped.input)
    describe(out, shape, &mapped.output)
    arrays[0] = &mapped.input
    arrays[1] = &mapped.output
    settle(array.ndim, dims, arrays, 2, itemsize, False)
    cdef Py_ssize_t blocks = (mapped.n + LF_BLOCK - 1) // LF_BLOCK
    cdef int threads = team(mapped.n * COST * 2 * (itemsize >> 2), blocks)
    longest = mapped.n if mapped.n < LF_BLOCK else LF_BLOCK
    mapped.scratch_bytes = 2 * padded(longest * itemsize)
    mapped.scratch = <char *> malloc(threads * mapped.scratch_bytes)
    if mapped.scratch == NULL:
        raise MemoryError(f"{threads * mapped.scratch_bytes} bytes of scratch memory for {threads} threads")
    with nogil:
        run(threads, blocks, map_block, &mapped)
    free(mapped.scratch)


cdef struct MapCall:
    const lf_table *table
    void (*loop)(Py_ssize_t n, const void *input, void *output) noexcept nogil
    Py_ssize_t n
    Py_ssize_t itemsize
    lf_array input
    lf_array output
    char *scratch
    Py_ssize_t scratch_bytes


cdef void map_block(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef MapCall *call = <MapCall *> context
    cdef Py_ssize_t start = index * LF_BLOCK, n = call.n - start
    cdef char *scratch = call.scratch + thread * call.scratch_bytes
    cdef void *out
    if n > LF_BLOCK:
        n = LF_BLOCK
    out = call.output.data + start * call.itemsize if call.output.direct else scratch + call.scratch_bytes // 2
    call.loop(n, call.table.gather(&call.input, start, n, scratch), out)
    call.table.scatter(&call.output, start, n, out)
