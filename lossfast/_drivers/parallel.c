/* Threads. OpenMP says how many (omp_get_max_threads, so that OMP_NUM_THREADS and threadpoolctl are obeyed); the
 * regions themselves run on a pool of our own.
 *
 * The end of an OpenMP region waits for every thread of the team, also for one that has not begun. Where the threads
 * sleep, or where other processes keep the processors busy, that is a turn of the scheduler: measured with libgomp on
 * two processors, 8 ms for 17 us of work beside one busy process, and up to 8 ms for the first region after a rest.
 * Here the caller works on without waiting for anybody; a helper that wakes late finds nothing left to do, and only one
 * that holds a turn of blocks is waited for. After fork the child makes helpers of its own, where libgomp would hang.
 */
#define _GNU_SOURCE /* sched_getaffinity, sched_getcpu, CPU_COUNT */

#include "parallel.h"

#ifdef _OPENMP

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- how many -------------------------------------------------------------------------------------------------- */

static atomic_int chosen; /* by lf_set_threads; 0: none */
static int initial;       /* OpenMP's own setting when this library was loaded */
static int from_variable; /* … came from OMP_NUM_THREADS */

static int minimum(int a, int b) { return a < b ? a : b; }

static int processors(void) {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    return omp_get_num_procs();
}

int lf_threads(void) {
    const int openmp = omp_get_max_threads(), lowered = openmp < initial; /* by threadpoolctl, say */
    const int own = atomic_load(&chosen);
    if (own)
        return lowered ? minimum(own, openmp) : own;
    return from_variable || openmp != initial ? openmp : minimum(openmp, processors());
}

void lf_set_threads(int n) { atomic_store(&chosen, n); }

int lf_openmp_version(void) { return _OPENMP; }

/* ---- the pool ---------------------------------------------------------------------------------------------------- */

/* One call's blocks. It lives on the caller's stack: helpers may touch it between joining and leaving, no longer. */
typedef struct job {
    lf_task task;
    void *context;
    ptrdiff_t blocks, turn;
    _Atomic ptrdiff_t next;
    int places, joined; /* helpers that may still join, and that have; under the lock */
    int processor;      /* the caller's */
    atomic_int working; /* helpers that have joined and not left */
    struct job *after;
} job;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
static job *jobs;             /* with places left; under the lock */
static int helpers, sleeping; /* under the lock */
static atomic_int awake;      /* helpers that look out for work without sleeping */
static atomic_ulong posted;   /* jobs so far: what those look at */

/* A helper looks out for so long before it sleeps, and a caller for the last turn before it does: about the cost of
 * being woken. */
static const double LOOK_OUT_NS = 50e3;
/* With helpers awake a region costs a microsecond. To wake one takes 50 to 100 us on a virtual machine, few of them of
 * the caller's own time: measured after rests of 0.2 to 10 ms, a region was never slower than serial from 100 us on;
 * after longer ones the processor itself has to wake. In a tight loop a helper is woken once. */
static _Atomic double awake_work_ns = 40e3, asleep_work_ns = 100e3;
static const double TIGHT_NS = 200e3, LONG_NS = 10e6, LONG_ASLEEP = 2.5;
/* Where a caller waits for another's last turn much longer than turns take, somebody else has that processor: the next
 * calls do without. */
static const double LATE_NS = 10e3;
static const int CALLS_ALONE = 16;
static atomic_int alone;         /* calls that are still to be made so */
static _Atomic double last_call; /* when work was last asked for that may be shared */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void pause_briefly(void) {
    for (int i = 0; i < 32; i++) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
    }
}

/* Linux likes to wake a helper where its caller runs, who then waits for it. */
static int processor(void) {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

/* Whether this thread is not on that processor, or could leave it for another that the process may use. */
static int kept_off(int busy) {
    if (busy < 0 || processor() != busy)
        return 1;
#if defined(__linux__)
    cpu_set_t others;
    if (sched_getaffinity(getpid(), sizeof others, &others))
        return 0;
    CPU_CLR(busy, &others);
    return CPU_COUNT(&others) && sched_setaffinity(0, sizeof others, &others) == 0;
#else
    return 0;
#endif
}

/* Returns how many. */
static ptrdiff_t take_turns(job *j, int thread) {
    for (ptrdiff_t turns = 0;; turns++) {
        const ptrdiff_t start = atomic_fetch_add_explicit(&j->next, j->turn, memory_order_relaxed);
        if (start >= j->blocks)
            return turns;
        const ptrdiff_t end = j->blocks - start < j->turn ? j->blocks : start + j->turn;
        for (ptrdiff_t block = start; block < end; block++)
            j->task(j->context, block, thread);
    }
}

/* The next job with a place, and which of its threads the caller becomes; NULL if there is none. Under the lock. */
static job *join_a_job(int *thread) {
    job *j = jobs;
    if (!j)
        return NULL;
    *thread = ++j->joined;
    atomic_fetch_add(&j->working, 1);
    if (--j->places == 0)
        jobs = j->after;
    return j;
}

static void *help(void *unused) {
    for (int in_the_way = 0;;) {
        const unsigned long seen = atomic_load(&posted);
        int thread = 0;
        pthread_mutex_lock(&lock);
        job *j = join_a_job(&thread);
        pthread_mutex_unlock(&lock);
        if (!j) {
            const double start = now();
            atomic_fetch_add(&awake, 1);
            while (!in_the_way && atomic_load(&posted) == seen && now() - start < LOOK_OUT_NS)
                pause_briefly();
            atomic_fetch_sub(&awake, 1);
            pthread_mutex_lock(&lock);
            while (!(j = join_a_job(&thread)) && atomic_load(&posted) == seen) {
                sleeping++;
                pthread_cond_wait(&work, &lock);
                sleeping--;
            }
            pthread_mutex_unlock(&lock);
            if (!j)
                continue;
        }
        in_the_way = awake_work_ns > 0.0 && !kept_off(j->processor);
        if (in_the_way)
            atomic_store(&alone, CALLS_ALONE);
        else
            take_turns(j, thread);
        pthread_mutex_lock(&lock);
        if (atomic_fetch_sub(&j->working, 1) == 1)
            pthread_cond_broadcast(&done);
        pthread_mutex_unlock(&lock);
    }
    return unused;
}

static void hire(int wanted) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes))
        return;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, (size_t)2 << 20);
    sigset_t all, callers; /* signals of the process are the program's own threads' to handle */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &callers);
    for (pthread_t helper; helpers < wanted; helpers++)
        if (pthread_create(&helper, &attributes, help, NULL))
            break; /* with fewer helpers the work takes longer */
    pthread_sigmask(SIG_SETMASK, &callers, NULL);
    pthread_attr_destroy(&attributes);
}

void lf_set_thresholds(double awake_nanoseconds, double asleep_nanoseconds) {
    awake_work_ns = awake_nanoseconds;
    asleep_work_ns = asleep_nanoseconds;
}

/* The work that is worth waking helpers for, after such a rest. */
static double work_worth_waking(double rest) {
    return rest < TIGHT_NS ? awake_work_ns : rest < LONG_NS ? asleep_work_ns : LONG_ASLEEP * asleep_work_ns;
}

int lf_team(double serial_nanoseconds, ptrdiff_t blocks) {
    if (serial_nanoseconds < awake_work_ns || blocks < 2)
        return 1;
    const double time = now(), rest = time - atomic_exchange(&last_call, time);
    if (atomic_load(&awake) == 0 && serial_nanoseconds < work_worth_waking(rest))
        return 1;
    if (awake_work_ns > 0.0 && atomic_load(&alone) > 0 && atomic_fetch_sub(&alone, 1) > 0)
        return 1;
    const int threads = lf_threads();
    return blocks < threads ? (int)blocks : threads;
}

void lf_run(int threads, ptrdiff_t blocks, lf_task task, void *context) {
    if (threads < 2) {
        for (ptrdiff_t block = 0; block < blocks; block++)
            task(context, block, 0);
        return;
    }
    const ptrdiff_t turns = 16 * (ptrdiff_t)threads;
    job j = {.task = task, .context = context, .blocks = blocks, .places = threads - 1, .processor = processor()};
    j.turn = blocks / turns + (blocks % turns != 0);
    pthread_mutex_lock(&lock);
    if (helpers < threads - 1)
        hire(threads - 1);
    j.after = jobs;
    jobs = &j;
    atomic_fetch_add(&posted, 1);
    const int call = minimum(threads - 1, sleeping);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < call; i++)
        pthread_cond_signal(&work);

    const double begin = now();
    const ptrdiff_t taken = take_turns(&j, 0);
    pthread_mutex_lock(&lock);
    for (job **link = &jobs; *link; link = &(*link)->after)
        if (*link == &j) {
            *link = j.after;
            break;
        }
    pthread_mutex_unlock(&lock);
    const double start = now();
    while (atomic_load(&j.working) && now() - start < LOOK_OUT_NS)
        pause_briefly();
    /* also where nobody works any more: the last helper may still hold the lock, behind which it forgets the job */
    pthread_mutex_lock(&lock);
    while (atomic_load(&j.working))
        pthread_cond_wait(&done, &lock);
    pthread_mutex_unlock(&lock);
    if (taken && now() - start > 2.0 * (start - begin) / (double)taken + LATE_NS)
        atomic_store(&alone, CALLS_ALONE);
}

/* ---- life of the process --------------------------------------------------------------------------------------------
 */

/* The child has one thread, and the lock as another may have left it. */
static void in_child(void) {
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&work, NULL);
    pthread_cond_init(&done, NULL);
    jobs = NULL;
    helpers = sleeping = 0;
    atomic_store(&awake, 0);
}

__attribute__((constructor)) static void load(void) {
    initial = omp_get_max_threads();
    from_variable = getenv("OMP_NUM_THREADS") != NULL;
    pthread_atfork(NULL, NULL, in_child);
}

#else /* a compiler without OpenMP: serial */

int lf_threads(void) { return 1; }
void lf_set_threads(int n) { (void)n; }
void lf_set_thresholds(double awake_nanoseconds, double asleep_nanoseconds) {
    (void)awake_nanoseconds, (void)asleep_nanoseconds;
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
