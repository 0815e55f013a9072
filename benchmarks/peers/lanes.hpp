// Vectors of doubles as wide as the machine's registers, and memory for them.
//
// Lanes is a GCC vector: + - * work lane by lane and are contracted to FMA.
// A "lifted" row keeps point lane*columns + column at column*LANES + lane, so
// the neighbours of a whole vector are the vectors before and after it, and
// every load is aligned.

#pragma once

#include <immintrin.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#if defined(__AVX512F__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef double Lanes __attribute__((vector_size(LANES * sizeof(double)), may_alias));
typedef long Index __attribute__((vector_size(LANES * sizeof(long))));
typedef Lanes Unaligned __attribute__((aligned(8), may_alias));

inline Lanes splat(double x) { return x - Lanes{}; }

inline Lanes load(const double *at) { return *reinterpret_cast<const Unaligned *>(at); }

inline void store(double *at, Lanes x) { *reinterpret_cast<Unaligned *>(at) = x; }

// Past the caches: no read of the line before it is written. `at` is aligned.
inline void stream(double *at, Lanes x) {
#if defined(__AVX512F__)
  _mm512_stream_pd(at, (__m512d)x);
#elif defined(__AVX__)
  _mm256_stream_pd(at, (__m256d)x);
#else
  store(at, x);
#endif
}

#if defined(__AVX512F__)
constexpr Index COUNT = {0, 1, 2, 3, 4, 5, 6, 7};
#else
constexpr Index COUNT = {0, 1, 2, 3};
#endif

// {before[last], x[0], x[1], ...} and {x[1], ..., x[last], after[0]}
inline Lanes shifted_right(Lanes before, Lanes x) { return __builtin_shuffle(before, x, COUNT + (LANES - 1)); }
inline Lanes shifted_left(Lanes x, Lanes after) { return __builtin_shuffle(x, after, COUNT + 1); }

// Transpose LANES vectors in place.
inline void transpose(Lanes *rows) {
#pragma GCC unroll 8
  for (int half = 1; half < LANES; half *= 2) {
    const Index low = COUNT + ((COUNT & half) / half) * (LANES - half);
#pragma GCC unroll 8
    for (int i = 0; i < LANES; ++i) {
      if (i & half) continue;
      const Lanes a = rows[i], b = rows[i + half];
      rows[i] = __builtin_shuffle(a, b, low);
      rows[i + half] = __builtin_shuffle(a, b, low + half);
    }
  }
}

// The part-th of `parts` shares of count doubles, towards the caches.
inline void prefetch_share(const double *at, long count, int part, int parts) {
  for (long i = count * part / parts; i < count * (part + 1) / parts; i += LANES) __builtin_prefetch(at + i);
}

// 2 MiB pages where the system grants them. Not touched: the first touch is the caller's.
inline double *reserved(size_t count) {
  const size_t page = size_t(2) << 20, bytes = (count * sizeof(double) + page - 1) / page * page;
  void *memory = std::aligned_alloc(page, bytes);
  madvise(memory, bytes, MADV_HUGEPAGE);
  return static_cast<double *>(memory);
}
