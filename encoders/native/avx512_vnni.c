/* The encoder in AVX512-VNNI. */
#if defined(__x86_64__)
#if defined(EMULATED) /* the tests replace instructions that this CPU lacks with plain C */
#elif defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma"))), apply_to = function)
#include <immintrin.h>
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")
#include <immintrin.h>
#endif
#include <math.h>
#include <string.h>
#include <time.h>

#include "encoder.h"
#include "avx512.h"
#include "forward.inc"

const Kernels avx512_vnni_kernels = {"avx512_vnni", PANEL, forward, product};
#if defined(__clang__) && !defined(EMULATED)
#pragma clang attribute pop
#endif
#endif
