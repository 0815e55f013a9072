"""Steps of a simulation's equation on other states than its own."""

from solver.field import Field
from solver.kernel import shipped
from solver.precision import real_type
from solver.recorder import NOTHING
from solver.simulation import Simulation

__all__ = ["Trial"]


class Trial:
    """Advances states that are not the simulation's, by the simulation's own kernels, and leaves it as it is.

    Whatever a state is, its steps have the bits that they would have in the simulation (Navier-Stokes: to the pressure's
    tolerance, since another state is another first guess). The simulation's state, time, pressure and divergence check do not
    notice.

    Parameters
    ----------
    simulation : Simulation
        All ranks that share it make the same calls.
    """

    def __init__(self, simulation: Simulation):
        self._simulation = simulation
        u = simulation.u
        self._axpy = simulation.device.build(
            shipped("axpy.okl"), "axpy", {"dfloat": real_type(str(u.dtype))}
        )

    def field(self) -> Field:
        """Return room for a state of this rank's members and block, with the simulation's present one in it."""
        u = self._simulation.u
        made = Field(u.device, u.grid, u.components, 0, str(u.dtype), u.members)
        made.copy_from(u)
        return made

    def advance(self, state: Field, dt: float, steps: int, time: float) -> None:
        """Take ``steps`` steps of ``dt`` from ``time`` on, in place; nothing looks for values that are not finite."""
        discretization = self._simulation.discretization
        with discretization.aside():
            discretization.march(state, dt, steps, NOTHING, time)

    def increment(self, state: Field, into: Field, dt: float, time: float) -> None:
        """Write Φ(u) − u of a state u, where Φ is one step of ``dt`` from ``time``; nearly Δt times the right-hand side.

        Parameters
        ----------
        state, into : Field
            As `field` returns them; the state stays.
        """
        into.copy_from(state)
        self.advance(into, dt, 1, time)
        self._axpy(into.memory.size, -1.0, state.memory, into.memory)
