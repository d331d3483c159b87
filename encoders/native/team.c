/*
 * Threads that help with one call, without being waited for.
 *
 * The caller takes items of the work itself and waits for those alone that a helper has taken. So a
 * helper that is not awake yet, or whose CPU is busy, costs nothing. Helpers spin between the parts
 * of a call, which follow one another within microseconds, and sleep between calls.
 */
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "team.h"

enum { SPINS = 2000 }; /* until a thread that waits lets others run */

struct Team {
    /* The part of the work that is shared out, in one number so that an item is taken from the
     * part that it was seen in: its number, how many items it has, and the next one to take. */
    _Alignas(64) _Atomic uint64_t part;
    _Alignas(64) _Atomic int done;
    _Alignas(64) _Atomic int open; /* 0 between calls, and when what is left has been taken */
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

static void rest(int *spins)
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

/* Takes items of the part under way until there are none; how many. */
static int help(Team *team, int member)
{
    int count = 0;
    uint64_t seen = atomic_load_explicit(&team->part, memory_order_acquire);
    for (;;) {
        const uint64_t next = seen & ITEMS, items = seen >> ITEM_BITS & ITEMS;
        if (next >= items)
            return count;
        if (!atomic_compare_exchange_weak_explicit(&team->part, &seen, seen + 1,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        team->work(team->context, (int)next, member);
        atomic_fetch_add_explicit(&team->done, 1, memory_order_release);
        count++;
        seen = atomic_load_explicit(&team->part, memory_order_acquire);
    }
}

static void *live(void *context)
{
    struct Helper *self = context;
    Team *team = self->team;
    for (;;) {
        while (sem_wait(&self->wake)) /* a signal came */
            ;
        if (atomic_load(&team->closing))
            return NULL;
        int spins = 0;
        while (atomic_load_explicit(&team->open, memory_order_acquire))
            if (help(team, self->member))
                spins = 0;
            else
                rest(&spins);
    }
}

Team *team_new(int helpers)
{
    Team *team = aligned_alloc(64, (sizeof *team + helpers * sizeof *team->helper + 63) / 64 * 64);
    if (!team)
        return NULL;
    atomic_init(&team->part, 0);
    atomic_init(&team->done, 0);
    atomic_init(&team->open, 0);
    atomic_init(&team->closing, 0);
    pthread_mutex_init(&team->taken, NULL);
    team->helpers = 0;
    for (int i = 0; i < helpers; i++) {
        struct Helper *helper = team->helper + i;
        helper->team = team;
        helper->member = i + 1;
        if (sem_init(&helper->wake, 0, 0)) /* macOS has none without a name */
            break;
        if (pthread_create(&helper->thread, NULL, live, helper)) {
            sem_destroy(&helper->wake);
            break; /* fewer will do */
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
    const uint64_t number = atomic_load_explicit(&team->part, memory_order_relaxed) >> 2 * ITEM_BITS;
    atomic_store_explicit(&team->part,
                          (number + 1) << 2 * ITEM_BITS | (uint64_t)items << ITEM_BITS,
                          memory_order_release);
    help(team, 0);
    if (last)
        atomic_store_explicit(&team->open, 0, memory_order_release);
    int spins = 0;
    while (atomic_load_explicit(&team->done, memory_order_acquire) < items)
        rest(&spins);
}
