"""Strong-stability-preserving Runge-Kutta schemes in Shu-Osher form, as data.

A stage is ``u <- start_weight * u0 + step_weight * (u + dt L(u))``, u0 the state at the start of the step.

Source: Shu & Osher 1988, eq. 2.18, doi:10.1016/0021-9991(88)90177-5.
"""

Stages = tuple[tuple[float, float], ...]

SSP_RK3: Stages = ((0.0, 1.0), (0.75, 0.25), (1 / 3, 2 / 3))
