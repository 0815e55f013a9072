"""The Numba peers of `equations.py`: parallel, fastmath; one pass, and several steps on one way through the cache.

The blocked ones do as the C++ ones: overlapped tiles in 1-D; in 2-D and 3-D rows and planes pass several time levels, three
slices a level in a ring. Odd and even levels are two arrays, so that LLVM sees that what is read is not what is written.
"""

import numba
import numpy as np
from numba import get_num_threads, njit, prange

parallel = njit(parallel=True, fastmath=True)
inlined = njit(fastmath=True)
TILE_1D, STEPS_1D = 4096, 25
LEVELS_2D = 7
LEVELS_3D, ROWS_3D = 4, 32
MEMBERS = 32


def contenders(problem):
    """Return name → object with ``run(steps)`` and ``result()``."""
    return {
        f"numba, {kind}": TwoBuffers(problem, *march)
        for kind, march in MARCHES[problem.name](problem).items()
    }


class TwoBuffers:
    """A state that moves between two buffers; `march` returns the one that holds it and the other."""

    def __init__(self, problem, march, *arguments):
        self._now = touched(problem.initial())
        self._next = touched(problem.initial())
        self._march, self._arguments = march, arguments

    def run(self, steps):
        self._now, self._next = self._march(self._now, self._next, steps, *self._arguments)

    def result(self):
        return self._now


def touched(values):
    """Return a copy whose pages the threads touched first."""
    array = np.empty_like(values)
    spread(array.reshape(-1), values.reshape(-1))
    return array


@parallel
def spread(array, values):
    for i in prange(array.size):
        array[i] = values[i]


@inlined
def line(u, out, rd, ra):
    """Points 1 .. n-2 of a line, one step on."""
    for i in range(1, u.size - 1):
        um, c, up = u[i - 1], u[i], u[i + 1]
        out[i] = c + rd * ((up + um) - 2 * c) - ra * (up - um) * c


@parallel
def step_1d(u, out, rd, ra):
    n, chunks = u.size, get_num_threads()
    for chunk in prange(chunks):
        first, last = max(1, n * chunk // chunks), min(n - 1, n * (chunk + 1) // chunks)
        line(u[first - 1 : last + 1], out[first - 1 : last + 1], rd, ra)
    for i, um, up in ((0, u[n - 1], u[1]), (n - 1, u[n - 2], u[0])):
        out[i] = u[i] + rd * ((up + um) - 2 * u[i]) - ra * (up - um) * u[i]


def one_pass_1d(u, out, steps, rd, ra):
    for _ in range(steps):
        step_1d(u, out, rd, ra)
        u, out = out, u
    return u, out


@parallel
def pass_1d(u, out, rd, ra, steps):
    n = u.size
    for tile in prange((n + TILE_1D - 1) // TILE_1D):
        start = tile * TILE_1D
        count = min(TILE_1D, n - start)
        now, then = np.empty(count + 2 * steps), np.empty(count + 2 * steps)
        if start >= steps and start + count + steps <= n:
            now[:] = u[start - steps : start + count + steps]
        else:
            for i in range(now.size):
                now[i] = u[(start - steps + i) % n]
        for s in range(1, steps + 1):
            line(now[s - 1 : now.size - s + 1], then[s - 1 : now.size - s + 1], rd, ra)
            now, then = then, now
        out[start : start + count] = now[steps : steps + count]


def blocked_1d(u, out, steps, rd, ra):
    while steps:
        now = min(steps, STEPS_1D)
        pass_1d(u, out, rd, ra, now)
        u, out, steps = out, u, steps - now
    return u, out


@parallel
def step_2d(c, out, dx, dy, ax, ay):
    ny = c.shape[1]
    for y in prange(ny):
        row_2d(c, y - 1 if y else ny - 1, y, y + 1 if y + 1 < ny else 0, out, y, dx, dy, ax, ay)


@inlined
def row_2d(c, s, m, n, out, to, dx, dy, ax, ay):
    """Row `to` of `out` (component, row, x) from rows s, m, n of c."""
    nx = c.shape[2]
    keep = 1 - 2 * dx - 2 * dy
    for k in range(2):
        for i in range(1, nx - 1):
            x, y = ax * c[0, m, i], ay * c[1, m, i]
            out[k, to, i] = (
                c[k, m, i + 1] * (dx - x)
                + c[k, m, i - 1] * (dx + x)
                + c[k, n, i] * (dy - y)
                + c[k, s, i] * (dy + y)
                + keep * c[k, m, i]
            )
        for i, w, e in ((0, nx - 1, 1), (nx - 1, nx - 2, 0)):
            x, y = ax * c[0, m, i], ay * c[1, m, i]
            out[k, to, i] = (
                c[k, m, e] * (dx - x)
                + c[k, m, w] * (dx + x)
                + c[k, n, i] * (dy - y)
                + c[k, s, i] * (dy + y)
                + keep * c[k, m, i]
            )


def one_pass_2d(c, out, steps, *coefficients):
    for _ in range(steps):
        step_2d(c, out, *coefficients)
        c, out = out, c
    return c, out


@parallel
def pass_2d(c, out, levels, dx, dy, ax, ay):
    ny, nx = c.shape[1], c.shape[2]
    chunks = get_num_threads()
    for chunk in prange(chunks):
        first, last = ny * chunk // chunks, ny * (chunk + 1) // chunks
        odd = np.empty((2, 3 * (levels // 2 + 1), nx))
        even = np.empty((2, 3 * (levels // 2 + 1), nx))
        for r in range(first - levels + 1, last + levels - 1):
            for level in range(1, levels + 1):
                q = r - level + 1
                if q < first - levels + level:
                    break
                base = 3 * ((level - 1) // 2)
                s, m, n = base + (q - 1) % 3, base + q % 3, base + (q + 1) % 3
                to = 3 * (level // 2) + q % 3
                if level == 1:
                    s, m, n = (q - 1) % ny, q % ny, (q + 1) % ny
                    if level == levels:
                        row_2d(c, s, m, n, out, q, dx, dy, ax, ay)
                    else:
                        row_2d(c, s, m, n, odd, to, dx, dy, ax, ay)
                elif level == levels:
                    source = odd if level % 2 == 0 else even
                    row_2d(source, s, m, n, out, q, dx, dy, ax, ay)
                elif level % 2:
                    row_2d(even, s, m, n, odd, to, dx, dy, ax, ay)
                else:
                    row_2d(odd, s, m, n, even, to, dx, dy, ax, ay)


def blocked_2d(c, out, steps, *coefficients):
    while steps:
        now = min(steps, LEVELS_2D)
        pass_2d(c, out, now, *coefficients)
        c, out, steps = out, c, steps - now
    return c, out


@inlined
def row_3d(b, zb, m, zm, a, za, s, y, n, out, zo, yo, plus, minus):
    """Row (zo, yo) of `out` from row y of planes b[zb], m[zm], a[za] and rows s, n of m."""
    nx = m.shape[2]
    keep = 1 - (plus[0] + plus[1] + plus[2]) - (minus[0] + minus[1] + minus[2])
    for i in range(1, nx - 1):
        out[zo, yo, i] = (
            keep * m[zm, y, i]
            + plus[2] * m[zm, y, i + 1]
            + minus[2] * m[zm, y, i - 1]
            + plus[1] * m[zm, n, i]
            + minus[1] * m[zm, s, i]
            + plus[0] * a[za, y, i]
            + minus[0] * b[zb, y, i]
        )
    for i, w, e in ((0, nx - 1, 1), (nx - 1, nx - 2, 0)):
        out[zo, yo, i] = (
            keep * m[zm, y, i]
            + plus[2] * m[zm, y, e]
            + minus[2] * m[zm, y, w]
            + plus[1] * m[zm, n, i]
            + minus[1] * m[zm, s, i]
            + plus[0] * a[za, y, i]
            + minus[0] * b[zb, y, i]
        )


@parallel
def step_3d(c, out, plus, minus):
    nz, ny = c.shape[0], c.shape[1]
    for z in prange(nz):
        for y in range(ny):
            row_3d(
                c, (z - 1) % nz, c, z, c, (z + 1) % nz, (y - 1) % ny, y, (y + 1) % ny, out, z, y, plus, minus
            )  # fmt: skip


def one_pass_3d(c, out, steps, *coefficients):
    for _ in range(steps):
        step_3d(c, out, *coefficients)
        c, out = out, c
    return c, out


@parallel
def pass_3d(c, out, levels, plus, minus):
    nz, ny, nx = c.shape
    for tile in prange((ny + ROWS_3D - 1) // ROWS_3D):
        first, last = tile * ROWS_3D, min((tile + 1) * ROWS_3D, ny)
        slots = 3 * (levels // 2 + 1)
        odd = np.empty((slots, ROWS_3D + 2 * levels, nx))
        even = np.empty((slots, ROWS_3D + 2 * levels, nx))
        for r in range(-levels + 1, nz + levels - 1):
            for level in range(1, levels + 1):
                q = r - level + 1
                if q < -levels + level:
                    break
                base = 3 * ((level - 1) // 2)
                b, m, a = base + (q - 1) % 3, base + q % 3, base + (q + 1) % 3
                to = 3 * (level // 2) + q % 3
                if level == 1:
                    b, m, a = (q - 1) % nz, q % nz, (q + 1) % nz
                for y in range(first - levels + level, last + levels - level):
                    k = y - first + levels
                    if level == 1:
                        s, j, n = (y - 1) % ny, y % ny, (y + 1) % ny
                        if level == levels:
                            row_3d(c, b, c, m, c, a, s, j, n, out, q, y, plus, minus)
                        else:
                            row_3d(c, b, c, m, c, a, s, j, n, odd, to, k, plus, minus)
                    elif level == levels:
                        source = odd if level % 2 == 0 else even
                        row_3d(source, b, source, m, source, a, k - 1, k, k + 1, out, q, y, plus, minus)  # fmt: skip
                    elif level % 2:
                        row_3d(even, b, even, m, even, a, k - 1, k, k + 1, odd, to, k, plus, minus)
                    else:
                        row_3d(odd, b, odd, m, odd, a, k - 1, k, k + 1, even, to, k, plus, minus)


def blocked_3d(c, out, steps, *coefficients):
    while steps:
        now = min(steps, LEVELS_3D)
        pass_3d(c, out, now, *coefficients)
        c, out, steps = out, c, steps - now
    return c, out


@parallel
def members_1d(u, steps, rd, ra):
    """Each member on its own, in L1."""
    n = u.shape[1]
    for m in prange(u.shape[0]):
        now, then = np.empty(n + 2), np.empty(n + 2)
        now[1:-1] = u[m]
        for _ in range(steps):
            now[0], now[n + 1] = now[n], now[1]
            line(now, then, rd[m], ra)
            now, then = then, now
        u[m] = now[1:-1]


@parallel
def lanes_1d(u, steps, rd, ra):
    """Groups of members side by side, points outermost: neighbours are aligned."""
    members, n = u.shape
    for group in prange((members + MEMBERS - 1) // MEMBERS):
        first, last = group * MEMBERS, min((group + 1) * MEMBERS, members)
        now, then, own = np.zeros((n + 2, MEMBERS)), np.zeros((n + 2, MEMBERS)), np.zeros(MEMBERS)
        own[: last - first] = rd[first:last]
        now[1:-1, : last - first] = u[first:last].T
        for _ in range(steps):
            now[0], now[n + 1] = now[n], now[1]
            for i in range(1, n + 1):
                for m in range(MEMBERS):
                    um, c, up = now[i - 1, m], now[i, m], now[i + 1, m]
                    then[i, m] = c + own[m] * ((up + um) - 2 * c) - ra * (up - um) * c
            now, then = then, now
        u[first:last] = now[1:-1, : last - first].T


def in_place(march):
    def run(u, other, steps, rd, ra):
        march(u, steps, rd, ra)
        return u, other

    return run


MARCHES = {
    "burgers_1d": lambda p: {
        "one pass": (one_pass_1d, p.rd, p.ra),
        "blocked": (blocked_1d, p.rd, p.ra),
    },
    "burgers_2d": lambda p: {
        "one pass": (one_pass_2d, *p.coefficients),
        "blocked": (blocked_2d, *p.coefficients),
    },
    "advection_diffusion_3d": lambda p: {
        "one pass": (one_pass_3d, p.plus, p.minus),
        "blocked": (blocked_3d, p.plus, p.minus),
    },
    "ensemble_1d": lambda p: {
        "a member at a time": (in_place(members_1d), p.rd, p.ra),
        "members side by side": (in_place(lanes_1d), p.rd, p.ra),
    },
}
VERSION = numba.__version__
