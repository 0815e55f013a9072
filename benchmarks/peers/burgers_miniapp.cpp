// The mini-app's Burgers loop as one writes it by hand in C++: two buffers with
// a ghost point at each end, swapped after every step.
//
//   u_i <- u_i + rd ((u_{i+1} + u_{i-1}) - 2 u_i) - ra (u_{i+1} - u_{i-1}) u_i
//
// Build:  g++ -O3 -march=native -shared -fPIC burgers_miniapp.cpp -o burgers_miniapp.so
// With -ffp-contract=off it equals NumPy bit for bit; without, gcc fuses
// multiply and add.

#include <algorithm>
#include <utility>
#include <vector>

namespace {

template <typename Real>
inline void step(const Real *__restrict u, Real *__restrict next, int n, Real rd, Real ra) {
  for (int i = 1; i <= n; ++i)
    next[i] = u[i] + rd * ((u[i + 1] + u[i - 1]) - 2 * u[i]) - ra * (u[i + 1] - u[i - 1]) * u[i];
  next[0] = next[n];
  next[n + 1] = next[1];
}

template <typename Real>
Real *march(Real *u, Real *next, int n, Real rd, Real ra, int steps) {
  u[0] = u[n];
  u[n + 1] = u[1];
  for (int s = 0; s < steps; ++s) {
    step(u, next, n, rd, ra);
    std::swap(u, next);
  }
  return u;
}

template <typename Real>
void solve(Real *u, int n, Real rd, Real ra, int steps) {
  std::vector<Real> now(n + 2), next(n + 2);
  std::copy(u, u + n, now.begin() + 1);
  const Real *last = march(now.data(), next.data(), n, rd, ra, steps);
  std::copy(last + 1, last + n + 1, u);
}

// The same with the size known to the compiler, as in `const int NX = 256`.
template <typename Real, int N>
void solve_fixed(Real *u, Real rd, Real ra, int steps) {
  Real now[N + 2], next[N + 2];
  std::copy(u, u + N, now + 1);
  const Real *last = march(now, next, N, rd, ra, steps);
  std::copy(last + 1, last + N + 1, u);
}

}  // namespace

// u: n points without ghosts, in place.
extern "C" void burgers_miniapp(double *u, int n, double rd, double ra, int steps) {
  solve(u, n, rd, ra, steps);
}

extern "C" void burgers_miniapp_float(float *u, int n, float rd, float ra, int steps) {
  solve(u, n, rd, ra, steps);
}

extern "C" void burgers_miniapp_256(double *u, double rd, double ra, int steps) {
  solve_fixed<double, 256>(u, rd, ra, steps);
}

extern "C" void burgers_miniapp_256_float(float *u, float rd, float ra, int steps) {
  solve_fixed<float, 256>(u, rd, ra, steps);
}
