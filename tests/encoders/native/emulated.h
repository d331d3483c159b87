/* AVX512 in plain C, to run its kernels on a CPU without it: SIMDe, and what SIMDe lacks. */
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <math.h>
#include <string.h>

/* A conversion of 16 numbers, one by one. */
#define CONVERSION(name, Vector, Number, Result, Converted, expression)                            \
    static inline Result emulated_##name(Vector x)                                                 \
    {                                                                                              \
        Number from[16];                                                                           \
        Converted to[16];                                                                          \
        Result result;                                                                             \
        memcpy(from, &x, sizeof from);                                                             \
        for (int i = 0; i < 16; i++)                                                               \
            to[i] = expression;                                                                    \
        memcpy(&result, to, sizeof to);                                                            \
        return result;                                                                             \
    }

CONVERSION(cvtepi32_ps, __m512i, int, __m512, float, (float)from[i])
CONVERSION(cvtps_epi32, __m512, float, __m512i, int, (int)nearbyintf(from[i]))
CONVERSION(cvttps_epi32, __m512, float, __m512i, int, (int)from[i])
CONVERSION(cvtepi32_epi8, __m512i, int, __m128i, unsigned char, (unsigned char)from[i])

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
