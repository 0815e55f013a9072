// The same problems as one writes them by hand in C++/OpenMP: two buffers, one parallel sweep a step, `omp simd`, ordinary
// stores; and the ensemble with explicit vector lanes across members, one step at a time. What tuning adds is in the other files.
//
// Build:  g++ -O3 -march=native -fopenmp -shared -fPIC plain.cpp -o plain.so

#include <utility>

#include "lanes.hpp"

struct Coefficients2D {
  double dx, dy, ax, ay;
};
struct Coefficients3D {
  double plus[3], minus[3];  // z, y, x
};

extern "C" double *burgers_1d(double *u, double *next, long n, double rd, double ra, int steps) {
  auto at = [&](long west, long i, long east) __attribute__((always_inline)) {
    next[i] = u[i] + rd * ((u[east] + u[west]) - 2 * u[i]) - ra * (u[east] - u[west]) * u[i];
  };
  for (; steps; --steps, std::swap(u, next)) {
    double *__restrict out = next;
    const double *__restrict in = u;
#pragma omp parallel for simd schedule(static)
    for (long i = 1; i < n - 1; ++i)
      out[i] = in[i] + rd * ((in[i + 1] + in[i - 1]) - 2 * in[i]) - ra * (in[i + 1] - in[i - 1]) * in[i];
    at(n - 1, 0, 1);
    at(n - 2, n - 1, 0);
  }
  return u;
}

extern "C" double *burgers_2d(double *u, double *next, int ny, int nx, Coefficients2D c, int steps) {
  const long size = long(ny) * nx;
  for (; steps; --steps, std::swap(u, next)) {
#pragma omp parallel for schedule(static)
    for (int y = 0; y < ny; ++y) {
      const long row = long(y) * nx, south = long((y + ny - 1) % ny) * nx, north = long((y + 1) % ny) * nx;
      for (int k = 0; k < 2; ++k) {
        const double *__restrict q = u + k * size, *__restrict a = u, *__restrict b = u + size;
        double *__restrict out = next + k * size;
        auto at = [&](int west, int x, int east) __attribute__((always_inline)) {
          const double here = q[row + x];
          out[row + x] = here + c.dx * ((q[row + east] + q[row + west]) - 2 * here) +
                         c.dy * ((q[north + x] + q[south + x]) - 2 * here) -
                         (c.ax * a[row + x] * (q[row + east] - q[row + west]) +
                          c.ay * b[row + x] * (q[north + x] - q[south + x]));
        };
#pragma omp simd
        for (int x = 1; x < nx - 1; ++x) at(x - 1, x, x + 1);
        at(nx - 1, 0, 1);
        at(nx - 2, nx - 1, 0);
      }
    }
  }
  return u;
}

extern "C" double *advection_diffusion_3d(double *u, double *next, int nz, int ny, int nx,
                                          const Coefficients3D *coefficients, int steps) {
  const Coefficients3D c = *coefficients;
  double keep = 1;
  for (int axis = 0; axis < 3; ++axis) keep -= c.plus[axis] + c.minus[axis];
  const long sheet = long(ny) * nx;
  for (; steps; --steps, std::swap(u, next)) {
#pragma omp parallel for schedule(static)
    for (int z = 0; z < nz; ++z)
      for (int y = 0; y < ny; ++y) {
        const long row = z * sheet + long(y) * nx;
        const double *__restrict m = u + row;
        const double *__restrict below = u + (z + nz - 1) % nz * sheet + long(y) * nx;
        const double *__restrict above = u + (z + 1) % nz * sheet + long(y) * nx;
        const double *__restrict south = u + z * sheet + long((y + ny - 1) % ny) * nx;
        const double *__restrict north = u + z * sheet + long((y + 1) % ny) * nx;
        double *__restrict out = next + row;
        auto at = [&](int west, int x, int east) __attribute__((always_inline)) {
          out[x] = keep * m[x] + c.plus[0] * above[x] + c.minus[0] * below[x] + c.plus[1] * north[x] +
                   c.minus[1] * south[x] + c.plus[2] * m[east] + c.minus[2] * m[west];
        };
#pragma omp simd
        for (int x = 1; x < nx - 1; ++x) at(x - 1, x, x + 1);
        at(nx - 1, 0, 1);
        at(nx - 2, nx - 1, 0);
      }
  }
  return u;
}

// u: (members, points), in place; rd: (members,).
extern "C" void ensemble_1d(double *u, const double *rd, double ra, int members, int points, int steps) {
#pragma omp parallel
  {
    Lanes *now = new Lanes[points + 2], *next = new Lanes[points + 2];
#pragma omp for schedule(static)
    for (int first = 0; first < members; first += LANES) {
      const int count = members - first < LANES ? members - first : LANES;
      Lanes viscous;
      for (int lane = 0; lane < LANES; ++lane) {
        const long member = first + (lane < count ? lane : count - 1);
        viscous[lane] = rd[member];
        for (int i = 0; i < points; ++i) now[i + 1][lane] = u[member * points + i];
      }
      for (int step = 0; step < steps; ++step) {
        now[0] = now[points];
        now[points + 1] = now[1];
        for (int i = 1; i <= points; ++i)
          next[i] = now[i] + viscous * ((now[i + 1] + now[i - 1]) - 2 * now[i]) -
                    ra * (now[i + 1] - now[i - 1]) * now[i];
        std::swap(now, next);
      }
      for (int lane = 0; lane < count; ++lane)
        for (int i = 0; i < points; ++i) u[long(first + lane) * points + i] = now[i + 1][lane];
    }
    delete[] now;
    delete[] next;
  }
}
