#include "sketch.h"

#include <math.h>
#include <string.h>

#include "every_cpu.h"

enum { LARGEST_WEIGHT = (1 << SKETCH_PLANES) - 1 };
/* Standard errors by which an estimate may be too small. Of 100,000 sentences 0, 0.5 and 1 find 0.9935,
 * 0.9937 and 0.9940 of the ten nearest with an effort of 160, without sketches 0.9937; with 1 a
 * quarter more are compared than with 0.5. */
static const float SLACK = 0.5f;

void sketch_query(const Sketches *sketches, const float *query, int dim, uint64_t *planes,
                  SketchedQuery *sketched)
{
    const int words = sketch_words(dim);
    float lowest = 0.0f, highest = 0.0f, base = 0.0f, norm = 0.0f;
    for (int i = 0; i < dim; i++) {
        const float weight = (query[i] - sketches->mean[i]) * sketches->scale[i];
        lowest = weight < lowest ? weight : lowest;
        highest = weight > highest ? weight : highest;
        base += query[i] * sketches->mean[i];
        norm += (query[i] - sketches->mean[i]) * (query[i] - sketches->mean[i]);
    }
    const float step = highest > lowest ? (highest - lowest) / LARGEST_WEIGHT : 1.0f;
    float sum = 0.0f;
    memset(planes, 0, (size_t)SKETCH_PLANES * words * sizeof *planes);
    for (int i = 0; i < dim; i++) {
        const float weight = (query[i] - sketches->mean[i]) * sketches->scale[i];
        const int level = (int)lrintf((weight - lowest) / step);
        sum += lowest + step * (float)level;
        for (int plane = 0; plane < SKETCH_PLANES; plane++)
            planes[plane * words + i / 64] |= (uint64_t)(level >> plane & 1) << (i & 63);
    }
    /* each weight is wrong by step / sqrt(12) */
    *sketched = (SketchedQuery){planes, words, sketch_bytes(dim), lowest, step, sum, base,
                                sqrtf(norm) * sketches->spread, step * sqrtf((float)dim / 12.0f)};
}

EVERY_CPU int sketch_filter(const Sketches *sketches, const SketchedQuery *query, float bound,
                            int32_t *nodes, int count)
{
    int kept = 0;
    for (int n = 0; n < count; n++) {
        const uint8_t *sketch = sketches->rows + (size_t)nodes[n] * query->bytes;
        const uint64_t *bits = (const uint64_t *)sketch;
        const float *numbers = (const float *)(bits + query->words);
        int64_t product = 0;
        for (int plane = 0; plane < SKETCH_PLANES; plane++) {
            const uint64_t *weights = query->planes + plane * query->words;
            int64_t set = 0;
            for (int i = 0; i < query->words; i++)
                set += __builtin_popcountll(bits[i] & weights[i]);
            product += set << plane;
        }
        const float slope = numbers[0], slope_of_set = numbers[1], mean = numbers[2];
        const float estimate = 2.0f * query->lowest * slope_of_set + mean + query->base +
                               slope * (2.0f * query->step * (float)product - query->sum);
        const float error = query->spread * numbers[3] + query->rounding * slope;
        if (!(estimate + SLACK * error < bound))
            nodes[kept++] = nodes[n];
    }
    return kept;
}
