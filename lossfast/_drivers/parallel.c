#define _GNU_SOURCE /* sched_getaffinity, CPU_COUNT */

#include "parallel.h"

#ifdef _OPENMP

#include <omp.h>
#include <stdlib.h>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <time.h>
#endif
#ifdef __linux__
#include <sched.h>
#endif

/* A parallel region costs under a microsecond while its threads still spin, and tens to hundreds of microseconds once
 * the operating system has put them to sleep; then only work that outlasts the wake-up is worth it. Measured on libgomp,
 * two processors: a team rested for 10 to 100 ms answers after 70 us in the median and 250 us in the slowest tenth. */
static double hot_work_ns = 50e3, cold_work_ns = 500e3;
static const double COLD_AFTER_NS = 2e6, STUCK_AFTER_NS = 10e6;

static int chosen;        /* by lf_set_threads; 0: none */
static int initial;       /* OpenMP's own setting when this library was loaded */
static int from_variable; /* … came from OMP_NUM_THREADS */
static int forked;

static int minimum(int a, int b) { return a < b ? a : b; }

#if defined(__unix__) || defined(__APPLE__)
/* Teams belong to the thread that opens the region, so each thread remembers when it last had one awake. */
static _Thread_local double last_region = -1e18;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double idle(void) { return now() - last_region; }
static void mark(void) { last_region = now(); }

/* libgomp may wake a sleeping thread on the very processor where the master spins for it, and both wait for the
 * scheduler's next turn, 5 to 8 ms. A master that sleeps for an instant leaves its processor while they are placed. */
static void let_the_team_wake(void) {
    const struct timespec instant = {0, 1};
    nanosleep(&instant, NULL);
}

/* libgomp's team does not survive fork, and a region in the child would wait for it forever. */
static void in_child(void) { forked = 1; }
static void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }
#else
static double idle(void) { return 0.0; }
static void mark(void) {}
static void let_the_team_wake(void) {}
static void watch_forks(void) {}
#endif

static int processors(void) {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    return omp_get_num_procs();
}

__attribute__((constructor)) static void load(void) {
    initial = omp_get_max_threads();
    from_variable = getenv("OMP_NUM_THREADS") != NULL;
    watch_forks();
}

int lf_threads(void) {
    if (forked)
        return 1;
    const int openmp = omp_get_max_threads(), lowered = openmp < initial; /* by threadpoolctl, say */
    if (chosen)
        return lowered ? minimum(chosen, openmp) : chosen;
    return from_variable || openmp != initial ? openmp : minimum(openmp, processors());
}

void lf_set_threads(int n) { chosen = n; }

void lf_set_thresholds(double hot_nanoseconds, double cold_nanoseconds) {
    hot_work_ns = hot_nanoseconds;
    cold_work_ns = cold_nanoseconds;
}

int lf_team(double serial_nanoseconds, ptrdiff_t blocks) {
    if (serial_nanoseconds < hot_work_ns || blocks < 2)
        return 1;
    const int threads = lf_threads();
    if (threads < 2 || (serial_nanoseconds < cold_work_ns && idle() > COLD_AFTER_NS))
        return 1;
    return blocks < threads ? (int)blocks : threads;
}

void lf_run(int threads, ptrdiff_t blocks, lf_task task, void *context) {
    if (threads < 2) { /* even a region of one costs 0.3 us */
        for (ptrdiff_t block = 0; block < blocks; block++)
            task(context, block, 0);
        return;
    }
    if (idle() > STUCK_AFTER_NS)
        let_the_team_wake();
    /* Handed out in order, a few turns per thread: a thread that the system holds up keeps one turn, not its half. */
    const ptrdiff_t turns = 16 * (ptrdiff_t)threads, turn = blocks / turns + (blocks % turns != 0);
    ptrdiff_t next = 0;
#pragma omp parallel num_threads(threads)
    {
        const int thread = omp_get_thread_num();
        for (;;) {
            const ptrdiff_t start = __atomic_fetch_add(&next, turn, __ATOMIC_RELAXED);
            const ptrdiff_t end = blocks - start < turn ? blocks : start + turn;
            if (start >= blocks)
                break;
            for (ptrdiff_t block = start; block < end; block++)
                task(context, block, thread);
        }
    }
    mark();
}

int lf_openmp_version(void) { return _OPENMP; }

#else /* a compiler without OpenMP */

static int chosen;

int lf_threads(void) { return chosen ? chosen : 1; }
void lf_set_threads(int n) { chosen = n; }
void lf_set_thresholds(double hot_nanoseconds, double cold_nanoseconds) {
    (void)hot_nanoseconds, (void)cold_nanoseconds;
}

int lf_team(double serial_nanoseconds, ptrdiff_t blocks) {
    (void)serial_nanoseconds, (void)blocks;
    return 1;
}

void lf_run(int threads, ptrdiff_t blocks, lf_task task, void *context) {
    (void)threads;
    for (ptrdiff_t block = 0; block < blocks; block++)
        task(context, block, 0);
}

int lf_openmp_version(void) { return 0; }

#endif
