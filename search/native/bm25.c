#include "bm25.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "every_cpu.h"
#include "keys.h"

#define K1_PLUS_1 2.2f
#define MARGIN 1.0001f /* by so much the most that a term gives is taken to be larger, */
#define SLACK 0.999999f /* and a bound to be smaller: their sums are rounded */

/* A document in the order of their first chunks: its block, and its place there. */
typedef uint64_t Document;

typedef struct {
    float score;
    Document document;
} Scored;

/* The `k` best so far: a heap whose first element is the worst. */
typedef struct {
    Scored *best;
    int count, k;
} Top;

static int is_worse(Scored a, Scored b)
{
    return a.score < b.score || (a.score == b.score && a.document > b.document);
}

static void sink(Scored *heap, int size, int at)
{
    const Scored moved = heap[at];
    for (;;) {
        int child = 2 * at + 1;
        if (child >= size)
            break;
        if (child + 1 < size && is_worse(heap[child + 1], heap[child]))
            child++;
        if (!is_worse(heap[child], moved))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static void rise(Scored *heap, int at)
{
    const Scored moved = heap[at];
    for (; at && is_worse(moved, heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = moved;
}

static void offer(Top *top, Scored scored)
{
    if (top->count < top->k) {
        top->best[top->count++] = scored;
        rise(top->best, top->count - 1);
    } else if (is_worse(top->best[0], scored)) {
        top->best[0] = scored;
        sink(top->best, top->count, 0);
    }
}

/* A document of less cannot be among the best. */
static float least(const Top *top) { return top->count < top->k ? 0.0f : top->best[0].score; }

/* What a term of weight 1 gives to the document of a posting. */
static float share(const WordQuery *query, const WordBlock *block, uint32_t posting)
{
    const uint8_t coded = block->counts[posting];
    const float count = query->text_counts[coded & 31]
                        + query->title_weight * (float)(coded >> 5);
    return count * K1_PLUS_1 / (count + block->norms[block->places[posting]]);
}

/* The most that a term of a block gives to a document; 0 where the block lacks it. */
static float most(const WordQuery *query, int b, int term)
{
    const WordBlock *block = query->block + b;
    const int32_t at = query->at[b * query->terms + term];
    if (at < 0)
        return 0.0f;
    float impact = block->impacts[at]; /* several threads may find it at once, and write the same */
    if (impact == 0.0f) {
        for (uint32_t i = block->starts[at]; i < block->starts[at + 1]; i++) {
            const float here = share(query, block, i);
            impact = here > impact ? here : impact;
        }
        block->impacts[at] = impact;
    }
    return query->weights[term] * impact * MARGIN;
}

/* What a term gives to the document at a place of a block; 0 if it does not have the term. */
static float share_at(const WordQuery *query, int b, int term, uint16_t place)
{
    const WordBlock *block = query->block + b;
    const int32_t at = query->at[b * query->terms + term];
    if (at < 0)
        return 0.0f;
    const Bitmap *bitmap = query->bitmaps[b * query->terms + term];
    if (bitmap) {
        const uint64_t bits = bitmap->bits[place >> 6], bit = 1ull << (place & 63);
        if (!(bits & bit))
            return 0.0f;
        const int before = bitmap->before[place >> 6] + __builtin_popcountll(bits & (bit - 1));
        return query->weights[term] * share(query, block, block->starts[at] + before);
    }
    uint32_t low = block->starts[at], high = block->starts[at + 1];
    const uint32_t end = high;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (block->places[middle] < place)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == end || block->places[low] != place)
        return 0.0f;
    return query->weights[term] * share(query, block, low);
}

enum {
    BLOCK = 65536,
    HALVINGS = 10 /* of the range in which a bound is looked for */
};

/* What is known of the documents of one block. */
typedef struct Sums {
    struct Sums *next;
    int count;
    float sums[BLOCK];       /* 0 where nothing is known */
    uint16_t touched[BLOCK + 1]; /* the documents whose sum is not 0 */
    float partial[BLOCK];    /* room for their sums */
} Sums;

/* Those that no search uses: their memory is not asked for and cleared with every search. */
static Sums *idle;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static Sums *take_sums(void)
{
    pthread_mutex_lock(&lock);
    Sums *sums = idle;
    if (sums)
        idle = sums->next;
    pthread_mutex_unlock(&lock);
    return sums ? sums : calloc(1, sizeof *sums);
}

/* All of them are 0 again. */
static void give_back(Sums *sums)
{
    pthread_mutex_lock(&lock);
    sums->next = idle;
    idle = sums;
    pthread_mutex_unlock(&lock);
}

/* Adds what a term gives to the documents of a block. */
static void add_term(const WordQuery *query, int b, int term, Sums *sums)
{
    const WordBlock *block = query->block + b;
    const int32_t at = query->at[b * query->terms + term];
    const float weight = query->weights[term];
    if (at < 0)
        return;
    for (uint32_t i = block->starts[at]; i < block->starts[at + 1]; i++) {
        const uint16_t place = block->places[i];
        const float added = weight * share(query, block, i);
        if ((block->counted && !block->counted[place]) || !(added > 0.0f))
            continue;
        const float before = sums->sums[place];
        sums->touched[sums->count] = place;
        sums->count += before == 0.0f;
        sums->sums[place] = before + added;
    }
}

EVERY_CPU static int count_from(const float *numbers, int count, float least)
{
    int found = 0;
    for (int i = 0; i < count; i++)
        found += numbers[i] >= least;
    return found;
}

/*
 * A lower bound of the k-th best score: of what is known already, or of the sums until now, none of
 * which is above `most`.
 */
static float bound_of(const Top *top, Sums *sums, float most)
{
    const float known = least(top);
    if (sums->count < top->k || most <= known)
        return known;
    for (int i = 0; i < sums->count; i++)
        sums->partial[i] = sums->sums[sums->touched[i]];
    float low = known, high = most;
    if (known > 0.0f && count_from(sums->partial, sums->count, known) < top->k)
        return known;
    for (int i = 0; i < HALVINGS; i++) {
        const float middle = (low + high) / 2;
        if (count_from(sums->partial, sums->count, middle) >= top->k)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Scores the documents of a block that may be among the best. `rest` has room for all terms. */
static void score_block(const WordQuery *query, int b, Sums *sums, float *rest, Top *top)
{
    const int terms = query->terms;
    rest[terms] = 0.0f; /* rest[i]: the most that the terms from i on give together */
    for (int term = terms - 1; term >= 0; term--)
        rest[term] = rest[term + 1] + most(query, b, term);
    int added = 0;
    float bound = least(top);
    sums->count = 0;
    /* a document that has only the terms from `added` on cannot be among the best */
    while (added < terms && rest[added] >= bound * SLACK && rest[added] > 0.0f) {
        add_term(query, b, added++, sums);
        const float most_until_now = rest[0] - rest[added];
        if (added < terms && rest[added] < most_until_now)
            bound = bound_of(top, sums, most_until_now);
    }
    for (int i = 0; i < sums->count; i++) {
        const uint16_t place = sums->touched[i];
        float score = sums->sums[place];
        sums->sums[place] = 0.0f;
        int term = added;
        for (; term < terms && score + rest[term] >= bound * SLACK; term++)
            score += share_at(query, b, term, place);
        if (term < terms)
            continue;
        offer(top, (Scored){score, (Document)b << 16 | place});
        bound = least(top) > bound ? least(top) : bound;
    }
}

int bm25_top(const WordQuery *query, int k, int64_t *chunks, float *scores)
{
    Top top = {malloc(k * sizeof(Scored)), 0, k};
    Sums *sums = take_sums();
    float *rest = malloc((query->terms + 1) * sizeof(float));
    const int has_memory = top.best && sums && rest;
    if (has_memory) {
        for (int b = 0; b < query->blocks; b++)
            score_block(query, b, sums, rest, &top);
        const int count = top.count;
        for (int end = count - 1; end >= 0; end--) { /* the worst goes to the end */
            const Scored worst = top.best[0];
            top.best[0] = top.best[end];
            sink(top.best, end, 0);
            chunks[end] = query->block[worst.document >> 16].chunks[worst.document & 0xffff];
            scores[end] = worst.score;
        }
    }
    if (sums)
        give_back(sums);
    free(top.best);
    free(rest);
    return has_memory ? top.count : -1;
}

/* The place of a chunk in a block; -1 where it is not the first one of a document there. */
static int place_of(const WordBlock *block, int64_t chunk)
{
    const int place = (int)place_of_key(block->chunks, block->documents, chunk);
    return place < block->documents && block->chunks[place] == chunk ? place : -1;
}

void bm25_scores(const WordQuery *query, int count, const int64_t *chunks, float *scores)
{
    for (int i = 0; i < count; i++) {
        scores[i] = 0.0f;
        for (int b = 0; b < query->blocks; b++) {
            const WordBlock *block = query->block + b;
            const int place = place_of(block, chunks[i]);
            if (place < 0)
                continue;
            if (!block->counted || block->counted[place])
                for (int term = 0; term < query->terms; term++)
                    scores[i] += share_at(query, b, term, (uint16_t)place);
            break;
        }
    }
}
