// What a host kernel of OCCA 1 needs of the header it includes: the mathematical functions. The full header costs a second
// of compile time for every kernel. And what OKL has no words for: prefetching, and stores past the caches.
#pragma once
#include <math.h>
#include <string.h>

namespace occa {}

template <typename T>
static inline void prefetch_row(const T *row, int n) {
  for (int i = 0; i < n; i += 64 / (int) sizeof(T)) __builtin_prefetch(row + i, 0, 3);
}

// The same, but into the second-level cache alone.
template <typename T>
static inline void prefetch_row_far(const T *row, int n) {
  for (int i = 0; i < n; i += 64 / (int) sizeof(T)) __builtin_prefetch(row + i, 0, 2);
}

#if defined(__AVX512F__) && !defined(__clang__)
typedef long long insitu_line __attribute__((vector_size(64), may_alias));
#define INSITU_STREAM_LINE(to, from) __builtin_ia32_movntdq512((insitu_line *) (to), from)
#elif defined(__AVX__) && !defined(__clang__)
typedef long long insitu_line __attribute__((vector_size(32), may_alias));
#define INSITU_STREAM_LINE(to, from) __builtin_ia32_movntdq256((insitu_line *) (to), from)
#endif

// Copies a row past the caches where it is aligned, and returns whether one of its values is not finite. What was streamed is
// seen by others after stream_end().
template <typename T>
static inline int stream_row(T *to, const T *from, int n) {
  int bad = 0, i = 0;
#ifdef INSITU_STREAM_LINE
  typedef T line __attribute__((vector_size(sizeof(insitu_line))));
  const int width = sizeof(line) / sizeof(T);
  for (; i < n && (unsigned long) (to + i) % sizeof(line); ++i) {
    to[i] = from[i];
    bad |= !(from[i] - from[i] == 0);
  }
  line rest = {};
#pragma GCC unroll 8
  for (; i + width <= n; i += width) {
    line values;
    memcpy(&values, from + i, sizeof values);
    rest += values - values;
    INSITU_STREAM_LINE(to + i, (insitu_line) values);
  }
  const insitu_line is_bad = (insitu_line) (rest != 0);
  for (int k = 0; k < (int) (sizeof(insitu_line) / sizeof(is_bad[0])); ++k) bad |= is_bad[k] != 0;
#endif
  for (; i < n; ++i) {
    to[i] = from[i];
    bad |= !(from[i] - from[i] == 0);
  }
  return bad;
}

// Vectors as long as a line of the cache.
#if defined(__GNUC__) && !defined(__clang__)
template <typename T>
struct insitu_vector;

template <>
struct insitu_vector<double> {
  typedef double type __attribute__((vector_size(64)));
  typedef double anywhere __attribute__((vector_size(64), aligned(8), may_alias));
  typedef long index __attribute__((vector_size(64)));
  static constexpr index count = {0, 1, 2, 3, 4, 5, 6, 7};
};

template <>
struct insitu_vector<float> {
  typedef float type __attribute__((vector_size(64)));
  typedef float anywhere __attribute__((vector_size(64), aligned(4), may_alias));
  typedef int index __attribute__((vector_size(64)));
  static constexpr index count = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
};

template <typename T>
static inline void insitu_transpose(typename insitu_vector<T>::type *rows) {
  typedef insitu_vector<T> V;
  const int lanes = 64 / sizeof(T);
#pragma GCC unroll 16
  for (int half = 1; half < lanes; half *= 2) {
    const typename V::index low = V::count + ((V::count & half) / half) * (lanes - half);
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
      if (i & half) continue;
      const typename V::type a = rows[i], b = rows[i + half];
      rows[i] = __builtin_shuffle(a, b, low);
      rows[i + half] = __builtin_shuffle(a, b, low + half);
    }
  }
}
#endif

// Point lane * columns + column of a line goes to column * lanes + lane, where lanes fill a line of the cache.
template <typename T>
static inline void lift_line(T *to, const T *from, int columns) {
  const int lanes = 64 / sizeof(T);
  int column = 0;
#if defined(__GNUC__) && !defined(__clang__)
  typedef typename insitu_vector<T>::anywhere V;
  for (; column + lanes <= columns; column += lanes) {
    typename insitu_vector<T>::type block[lanes];
#pragma GCC unroll 16
    for (int lane = 0; lane < lanes; ++lane) block[lane] = *(const V *) (from + lane * columns + column);
    insitu_transpose<T>(block);
#pragma GCC unroll 16
    for (int k = 0; k < lanes; ++k) *(V *) (to + (column + k) * lanes) = block[k];
  }
#endif
  for (; column < columns; ++column)
    for (int lane = 0; lane < lanes; ++lane) to[column * lanes + lane] = from[lane * columns + column];
}

// And back, the points low ... high - 1 alone; past the caches where streams is set and vectors are aligned there. Returns
// whether one of them is not finite.
template <typename T>
static inline int flatten_line(T *to, const T *from, int columns, int low, int high, int streams) {
  const int lanes = 64 / sizeof(T);
  int column = 0;
  T spoilt = 0;
#if defined(__GNUC__) && !defined(__clang__)
  typedef typename insitu_vector<T>::anywhere V;
#ifdef INSITU_STREAM_LINE
  const bool is_aligned = (unsigned long) to % 64 == 0 && columns % lanes == 0;
#endif
  typename insitu_vector<T>::type rest = {};
  for (; column + lanes <= columns; column += lanes) {
    typename insitu_vector<T>::type block[lanes];
#pragma GCC unroll 16
    for (int k = 0; k < lanes; ++k) block[k] = *(const V *) (from + (column + k) * lanes);
    insitu_transpose<T>(block);
#pragma GCC unroll 16
    for (int lane = 0; lane < lanes; ++lane) {
      const int first = lane * columns + column;
      if (first < low || first + lanes > high) {
        for (int n = 0; n < lanes; ++n)
          if (first + n >= low && first + n < high) {
            to[first + n] = block[lane][n];
            spoilt += block[lane][n] - block[lane][n];
          }
        continue;
      }
      rest += block[lane] - block[lane];
#ifdef INSITU_STREAM_LINE
      if (streams && is_aligned) {
        for (int part = 0; part < 64 / (int) sizeof(insitu_line); ++part)
          INSITU_STREAM_LINE(to + first + part * (lanes / (64 / (int) sizeof(insitu_line))), ((insitu_line *) &block[lane])[part]);
        continue;
      }
#endif
      *(V *) (to + first) = block[lane];
    }
  }
  for (int n = 0; n < lanes; ++n) spoilt += rest[n];
#endif
  for (; column < columns; ++column)
    for (int lane = 0; lane < lanes; ++lane) {
      const int point = lane * columns + column;
      if (point >= low && point < high) {
        to[point] = from[column * lanes + lane];
        spoilt += to[point] - to[point];
      }
    }
  return spoilt == 0 ? 0 : 1;
}

// The neighbours of a lifted line's ends: those of a lane are the next lane's, and around the whole line.
template <typename T>
static inline void wrap_line(T *line, int width) {
  const int lanes = 64 / sizeof(T);
#if defined(__GNUC__) && !defined(__clang__)
  typedef typename insitu_vector<T>::anywhere V;
  const typename insitu_vector<T>::index count = insitu_vector<T>::count;
  const typename insitu_vector<T>::type first = *(const V *) line, last = *(const V *) (line + width - lanes);
  *(V *) (line - lanes) = __builtin_shuffle(last, (count + (lanes - 1)) % lanes);
  *(V *) (line + width) = __builtin_shuffle(first, (count + 1) % lanes);
#else
  for (int lane = 0; lane < lanes; ++lane) {
    line[lane - lanes] = line[width - lanes + (lane + lanes - 1) % lanes];
    line[width + lane] = line[(lane + 1) % lanes];
  }
#endif
}

static inline void stream_end() {
#ifdef INSITU_STREAM_LINE
  __builtin_ia32_sfence();
#endif
}
