/* All kernels, compiled once per instruction set (LF_ISA) and precision (LF_REAL_BITS). The table is the one external
 * symbol: whatever else this text defines is static, so that no function built for a newer processor can be linked into
 * the path of an older one. */
#include "abi.h"
#include "blocks.h"
#include "bounds.h"
#include "decoding.h"
#include "elementwise.h"
#include "kernel_index.h"
#include "pairwise.h"
#include "product.h"
#include "real.h"
#include "rowwise.h"
#include "sequence.h"

static const lf_elementwise elementwise_entries[] = {LF_ELEMENTWISE_ENTRIES};
static const lf_rowwise *const rowwise_entries[] = {LF_ROWWISE_ENTRIES};
static const lf_pairwise pairwise_entries[] = {LF_PAIRWISE_ENTRIES};
static const lf_map map_entries[] = {LF_MAP_ENTRIES};

#define LF_LENGTH(array) ((int)(sizeof(array) / sizeof *(array)))
#define LF_TABLE_NAME LF_CAT(LF_CAT(lf_table_, LF_ISA), LF_CAT(_f, LF_REAL_BITS))

extern const lf_table LF_TABLE_NAME;
const lf_table LF_TABLE_NAME = {
    .elementwise = elementwise_entries,
    .rowwise = rowwise_entries,
    .pairwise = pairwise_entries,
    .maps = map_entries,
    .elementwise_count = LF_LENGTH(elementwise_entries),
    .rowwise_count = LF_LENGTH(rowwise_entries),
    .pairwise_count = LF_LENGTH(pairwise_entries),
    .map_count = LF_LENGTH(map_entries),
    .ctc = {ctc_row_reals, ctc_sweep_reals, ctc_sweep, ctc_total, ctc_finish, ctc_fill},
    .decoding = LF_DECODING,
    .gather = gather,
    .gather_labels = gather_labels,
    .outside = outside,
    .narrow_labels = narrow_labels,
    .load_list = load_list,
    .scatter = scatter,
    .load = load,
    .store = store,
    .transpose = transpose,
    .fill = fill,
    .multiply = multiply,
    .accumulate = accumulate,
    .sum = sum,
    .product = matrix_product,
    .sum_rows = sum_rows,
    .subtract = subtract,
};
