/* The one door to every parallel region. */
#ifndef LF_PARALLEL_H
#define LF_PARALLEL_H

#include <stddef.h>

/* Called once per block; `thread` in [0, threads) names the caller, for scratch memory of its own. */
typedef void (*lf_task)(void *context, ptrdiff_t block, int thread);

/* Threads that a call may use now: lf_set_threads, else OpenMP's own setting within the affinity mask. */
int lf_threads(void);
/* n >= 1, or 0 for the default */
void lf_set_threads(int n);
/* Work below which a call stays serial, with helpers that are awake and with helpers that sleep. */
void lf_set_thresholds(double awake_nanoseconds, double asleep_nanoseconds);
/* Threads worth using for so much work, at most one per block. */
int lf_team(double serial_nanoseconds, ptrdiff_t blocks);
/* All blocks are done when it returns. The caller takes part; any thread may call at any time. */
void lf_run(int threads, ptrdiff_t blocks, lf_task task, void *context);

/* The OpenMP version date that the build was compiled against, 0 for a serial build. */
int lf_openmp_version(void);

#endif
