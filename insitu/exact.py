"""Exact solutions by name: what `insitu converge` takes initial values, sides, forcing and errors from."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from solver import AdvectionDiffusion, Burgers, Equation, Grid, ParameterError

__all__ = [
    "BurgersSin",
    "ColeHopf",
    "Exact",
    "Fletcher",
    "Fourier",
    "Gaussian",
    "Manufactured",
    "MergingFronts",
]

Function = Callable[..., np.ndarray]  # of one coordinate array per axis, and of the time


class Exact(ABC):
    """An exact solution u(x, t) of an equation, with the equation's own parameters.

    Attributes
    ----------
    equations
        The equations it solves.
    axes
        In how many dimensions.
    period
        The period it needs along each periodic axis, None where any grid does.
    """

    equations: ClassVar[tuple[type[Equation], ...]]
    axes: ClassVar[tuple[int, ...]] = (1, 2, 3)
    period: ClassVar[float | None] = None

    @abstractmethod
    def on(self, equation: Any, grid: Grid) -> Function:
        """Return u as a function of coordinates and time; it gives ``(components, *shape)``, float64 on the host."""

    def forcing(self, equation: Any, grid: Grid) -> Function | None:
        """Return the source term that u needs as a function of the coordinates, None where there is none; see `on`."""
        return None

    def require(self, equation: Equation, grid: Grid) -> None:
        """Check that u solves this equation on this grid.

        Raises
        ------
        ParameterError
            It does not.
        """
        name = type(self).__name__
        if not isinstance(equation, self.equations):
            solved = " or ".join(each.__name__ for each in self.equations)
            raise ParameterError(
                f"{name} is an exact solution of {solved}, got {type(equation).__name__}; choose another, or self"
            )
        if len(grid.points) not in self.axes:
            raise ParameterError(
                f"{name} has {' or '.join(map(str, self.axes))} axes, got grid.points {grid.points}; choose another"
            )
        for (start, end), is_periodic in zip(grid.extent, grid.is_periodic, strict=True):
            periods = (end - start) / (self.period or 1)
            if is_periodic and self.period and abs(periods - round(periods)) > 1e-6:
                raise ParameterError(
                    f"{name} needs periodic axes of length {self.period:.12g} times an integer, got {end - start:.12g}; "
                    "correct grid.extent"
                )


class BurgersSin(Exact):
    """Burgers in one dimension from sin x, period 2π: u = ∫((x−y)/t) w dy / ∫ w dy, w = exp(−[(x−y)²/2t + 1 − cos y]/2ν).

    By the trapezoidal rule, which converges exponentially here.

    Source: Hopf 1950, doi:10.1002/cpa.3160030302; Cole 1951, doi:10.1090/qam/42889.
    """

    equations = (Burgers,)
    axes = (1,)
    period = 2 * math.pi

    def on(self, equation: Any, grid: Grid) -> Function:
        """Return u; see `Exact.on`."""
        nu = equation.nu

        def u(x: np.ndarray, time: float) -> np.ndarray:
            if time == 0:
                return np.sin(x)[None]
            reach = math.sqrt(2 * time * (2 + 150 * nu))
            width = math.sqrt(2 * nu * time / (1 + time))
            s = np.linspace(-reach, reach, 2 * math.ceil(4 * reach / width) + 1)
            exponent = s**2 / (2 * time) + 1 - np.cos(np.reshape(x, (-1, 1)) - s)
            exponent -= exponent.min(axis=1, keepdims=True)
            w = np.exp(-exponent / (2 * nu))
            return ((w @ s) / (time * w.sum(axis=1))).reshape(1, *np.shape(x))

        return u


class MergingFronts(Exact):
    """Burgers in one dimension, two fronts that merge: u = (0.1 e^−A + 0.5 e^−B + e^−C) / (e^−A + e^−B + e^−C).

    A = 0.05(x − 0.5 + 4.95t)/ν, B = 0.25(x − 0.5 + 0.75t)/ν, C = 0.5(x − 0.375)/ν; its sides depend on time.

    Source: Whitham 1974, section 4.7, ISBN 0-471-94090-9.
    """

    equations = (Burgers,)
    axes = (1,)

    def on(self, equation: Any, grid: Grid) -> Function:
        """Return u; see `Exact.on`."""

        def u(x: np.ndarray, time: float) -> np.ndarray:
            exponents = -np.stack(
                [
                    0.05 * (x - 0.5 + 4.95 * time),
                    0.25 * (x - 0.5 + 0.75 * time),
                    0.5 * (x - 0.375),
                ]
            )
            w = np.exp((exponents - exponents.max(axis=0)) / equation.nu)
            return ((0.1 * w[0] + 0.5 * w[1] + w[2]) / w.sum(axis=0))[None]

        return u


class Fletcher(Exact):
    """Burgers in two dimensions, an oblique front: u = 3/4 − e/4, v = 3/4 + e/4, e = 1/(1 + exp((−4x + 4y − t)/32ν)).

    Source: Fletcher 1983, doi:10.1002/fld.1650030302.
    """

    equations = (Burgers,)
    axes = (2,)

    def on(self, equation: Any, grid: Grid) -> Function:
        """Return u; see `Exact.on`."""

        def u(x: np.ndarray, y: np.ndarray, time: float) -> np.ndarray:
            phase = (-4 * x + 4 * y - time) / (32 * equation.nu)
            e = 0.5 - 0.5 * np.tanh(phase / 2)
            return np.stack([0.75 - e / 4, 0.75 + e / 4])

        return u


class ColeHopf(Exact):
    """Burgers in one to three dimensions: u = −2ν ∇φ/φ, φ = 1 + α e^(−dνt) Π cos xᵢ in d dimensions, period 2π.

    Parameters
    ----------
    amplitude
        α in (0, 1); |u|/ν grows with it.

    Raises
    ------
    ParameterError
        The amplitude is outside its range.

    Source: Cole 1951, doi:10.1090/qam/42889.
    """

    equations = (Burgers,)
    period = 2 * math.pi

    def __init__(self, amplitude: float = 0.5):
        if not 0 < amplitude < 1:
            raise ParameterError(
                f"amplitude must lie between 0 and 1, got {amplitude}; correct convergence.exact"
            )
        self.amplitude = amplitude

    def on(self, equation: Any, grid: Grid) -> Function:
        """Return u; see `Exact.on`."""
        nu = equation.nu

        def u(*x_and_time: Any) -> np.ndarray:
            *x, time = x_and_time
            decay = self.amplitude * math.exp(-len(x) * nu * time)
            phi = 1 + decay * math.prod(np.cos(each) for each in x)
            return np.stack([2 * nu * decay * _product(x, axis) / phi for axis in range(len(x))])

        return u


class Gaussian(Exact):
    """Advection–diffusion of a bump: u = Π (s/S) Σ_m exp(−(xᵢ − cᵢ − aᵢt + mL)²/2S²), S² = s² + 2Dt.

    Parameters
    ----------
    width
        s > 0, its standard deviation at the start, in the grid's unit.
    centre
        c, one number per axis; the middle of the grid where it is left out.

    Raises
    ------
    ParameterError
        The width is not positive.
    """

    equations = (AdvectionDiffusion,)

    def __init__(self, width: float, centre: Sequence[float] | None = None):
        if not width > 0:
            raise ParameterError(f"width must be positive, got {width}; correct convergence.exact")
        self.width, self.centre = width, centre

    def on(self, equation: Any, grid: Grid) -> Function:
        """Return u; see `Exact.on`."""
        centre = self.centre or [(start + end) / 2 for start, end in grid.extent]
        velocity = _velocity(equation, grid)

        def u(*x_and_time: Any) -> np.ndarray:
            *x, time = x_and_time
            squared = self.width**2 + 2 * equation.diffusivity * time
            factors = []
            for axis, (each, c, a) in enumerate(zip(x, centre, velocity, strict=True)):
                start, end = grid.extent[axis]
                images = range(-5, 6) if grid.is_periodic[axis] else (0,)
                moved = np.asarray(each) - c - a * time
                if grid.is_periodic[axis]:
                    moved = np.mod(moved, end - start)
                bumps = (
                    np.exp(-((moved + m * (end - start)) ** 2) / (2 * squared)) for m in images
                )
                factors.append(self.width / math.sqrt(squared) * sum(bumps))
            return np.asarray(math.prod(factors))[None]

        return u


class Fourier(Exact):
    """Advection–diffusion of a Fourier mode that decays: u = e^(−D|k|²t) Π sin kᵢ(xᵢ − aᵢt), kᵢ = 2π mᵢ/Lᵢ.

    Parameters
    ----------
    waves
        mᵢ, waves along each axis; one along each where it is left out.
    """

    equations = (AdvectionDiffusion,)

    def __init__(self, waves: Sequence[int] | None = None):
        self.waves = waves

    def on(self, equation: Any, grid: Grid) -> Function:
        """Return u; see `Exact.on`."""
        k = _wavenumbers(grid, self.waves)
        velocity = _velocity(equation, grid)
        rate = equation.diffusivity * sum(each**2 for each in k)

        def u(*x_and_time: Any) -> np.ndarray:
            *x, time = x_and_time
            waves = (
                np.sin(kx * (each - a * time)) for kx, each, a in zip(k, x, velocity, strict=True)
            )
            return np.asarray(math.exp(-rate * time) * math.prod(waves))[None]

        return u


class Manufactured(Exact):
    """A steady state with forcing, for any sides: component c is Π sin(kᵢxᵢ + (c + 1)/2), kᵢ = 2π mᵢ/Lᵢ.

    The equation must have a field "forcing" to take it: ``forcing: 0`` in the case.

    Parameters
    ----------
    waves
        mᵢ, waves along each axis; one along each where it is left out.

    Source: Roache 2002, doi:10.1115/1.1436090.
    """

    equations = (AdvectionDiffusion, Burgers)

    def __init__(self, waves: Sequence[int] | None = None):
        self.waves = waves

    def on(self, equation: Any, grid: Grid) -> Function:
        """Return u; see `Exact.on`."""
        phases = self._phases(equation, grid)

        def u(*x_and_time: Any) -> np.ndarray:
            return np.stack(
                [math.prod(np.sin(p) for p in each) for each in phases(x_and_time[:-1])]
            )

        return u

    def forcing(self, equation: Any, grid: Grid) -> Function:
        """Return f = a·∇u − D∇²u, with a = u and D = ν for Burgers."""
        phases, k = self._phases(equation, grid), _wavenumbers(grid, self.waves)
        is_burgers = isinstance(equation, Burgers)
        diffusivity = equation.nu if is_burgers else equation.diffusivity

        def f(*x: np.ndarray) -> np.ndarray:
            u = np.stack([math.prod(np.sin(p) for p in each) for each in phases(x)])
            speeds = u if is_burgers else _velocity(equation, grid)
            terms = []
            for phase, value in zip(phases(x), u, strict=True):
                slopes = (kx * _product(phase, axis, np.sin, np.cos) for axis, kx in enumerate(k))
                advection = sum(a * slope for a, slope in zip(speeds, slopes, strict=True))
                terms.append(advection + diffusivity * sum(kx**2 for kx in k) * value)
            return np.stack(terms)

        return f

    def _phases(self, equation: Equation, grid: Grid) -> Callable[..., list[list[np.ndarray]]]:
        k = _wavenumbers(grid, self.waves)
        count = equation.components(grid)
        return lambda x: [
            [kx * each + (c + 1) / 2 for kx, each in zip(k, x, strict=True)] for c in range(count)
        ]


def _velocity(equation: Any, grid: Grid) -> Sequence[float]:
    return equation.velocity or (0.0,) * len(grid.points)


def _wavenumbers(grid: Grid, waves: Sequence[int] | None) -> list[float]:
    if waves is not None and len(waves) != len(grid.points):
        raise ParameterError(
            f"waves must have one number for each of {len(grid.points)} axes, got {list(waves)}; correct convergence.exact"
        )
    lengths = [end - start for start, end in grid.extent]
    return [
        2 * math.pi * m / length
        for m, length in zip(waves or (1,) * len(lengths), lengths, strict=True)
    ]


def _product(
    x: Sequence[np.ndarray],
    axis: int,
    others: Callable[[np.ndarray], np.ndarray] = np.cos,
    along: Callable[[np.ndarray], np.ndarray] = np.sin,
) -> np.ndarray:
    """Return the product over the axes of one function, of another along one of them."""
    return math.prod((along if n == axis else others)(each) for n, each in enumerate(x))  # type: ignore[return-value]
