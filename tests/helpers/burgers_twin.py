"""NumPy twins of the Burgers kernels, and the exact solution they are judged by.

Each twin repeats its kernel's operation order, so that host kernels compiled
without contraction (``-ffp-contract=off``) can be compared bit for bit.
"""

import numpy as np


def miniapp(u, nu, dx, dt, steps, trajectory=False):
    """March u_t + u u_x = ν u_xx with the mini-app's scheme.

    uᵢ ← uᵢ + νΔt/Δx² (uᵢ₊₁ + uᵢ₋₁ − 2uᵢ) − Δt/(2Δx) (uᵢ₊₁ − uᵢ₋₁) uᵢ, periodic.

    Parameters
    ----------
    u : (n,) float32 or float64, the field at the start; left unchanged.
    nu, dx, dt : viscosity, spacing and time step.
    steps : number of steps.
    trajectory : return every step instead of the last one.

    Returns
    -------
    (n,) field after the last step, or (steps, n) fields after each step.

    Source: the 1-D Burgers mini-app (explicit Euler, central differences).
    """
    real = u.dtype.type
    rd = real(nu * dt / (dx * dx))
    ra = real(dt / (2 * dx))

    def step(u):
        up, um = np.roll(u, -1), np.roll(u, 1)
        return u + rd * ((up + um) - 2 * u) - ra * (up - um) * u

    return _march(step, u, steps, trajectory)


def conservative(u, nu, dx, dt, steps, trajectory=False):
    """March u_t + (u²/2)_x = ν u_xx with the conservative scheme.

    Fourth-order energy-conserving flux, fourth-order viscous flux, and a
    viscosity Δx·v that acts only where a jump δ between neighbours is not
    resolved, v = max(0, δ − 2ν/Δx), that is where δΔx/ν > 2; SSP-RK3.

    Parameters
    ----------
    u : (n,) float32 or float64, the field at the start; left unchanged.
    nu, dx, dt : viscosity, spacing and time step (see `stable_step`).
    steps : number of steps.
    trajectory : return every step instead of the last one.

    Returns
    -------
    (n,) field after the last step, or (steps, n) fields after each step.

    Source: LeFloch, Mercier & Rohde 2002, flux of order four built from
    Tadmor's (a² + ab + b²)/6, doi:10.1137/S003614290240069X; von Neumann &
    Richtmyer 1950, viscosity of the jump, doi:10.1063/1.1699639; Shu & Osher
    1988, SSP-RK3, doi:10.1016/0021-9991(88)90177-5.
    """
    real = u.dtype.type
    k, threshold, r = real(nu / (12 * dx)), real(2 * nu / dx), real(dt / dx)

    def increment(u):
        flux = _flux(u, k, threshold)
        return r * (np.roll(flux, 1) - flux)

    def step(u0):
        u = u0 + increment(u0)
        for a, b in ((3 / 4, 1 / 4), (1 / 3, 2 / 3)):
            u = real(a) * u0 + real(b) * u + real(b) * increment(u)
        return u

    return _march(step, u, steps, trajectory)


def stable_step(speed, nu, dx):
    """Largest stable step of `conservative`, for max|u₀| = speed.

    1/Δt = speed/(1.262 Δx) + max(16ν/3, 8 speed Δx − 8ν/3)/(2.5127 Δx²):
    RK3 is stable up to √3 on the imaginary and 2.5127 on the real axis; the
    largest eigenvalues are 1.372 speed/Δx for the flux, 16ν/(3Δx²) for the
    viscosity and 4v/Δx for the jump viscosity, whose v <= 2 speed − 2ν/Δx.
    """
    diffusion = max(16 * nu / 3, 8 * speed * dx - 8 * nu / 3)
    return 1 / (speed / (1.262 * dx) + diffusion / (2.5127 * dx * dx))


def exact(x, t, nu):
    """Exact u(x, t) of u_t + u u_x = ν u_xx, u(x, 0) = sin x, 2π-periodic.

    u = ∫((x−y)/t) w dy / ∫ w dy, w = exp(−[(x−y)²/2t + 1 − cos y]/2ν), by the
    trapezoidal rule, which converges exponentially here.

    Parameters
    ----------
    x : (n,) float64, points.
    t : time >= 0.
    nu : viscosity.

    Returns
    -------
    (n,) float64.

    Source: Hopf 1950, doi:10.1002/cpa.3160030302; Cole 1951, doi:10.1090/qam/42889.
    """
    x = np.asarray(x, dtype=np.float64)
    if t == 0:
        return np.sin(x)
    reach = np.sqrt(2 * t * (2 + 150 * nu))
    width = np.sqrt(2 * nu * t / (1 + t))
    s = np.linspace(-reach, reach, 2 * int(np.ceil(4 * reach / width)) + 1)
    exponent = s**2 / (2 * t) + 1 - np.cos(x[:, None] - s)
    exponent -= exponent.min(axis=1, keepdims=True)
    w = np.exp(-exponent / (2 * nu))
    return (w @ s) / (t * w.sum(axis=1))


def _march(step, u, steps, trajectory):
    fields = np.empty((steps if trajectory else 1, u.size), u.dtype)
    for n in range(steps):
        u = step(u)
        if trajectory:
            fields[n] = u
    return fields if trajectory else u.copy()


def _flux(u, k, threshold):
    """Flux through the face between points i and i+1; (n,) -> (n,)."""
    real = u.dtype.type
    z, a, b, c = np.roll(u, 1), u, np.roll(u, -1), np.roll(u, -2)
    d = b - a
    q = 7 * (a * a + b * b) - (z * z + c * c) + (8 * (a * b) - (z * b + a * c))
    jump = np.maximum(np.abs(d), np.maximum(np.abs(a - z), np.abs(c - b)))
    v = np.maximum(jump - threshold, real(0))
    return q * real(1 / 36) - (k * (15 * d - (c - z)) + d * v)
