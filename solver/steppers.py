"""Explicit Runge-Kutta methods, as data."""

from dataclasses import dataclass

import numpy as np

from solver.errors import ParameterError


@dataclass(frozen=True)
class Method:
    """An explicit Runge-Kutta method in Shu-Osher form.

    From y⁰ = u stage i gives yⁱ = Σⱼ αᵢⱼ yʲ + βᵢ Δt L(yⁱ⁻¹), j = 0 ... i−1; the last stage is the new u.

    Attributes
    ----------
    name : str
    order : int
    alpha : tuple of tuples of float
        Row i−1 holds αᵢ₀ ... αᵢ,ᵢ₋₁; each sums to 1.
    beta : tuple of float
    real, imaginary : float
        How far the region of absolute stability reaches along the negative real and along the imaginary axis.
    """

    name: str
    order: int
    alpha: tuple[tuple[float, ...], ...]
    beta: tuple[float, ...]
    real: float
    imaginary: float

    @property
    def stages(self) -> int:
        """Evaluations of the right-hand side in a step."""
        return len(self.beta)

    def butcher(self) -> tuple[np.ndarray, np.ndarray]:
        """Return Butcher's matrix A, shape (stages, stages), and weights b, shape (stages,)."""
        rows = np.zeros((self.stages + 1, self.stages))
        for i in range(1, self.stages + 1):
            rows[i] = sum(a * rows[j] for j, a in enumerate(self.alpha[i - 1]))
            rows[i, i - 1] += self.beta[i - 1]
        return rows[:-1], rows[-1]

    def largest_step(self, diffusive: float, advective: float, ratio: float) -> float:
        """Return the largest Δt for central differences of advection and diffusion.

        Parameters
        ----------
        diffusive : float
            Σ 2ν/Δx² over the axes; the eigenvalues reach to twice that along the negative real axis.
        advective : float
            Σ |a|/Δx; they reach that far along the imaginary axis.
        ratio : float
            Σ a²/ν over the axes, inf for advection without diffusion.

        Where the method is not stable on the imaginary axis the limits are Euler's, min(1/diffusive, 2/ratio), of which its
        steps are convex combinations. Source: Hindmarsh, Gresho & Griffiths 1984, doi:10.1002/fld.1650040905.
        Elsewhere 1/Δt = advective/imaginary + 2 diffusive/real, since the region contains the triangle between the three ends.
        """
        rate = max(diffusive, ratio / 2)
        if self.imaginary:
            rate = advective / self.imaginary + 2 * diffusive / self.real
        return 1 / rate if rate else np.inf


# Source: Shu & Osher 1988, eq. 2.16 and 2.18, doi:10.1016/0021-9991(88)90177-5; Kutta 1901, written with its own stages.
METHODS = {
    method.name: method
    for method in (
        Method("euler", 1, ((1.0,),), (1.0,), 2.0, 0.0),
        Method("ssp-rk2", 2, ((1.0,), (0.5, 0.5)), (1.0, 0.5), 2.0, 0.0),
        Method(
            "ssp-rk3",
            3,
            ((1.0,), (0.75, 0.25), (1 / 3, 0.0, 2 / 3)),
            (1.0, 0.25, 2 / 3),
            2.5127,
            1.7320,
        ),
        Method(
            "rk4",
            4,
            ((1.0,), (1.0, 0.0), (1.0, 0.0, 0.0), (-1 / 3, 1 / 3, 2 / 3, 1 / 3)),
            (0.5, 0.5, 1.0, 1 / 6),
            2.7852,
            2.8284,
        ),
    )
}


def method_of(name: str) -> Method:
    """Return a method by its name.

    Raises
    ------
    ParameterError
        The name is unknown.
    """
    if name not in METHODS:
        raise ParameterError(
            f"time method must be one of {', '.join(METHODS)}, got {name!r}; choose one"
        )
    return METHODS[name]
