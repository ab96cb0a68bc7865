/* An extension as somebody else would write it: plain C, the documented header, nothing linked. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <lossfast.h>

typedef struct {
    Py_buffer buffer;
    int held;
} view;

static int hold(view *v, PyObject *array, int writable) {
    if (array == Py_None)
        return 0;
    if (PyObject_GetBuffer(array, &v->buffer, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) < 0)
        return -1;
    v->held = 1;
    return 0;
}

static void *memory(const view *v) { return v->held ? v->buffer.buf : NULL; }

/* compute(loss, curvature, arrays, value, grads, hesses) -> (arrays of the loss, outside of the domain, sum); None for
 * results that are not wanted. */
static PyObject *compute(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *object, *tuples[3], *value, *result = NULL;
    const char *curvature;
    lossfast_loss loss;
    view views[3][LOSSFAST_ARRAYS] = {0}, own = {0};
    if (!PyArg_ParseTuple(args, "OsO!OO!O!", &object, &curvature, &PyTuple_Type, &tuples[0], &value, &PyTuple_Type,
                          &tuples[1], &PyTuple_Type, &tuples[2]))
        return NULL;
    if (lossfast_bind(&loss, object, curvature) < 0)
        return NULL;
    if (hold(&own, value, 1) < 0)
        goto release;
    for (int group = 0; group < 3; group++)
        for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(tuples[group]) && k < LOSSFAST_ARRAYS; k++)
            if (hold(&views[group][k], PyTuple_GET_ITEM(tuples[group], k), group > 0) < 0)
                goto release;
    const Py_ssize_t n = views[0][0].buffer.len / views[0][0].buffer.itemsize;
    double sum = 0;
    int invalid;
    Py_BEGIN_ALLOW_THREADS;
    if (views[0][0].buffer.itemsize == sizeof(float)) {
        const float *arrays[LOSSFAST_ARRAYS];
        float *grads[LOSSFAST_ARRAYS], *hesses[LOSSFAST_ARRAYS];
        for (int k = 0; k < LOSSFAST_ARRAYS; k++)
            arrays[k] = memory(&views[0][k]), grads[k] = memory(&views[1][k]), hesses[k] = memory(&views[2][k]);
        invalid = lossfast_compute_f32(&loss, n, arrays, &sum, memory(&own), grads, hesses);
    } else {
        const double *arrays[LOSSFAST_ARRAYS];
        double *grads[LOSSFAST_ARRAYS], *hesses[LOSSFAST_ARRAYS];
        for (int k = 0; k < LOSSFAST_ARRAYS; k++)
            arrays[k] = memory(&views[0][k]), grads[k] = memory(&views[1][k]), hesses[k] = memory(&views[2][k]);
        invalid = lossfast_compute_f64(&loss, n, arrays, &sum, memory(&own), grads, hesses);
    }
    Py_END_ALLOW_THREADS;
    result = Py_BuildValue("iid", loss.arrays, invalid, sum);
release:
    if (own.held)
        PyBuffer_Release(&own.buffer);
    for (int group = 0; group < 3; group++)
        for (int k = 0; k < LOSSFAST_ARRAYS; k++)
            if (views[group][k].held)
                PyBuffer_Release(&views[group][k].buffer);
    return result;
}

static PyMethodDef methods[] = {{"compute", compute, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "plain", .m_size = 0, .m_methods = methods};

PyMODINIT_FUNC PyInit_plain(void) { return lossfast_import() < 0 ? NULL : PyModule_Create(&definition); }
