"""The CUDA peers of `equations.py`: CuPy RawKernels (``equations.cu``), a device copy, torch.compile and JAX on the GPU.

Never measured: no GPU was there when it was written. The kernels compile for sm_80 and agreed with NumPy on a CPU emulation.
"""

from pathlib import Path

import cupy
import numpy as np

SOURCE = (Path(__file__).parent / "equations.cu").read_text()
THREADS_1D, BLOCK_2D, BLOCK_3D = 256, (32, 8, 1), (32, 8, 1)
STEPS = {"burgers_1d": 16, "burgers_2d": 3, "advection_diffusion_3d": 2}  # as in equations.cu
TILES = {"burgers_1d": (2048,), "burgers_2d": (32, 32), "advection_diffusion_3d": (32, 16, 64)}
VERSION = cupy.__version__


def contenders(problem):
    """Return name → object with ``run(steps)`` and ``result()``."""
    if problem.name == "ensemble_1d":
        found = {"CUDA, a warp a member": Members(problem)}
    else:
        found = {
            "CUDA, device copy": Copy(problem),
            "CUDA, one pass": Passes(problem, is_blocked=False),
            "CUDA, blocked": Passes(problem, is_blocked=True),
        }
    return found | _on_gpu("torch", problem) | _on_gpu("jax", problem)


def _on_gpu(name, problem):
    """Return the Python peers that see the GPU."""
    try:
        if name == "torch":
            import equations_torch as peer

            if not peer.torch.cuda.is_available():
                return {}
            found = peer.contenders(problem, "cuda")
        else:
            import equations_jax as peer

            if peer.jax.default_backend() != "gpu":
                return {}
            found = peer.contenders(problem)
    except ImportError:
        return {}
    return {f"{label} (GPU)": contender for label, contender in found.items()}


class Passes:
    """Two buffers, swapped after every pass."""

    def __init__(self, problem, is_blocked):
        self._now = cupy.asarray(problem.initial())
        self._next = cupy.empty_like(self._now)
        self._per_pass = STEPS[problem.name] if is_blocked else 1
        kind = {1: "1d", 2: "2d", 3: "3d"}[len(problem.points)]
        name = f"{'blocked' if is_blocked else 'one_pass'}_{kind}"
        self._kernel = cupy.RawKernel(SOURCE, name, options=("-std=c++17",))
        self._is_blocked = is_blocked
        self._arguments = (*map(np.int32, problem.points), *scalars(problem))
        self._block = {"1d": (THREADS_1D, 1, 1), "2d": BLOCK_2D, "3d": BLOCK_3D}[kind]
        tile = TILES[problem.name] if is_blocked else {"3d": (32, 8, 32)}.get(kind, self._block)
        sizes = problem.points[::-1]  # x first
        self._grid = tuple(-(-n // t) for n, t in zip(sizes, tile, strict=False))

    def run(self, steps):
        while steps:
            now = min(steps, self._per_pass)
            last = (np.int32(now),) if self._is_blocked else ()
            self._kernel(self._grid, self._block, (self._now, self._next, *self._arguments, *last))
            self._now, self._next = self._next, self._now
            steps -= now
        cupy.cuda.get_current_stream().synchronize()

    def result(self):
        return cupy.asnumpy(self._now)


class Members:
    """All steps in one launch; points are a multiple of 32."""

    def __init__(self, problem):
        per_lane, rest = divmod(problem.points[0], 32)
        if rest:
            raise ValueError(f"points must be a multiple of 32, got {problem.points[0]}")
        self._u, self._rd = cupy.asarray(problem.initial()), cupy.asarray(problem.rd)
        self._ra, self._count = np.float64(problem.ra), problem.members
        options = ("-std=c++17", f"-DPER_LANE={per_lane}")
        self._kernel = cupy.RawKernel(SOURCE, "members", options=options)

    def run(self, steps):
        blocks = -(-self._count * 32 // 128)
        arguments = (self._u, self._rd, np.int32(self._count), self._ra, np.int32(steps))
        self._kernel((blocks,), (128,), arguments)
        cupy.cuda.get_current_stream().synchronize()

    def result(self):
        return cupy.asnumpy(self._u)


class Copy:
    """The roof: the state copied on the device once a step."""

    def __init__(self, problem):
        self._from = cupy.asarray(problem.initial())
        self._to = cupy.empty_like(self._from)

    def run(self, steps):
        for _ in range(steps):
            cupy.copyto(self._to, self._from)
        cupy.cuda.get_current_stream().synchronize()


def scalars(problem):
    if problem.name == "burgers_1d":
        return np.float64(problem.rd), np.float64(problem.ra)
    if problem.name == "burgers_2d":
        return tuple(map(np.float64, problem.coefficients))
    return tuple(map(np.float64, (*problem.plus, *problem.minus)))
