/* AVX512 in plain C, to run its kernels on a CPU without it: SIMDe, and what SIMDe lacks. */
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <math.h>
#include <string.h>

#define EACH(kind, count, to, expression)                                                          \
    kind to[count];                                                                                \
    for (int i = 0; i < count; i++)                                                                \
        to[i] = expression;

static inline __m512 emulated_cvtepi32_ps(__m512i x)
{
    int from[16];
    memcpy(from, &x, 64);
    EACH(float, 16, to, (float)from[i])
    return _mm512_loadu_ps(to);
}

static inline __m512i emulated_cvtps_epi32(__m512 x)
{
    float from[16];
    memcpy(from, &x, 64);
    EACH(int, 16, to, (int)nearbyintf(from[i]))
    return _mm512_loadu_si512(to);
}

static inline __m512i emulated_cvttps_epi32(__m512 x)
{
    float from[16];
    memcpy(from, &x, 64);
    EACH(int, 16, to, (int)from[i])
    return _mm512_loadu_si512(to);
}

static inline __m128i emulated_cvtepi32_epi8(__m512i x)
{
    int from[16];
    memcpy(from, &x, 64);
    EACH(unsigned char, 16, to, (unsigned char)from[i])
    return _mm_loadu_si128((const __m128i *)to);
}

static inline float emulated_reduce_add_ps(__m512 x)
{
    float from[16], sum = 0;
    memcpy(from, &x, 64);
    for (int i = 0; i < 16; i++)
        sum += from[i];
    return sum;
}

static inline float emulated_reduce_max_ps(__m512 x)
{
    float from[16];
    memcpy(from, &x, 64);
    for (int i = 1; i < 16; i++)
        from[0] = from[i] > from[0] ? from[i] : from[0];
    return from[0];
}

#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
#define _mm512_cvtps_epi32 emulated_cvtps_epi32
#define _mm512_cvttps_epi32 emulated_cvttps_epi32
#define _mm512_cvtepi32_epi8 emulated_cvtepi32_epi8
#define _mm512_reduce_add_ps emulated_reduce_add_ps
#define _mm512_reduce_max_ps emulated_reduce_max_ps
