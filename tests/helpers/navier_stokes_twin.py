"""Incompressible flow on a staggered grid in NumPy: padded arrays, and the pressure by a dense pseudo-inverse."""

import numpy as np


def padded(u, walls):
    """Return the components with one layer around them.

    ``walls[axis]`` is None where the axis is periodic, else the velocities (low, high) of its walls.
    """
    result = []
    for a, q in enumerate(u):
        for axis, pair in enumerate(walls):
            width = [(int(b == axis), int(b == axis)) for b in range(q.ndim)]
            q = np.pad(q, width, mode="wrap" if pair is None else "edge")
            if pair is not None:
                ends = np.moveaxis(q, axis, 0)
                ends[0] = 0 if a == axis else 2 * pair[0][a] - ends[0]
                ends[-1] = 0 if a == axis else 2 * pair[1][a] - ends[-1]
        result.append(q)
    return result


def tendency(u, walls, spacing, nu):
    """Return ν∇²u − ∇·(u u), 0 on the walls, shape (axes, *points)."""
    axes, q = len(u), padded(u, walls)

    def part(values, *shifts):
        steps = [sum(s for b, s in shifts if b == axis) for axis in range(axes)]
        return values[
            tuple(slice(1 + s, n - 1 + s) for s, n in zip(steps, values.shape, strict=True))
        ]

    result = np.zeros_like(u)
    for a in range(axes):
        for b, h in enumerate(spacing):
            here, low, high = part(q[a]), part(q[a], (b, -1)), part(q[a], (b, 1))
            carrier = q[b]
            if a == b:
                flux_low, flux_high = ((low + here) / 2) ** 2, ((here + high) / 2) ** 2
            else:
                flux_low = (low + here) / 2 * (part(carrier) + part(carrier, (a, -1))) / 2
                beyond = part(carrier, (b, 1)) + part(carrier, (b, 1), (a, -1))
                flux_high = (here + high) / 2 * beyond / 2
            result[a] += nu * (low - 2 * here + high) / h**2 - (flux_high - flux_low) / h
    return on_free_faces(result, walls)


def on_free_faces(u, walls):
    u = u.copy()
    for axis, pair in enumerate(walls):
        if pair is not None:
            np.moveaxis(u[axis], axis, 0)[0] = 0
    return u


def divergence(u, spacing):
    return sum((np.roll(q, -1, a) - q) / h for a, (q, h) in enumerate(zip(u, spacing, strict=True)))


def gradient(p, walls, spacing):
    slopes = [(p - np.roll(p, 1, a)) / h for a, h in enumerate(spacing)]
    return on_free_faces(np.array(slopes), walls)


def laplacian_matrix(shape, walls, spacing):
    columns = []
    for index in range(np.prod(shape)):
        unit = np.zeros(shape)
        unit.flat[index] = 1
        columns.append(divergence(gradient(unit, walls, spacing), spacing).ravel())
    return np.array(columns).T


class Twin:
    """Runge–Kutta steps, each stage projected."""

    def __init__(self, shape, walls, spacing, nu, forcing=0.0):
        self.walls, self.spacing, self.nu, self.forcing = walls, spacing, nu, forcing
        self.inverse = np.linalg.pinv(laplacian_matrix(shape, walls, spacing), rcond=1e-12)

    def project(self, u):
        p = (self.inverse @ divergence(u, self.spacing).ravel()).reshape(u.shape[1:])
        return u - gradient(p, self.walls, self.spacing)

    def step(self, u, dt, method):
        states = [u]
        for alpha, beta in zip(method.alpha, method.beta, strict=True):
            mixed = sum(a * y for a, y in zip(alpha, states, strict=True))
            rate = tendency(states[-1], self.walls, self.spacing, self.nu)
            rate = rate + on_free_faces(np.zeros_like(u) + self.forcing, self.walls)
            states.append(self.project(mixed + beta * dt * rate))
        return states[-1]
