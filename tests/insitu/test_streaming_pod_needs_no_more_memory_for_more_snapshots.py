"""A streaming POD holds a batch, its modes and a few small matrices, after 100 snapshots and after 10,000."""

import subprocess
import sys

FEATURES, BATCH, SNAPSHOTS = 10_000, 100, 10_000
PROGRAM = f"""
import torch
from insitu.reduction import StreamingPOD

torch.set_num_threads(1)
pods = [StreamingPOD(rank=5, centred=True), StreamingPOD(tolerance=1e-2)]
modes = torch.linalg.qr(torch.randn({FEATURES}, 12)).Q.T
buffer = torch.empty({BATCH}, {FEATURES})
for first in range(0, {SNAPSHOTS}, {BATCH}):
    angles = 0.01 * torch.arange(first, first + {BATCH})[:, None] * torch.arange(1, 13)
    torch.mm(torch.sin(angles) * 0.5 ** torch.arange(12), modes, out=buffer)
    for pod in pods:
        pod.partial_fit(buffer)
    if pod.n_samples_seen_ in (100, {SNAPSHOTS}):
        # Not ru_maxrss, which a process inherits from the one that started it.
        status = open("/proc/self/status").read()
        print(status.split("VmHWM:")[1].split()[0])
for pod in pods:
    state = [value for value in pod.state_dict().values() if torch.is_tensor(value)]
    print(sum(value.numel() for value in state) / {FEATURES})
"""


def test_resident_memory_is_flat_from_100_to_10000_snapshots():
    command = [sys.executable, "-c", PROGRAM]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    first, last = (int(kibibytes) / 1024 for kibibytes in out[:2])
    assert last - first < SNAPSHOTS * FEATURES * 4 / 2**20 / 20, "MiB, of a twentieth of the stream"
    assert all(float(fields) < 20 for fields in out[2:]), "held between batches"
