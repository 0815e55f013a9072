"""An application with a time loop of its own: the 1-D Burgers mini-app in NumPy, on one rank or several."""

from pathlib import Path

import numpy as np

CASE = Path(__file__).parent.parent.parent / "jobs" / "burgers.yaml"
QUICK = {"time.steps": 121, "learning.model.init_args.training.epochs": 2}
LIGHT = {
    "time.steps": 121,
    "learning.splits": "[published]",
    "learning.model.class_path": "insitu.models.DMD",
    "learning.baselines": "[]",
}


class MiniApp:
    """The mini-app on this rank's block of the periodic line: `u` has shape (points + 2,), a ghost at either end."""

    def __init__(self, coupling, comm=None):
        length, n = coupling.value("grid.extent.0.1"), coupling.value("grid.points.0")
        nu, self.dt = coupling.value("equation.init_args.nu"), coupling.value("time.dt")
        self.comm = comm
        rank, size = (0, 1) if comm is None else (comm.rank, comm.size)
        self.begin = n * rank // size
        self.points = n * (rank + 1) // size - self.begin
        dx = length / n
        self.d, self.c = nu * self.dt / (dx * dx), self.dt / (2 * dx)
        self.u = np.empty(self.points + 2)
        self.u[1:-1] = np.sin(dx * np.arange(self.begin, self.begin + self.points))

    def step(self):
        u = self.u
        u[0], u[-1] = self.ends()
        left, here, right = u[:-2], u[1:-1], u[2:]
        here[:] = (
            here + self.d * ((right + left) - 2 * here) - self.c * (right - left) * here.copy()
        )

    def ends(self):
        if self.comm is None:
            return self.u[-2], self.u[1]
        size, rank = self.comm.size, self.comm.rank
        before, after = (rank - 1) % size, (rank + 1) % size
        low = self.comm.sendrecv(self.u[-2], after, 0, source=before, recvtag=0)
        high = self.comm.sendrecv(self.u[1], before, 1, source=after, recvtag=1)
        return low, high
