"""The torch.compile peers of `equations.py`, on the CPU or a GPU.

"roll" returns a new state from torch.roll; "slices" writes the inner points of a second buffer in one compiled loop, the ghost
points after it.
"""

import torch

VERSION = torch.__version__


def contenders(problem, device="cpu"):
    """Return name → object with ``run(steps)`` and ``result()``."""
    torch._dynamo.reset()  # the closures of two problems share their code, and so one recompile limit
    return {
        "torch.compile, roll": Rolled(problem, device),
        "torch.compile, slices": Sliced(problem, device),
    }


class Rolled:
    def __init__(self, problem, device):
        self._state = torch.from_numpy(problem.initial()).to(device)
        update = UPDATES[problem.name](problem, device)
        axes = tuple(range(self._state.dim() - len(problem.points), self._state.dim()))

        def step(state):
            return update(lambda *offsets: torch.roll(state, tuple(-o for o in offsets), axes))

        self._step = torch.compile(step, dynamic=False)

    def run(self, steps):
        with torch.no_grad():
            for _ in range(steps):
                self._state = self._step(self._state)
            if self._state.is_cuda:
                torch.cuda.synchronize()

    def result(self):
        return self._state.cpu().numpy()


class Sliced:
    def __init__(self, problem, device):
        points, leading = problem.points, len(problem.shape) - len(problem.points)
        update = UPDATES[problem.name](problem, device)
        whole = (slice(None),) * leading
        self._inner = whole + (slice(1, -1),) * len(points)
        self._now, self._next = (
            torch.zeros(*problem.shape[:leading], *(n + 2 for n in points), dtype=torch.float64)
            for _ in range(2)
        )
        self._now[self._inner] = torch.from_numpy(problem.initial())
        self._now, self._next = self._now.to(device), self._next.to(device)

        def step(state, inner):
            def at(*offsets):
                window = tuple(
                    slice(1 + o, 1 + o + n) for o, n in zip(offsets, points, strict=True)
                )
                return state[whole + window]

            inner.copy_(update(at))

        self._axes = range(leading, leading + len(points))
        self._step = torch.compile(step, dynamic=False)
        self._wrap(self._now)

    def _wrap(self, state):
        for axis in self._axes:
            state.select(axis, 0).copy_(state.select(axis, -2))
            state.select(axis, -1).copy_(state.select(axis, 1))

    def run(self, steps):
        with torch.no_grad():
            for _ in range(steps):
                self._step(self._now, self._next[self._inner])
                self._wrap(self._next)
                self._now, self._next = self._next, self._now
            if self._now.is_cuda:
                torch.cuda.synchronize()

    def result(self):
        return self._now[self._inner].cpu().numpy()


def burgers(p, rd):
    def update(at):
        um, c, up = at(-1), at(0), at(1)
        return c + rd * ((up + um) - 2 * c) - p.ra * (up - um) * c

    return update


def burgers_2d(p, device):
    dx, dy, ax, ay = p.coefficients

    def update(at):
        c = at(0, 0)
        x, y = ax * c[0], ay * c[1]
        return (
            at(0, 1) * (dx - x)
            + at(0, -1) * (dx + x)
            + at(1, 0) * (dy - y)
            + at(-1, 0) * (dy + y)
            + (1 - 2 * dx - 2 * dy) * c
        )

    return update


def advection_diffusion_3d(p, device):
    def update(at):
        new = (1 - sum(p.plus) - sum(p.minus)) * at(0, 0, 0)
        for axis, (plus, minus) in enumerate(zip(p.plus, p.minus, strict=True)):
            unit = [int(k == axis) for k in range(3)]
            new = new + plus * at(*unit) + minus * at(*(-u for u in unit))
        return new

    return update


UPDATES = {
    "burgers_1d": lambda p, device: burgers(p, p.rd),
    "burgers_2d": burgers_2d,
    "advection_diffusion_3d": advection_diffusion_3d,
    "ensemble_1d": lambda p, device: burgers(p, torch.from_numpy(p.rd[:, None]).to(device)),
}
