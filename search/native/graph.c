#include "graph.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__gnu_linux__)
#include <immintrin.h>
#define EVERY_CPU __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#else
#define EVERY_CPU
#endif

enum { CACHE_LINE = 64, AHEAD = 6 }; /* vectors that are asked of memory before they are needed */
#define BEEN 0x80000000u             /* the bit of a node that the walk has been to */

/* A node that was seen; the best ones stand in order. */
typedef struct {
    int32_t score;
    uint32_t node;
} Seen;

typedef struct {
    Seen *seen;
    int count, most;
} Best;

EVERY_CPU static int32_t product(const uint8_t *code, const int16_t *weights, int dim)
{
    int32_t sum = 0;
    for (int i = 0; i < dim; i++)
        sum += (int16_t)code[i] * weights[i];
    return sum;
}

static int32_t score_of(const Graph *graph, const int16_t *weights, int32_t node)
{
    return product(graph->codes + (size_t)node * graph->dim, weights, graph->dim);
}

static void ask_for(const void *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += CACHE_LINE)
        __builtin_prefetch((const char *)from + i);
}

static void ask_for_vector(const Graph *graph, int32_t node)
{
    ask_for(graph->codes + (size_t)node * graph->dim, graph->dim);
}

static const int32_t *neighbours_of(const Graph *graph, int32_t node, int level, int *count)
{
    *count = graph->levels[level + 1] - graph->levels[level];
    return graph->neighbours + graph->offsets[node] + graph->levels[level];
}

/* The nearest node of the levels above the lowest. */
static int32_t descend(const Graph *graph, const int16_t *weights)
{
    int32_t node = graph->entry, score = score_of(graph, weights, node);
    for (int level = graph->top; level > 0; level--) {
        for (int32_t from = -1; from != node;) {
            int count;
            const int32_t *near = neighbours_of(graph, node, level, &count);
            from = node;
            for (int i = 0; i < count && near[i] >= 0; i++)
                ask_for_vector(graph, near[i]);
            for (int i = 0; i < count && near[i] >= 0; i++) {
                const int32_t other = score_of(graph, weights, near[i]);
                if (other > score) {
                    score = other;
                    node = near[i];
                }
            }
        }
    }
    return node;
}

/* Where the node stands now among the best, or `most` where it does not. */
static int put(Best *best, int32_t score, int32_t node)
{
    int low = 0, high = best->count;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (best->seen[middle].score >= score)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == best->most)
        return low;
    if (best->count < best->most)
        best->count++;
    memmove(best->seen + low + 1, best->seen + low, (best->count - low - 1) * sizeof(Seen));
    best->seen[low] = (Seen){score, (uint32_t)node};
    return low;
}

static int see(uint64_t *known, int32_t node)
{
    const uint64_t bit = 1ull << (node & 63);
    const int is_new = !(known[node >> 6] & bit);
    known[node >> 6] |= bit;
    return is_new;
}

static void walk(const Graph *graph, const int16_t *weights, Best *best, uint64_t *known,
                 int32_t *fresh)
{
    const int32_t start = descend(graph, weights);
    see(known, start);
    put(best, score_of(graph, weights, start), start);
    for (int next = 0; next < best->count;) {
        if (best->seen[next].node & BEEN) {
            next++;
            continue;
        }
        const int32_t node = (int32_t)best->seen[next].node;
        best->seen[next].node |= BEEN;
        int count, news = 0;
        const int32_t *near = neighbours_of(graph, node, 0, &count);
        for (int i = 0; i < count && near[i] >= 0; i++) {
            if (see(known, near[i])) {
                if (news < AHEAD)
                    ask_for_vector(graph, near[i]);
                fresh[news++] = near[i];
            }
        }
        for (int i = 0; i < news; i++) {
            if (i + AHEAD < news)
                ask_for_vector(graph, fresh[i + AHEAD]);
            const int place = put(best, score_of(graph, weights, fresh[i]), fresh[i]);
            if (place < best->most)
                ask_for(graph->neighbours + graph->offsets[fresh[i]], 1);
            if (place < next)
                next = place;
        }
    }
}

int graph_search(const Graph *graph, const int16_t *weights, int effort, int32_t *found,
                 int32_t *scores)
{
    Best best = {malloc(effort * sizeof(Seen)), 0, effort};
    uint64_t *known = calloc(graph->vectors / 64 + 1, sizeof *known);
    int32_t *fresh = malloc((graph->levels[1] + 1) * sizeof *fresh);
    const int whole = best.seen && known && fresh;
    if (whole) {
        walk(graph, weights, &best, known, fresh);
        for (int i = 0; i < best.count; i++) {
            found[i] = (int32_t)(best.seen[i].node & ~BEEN);
            scores[i] = best.seen[i].score;
        }
    }
    free(best.seen);
    free(known);
    free(fresh);
    return whole ? best.count : -1;
}
