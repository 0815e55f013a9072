"""The mini-app's Burgers loop at Numba's best: one compiled function, all steps inside."""

import numpy as np
from numba import njit


def _march(u, rd, ra, steps):
    """Advance u, (n,) float32 or float64 without ghosts, in place by steps.

    rd = νΔt/Δx² and ra = Δt/(2Δx), scalars of u's own type.
    """
    n = u.size
    two = u.dtype.type(2)
    now = np.empty(n + 2, u.dtype)
    then = np.empty(n + 2, u.dtype)
    now[1:-1] = u
    for _ in range(steps):
        now[0] = now[n]
        now[n + 1] = now[1]
        for i in range(1, n + 1):
            up, um = now[i + 1], now[i - 1]
            then[i] = now[i] + rd * ((up + um) - two * now[i]) - ra * (up - um) * now[i]
        now, then = then, now
    u[:] = now[1:-1]


march = njit(_march)
march_fastmath = njit(_march, fastmath=True)
