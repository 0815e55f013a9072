"""The C++/OpenMP peers of `equations.py`: built here, called through ctypes, on buffers their own threads touched first."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
FLAGS = ["-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"]
REAL, INT, LONG, POINTER = ctypes.c_double, ctypes.c_int, ctypes.c_long, ctypes.c_void_p
PER_PASS = {"burgers_1d": 50, "burgers_2d": 10, "advection_diffusion_3d": 5}
ROWS = 26  # of y in a column of planes, advection_diffusion_3d


class Coefficients2D(ctypes.Structure):
    _fields_ = [(name, REAL) for name in ("dx", "dy", "ax", "ay")]


class Coefficients3D(ctypes.Structure):
    _fields_ = [("plus", REAL * 3), ("minus", REAL * 3)]


class Peers:
    """Compiled libraries in a folder."""

    def __init__(self, folder):
        self._folder = Path(folder)
        self._memory = self._built("memory")
        self._memory.buffer.restype, self._memory.buffer.argtypes = POINTER, [LONG]
        self._memory.copy_streamed.argtypes = [POINTER, POINTER, LONG]

    def _built(self, name):
        target = self._folder / f"{name}.so"
        if not target.exists():
            subprocess.run(["g++", *FLAGS, FOLDER / f"{name}.cpp", "-o", target], check=True)
        return ctypes.CDLL(str(target))

    def buffer(self, values):
        memory = (REAL * values.size).from_address(self._memory.buffer(values.size))
        array = np.ctypeslib.as_array(memory).reshape(values.shape)
        array[...] = values
        return array

    def copy(self, count):
        """Return a copy of ``count`` doubles, to be timed."""
        source, target = (self.buffer(np.ones(count)) for _ in range(2))
        return lambda: self._memory.copy_streamed(source.ctypes.data, target.ctypes.data, count)

    def contenders(self, problem):
        """Return name → object with ``run(steps)`` and ``result()``."""
        return getattr(self, "_" + problem.name)(problem)

    def _burgers_1d(self, p):
        rest = (LONG(p.shape[0]), REAL(p.rd), REAL(p.ra))
        return self._pair(p, rest, ())

    def _burgers_2d(self, p):
        rest = (*map(INT, p.points), Coefficients2D(*p.coefficients))
        return self._pair(p, rest, ())

    def _advection_diffusion_3d(self, p):
        coefficients = Coefficients3D((REAL * 3)(*p.plus), (REAL * 3)(*p.minus))
        rest = (*map(INT, p.points), ctypes.pointer(coefficients))
        return self._pair(p, rest, (INT(ROWS), INT(p.points[0])))

    def _pair(self, p, rest, tile):
        library = self._built(p.name)
        library.one_pass.restype = library.blocked.restype = POINTER
        plain = getattr(self._built("plain"), p.name)
        plain.restype = POINTER
        return {
            "C++/OpenMP, one pass, plain": TwoBuffers(self, p, plain, rest, ()),
            "C++/OpenMP, one pass": TwoBuffers(self, p, library.one_pass, rest, ()),
            "C++/OpenMP, blocked": TwoBuffers(
                self, p, library.blocked, rest, (INT(PER_PASS[p.name]), *tile)
            ),
        }

    def _ensemble_1d(self, p):
        return {
            "C++/OpenMP, vector lanes": InPlace(self, p, self._built("plain").ensemble_1d),
            "C++/OpenMP, blocked": InPlace(self, p, self._built(p.name).ensemble),
        }


class TwoBuffers:
    """A state that moves between two buffers; the function returns the one that holds it."""

    def __init__(self, peers, problem, function, rest, last):
        self._now, self._other = peers.buffer(problem.initial()), peers.buffer(problem.initial())
        self._function, self._rest, self._last = function, rest, last

    def run(self, steps):
        now, other = self._now, self._other
        at = self._function(
            POINTER(now.ctypes.data),
            POINTER(other.ctypes.data),
            *self._rest,
            INT(steps),
            *self._last,
        )
        if at != now.ctypes.data:
            self._now, self._other = other, now

    def result(self):
        return self._now


class InPlace:
    """An ensemble, (member, point)."""

    def __init__(self, peers, problem, function):
        self._u, self._rd = peers.buffer(problem.initial()), peers.buffer(problem.rd)
        self._function, self._ra = function, problem.ra

    def run(self, steps):
        u = self._u
        self._function(
            POINTER(u.ctypes.data),
            POINTER(self._rd.ctypes.data),
            REAL(self._ra),
            *map(INT, u.shape),
            INT(steps),
        )

    def result(self):
        return self._u
