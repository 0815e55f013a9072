"""The NumPy peers of `equations.py`: whole-array slices of arrays with ghosts, in slabs that stay in the cache."""

import numpy as np

SLAB = 1 << 13  # points of a slab, about: its temporaries stay in L1 and L2 and are not mapped anew


def contenders(problem):
    """Return name → object with ``run(steps)`` and ``result()``."""
    if problem.name == "ensemble_1d":
        return {"NumPy": Members(problem)}
    return {"NumPy": Stepper(problem, UPDATES[problem.name](problem))}


class Stepper:
    """Two arrays with one ghost point on each side of every axis but those of components and members."""

    def __init__(self, problem, update):
        axes = len(problem.points)
        leading = len(problem.shape) - axes
        self._inner = (slice(None),) * leading + (slice(1, -1),) * axes
        self._axes = range(leading, leading + axes)
        padding = [(0, 0)] * leading + [(1, 1)] * axes
        self._now = np.pad(problem.initial(), padding, mode="wrap")
        self._next, self._update = np.empty_like(self._now), update
        row = self._now[self._inner].size // problem.points[0]
        self._slab = max(1, SLAB // row)
        self._first, self._count = leading, problem.points[0]

    def run(self, steps):
        for _ in range(steps):
            for start in range(0, self._count, self._slab):
                stop = min(start + self._slab, self._count)
                window = (slice(None),) * self._first
                self._update(
                    self._now[(*window, slice(start, stop + 2))],
                    self._next[(*window, slice(start + 1, stop + 1))],
                )
            self._now, self._next = self._next, self._now
            for axis in self._axes:
                ghosts = np.moveaxis(self._now, axis, 0)
                ghosts[0], ghosts[-1] = ghosts[-2], ghosts[1]

    def result(self):
        return self._now[self._inner]


class Members:
    """A slab of members takes all its steps before the next one begins."""

    def __init__(self, problem):
        self._now = np.pad(problem.initial(), [(0, 0), (1, 1)], mode="wrap")
        self._next = np.empty_like(self._now)
        self._rd, self._ra = problem.rd[:, None], problem.ra
        self._slab = SLAB // problem.points[0]

    def run(self, steps):
        for start in range(0, len(self._now), self._slab):
            slab = slice(start, start + self._slab)
            now, then = self._now[slab], self._next[slab]
            update = burgers(self._rd[slab], self._ra)
            for _ in range(steps):
                update(now, then[:, 1:-1])
                then[:, 0], then[:, -1] = then[:, -2], then[:, 1]
                now, then = then, now
        if steps % 2:
            self._now, self._next = self._next, self._now

    def result(self):
        return self._now[:, 1:-1]


def burgers(rd, ra):
    def update(u, out):
        um, c, up = u[..., :-2], u[..., 1:-1], u[..., 2:]
        slope = up - um
        slope *= ra
        slope *= c
        new = np.add(up, um)
        new -= 2 * c
        new *= rd
        new += c
        np.subtract(new, slope, out=out)

    return update


def burgers_1d(p):
    return burgers(p.rd, p.ra)


def burgers_2d(p):
    dx, dy, ax, ay = p.coefficients

    def update(state, out):
        u, v = state[0, 1:-1, 1:-1], state[1, 1:-1, 1:-1]
        x, y = ax * u, ay * v
        east, west, north, south = dx - x, dx + x, dy - y, dy + y
        for c, target in zip(state, out[:, :, 1:-1], strict=True):
            new = (1 - 2 * dx - 2 * dy) * c[1:-1, 1:-1]
            new += east * c[1:-1, 2:]
            new += west * c[1:-1, :-2]
            new += north * c[2:, 1:-1]
            np.add(new, south * c[:-2, 1:-1], out=target)

    return update


def advection_diffusion_3d(p):
    (zp, yp, xp), (zm, ym, xm) = p.plus, p.minus
    keep = 1 - sum(p.plus) - sum(p.minus)
    inner = slice(1, -1)

    def update(c, out):
        new = keep * c[inner, inner, inner]
        new += xp * c[inner, inner, 2:]
        new += xm * c[inner, inner, :-2]
        new += yp * c[inner, 2:, inner]
        new += ym * c[inner, :-2, inner]
        new += zp * c[2:, inner, inner]
        np.add(new, zm * c[:-2, inner, inner], out=out[:, inner, inner])

    return update


UPDATES = {make.__name__: make for make in (burgers_1d, burgers_2d, advection_diffusion_3d)}
