/*
 * Threads that help with one call; the call never waits for a thread to wake up.
 *
 * The caller works on items too, and waits only for items that a helper has taken. So a helper that
 * is still asleep, or whose CPU is busy, costs nothing. Helpers spin between the tasks of a call,
 * which follow one another within microseconds, and sleep between calls.
 */
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "team.h"

enum { SPINS = 2000 }; /* pauses of a waiting thread before it yields its CPU */

struct Team {
    /* The task that is shared out: its number, its count of items and the next item to take. They
     * are one integer, so that a thread can only take an item of the task that it has read. */
    _Alignas(64) _Atomic uint64_t task;
    _Alignas(64) _Atomic int done;
    _Alignas(64) _Atomic int open; /* 0 between calls, and once the last item is taken */
    Work work;
    void *context;
    _Atomic int closing;
    pthread_mutex_t taken;
    int helpers;
    struct Helper {
        Team *team;
        pthread_t thread;
        sem_t wake;
        int member;
    } helper[];
};

enum { ITEM_BITS = 20 };
#define ITEMS ((UINT64_C(1) << ITEM_BITS) - 1)

static void pause_or_yield(int *spins)
{
    if (++*spins < SPINS)
#if defined(__x86_64__)
        __builtin_ia32_pause();
#else
        ;
#endif
    else
        sched_yield();
}

/* Works on items of the present task until none is left; returns how many. */
static int help(Team *team, int member)
{
    int count = 0;
    uint64_t seen = atomic_load_explicit(&team->task, memory_order_acquire);
    for (;;) {
        const uint64_t next = seen & ITEMS, items = seen >> ITEM_BITS & ITEMS;
        if (next >= items)
            return count;
        if (!atomic_compare_exchange_weak_explicit(&team->task, &seen, seen + 1,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        team->work(team->context, (int)next, member);
        atomic_fetch_add_explicit(&team->done, 1, memory_order_release);
        count++;
        seen = atomic_load_explicit(&team->task, memory_order_acquire);
    }
}

/* A helper's thread: sleeps until a call wakes it, and helps until the call is done. */
static void *run_helper(void *context)
{
    struct Helper *self = context;
    Team *team = self->team;
    for (;;) {
        while (sem_wait(&self->wake)) /* a signal interrupted it */
            ;
        if (atomic_load(&team->closing))
            return NULL;
        int spins = 0;
        while (atomic_load_explicit(&team->open, memory_order_acquire))
            if (help(team, self->member))
                spins = 0;
            else
                pause_or_yield(&spins);
    }
}

Team *team_new(int helpers)
{
    Team *team = aligned_alloc(64, (sizeof *team + helpers * sizeof *team->helper + 63) / 64 * 64);
    if (!team)
        return NULL;
    atomic_init(&team->task, 0);
    atomic_init(&team->done, 0);
    atomic_init(&team->open, 0);
    atomic_init(&team->closing, 0);
    pthread_mutex_init(&team->taken, NULL);
    team->helpers = 0;
    for (int i = 0; i < helpers; i++) {
        struct Helper *helper = team->helper + i;
        helper->team = team;
        helper->member = i + 1;
        if (sem_init(&helper->wake, 0, 0)) /* macOS has no unnamed semaphores */
            break;
        if (pthread_create(&helper->thread, NULL, run_helper, helper)) {
            sem_destroy(&helper->wake);
            break; /* go on with fewer helpers */
        }
        team->helpers++;
    }
    return team;
}

void team_free(Team *team)
{
    if (!team)
        return;
    atomic_store(&team->closing, 1);
    for (int i = 0; i < team->helpers; i++) {
        sem_post(&team->helper[i].wake);
        pthread_join(team->helper[i].thread, NULL);
        sem_destroy(&team->helper[i].wake);
    }
    pthread_mutex_destroy(&team->taken);
    free(team);
}

int team_members(const Team *team) { return team ? team->helpers + 1 : 1; }

int team_take(Team *team)
{
    if (!team || !team->helpers || pthread_mutex_trylock(&team->taken))
        return 0;
    atomic_store_explicit(&team->open, 1, memory_order_release);
    for (int i = 0; i < team->helpers; i++)
        sem_post(&team->helper[i].wake);
    return 1;
}

void team_dismiss(Team *team)
{
    if (team)
        atomic_store_explicit(&team->open, 0, memory_order_release);
}

void team_give_back(Team *team)
{
    atomic_store_explicit(&team->open, 0, memory_order_release);
    pthread_mutex_unlock(&team->taken);
}

void share(Team *team, Work work, void *context, int items, int last)
{
    if (!team || items < 2) {
        for (int item = 0; item < items; item++)
            work(context, item, 0);
        return;
    }
    team->work = work;
    team->context = context;
    atomic_store_explicit(&team->done, 0, memory_order_relaxed);
    const uint64_t number = atomic_load_explicit(&team->task, memory_order_relaxed) >> 2 * ITEM_BITS;
    atomic_store_explicit(&team->task,
                          (number + 1) << 2 * ITEM_BITS | (uint64_t)items << ITEM_BITS,
                          memory_order_release);
    help(team, 0);
    if (last)
        atomic_store_explicit(&team->open, 0, memory_order_release);
    int spins = 0;
    while (atomic_load_explicit(&team->done, memory_order_acquire) < items)
        pause_or_yield(&spins);
}
