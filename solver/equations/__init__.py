"""The equations, one file each."""

from solver.equations.advection_diffusion import AdvectionDiffusion
from solver.equations.burgers import Burgers
from solver.equations.equation import Discretization, Equation

__all__ = ["AdvectionDiffusion", "Burgers", "Discretization", "Equation"]
