// Periodic 2-D vector Burgers for (u, v), layout (component, y, x): one step a pass over memory, and many.
//
//   c <- c + dt nu (c_xx + c_yy) - dt (u c_x + v c_y),   c = u, v, central differences
//      = c_e (dx - U) + c_w (dx + U) + c_n (dy - V) + c_s (dy + V) + keep c
//   dx = nu dt / hx^2, ax = dt / (2 hx), U = ax u, V = ay v, keep = 1 - 2 dx - 2 dy
//
// one_pass: two buffers, streaming stores.
// blocked:  each thread takes a chunk of rows and passes `per_pass` levels
//           through its cache (levels.hpp); chunks overlap by per_pass rows.
//
// What comes from memory is prefetched: AHEAD points in a row that is read, and
// the next row while the later levels compute.
//
// Rows are whole, so x needs no overlap. Neighbours in x come from the vectors
// beside by one shuffle: every load is aligned. nx is a multiple of LANES.
//
// Build:  g++ -O3 -march=native -fopenmp -shared -fPIC burgers_2d.cpp -o burgers_2d.so

#include <omp.h>

#include <algorithm>

#include "lanes.hpp"
#include "levels.hpp"

struct Coefficients {
  double dx, dy, ax, ay;
};

namespace {

constexpr int AHEAD = 256;

// A row of both components: u and v.
struct Row {
  const double *u, *v;
};

template <bool PAST_CACHES>
void put(double *at, Lanes x) {
  PAST_CACHES ? stream(at, x) : store(at, x);
}

// Row `m` between rows `s` and `n`, to (u, v), which may be s.
template <bool FROM_MEMORY, bool PAST_CACHES>
void update_row(Row s, Row m, Row n, double *u, double *v, int nx, Coefficients c) {
  const Lanes dx = splat(c.dx), dy = splat(c.dy), keep = splat(1 - 2 * c.dx - 2 * c.dy);
  Lanes uw = load(m.u + nx - LANES), uc = load(m.u), vw = load(m.v + nx - LANES), vc = load(m.v);
  const Lanes u0 = uc, v0 = vc;
  auto column = [&](int i, Lanes ue, Lanes ve) __attribute__((always_inline)) {
    if (FROM_MEMORY) {
      __builtin_prefetch(n.u + i + AHEAD);
      __builtin_prefetch(n.v + i + AHEAD);
    }
    const Lanes x = c.ax * uc, y = c.ay * vc;
    const Lanes east = dx - x, west = dx + x, north = dy - y, south = dy + y;
    const Lanes un = load(n.u + i), us = load(s.u + i), vn = load(n.v + i), vs = load(s.v + i);
    put<PAST_CACHES>(u + i,
                     shifted_left(uc, ue) * east + shifted_right(uw, uc) * west + un * north + us * south + keep * uc);
    put<PAST_CACHES>(v + i,
                     shifted_left(vc, ve) * east + shifted_right(vw, vc) * west + vn * north + vs * south + keep * vc);
    uw = uc, uc = ue, vw = vc, vc = ve;
  };
#pragma GCC unroll 2
  for (int i = 0; i < nx - LANES; i += LANES) column(i, load(m.u + i + LANES), load(m.v + i + LANES));
  column(nx - LANES, u0, v0);
}

struct State {
  int ny, nx;
  Row row(const double *state, int y) const {
    const double *u = state + long((y % ny + ny) % ny) * nx;
    return {u, u + long(ny) * nx};
  }
};

void pass(const double *state, double *next, int ny, int nx, Coefficients c, int levels) {
  const State at{ny, nx};
#pragma omp parallel
  {
    const int threads = omp_get_num_threads(), me = omp_get_thread_num();
    const long row = 2L * nx + 64;  // rows a power of two apart would share cache sets
    double *memory = static_cast<double *>(std::aligned_alloc(64, sizeof(double) * row * (2 * levels - 1)));
    std::vector<double *> slices(2 * levels - 1);
    for (size_t k = 0; k < slices.size(); ++k) slices[k] = memory + k * row;
    auto in_cache = [nx](const double *slice) { return Row{slice, slice + nx}; };
    auto update = [&](int level, int y, double *s, double *m, double *n, double *out) {
      const bool is_first = level == 1;
      if (!is_first) {
        const Row soon = at.row(state, y + level + 1);
        prefetch_share(soon.u, nx, level - 2, levels - 1);
        prefetch_share(soon.v, nx, level - 2, levels - 1);
      }
      const Row south = is_first ? at.row(state, y - 1) : in_cache(s);
      const Row middle = is_first ? at.row(state, y) : in_cache(m);
      const Row north = is_first ? at.row(state, y + 1) : in_cache(n);
      double *u = out ? out : next + long(y) * nx;
      double *v = u + (out ? nx : long(ny) * nx);
      const auto update_this = is_first ? (out ? update_row<true, false> : update_row<true, true>)
                                        : (out ? update_row<false, false> : update_row<false, true>);
      update_this(south, middle, north, u, v, nx, c);
    };
    advance_chunk(long(ny) * me / threads, long(ny) * (me + 1) / threads, levels, slices.data(), update);
    std::free(memory);
  }
}

}  // namespace

// Two buffers of (2, ny, nx); the result is in the one that is returned.
extern "C" double *blocked(double *state, double *other, int ny, int nx, Coefficients c, int steps, int per_pass) {
  while (steps) {
    const int now = std::min(steps, per_pass);
    pass(state, other, ny, nx, c, now);
    std::swap(state, other);
    steps -= now;
  }
  return state;
}

extern "C" double *one_pass(double *state, double *other, int ny, int nx, Coefficients c, int steps) {
  return blocked(state, other, ny, nx, c, steps, 1);
}
