/* Compiled without instruction-set flags: this file runs before anything is known of the processor. */
#include "cpu.h"

#include <stdatomic.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__)) /* clang-cl is no GNUC */
#include <cpuid.h>

static unsigned extended_state(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* The bits that the flags of the build may use, and the registers that the operating system must save: Intel 64 and
 * IA-32 Architectures Software Developer's Manual, volume 1, sections 13.3, 14.3 and 15.2. */
static int processor_level(void) {
    enum { XMM_YMM = 0x6, OPMASK_ZMM = 0xe0 };
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    if (!(c & bit_OSXSAVE) || !(c & bit_AVX) || !(c & bit_FMA))
        return 0;
    const unsigned state = extended_state();
    if ((state & XMM_YMM) != XMM_YMM || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2))
        return 0;
    const unsigned avx512 = bit_AVX512F | bit_AVX512CD | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    return (b & avx512) == avx512 && (state & OPMASK_ZMM) == OPMASK_ZMM ? 2 : 1;
}
#else
static int processor_level(void) { return 0; }
#endif

#define LF_DECLARE(isa) extern const lf_table lf_table_##isa##_f32, lf_table_##isa##_f64;
#define LF_LEVEL(isa, level) {#isa, level, &lf_table_##isa##_f32, &lf_table_##isa##_f64},

LF_DECLARE(baseline)
#ifdef LF_HAVE_AVX2
LF_DECLARE(avx2)
#endif
#ifdef LF_HAVE_AVX512
LF_DECLARE(avx512)
#endif

static const struct {
    const char *name;
    int level;
    const lf_table *f32, *f64;
} isas[] = {LF_LEVEL(baseline, 0)
#ifdef LF_HAVE_AVX2
                LF_LEVEL(avx2, 1)
#endif
#ifdef LF_HAVE_AVX512
                    LF_LEVEL(avx512, 2)
#endif
};

static atomic_int active;

int lf_isa_count(void) { return (int)(sizeof isas / sizeof *isas); }
const char *lf_isa_name(int isa) { return isas[isa].name; }
int lf_isa_available(int isa) { return isas[isa].level <= processor_level(); }
int lf_isa_active(void) { return atomic_load_explicit(&active, memory_order_relaxed); }
void lf_isa_activate(int isa) { atomic_store_explicit(&active, isa, memory_order_relaxed); }
const lf_table *lf_table_f32(void) { return isas[lf_isa_active()].f32; }
const lf_table *lf_table_f64(void) { return isas[lf_isa_active()].f64; }
