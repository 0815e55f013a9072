// Periodic 3-D advection-diffusion, layout (z, y, x): one step a pass over memory, and many.
//
//   c <- c + dt D lap c - dt a . grad c, central differences
//      = keep c + sum over the axes of (plus c_{+1} + minus c_{-1}),
//   plus = dt D / h^2 - dt a / 2h, minus = dt D / h^2 + dt a / 2h
//
// one_pass: two buffers, streaming stores.
// blocked:  columns of planes, `rows` rows of y wide, are passed with `per_pass`
//           levels through the cache (levels.hpp, a slice being a piece of a plane);
//           columns overlap by per_pass rows on either side. A level computes
//           only those rows that the next ones need.
//
// What comes from memory is prefetched: AHEAD points in a row that is read, and
// the next plane while the later levels compute.
//
// Rows are whole, so x needs no overlap. Neighbours in x come from the vectors
// beside by one shuffle: every load is aligned. nx is a multiple of LANES.
//
// Build:  g++ -O3 -march=native -fopenmp -shared -fPIC advection_diffusion_3d.cpp -o advection_diffusion_3d.so

#include <algorithm>

#include "lanes.hpp"
#include "levels.hpp"

struct Coefficients {
  double plus[3], minus[3];  // z, y, x
};

namespace {

constexpr int AHEAD = 512;

template <bool PAST_CACHES>
void put(double *at, Lanes x) {
  PAST_CACHES ? stream(at, x) : store(at, x);
}

// A row m, its neighbours below and above, south and north; `out` may be `below`.
template <bool FROM_MEMORY, bool PAST_CACHES>
void update_row(const double *below, const double *south, const double *m, const double *north, const double *above,
                double *out, int nx, const Coefficients &c) {
  const Lanes zp = splat(c.plus[0]), yp = splat(c.plus[1]), xp = splat(c.plus[2]);
  const Lanes zm = splat(c.minus[0]), ym = splat(c.minus[1]), xm = splat(c.minus[2]);
  const Lanes keep = 1 - (zp + zm) - (yp + ym) - (xp + xm);
  Lanes west = load(m + nx - LANES), here = load(m);
  const Lanes first = here;
  auto column = [&](int i, Lanes east) __attribute__((always_inline)) {
    if (FROM_MEMORY) __builtin_prefetch(above + i + AHEAD);
    const Lanes x = keep * here + xp * shifted_left(here, east) + xm * shifted_right(west, here);
    const Lanes y = yp * load(north + i) + ym * load(south + i);
    put<PAST_CACHES>(out + i, x + (y + zp * load(above + i) + zm * load(below + i)));
    west = here, here = east;
  };
#pragma GCC unroll 2
  for (int i = 0; i < nx - LANES; i += LANES) column(i, load(m + i + LANES));
  column(nx - LANES, first);
}

struct Shape {
  int nz, ny, nx;
  long row(int z, int y) const { return (long((z % nz + nz) % nz) * ny + (y % ny + ny) % ny) * nx; }
};

// Steps of rows [first, last) of every plane.
void column_of(const double *state, double *next, const Shape &n, const Coefficients &c, int first, int last,
               int levels, int z_first, int z_last, double *const *slices) {
  const long stride = n.nx;
  auto update = [&](int level, int z, double *b, double *m, double *a, double *out) {
    const int more = levels - level;
    for (int y = first - more; y < last + more; ++y) {
      const long here = (y - first + levels) * stride;  // in a slice
      const double *rows[5];
      if (level == 1) {
        const long at[5] = {n.row(z - 1, y), n.row(z, y - 1), n.row(z, y), n.row(z, y + 1), n.row(z + 1, y)};
        for (int k = 0; k < 5; ++k) rows[k] = state + at[k];
      } else {
        rows[0] = b + here, rows[1] = m + here - stride, rows[2] = m + here;
        rows[3] = m + here + stride, rows[4] = a + here;
        prefetch_share(state + n.row(z + level + 1, y), n.nx, level - 2, levels - 1);
      }
      const auto update_this = level == 1 ? (out ? update_row<true, false> : update_row<true, true>)
                                          : (out ? update_row<false, false> : update_row<false, true>);
      update_this(rows[0], rows[1], rows[2], rows[3], rows[4], out ? out + here : next + n.row(z, y), n.nx, c);
    }
  };
  advance_chunk(z_first, z_last, levels, slices, update);
}

void pass(const double *state, double *next, const Shape &n, const Coefficients &c, int levels, int rows, int planes) {
  const int tiles = (n.ny + rows - 1) / rows, chunks = (n.nz + planes - 1) / planes;
#pragma omp parallel
  {
    const long slice = long(rows + 2 * levels) * n.nx + 64;  // not a power of two apart
    double *memory = static_cast<double *>(std::aligned_alloc(64, sizeof(double) * slice * (2 * levels - 1)));
    std::vector<double *> slices(2 * levels - 1);
    for (size_t k = 0; k < slices.size(); ++k) slices[k] = memory + k * slice;
#pragma omp for collapse(2) schedule(static)
    for (int chunk = 0; chunk < chunks; ++chunk)
      for (int tile = 0; tile < tiles; ++tile)
        column_of(state, next, n, c, tile * rows, std::min((tile + 1) * rows, n.ny), levels, chunk * planes,
                  std::min((chunk + 1) * planes, n.nz), slices.data());
    std::free(memory);
  }
}

}  // namespace

// Two buffers of (nz, ny, nx); the result is in the one that is returned.
extern "C" double *blocked(double *state, double *other, int nz, int ny, int nx, const Coefficients *c, int steps,
                           int per_pass, int rows, int planes) {
  while (steps) {
    const int now = std::min(steps, per_pass);
    pass(state, other, {nz, ny, nx}, *c, now, rows, planes);
    std::swap(state, other);
    steps -= now;
  }
  return state;
}

extern "C" double *one_pass(double *state, double *other, int nz, int ny, int nx, const Coefficients *c, int steps) {
  return blocked(state, other, nz, ny, nx, c, steps, 1, std::min(ny, 64), nz);
}
