// The CUDA peers of equations.py: compiled by CuPy (NVRTC), launched by equations_cuda.py. float64.
//
// one_pass_*: a thread a point (3-D: a thread a column of z, three planes in registers).
// blocked_*:  STEPS steps of an overlapped tile in shared memory, on one way
//             through global memory; 3-D tiles are streamed along z, three
//             planes a level in a ring.
// members:    a warp a member, points / 32 neighbouring points a lane, all
//             steps in registers; neighbours of other lanes by shuffles.

typedef double real;

__device__ inline int wrapped(int i, int n) { return i < 0 ? i + n : i >= n ? i - n : i; }

__device__ inline real burgers(real um, real c, real up, real rd, real ra) {
  return c + rd * ((up + um) - 2 * c) - ra * (up - um) * c;
}

extern "C" __global__ void one_pass_1d(const real *__restrict__ u, real *__restrict__ out, int n, real rd, real ra) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = burgers(u[wrapped(i - 1, n)], u[i], u[wrapped(i + 1, n)], rd, ra);
}

#define STEPS_1D 16
#define TILE_1D 2048

extern "C" __global__ void blocked_1d(const real *__restrict__ u, real *__restrict__ out, int n, real rd, real ra, int steps) {
  constexpr int WIDTH = TILE_1D + 2 * STEPS_1D;
  __shared__ real tile[2][WIDTH];
  const int start = blockIdx.x * TILE_1D - STEPS_1D;
  for (int k = threadIdx.x; k < WIDTH; k += blockDim.x) {
    int i = (start + k) % n;
    tile[0][k] = u[i < 0 ? i + n : i];
  }
  for (int s = 1; s <= steps; ++s) {
    __syncthreads();
    const real *now = tile[(s - 1) & 1];
    real *next = tile[s & 1];
    for (int k = s + threadIdx.x; k < WIDTH - s; k += blockDim.x)
      next[k] = burgers(now[k - 1], now[k], now[k + 1], rd, ra);
  }
  __syncthreads();
  for (int k = threadIdx.x; k < TILE_1D && start + STEPS_1D + k < n; k += blockDim.x)
    out[start + STEPS_1D + k] = tile[steps & 1][STEPS_1D + k];
}

struct Brackets {
  real east, west, north, south, keep;
};

__device__ inline Brackets brackets(real u, real v, real dx, real dy, real ax, real ay) {
  const real x = ax * u, y = ay * v;
  return {dx - x, dx + x, dy - y, dy + y, 1 - 2 * dx - 2 * dy};
}

extern "C" __global__ void one_pass_2d(const real *__restrict__ c, real *__restrict__ out, int ny, int nx, real dx, real dy, real ax, real ay) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= nx || y >= ny) return;
  const size_t here = (size_t)y * nx + x, plane = (size_t)ny * nx;
  const size_t e = (size_t)y * nx + wrapped(x + 1, nx), w = (size_t)y * nx + wrapped(x - 1, nx);
  const size_t n = (size_t)wrapped(y + 1, ny) * nx + x, s = (size_t)wrapped(y - 1, ny) * nx + x;
  const Brackets b = brackets(c[here], c[plane + here], dx, dy, ax, ay);
  for (int k = 0; k < 2; ++k, c += plane, out += plane)
    out[here] = b.east * c[e] + b.west * c[w] + b.north * c[n] + b.south * c[s] + b.keep * c[here];
}

#define STEPS_2D 3
#define TILE_X 32
#define TILE_Y 32

extern "C" __global__ void blocked_2d(const real *__restrict__ c, real *__restrict__ out, int ny, int nx, real dx, real dy, real ax, real ay, int steps) {
  constexpr int WIDTH = TILE_X + 2 * STEPS_2D, HEIGHT = TILE_Y + 2 * STEPS_2D;
  __shared__ real tile[2][2][HEIGHT][WIDTH];  // buffer, component, y, x
  const size_t plane = (size_t)ny * nx;
  const int x0 = blockIdx.x * TILE_X - STEPS_2D, y0 = blockIdx.y * TILE_Y - STEPS_2D;
  const int me = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
  for (int k = me; k < HEIGHT * WIDTH; k += threads) {
    const int j = k / WIDTH, i = k % WIDTH;
    const size_t at = (size_t)wrapped(y0 + j < ny + STEPS_2D ? y0 + j : ny - 1, ny) * nx +
                      wrapped(x0 + i < nx + STEPS_2D ? x0 + i : nx - 1, nx);
    tile[0][0][j][i] = c[at];
    tile[0][1][j][i] = c[plane + at];
  }
  for (int s = 1; s <= steps; ++s) {
    __syncthreads();
    const int before = (s - 1) & 1, after = s & 1;
    for (int k = me; k < (HEIGHT - 2 * s) * (WIDTH - 2 * s); k += threads) {
      const int j = k / (WIDTH - 2 * s) + s, i = k % (WIDTH - 2 * s) + s;
      const Brackets b = brackets(tile[before][0][j][i], tile[before][1][j][i], dx, dy, ax, ay);
      for (int m = 0; m < 2; ++m) {
        const auto &t = tile[before][m];
        tile[after][m][j][i] = b.east * t[j][i + 1] + b.west * t[j][i - 1] + b.north * t[j + 1][i] +
                               b.south * t[j - 1][i] + b.keep * t[j][i];
      }
    }
  }
  __syncthreads();
  for (int k = me; k < TILE_Y * TILE_X; k += threads) {
    const int j = k / TILE_X, i = k % TILE_X;
    const int y = blockIdx.y * TILE_Y + j, x = blockIdx.x * TILE_X + i;
    if (y < ny && x < nx)
      for (int m = 0; m < 2; ++m)
        out[m * plane + (size_t)y * nx + x] = tile[steps & 1][m][j + STEPS_2D][i + STEPS_2D];
  }
}

#define PLANES 32

extern "C" __global__ void one_pass_3d(const real *__restrict__ c, real *__restrict__ out, int nz, int ny, int nx,
                                       real zp, real yp, real xp, real zm, real ym, real xm) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= nx || y >= ny) return;
  const size_t plane = (size_t)ny * nx, here = (size_t)y * nx + x;
  const size_t e = (size_t)y * nx + wrapped(x + 1, nx), w = (size_t)y * nx + wrapped(x - 1, nx);
  const size_t n = (size_t)wrapped(y + 1, ny) * nx + x, s = (size_t)wrapped(y - 1, ny) * nx + x;
  const real keep = 1 - (zp + zm) - (yp + ym) - (xp + xm);
  const int first = blockIdx.z * PLANES, last = min(first + PLANES, nz);
  real below = c[wrapped(first - 1, nz) * plane + here], middle = c[first * plane + here];
  for (int z = first; z < last; ++z) {
    const real above = c[wrapped(z + 1, nz) * plane + here];
    const real *p = c + z * plane;
    out[z * plane + here] = keep * middle + xp * p[e] + xm * p[w] + yp * p[n] + ym * p[s] + zp * above + zm * below;
    below = middle, middle = above;
  }
}

#define STEPS_3D 2
#define WIDE 32
#define HIGH 16
#define DEEP 64

// Levels 0 .. STEPS_3D-1 of three planes each; level l of plane z is computed when level 0 of plane z + l has come.
extern "C" __global__ void blocked_3d(const real *__restrict__ c, real *__restrict__ out, int nz, int ny, int nx,
                                      real zp, real yp, real xp, real zm, real ym, real xm, int steps) {
  constexpr int WIDTH = WIDE + 2 * STEPS_3D, HEIGHT = HIGH + 2 * STEPS_3D;
  __shared__ real ring[STEPS_3D][3][HEIGHT][WIDTH];
  const size_t plane = (size_t)ny * nx;
  const int x0 = blockIdx.x * WIDE - STEPS_3D, y0 = blockIdx.y * HIGH - STEPS_3D;
  const int first = blockIdx.z * DEEP, last = min(first + DEEP, nz);
  const int me = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
  const real keep = 1 - (zp + zm) - (yp + ym) - (xp + xm);
  for (int r = first - steps; r < last + steps; ++r) {
    const real *from = c + ((r % nz + nz) % nz) * plane;
    for (int k = me; k < HEIGHT * WIDTH; k += threads) {
      const int j = k / WIDTH, i = k % WIDTH;
      const int y = wrapped(y0 + j < ny + STEPS_3D ? y0 + j : ny - 1, ny);
      const int x = wrapped(x0 + i < nx + STEPS_3D ? x0 + i : nx - 1, nx);
      ring[0][(r + 3 * STEPS_3D) % 3][j][i] = from[(size_t)y * nx + x];
    }
    for (int level = 1; level <= steps; ++level) {
      __syncthreads();
      const int z = r - level;
      if (z < first - steps + level) continue;
      const int slot = z + 3 * STEPS_3D;
      const auto &b = ring[level - 1][(slot - 1) % 3], &m = ring[level - 1][slot % 3], &a = ring[level - 1][(slot + 1) % 3];
      for (int k = me; k < (HEIGHT - 2 * level) * (WIDTH - 2 * level); k += threads) {
        const int j = k / (WIDTH - 2 * level) + level, i = k % (WIDTH - 2 * level) + level;
        const real value = keep * m[j][i] + xp * m[j][i + 1] + xm * m[j][i - 1] + yp * m[j + 1][i] + ym * m[j - 1][i] +
                           zp * a[j][i] + zm * b[j][i];
        if (level < steps)
          ring[level][slot % 3][j][i] = value;
        else if (z >= first && z < last) {
          const int y = y0 + j, x = x0 + i;
          const bool is_inside = j >= STEPS_3D && j < STEPS_3D + HIGH && i >= STEPS_3D && i < STEPS_3D + WIDE;
          if (is_inside && y < ny && x < nx) out[z * plane + (size_t)y * nx + x] = value;
        }
      }
    }
    __syncthreads();
  }
}

#ifndef PER_LANE
#define PER_LANE 8
#endif

extern "C" __global__ void members(real *__restrict__ u, const real *__restrict__ viscous, int count, real ra, int steps) {
  const int member = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (member >= count) return;
  real *at = u + ((size_t)member * 32 + lane) * PER_LANE;
  const real rd = viscous[member];
  real now[PER_LANE];
  for (int k = 0; k < PER_LANE; ++k) now[k] = at[k];
  for (int s = 0; s < steps; ++s) {
    real before = __shfl_sync(0xffffffffu, now[PER_LANE - 1], (lane + 31) % 32);
    const real after = __shfl_sync(0xffffffffu, now[0], (lane + 1) % 32);
#pragma unroll
    for (int k = 0; k < PER_LANE; ++k) {
      const real here = now[k];
      now[k] = burgers(before, here, k + 1 < PER_LANE ? now[k + 1] : after, rd, ra);
      before = here;
    }
  }
  for (int k = 0; k < PER_LANE; ++k) at[k] = now[k];
}
