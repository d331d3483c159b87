/* Vectors of 16 floats or of 64 bytes, with VNNI's dot products. */

#define LANES 16
#define ROWS 12
#define LEVELS 255
#define FOR_EACH_ROW_COUNT(macro)                                                                  \
    macro(1) macro(2) macro(3) macro(4) macro(5) macro(6) macro(7) macro(8) macro(9)      \
    macro(10) macro(11) macro(12)
#define FOR_EACH_ROW(macro)                                                                        \
    macro(0, from0, 0) macro(1, from0, 1) macro(2, from0, 2)                                       \
    macro(3, from3, 0) macro(4, from3, 1) macro(5, from3, 2)                                       \
    macro(6, from6, 0) macro(7, from6, 1) macro(8, from6, 2)                                       \
    macro(9, from9, 0) macro(10, from9, 1) macro(11, from9, 2)

#define BEFORE_THE_NEXT_ROW(a, b)

typedef __m512 Floats;
typedef __m512i Ints;

static inline Floats load(const float *from) { return _mm512_loadu_ps(from); }
static inline void store(float *to, Floats x) { _mm512_storeu_ps(to, x); }
static inline Floats set(float x) { return _mm512_set1_ps(x); }
static inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
static inline Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
static inline Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
static inline Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
static inline Floats fused(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
static inline Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
static inline Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a, b); }
static inline Floats magnitude(Floats x) { return _mm512_abs_ps(x); }
static inline Floats nearest(Floats x) { return _mm512_cvtepi32_ps(_mm512_cvtps_epi32(x)); }
static inline Floats where_negative(Floats x, Floats yes, Floats no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, set(0.0f), _CMP_LT_OQ), no, yes);
}
static inline Floats times_power_of_two(Floats x, Floats n)
{
    const __m512i bits = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return multiply(x, _mm512_castsi512_ps(_mm512_slli_epi32(bits, 23)));
}
static inline float sum_of(Floats x) { return _mm512_reduce_add_ps(x); }
static inline float largest_of(Floats x) { return _mm512_reduce_max_ps(x); }

static inline Ints load_ints(const void *from) { return _mm512_loadu_si512(from); }
static inline Ints zero_ints(void) { return _mm512_setzero_si512(); }
static inline Ints set_ints(int32_t x) { return _mm512_set1_epi32(x); }
static inline Ints subtract_ints(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
static inline Ints multiply_ints(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }
static inline Floats to_floats(Ints x) { return _mm512_cvtepi32_ps(x); }
static inline Ints broadcast_bytes(const uint8_t *four)
{
    int32_t value;
    memcpy(&value, four, 4);
    return _mm512_set1_epi32(value);
}
/* Each float as a byte, its fraction cut off; floats lie from 0 to below 256. */
static inline void store_bytes(uint8_t *to, Floats x)
{
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(x)));
}
static inline Ints dot(Ints sum, Ints bytes, Ints weights)
{
    return _mm512_dpbusd_epi32(sum, bytes, weights);
}
