/* Vectors of 8 floats or of 32 bytes. */

#define LANES 8
#define ROWS 6
#define FOR_EACH_ROW_COUNT(macro) macro(1) macro(2) macro(3) macro(4) macro(5) macro(6)
#define FOR_EACH_ROW(macro)                                                                        \
    macro(0, from0, 0) macro(1, from0, 1) macro(2, from0, 2)                                       \
    macro(3, from3, 0) macro(4, from3, 1) macro(5, from3, 2)

/* Of 16 registers 12 hold sums. Without this barrier gcc starts all rows first: the sums spill. */
#define BEFORE_THE_NEXT_ROW(a, b) __asm__ volatile("" : "+x"(a), "+x"(b))

typedef __m256 Floats;
typedef __m256i Ints;

static inline Floats load(const float *from) { return _mm256_loadu_ps(from); }
static inline void store(float *to, Floats x) { _mm256_storeu_ps(to, x); }
static inline Floats set(float x) { return _mm256_set1_ps(x); }
static inline Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
static inline Floats subtract(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
static inline Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
static inline Floats divide(Floats a, Floats b) { return _mm256_div_ps(a, b); }
static inline Floats fused(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
static inline Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
static inline Floats smaller(Floats a, Floats b) { return _mm256_min_ps(a, b); }
static inline Floats magnitude(Floats x) { return _mm256_andnot_ps(set(-0.0f), x); }
static inline Floats nearest(Floats x)
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline Floats where_negative(Floats x, Floats yes, Floats no)
{
    return _mm256_blendv_ps(no, yes, x);
}
static inline Floats times_power_of_two(Floats x, Floats n)
{
    const __m256i bits = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return multiply(x, _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23)));
}
static inline float sum_of(Floats x)
{
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static inline float largest_of(Floats x)
{
    const __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

static inline Ints load_ints(const void *from) { return _mm256_loadu_si256((const __m256i *)from); }
static inline Ints zero_ints(void) { return _mm256_setzero_si256(); }
static inline Ints set_ints(int32_t x) { return _mm256_set1_epi32(x); }
static inline Ints subtract_ints(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }
static inline Ints multiply_ints(Ints a, Ints b) { return _mm256_mullo_epi32(a, b); }
static inline Floats to_floats(Ints x) { return _mm256_cvtepi32_ps(x); }
static inline Ints broadcast_bytes(const uint8_t *four)
{
    int32_t value;
    memcpy(&value, four, 4);
    return _mm256_set1_epi32(value);
}
/* Each float as a byte, its fraction cut off; floats lie from 0 to below 256. */
static inline void store_bytes(uint8_t *to, Floats x)
{
    const __m256i whole = _mm256_cvttps_epi32(x);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole),
                                          _mm256_extracti128_si256(whole, 1));
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(words, words));
}

#ifdef VNNI
#define LEVELS 255
static inline Ints dot(Ints sum, Ints bytes, Ints weights)
{
    return _mm256_dpbusd_avx_epi32(sum, bytes, weights);
}
#else
/* Adds two products in 16 bits, which cannot overflow if one factor has 7 bits:
 * 2 * 127 * 127 = 32258. */
#define LEVELS 127
static inline Ints dot(Ints sum, Ints bytes, Ints weights)
{
    const __m256i pairs = _mm256_maddubs_epi16(bytes, weights);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#endif
