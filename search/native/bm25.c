#include "bm25.h"

#define K1_PLUS_1 2.2f

size_t bm25_struct_size(int which)
{
    return which == 0 ? sizeof(Postings) : 0;
}

void bm25_add(const Postings *postings, int terms, const uint32_t *starts, const uint32_t *ends,
              const float *weights, float *scores)
{
    for (int term = 0; term < terms; term++) {
        const float weight = weights[term];
        for (uint32_t i = starts[term]; i < ends[term]; i++) {
            const uint16_t place = postings->places[i];
            const uint8_t coded = postings->counts[i];
            const float count = postings->text_counts[coded & 31]
                                + postings->title_weight * (float)(coded >> 5);
            scores[place] += weight * (count * K1_PLUS_1) / (count + postings->norms[place]);
        }
    }
}

/* Whether document `a` stands behind document `b`. */
static int is_worse(const float *scores, int32_t a, int32_t b)
{
    return scores[a] < scores[b] || (scores[a] == scores[b] && a > b);
}

/* Lets the element at `at` sink to its place in a heap whose worst element is the first. */
static void sink(const float *scores, int32_t *heap, int size, int at)
{
    const int32_t moved = heap[at];
    for (;;) {
        int child = 2 * at + 1;
        if (child >= size)
            break;
        if (child + 1 < size && is_worse(scores, heap[child + 1], heap[child]))
            child++;
        if (!is_worse(scores, heap[child], moved))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

int bm25_top(const float *scores, const uint8_t *allowed, int count, int k, int32_t *places)
{
    int size = 0;
    for (int32_t place = 0; place < count; place++) {
        if (!(scores[place] > 0) || (allowed && !allowed[place]))
            continue;
        if (size < k) {
            places[size++] = place;
            if (size == k)
                for (int at = k / 2 - 1; at >= 0; at--)
                    sink(scores, places, size, at);
        } else if (is_worse(scores, places[0], place)) {
            places[0] = place;
            sink(scores, places, size, 0);
        }
    }
    if (size < k)
        for (int at = size / 2 - 1; at >= 0; at--)
            sink(scores, places, size, at);
    for (int end = size - 1; end > 0; end--) { /* the worst goes to the end, again and again */
        const int32_t worst = places[0];
        places[0] = places[end];
        places[end] = worst;
        sink(scores, places, end, 0);
    }
    return size;
}
