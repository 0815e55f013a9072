"""Flows to start from, without divergence: initial velocities of Navier–Stokes, by class name in a case."""

import math

import numpy as np

from solver import ParameterError

__all__ = ["DoubleShearLayer", "TaylorGreenVortex"]


class DoubleShearLayer:
    """Two shear layers that roll up, on [0, 1]²: u = tanh(ρ(y − ¼)) below the middle, tanh(ρ(¾ − y)) above, v = δ sin 2πx.

    Parameters
    ----------
    sharpness
        ρ > 0, inverse thickness of the layers.
    perturbation
        δ.

    Raises
    ------
    ParameterError
        The sharpness is not positive.

    Source: Brown & Minion 1995, doi:10.1006/jcph.1995.1205.
    """

    def __init__(self, sharpness: float = 30.0, perturbation: float = 0.05):
        if not sharpness > 0:
            raise ParameterError(f"sharpness must be positive, got {sharpness}; correct initial")
        self.sharpness, self.perturbation = sharpness, perturbation

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the velocity, ``(2, *shape)``."""
        distance = np.where(y <= 0.5, y - 0.25, 0.75 - y)
        return np.stack(
            [
                np.tanh(self.sharpness * distance) + 0 * x,
                self.perturbation * np.sin(2 * math.pi * x) + 0 * y,
            ]
        )


class TaylorGreenVortex:
    """The Taylor–Green vortex on [0, 2π]³: u = sin x cos y cos z, v = −cos x sin y cos z, w = 0.

    Source: Taylor & Green 1937, doi:10.1098/rspa.1937.0036.
    """

    def __call__(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return the velocity, ``(3, *shape)``."""
        u = np.sin(x) * np.cos(y) * np.cos(z)
        v = -np.cos(x) * np.sin(y) * np.cos(z)
        return np.stack([u, v, np.zeros_like(u)])
