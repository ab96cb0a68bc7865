"""Losses of one element at a time: blocks of the common iteration space, weights, reductions, results of any layout."""

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetContext, PyCapsule_GetName, PyCapsule_GetPointer, PyCapsule_New
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc

from lossfast._drivers.runtime cimport (
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
    NONE,
    SMALL,
    SUM,
    Factors,
    Memory,
    Space,
    add_factors,
    add_partial,
    add_usual_factors,
    added_up,
    allocate,
    answer,
    asks_nothing,
    chosen,
    denominator_of,
    describe,
    empty,
    lf_array,
    lf_curvature,
    lf_elementwise,
    lf_elementwise_loop,
    lf_elementwise_sum,
    lf_settings,
    lf_table,
    padded,
    place_of,
    real_bytes,
    reduction_code,
    results_like,
    run_unlocked,
    same_shape,
    set_curvature,
    set_parameters,
    set_space,
    settle,
    shape_of,
    table_of,
    team,
    total,
    value_array,
    value_type,
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


cdef struct Call:
    Space space
    const lf_table *table
    lf_elementwise_loop loop
    lf_settings settings
    Py_ssize_t itemsize
    Py_ssize_t row  # elements that are next to each other and have one unreduced loss, or one sum of gradients; or 0
    double divisor  # of a loss that is a sum over a row
    Space rows
    Py_ssize_t run_length  # elements that blocks divide among themselves: all, or those of a row longer than a block
    Py_ssize_t block_length
    int operands
    lf_array operand[4]  # LF_MAX_OPERANDS
    bint by_row[4]  # predictions that are one number for each row
    Factors factors
    bint wanted[9]  # LF_OUTPUTS
    bint produced[9]  # by the loop, wanted or not
    bint summed[9]  # over rows
    lf_array output[9]
    lf_elementwise_sum sum_loop  # instead of the loop where only the sum of the values is wanted
    bint around_cache
    double cost  # nanoseconds per element
    Memory memory
    double *partials[9]  # sums of the blocks of an output; NULL where they are not wanted
    bint invalid


cdef inline bint written_in_place(Call *call, int k) noexcept nogil:
    return call.wanted[k] and call.output[k].direct and not call.summed[k]


cdef int slots(Call *call) noexcept nogil:
    """Blocks of scratch memory that one thread needs."""
    cdef int k, count = 0
    for k in range(call.operands):
        if not call.operand[k].direct:
            count += 1
    for k in range(call.factors.weights + call.factors.cotangents):
        if not call.factors.array[k].direct:
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
    cdef char *free_scratch = call.memory.slots + thread * call.memory.slot_bytes
    cdef const void *operands[4]
    cdef const void *factors[3]
    cdef void *outputs[9]
    cdef int k, m, invalid
    if n > call.block_length:
        n = call.block_length
    bytes = padded(n * call.itemsize)
    for k in range(call.operands):
        operands[k] = table.gather(&call.operand[k], start, n, free_scratch)
        if not call.operand[k].direct:
            free_scratch += bytes
    for m in range(call.factors.weights + call.factors.cotangents):
        factors[m] = table.gather(&call.factors.array[m], start, n, free_scratch)
        if not call.factors.array[m].direct:
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
        invalid = call.sum_loop(
            n, operands, &call.settings, outputs[LF_OUT_GRAD], call.around_cache, &call.partials[LF_OUT_VALUE][index]
        )
    else:
        invalid = call.loop(n, operands, &call.settings, outputs)
        weigh(call, n, factors, outputs)
        for k in range(LF_OUTPUTS):
            if call.partials[k] != NULL:
                call.partials[k][index] = table.sum(outputs[k], n)
    if invalid:
        call.invalid = True  # every thread that writes writes the same
    for k in range(LF_OUTPUTS):
        if call.wanted[k] and not call.summed[k]:
            table.scatter(&call.output[k], start, n, outputs[k])
        elif call.wanted[k] and call.row <= call.block_length:
            put_rows(call, k, start, n, <char *> outputs[k])


cdef inline void weigh(Call *call, Py_ssize_t n, const void **factors, void **outputs) noexcept nogil:
    """Multiply the values by the weights, and derivatives by the cotangent too."""
    cdef int k, m
    for m in range(call.factors.weights + call.factors.cotangents):
        if m < call.factors.weights:
            call.table.multiply(outputs[LF_OUT_VALUE], factors[m], n)
        for k in range(LF_OUT_GRAD, LF_OUTPUTS):
            if call.wanted[k]:
                call.table.multiply(outputs[k], factors[m], n)


cdef void put_rows(Call *call, int k, Py_ssize_t start, Py_ssize_t n, char *values) noexcept nogil:
    """Write the sums over whole rows of an output; they replace the first of `values`, which have been read by then."""
    call.table.sum_rows(values, n // call.row, call.row, divisor(call, k), values)
    call.table.scatter(&call.output[k], start // call.row, n // call.row, values)


cdef inline double divisor(Call *call, int k) noexcept nogil:
    """What a sum over a row is divided by."""
    return call.divisor if k == LF_OUT_VALUE else 1.0


cdef void put_long_rows(Call *call, int k) noexcept nogil:
    """Write the sums over rows that took several blocks each."""
    cdef Py_ssize_t per_row = (call.row + call.block_length - 1) // call.block_length, i
    cdef double value
    for i in range(call.space.size // call.row):
        call.table.fill(&value, 1, total(call.partials[k] + i * per_row, per_row) / divisor(call, k))
        call.table.scatter(&call.output[k], i, 1, &value)


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
        call.produced[k] = call.wanted[k] = call.summed[k] = False
    call.produced[LF_OUT_VALUE] = True
    for k in range(kernel.operands if others or everything else 1):
        call.produced[LF_OUT_GRAD + k] = grad or hess
        call.produced[LF_OUT_HESS + k] = hess


cdef void choose_sum_loop(Call *call, bint summed) noexcept nogil:
    """Keep the loop that adds up the values only where nothing else is done with them."""
    cdef lf_array *grad = &call.output[LF_OUT_GRAD]
    cdef int k
    if not summed or call.wanted[LF_OUT_VALUE] or call.summed[LF_OUT_GRAD]:
        call.sum_loop = NULL
    if call.factors.weights + call.factors.cotangents:
        call.sum_loop = NULL
    if call.sum_loop == NULL:
        return
    call.produced[LF_OUT_VALUE] = False
    call.around_cache = False
    if written_in_place(call, LF_OUT_GRAD) and call.space.size * call.itemsize >= STREAM_BYTES:
        call.around_cache = True
        for k in range(call.operands):
            if call.operand[k].data == grad.data:  # in place: in the cache already
                call.around_cache = False


cdef void keep_apart(Call *call) noexcept nogil:
    """Compute in scratch memory what replaces an operand: its own loop reads one element before it writes that one."""
    cdef int k, j
    for k in range(LF_OUTPUTS):
        for j in range(call.operands):
            if call.wanted[k] and call.output[k].data == call.operand[j].data:
                call.output[k].direct = False


cdef int execute(Call *call, double *sum_of_values) except -1:
    """Run all blocks; `sum_of_values` may be NULL where none is wanted."""
    cdef Py_ssize_t n = call.space.size, longest, blocks
    cdef bint long_rows = call.row > LF_BLOCK
    cdef bint added[9]  # LF_OUTPUTS
    cdef int threads, k, sums = 0
    cdef double *partials
    cdef char small[SMALL]
    settle(&call.space, call.itemsize, call.row > 0)
    if call.row:
        settle(&call.rows, call.itemsize, True)
    if call.settings.context != NULL:
        keep_apart(call)
    call.run_length = call.row if long_rows else n
    call.block_length = LF_BLOCK // call.row * call.row if call.row and not long_rows else LF_BLOCK
    longest = call.run_length if call.run_length < call.block_length else call.block_length
    blocks = n // call.run_length * ((call.run_length + call.block_length - 1) // call.block_length)
    threads = team(n * call.cost * (call.itemsize >> 2), blocks)
    choose_sum_loop(call, sum_of_values != NULL)
    for k in range(LF_OUTPUTS):
        added[k] = call.summed[k] and long_rows or k == LF_OUT_VALUE and sum_of_values != NULL
        sums += added[k]
    allocate(
        &call.memory, threads, slots(call) * padded(longest * call.itemsize),
        sums * blocks * <Py_ssize_t> sizeof(double), small
    )
    partials = <double *> call.memory.rest
    for k in range(LF_OUTPUTS):
        call.partials[k] = partials if added[k] else NULL
        partials += added[k] * blocks
    call.invalid = False
    run_unlocked(threads, blocks, block, call, n)
    for k in range(LF_OUTPUTS):
        if call.summed[k] and long_rows:
            put_long_rows(call, k)
    if sum_of_values != NULL:
        sum_of_values[0] = total(call.partials[LF_OUT_VALUE], blocks)
    free(call.memory.allocated)
    return 0


cdef int want(Call *call, int k, cnp.ndarray result, bint summed) except -1:
    """Have an output written to an array, or its sums over rows to one that lacks their axes, or has 1 for them."""
    call.wanted[k] = True
    call.summed[k] = summed
    if summed:
        return describe(&call.rows, result, &call.output[k], call.rows.ndim - cnp.PyArray_NDIM(result))
    return describe(&call.space, result, &call.output[k])


cdef inline bint only_first(tuple places):
    return len(places) == 1 and <int> places[0] == 0


cdef tuple picked(tuple arrays, tuple places):
    return (arrays[0],) if only_first(places) else tuple([arrays[<int> k] for k in places])


cdef int want_results(Call *call, tuple places, list results) except -1:
    """Have gradients by the operands of these places, and then Hessians, written to arrays."""
    cdef int count = len(places), place, k
    for k in range(len(results)):
        place = places[k % count]
        want(call, (LF_OUT_GRAD if k < count else LF_OUT_HESS) + place, results[k], call.by_row[place])
    return 0


cdef inline bint is_by_row(cnp.ndarray array, cnp.ndarray whole) noexcept:
    """Whether an array has one element for each row along the last axis of another, which it may lack."""
    cdef int last = cnp.PyArray_NDIM(whole) - 1, axis
    for axis in range(last):
        if axis >= cnp.PyArray_NDIM(array) or cnp.PyArray_DIM(array, axis) != cnp.PyArray_DIM(whole, axis):
            return False
    return cnp.PyArray_NDIM(array) == last or (
        cnp.PyArray_NDIM(array) == last + 1 and cnp.PyArray_DIM(array, last) == 1
    )


cdef class Elementwise:
    """The bound kernel of one loss: parameters set, instruction set and precision chosen at each call."""

    cdef int index, operands, given
    cdef bint predicted[4]  # LF_MAX_OPERANDS
    cdef tuple predictions, behind
    cdef dict differentiable, curved
    cdef bint broadcasts, averages, by_row, has_domain
    cdef cnp.ndarray weight
    cdef bint weight_in_mean, weight_broadcasts
    cdef double parameters[4]  # LF_MAX_PARAMETERS
    cdef int reduction
    cdef readonly str name

    def __init__(
        self,
        str name,
        tuple parameters=(),
        *,
        tuple predictions=(0,),
        dict differentiable=None,
        dict curved=None,
        tuple behind=(),
        object weight=None,
        bint weight_in_mean=False,
        bint weight_broadcasts=True,
        bint broadcasts=True,
        bint averages=False,
        bint by_row=False,
        bint has_domain=False,
        str reduction="sum",
    ):
        """What `quick` has to know, and `run` is told: the operands that are predictions, the first among them; those
        with gradients and with Hessians, by name; array parameters of the kernel `behind` the arrays of a call; a
        weight that multiplies the loss, whether it adds to the denominator of a mean and whether it may be broadcast;
        whether arrays that are no predictions may; whether a loss is the mean over the last axis; whether predictions
        beyond the first may be one number for each row along it; whether numbers may be outside of the domain.
        """
        cdef const lf_elementwise *kernel
        self.index = place_of("elementwise", name)
        kernel = &table_of(8).elementwise[self.index]
        set_parameters(self.parameters, name, parameters, kernel.parameters)
        self.differentiable = differentiable or {}
        self.curved = curved or {}
        self.behind = behind
        self.weight = weight
        self.weight_in_mean = weight_in_mean
        self.weight_broadcasts = weight_broadcasts
        self.broadcasts = broadcasts
        self.averages = averages
        self.by_row = by_row
        self.has_domain = has_domain
        self.declare(name, kernel.operands, predictions, reduction)

    cdef int declare(self, str name, int operands, tuple predictions, str reduction) except -1:
        cdef int k
        self.name = name
        self.operands = operands
        self.given = operands - len(self.behind)
        self.predictions = predictions
        self.reduction = reduction_code(reduction)
        for k in range(LF_MAX_OPERANDS):
            self.predicted[k] = k in predictions
        return 0

    cdef const lf_elementwise *bind(self, Call *call) noexcept:
        """Set what the loss brings to a call of this item size; its kernel, NULL if it has none of this precision."""
        cdef int k
        call.table = table_of(call.itemsize)
        call.cost = COST
        for k in range(LF_MAX_PARAMETERS):
            call.settings.parameters[k] = self.parameters[k]
        call.settings.context = NULL
        return &call.table.elementwise[self.index]

    cdef int prepare(self, tuple arrays, Call *call) except -1:
        """Take in the arrays of a usual call and of the loss; returns whether it is one.

        Usual: arrays of real numbers, of any layout, the predictions native floats of one shape, that of the loss.
        """
        cdef cnp.ndarray first, array
        cdef int k, bytes, inner
        cdef bint rows = self.averages
        if len(arrays) != self.given or type(arrays[0]) is not cnp.ndarray:
            return 0
        first = <cnp.ndarray> arrays[0]
        set_space(&call.space, cnp.PyArray_NDIM(first), shape_of(first))
        if call.space.size == 0:
            return 0
        call.itemsize = 4
        for k in range(self.given):
            if type(arrays[k]) is not cnp.ndarray:
                return 0
            array = <cnp.ndarray> arrays[k]
            call.by_row[k] = False
            if (self.predicted[k] or not self.broadcasts) and not same_shape(array, first):
                if not (self.by_row and self.predicted[k] and is_by_row(array, first)):
                    return 0
                rows = call.by_row[k] = True
            if self.predicted[k]:
                bytes = real_bytes(array)
                # sums are formed in float64, and rounded once
                if bytes == 0 or call.by_row[k] and cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT16:
                    return 0
                call.itemsize = max(call.itemsize, bytes)
            inner = call.space.ndim - cnp.PyArray_NDIM(array) if call.by_row[k] else 0
            if not describe(&call.space, array, &call.operand[k], inner):
                return 0
        call.operands = self.operands
        for k in range(self.given, self.operands):
            if not describe(&call.space, <cnp.ndarray> self.behind[k - self.given], &call.operand[k]):
                return 0
        call.row = 0
        call.divisor = 1.0
        if rows:
            if call.space.ndim == 0:
                return 0
            call.row = call.space.shape[call.space.ndim - 1]
            set_space(&call.rows, call.space.ndim - 1, call.space.shape)
        if self.averages:
            call.divisor = <double> call.row
        call.factors.weights = 0
        if self.weight is not None:
            if not self.weight_broadcasts and not same_shape(self.weight, first):
                return 0
            if not describe(&call.space, self.weight, &call.factors.array[0]):
                return 0
            call.factors.weights = 1
        return 1

    cdef int choose(self, Call *call, tuple by, int order, str curvature, int type_number) except -1:
        """Set what to compute for derivatives by some operands; returns whether the loss has this precision."""
        cdef const lf_elementwise *kernel = self.bind(call)
        if kernel == NULL:
            return 0
        set_curvature(curvature, type_number, &call.settings.curvature, &call.settings.floor)
        set_loop(call, kernel, order > 0, order > 1, order > 0 and not only_first(by), call.settings.curvature)
        return 1

    cdef int divide(self, Call *call, object sample_weight, double *denominator) except -1:
        """Set what the sum of the losses is divided by, and the scale of derivatives; returns 0 where it cannot be."""
        cdef Space *losses = &call.rows if self.averages else &call.space
        if not denominator_of(
            losses, self.reduction, self.weight if self.weight_in_mean else None, sample_weight, denominator
        ):
            return 0
        call.settings.scale = 1.0 / denominator[0] * call.factors.scale / call.divisor
        return 1

    def quick(self, tuple arrays, bint with_value, int order, dict options):
        """What a method gives for a usual call inside of the domain, and None for any other.

        `order`: 0 for the value alone, 1 with gradients, 2 with Hessians. Usual arrays: see `prepare`,
        `add_usual_factors` and, for `out`, `own_array`; an argument outside of the domain is known when it is written.
        """
        cdef Call call
        cdef double denominator, value_sum = 0.0
        cdef tuple by = self.predictions, replaceable = (), others = ()
        cdef list results = None
        cdef int type_number = 0, k
        sample_weight = wrt = grad_output = out = None
        if options:
            sample_weight, grad_output = options.get("sample_weight"), options.get("grad_output")
            wrt, out = options.get("wrt"), options.get("out")
        if wrt is not None:
            by = chosen(wrt, self.curved if order > 1 else self.differentiable)
        if by is None or not self.prepare(arrays, &call):
            return None
        if not add_usual_factors(
            &call.space, self.averages, &call.factors, self.reduction, sample_weight, grad_output
        ) or not self.divide(&call, sample_weight, &denominator):
            return None
        if self.reduction == NONE or order > 1:
            type_number = value_type(picked(arrays, self.predictions), call.itemsize)
        if not self.choose(&call, by, order, options.get("curvature", "exact"), type_number):
            return None
        if out is not None:
            others = (sample_weight, grad_output)
            if self.has_domain:  # which is checked before an argument is replaced
                others += arrays
            else:
                replaceable = arrays
        value = None
        if self.reduction == NONE and with_value:
            value = value_array(
                call.space.ndim - self.averages, call.space.shape, type_number, None if order else out, replaceable,
                others
            )
            if value is None:
                return None
            want(&call, LF_OUT_VALUE, value, self.averages)
        elif order == 0 and out is not None:
            return None
        if order:
            for k in by if wrt is not None else ():
                if not real_bytes(<cnp.ndarray> arrays[k]):
                    return None
                if not call.by_row[<int> k] and not same_shape(arrays[k], arrays[0]):
                    return None
            results = results_like(picked(arrays, by), order, out, replaceable, others)
            if results is None:
                return None
            want_results(&call, by, results)
        execute(&call, NULL if self.reduction == NONE else &value_sum)
        if call.invalid:
            return None
        if self.reduction != NONE:
            value = value_sum / call.divisor / denominator
        return answer(value, with_value, results, order)

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
        int inner=0,
        double divisor=1.0,
    ):
        """The general call: arrays of any readable dtype and layout that broadcast to `shape`, which is not empty.

        `value`, `grads[k]` and `hesses[k]` are result arrays of `shape`, or None. With `inner` axes for rows, the last
        of the shape, they may hold sums over rows instead and lack these axes, or have lengths of 1 there; those of
        `value` are divided by `divisor`. Returns the sum of the weighted values if `reduced`, and whether an operand
        was outside of the domain.
        """
        cdef Call call
        cdef const lf_elementwise *kernel
        cdef Py_ssize_t dims[64]  # LF_MAX_DIMS
        cdef int k, ndim = len(shape), axis
        cdef double value_sum = 0.0
        cdef bint hess = False, grad = False, others = False, fits = True
        for axis in range(ndim):
            dims[axis] = shape[axis]
        set_space(&call.space, ndim, dims)
        set_space(&call.rows, ndim - inner, dims)
        call.row = call.space.size // call.rows.size if inner else 0
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
            fits = describe(&call.space, operands[k], &call.operand[k]) and fits
        fits = add_factors(&call.space, &call.factors, multipliers, cotangents) and fits
        outputs = ((LF_OUT_VALUE, (value,)), (LF_OUT_GRAD, grads), (LF_OUT_HESS, hesses))
        for first, arrays in outputs:
            for k, array in enumerate(arrays):
                if array is None:
                    continue
                fits = want(&call, <int> first + k, array, inner > 0 and array.shape != shape) and fits
        if not fits:
            raise ValueError(f"{self.name}: arrays do not broadcast to {shape}")
        execute(&call, &value_sum if reduced else NULL)
        return value_sum, bool(call.invalid)


cdef class Compiled(Elementwise):
    """The same for a caller's own functions, as capsules like those of scipy.LowLevelCallable."""

    cdef lf_compiled single, double_
    cdef object kept

    def __init__(self, object single, object double_, *, str reduction):
        """`single`, `double_`: of the two precisions; None where there is none."""
        self.differentiable = {"input": 0}
        self.curved = {}
        self.behind = ()
        self.broadcasts = True
        self.declare("compiled", 2, (0,), reduction)
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
    Memory memory
    bint invalid


cdef void sum_block(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef SumCall *summed = <SumCall *> context
    cdef Call *lead = summed.calls
    cdef Call *call
    cdef Py_ssize_t start = index * LF_BLOCK, n = lead.space.size - start, offset = start * lead.itemsize
    cdef Py_ssize_t slot = summed.memory.slot_bytes // LF_OUTPUTS
    cdef char *scratch = summed.memory.slots + thread * summed.memory.slot_bytes
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
                outputs[k] = lead.output[k].data + offset if m == 0 and lead.wanted[k] else scratch + k * slot
        if call.loop(n, operands, &call.settings, outputs):
            summed.invalid = True
        if summed.partials != NULL:
            summed.partials[m * summed.blocks + index] = call.table.sum(outputs[LF_OUT_VALUE], n)
        for k in range(LF_OUTPUTS):
            if lead.wanted[k]:
                call.table.accumulate(lead.output[k].data + offset, outputs[k], summed.factors[m], n)


cdef class ElementwiseSum:
    """Kernels of the same arrays and one reduction, added up with factors in one pass over memory.

    What comes has the bits of the losses' own results, each times its factor, added up in their order.
    """

    cdef tuple kernels
    cdef tuple factors

    def __init__(self, tuple kernels, tuple factors):
        self.kernels = kernels
        self.factors = factors

    def quick(self, tuple arrays, bint with_value, int order, dict options):
        """As of one kernel, of plain arrays and without options: a loss may refuse its arguments when others have
        written to the caller's arrays, and a floor is under the whole sum.
        """
        cdef SumCall summed
        cdef Elementwise lead = self.kernels[0], kernel
        cdef Call *call
        cdef cnp.ndarray first
        cdef int count = len(self.kernels), m
        cdef size_t calls = count * sizeof(Call), numbers = count * sizeof(double)
        cdef char *memory
        cdef double *factor
        cdef double *denominator
        cdef list results = None
        if not asks_nothing(options):
            return None
        memory = <char *> malloc(calls + 2 * numbers)
        if memory == NULL:
            raise MemoryError(f"{calls + 2 * numbers} bytes for {count} losses")
        factor = <double *> (memory + calls)
        denominator = factor + count
        summed.calls = <Call *> memory
        summed.factors = factor
        summed.count = count
        value = None
        try:
            for m in range(count):
                kernel = self.kernels[m]
                call = &summed.calls[m]
                if kernel.weight is not None or kernel.averages or not kernel.prepare(arrays, call):
                    return None
                if not kernel.choose(call, kernel.predictions, order, "exact", 0):
                    return None
                add_usual_factors(&call.space, 0, &call.factors, kernel.reduction, None, None)
                if not call.space.plain or not kernel.divide(call, None, &denominator[m]):
                    return None
                factor[m] = self.factors[m]
            call = summed.calls
            if lead.reduction == NONE and with_value:
                first = <cnp.ndarray> arrays[0]
                value = empty(cnp.PyArray_NDIM(first), cnp.PyArray_DIMS(first), cnp.PyArray_TYPE(first))
                want(call, LF_OUT_VALUE, value, 0)
            if order:
                results = results_like(picked(arrays, lead.predictions), order, None, (), ())
                want_results(call, lead.predictions, results)
            values = execute_sum(&summed, lead.reduction != NONE)
            if values is None:
                return None
            for m in range(count if lead.reduction != NONE else 0):
                part = values[m] / denominator[m] * self.factors[m]
                value = part if value is None else value + part
        finally:
            free(memory)
        return answer(value, with_value, results, order)


cdef object execute_sum(SumCall *summed, bint reduced):
    """Run all blocks; the value of every loss if they are `reduced`, None where there is more to do."""
    cdef Call *lead = summed.calls
    cdef Call *call
    cdef Py_ssize_t n = lead.space.size
    cdef double cost = 0.0
    cdef int m, k, threads
    cdef char small[SMALL]
    for m in range(summed.count):
        call = &summed.calls[m]
        settle(&call.space, lead.itemsize, False)
        for k in range(call.space.count):
            if not call.space.arrays[k].direct:
                return None
        cost += call.cost
    summed.invalid = False
    summed.blocks = (n + LF_BLOCK - 1) // LF_BLOCK
    threads = team(n * cost * (lead.itemsize >> 2), summed.blocks)
    allocate(
        &summed.memory, threads, LF_OUTPUTS * padded(min(n, <Py_ssize_t> LF_BLOCK) * lead.itemsize),
        summed.count * summed.blocks * <Py_ssize_t> sizeof(double), small
    )
    summed.partials = <double *> summed.memory.rest if reduced else NULL
    run_unlocked(threads, summed.blocks, sum_block, summed, n)
    values = [
        total(summed.partials + m * summed.blocks, summed.blocks) for m in range(summed.count if reduced else 0)
    ]
    free(summed.memory.allocated)
    return None if summed.invalid else values


# ---- maps ----------------------------------------------------------------------------------------------------------


cdef struct MapCall:
    Space space
    const lf_table *table
    void (*loop)(Py_ssize_t n, const void *input, void *output) noexcept nogil
    Py_ssize_t itemsize
    lf_array input
    lf_array output
    Memory memory


cdef void map_block(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef MapCall *call = <MapCall *> context
    cdef Py_ssize_t start = index * LF_BLOCK, n = call.space.size - start
    cdef char *scratch = call.memory.slots + thread * call.memory.slot_bytes
    cdef void *out
    if n > LF_BLOCK:
        n = LF_BLOCK
    out = scratch + call.memory.slot_bytes // 2
    if call.output.direct:
        out = call.output.data + start * call.itemsize
    call.loop(n, call.table.gather(&call.input, start, n, scratch), out)
    call.table.scatter(&call.output, start, n, out)


def map_array(str name, cnp.ndarray array, cnp.ndarray out, int itemsize):
    """Apply a map of the kernel table to every element; `out` has the shape of `array` and may be it."""
    cdef MapCall mapped
    cdef char small[SMALL]
    mapped.table = table_of(itemsize)
    mapped.loop = mapped.table.maps[place_of("maps", name)].loop
    mapped.itemsize = itemsize
    set_space(&mapped.space, cnp.PyArray_NDIM(array), shape_of(array))
    cdef Py_ssize_t n = mapped.space.size, blocks = (n + LF_BLOCK - 1) // LF_BLOCK
    if not describe(&mapped.space, array, &mapped.input) or not describe(&mapped.space, out, &mapped.output):
        raise ValueError("arrays of different shapes")
    settle(&mapped.space, itemsize, False)
    cdef int threads = team(n * COST * 2 * (itemsize >> 2), blocks)
    allocate(&mapped.memory, threads, 2 * padded(min(n, <Py_ssize_t> LF_BLOCK) * itemsize), 0, small)
    run_unlocked(threads, blocks, map_block, &mapped, n)
    free(mapped.memory.allocated)


# ---- for other extensions: include/lossfast.h ----------------------------------------------------------------------

cdef extern from "lossfast.h":
    enum:
        LOSSFAST_ABI

    ctypedef struct lossfast_loss:
        int arrays
        int kernel
        int curvature
        int averages
        double floors[2]
        double parameters[4]

    ctypedef struct lossfast_functions:
        int abi
        int (*bind)(lossfast_loss *loss, object given, const char *curvature) except -1
        int (*compute_f32)(
            const lossfast_loss *loss, Py_ssize_t n, const float *const *arrays, double *sum, float *value,
            float *const *grads, float *const *hesses
        ) noexcept nogil
        int (*compute_f64)(
            const lossfast_loss *loss, Py_ssize_t n, const double *const *arrays, double *sum, double *value,
            double *const *grads, double *const *hesses
        ) noexcept nogil

ctypedef fused real:
    float
    double


cdef int bind_loss(lossfast_loss *bound, object loss, const char *curvature) except -1:
    cdef Elementwise kernel
    cdef int k
    own = getattr(loss, "_kernel", None)
    if type(own) is not Elementwise:
        raise TypeError(f"{loss!r} is no elementwise loss of lossfast such as HuberLoss(reduction='sum')")
    kernel = own
    if kernel.weight is not None or kernel.behind:
        raise TypeError(f"{loss!r}: a parameter is an array, of a shape that n elements side by side do not have")
    if kernel.reduction != SUM and kernel.reduction != NONE:
        raise ValueError(f"{loss!r}: a part does not tell what a mean divides by; expected reduction='sum' or 'none'")
    for k, number in enumerate((cnp.NPY_FLOAT, cnp.NPY_DOUBLE)):
        bound.floors[k], bound.curvature = loss._resolve_curvature(
            curvature.decode(), cnp.PyArray_DescrFromType(number)
        )
    bound.arrays = kernel.operands
    bound.kernel = kernel.index
    bound.averages = kernel.averages
    for k in range(LF_MAX_PARAMETERS):
        bound.parameters[k] = kernel.parameters[k]
    return 0


cdef int compute(
    const lossfast_loss *loss, Py_ssize_t n, const real *const *arrays, double *sum, real *value, real *const *grads,
    real *const *hesses
) noexcept nogil:
    """Block by block, as `execute` with one thread."""
    cdef Call call
    cdef const lf_table *table = table_of(sizeof(real))
    cdef bint grad = False, hess = False, others = False, invalid = False
    cdef real values[2048]  # LF_BLOCK
    cdef real unwanted[2048]
    cdef real *wanted[9]  # LF_OUTPUTS
    cdef const void *operands[4]  # LF_MAX_OPERANDS
    cdef void *outputs[9]
    cdef double partial, result = 0.0, error = 0.0
    cdef Py_ssize_t index, start, length
    cdef int k
    for k in range(LF_OUTPUTS):
        wanted[k] = NULL
    wanted[LF_OUT_VALUE] = value
    for k in range(loss.arrays):
        if grads != NULL and grads[k] != NULL:
            wanted[LF_OUT_GRAD + k] = grads[k]
            grad, others = True, others or k > 0
        if hesses != NULL and hesses[k] != NULL:
            wanted[LF_OUT_HESS + k] = hesses[k]
            hess, others = True, others or k > 0
    for k in range(LF_MAX_PARAMETERS):
        call.settings.parameters[k] = loss.parameters[k]
    call.settings.scale = 1.0 / n if loss.averages else 1.0
    call.settings.floor = loss.floors[sizeof(real) > 4]
    call.settings.curvature = <lf_curvature> loss.curvature
    call.settings.context = NULL
    set_loop(&call, &table.elementwise[loss.kernel], grad, hess, others, call.settings.curvature)
    if sum == NULL or value != NULL:
        call.sum_loop = NULL
    for index in range((n + LF_BLOCK - 1) // LF_BLOCK):
        start = index * LF_BLOCK
        length = min(n - start, <Py_ssize_t> LF_BLOCK)
        for k in range(loss.arrays):
            operands[k] = arrays[k] + start
        for k in range(LF_OUTPUTS):
            outputs[k] = NULL
            if wanted[k] != NULL:
                outputs[k] = wanted[k] + start
            elif call.produced[k]:
                outputs[k] = &values[0] if k == LF_OUT_VALUE else &unwanted[0]
        if call.sum_loop != NULL:
            invalid = call.sum_loop(length, operands, &call.settings, outputs[LF_OUT_GRAD], False, &partial) or invalid
        else:
            invalid = call.loop(length, operands, &call.settings, outputs) or invalid
            partial = 0.0 if sum == NULL else table.sum(outputs[LF_OUT_VALUE], length)
        add_partial(&result, &error, partial)
    if sum != NULL:
        sum[0] = added_up(result, error) / (n if loss.averages else 1)
    return invalid


cdef lossfast_functions FUNCTIONS
FUNCTIONS.abi = LOSSFAST_ABI
FUNCTIONS.bind = bind_loss
FUNCTIONS.compute_f32 = compute[float]
FUNCTIONS.compute_f64 = compute[double]
C_API = PyCapsule_New(&FUNCTIONS, "lossfast._drivers.elementwise.C_API", NULL)
