#include "float16.h"

#include <string.h>

enum { LANES = 16 };

/* The lanes, and what is left of vectors that they do not divide, in one fixed order. */
static float sum_of(float *lanes)
{
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++)
            lanes[i] += lanes[i + width];
    return lanes[0];
}

static float from_float16(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31;
    uint32_t fraction = half & 0x3ff, bits;
    if (exponent == 31) {
        bits = 0x7f800000 | fraction << 13;
    } else if (exponent) {
        bits = (exponent + 112) << 23 | fraction << 13;
    } else { /* 0, or a number without its leading 1 */
        float small = (float)fraction * 0x1p-24f;
        memcpy(&bits, &small, sizeof bits);
    }
    bits |= sign;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float product_in_c(const uint16_t *vector, const float *query, int dim)
{
    float lanes[LANES] = {0};
    for (int i = 0; i < dim; i++)
        lanes[i % LANES] += from_float16(vector[i]) * query[i];
    return sum_of(lanes);
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

__attribute__((target("avx2,f16c"))) static float product_in_avx2(const uint16_t *vector,
                                                                 const float *query, int dim)
{
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
    int i = 0;
    for (; i + LANES <= dim; i += LANES) {
        const __m256 first = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(vector + i)));
        const __m256 second = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(vector + i + 8)));
        low = _mm256_add_ps(low, _mm256_mul_ps(first, _mm256_loadu_ps(query + i)));
        high = _mm256_add_ps(high, _mm256_mul_ps(second, _mm256_loadu_ps(query + i + 8)));
    }
    float lanes[LANES];
    _mm256_storeu_ps(lanes, low);
    _mm256_storeu_ps(lanes + 8, high);
    for (; i < dim; i++)
        lanes[i % LANES] += from_float16(vector[i]) * query[i];
    return sum_of(lanes);
}

float product_with(const uint16_t *vector, const float *query, int dim)
{
    static int has = -1; /* several threads may find out at once, and write the same */
    if (has < 0)
        has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
    return has ? product_in_avx2(vector, query, dim) : product_in_c(vector, query, dim);
}
#else
float product_with(const uint16_t *vector, const float *query, int dim)
{
    return product_in_c(vector, query, dim);
}
#endif
