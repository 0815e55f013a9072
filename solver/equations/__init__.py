"""The equations, one file each."""

from solver.equations.advection_diffusion import AdvectionDiffusion
from solver.equations.burgers import Burgers
from solver.equations.equation import Discretization, Equation
from solver.equations.kuramoto_sivashinsky import KuramotoSivashinsky
from solver.equations.navier_stokes import NavierStokes

__all__ = [
    "AdvectionDiffusion",
    "Burgers",
    "Discretization",
    "Equation",
    "KuramotoSivashinsky",
    "NavierStokes",
]
