"""The equations, one file each."""

from solver.equations.burgers import Burgers

__all__ = ["Burgers"]
