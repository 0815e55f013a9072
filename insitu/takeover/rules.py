"""How far two states are from being joined by steps of a solver, from a few steps: a discrete Hermite-Simpson rule."""

import numpy as np

__all__ = ["DefectRule"]


class DefectRule:
    """The weights of a rule for S steps of a solver, u(n+1) = u(n) + g(u(n)), n = 0 ... S − 1.

    The trajectory between two states is the cubic q with q(0) = u₀, q(1) − q(0) = g(u₀), q(S) = u₁ and q(S+1) − q(S) = g(u₁).
    Its defect is d = u₁ − u₀ − Σ g(q(n)), the sum by a rule of three nodes, 0, S/2 and S, that is exact where g(q(n)) is a
    quadratic in n. With S = 2 that is the error of u₁ against the solver; as S grows it becomes Simpson's rule for the
    residual of Hermite's cubic. Along a solution that oscillates with phase φ over the interval |d| is about φ⁵/2880 of it,
    and of an error that the equation damps by exp(−x) over the interval the rule makes 1 + x/2 + x²/12 times as much.

    Parameters
    ----------
    steps : int
        S, at least 2.

    Attributes
    ----------
    sum_weights : tuple of float
        Of g at the nodes 0, S/2 and S; they add up to S.

    Raises
    ------
    ValueError
        There are fewer than two steps.

    Source: Hairer, Norsett & Wanner 1993, Solving Ordinary Differential Equations I, II.1 and II.6 (S -> ∞).
    """

    def __init__(self, steps: int):
        if steps < 2:
            raise ValueError(
                f"takeover: expected an interval of 2 or more steps, got {steps}; let the surrogate go further"
            )
        self.steps = steps
        part = 1 / steps
        middle = 2 * (1 - part**2) / 3
        last = (1 - part) * (1 - 2 * part) / 6
        self.sum_weights = (steps * (1 - middle - last), steps * middle, steps * last)
        first, behind = (_powers(x + part) - _powers(x) for x in (0.0, 1.0))
        self._inverse = np.linalg.inv(np.stack([_powers(0.0), first, _powers(1.0), behind]))

    def at(self, step: float) -> tuple[float, float, float, float]:
        """Return the weights of (u₀, g(u₀), u₁, g(u₁)) that give q(step)."""
        start, start_change, end, end_change = _powers(step / self.steps) @ self._inverse
        return float(start), float(start_change), float(end), float(end_change)


def _powers(x: float) -> np.ndarray:
    return np.array([1.0, x, x**2, x**3])
