"""Ways in which torch programs move data between device and host, run on a device apart from the host in a process of their own.

python -m helpers.torch_transfers        prints for each what the audit and what the device itself noted, as JSON
"""

import copy
import json

import numpy as np
import torch
from mpi4py import MPI
from torch import nn

from helpers import second_device
from insitu.audit import Audit, no_host_transfer
from insitu.bridge import to_host
from insitu.collectives import _buffer

DEVICE = second_device.NAME
WAYS = {  # name: (what is done with a tensor x of 6 float64 on the device and one y on the host, bytes by direction)
    "x.cpu()": (lambda x, y: x.cpu(), {"device_to_host": 48}),
    "x.to('cpu')": (lambda x, y: x.to("cpu"), {"device_to_host": 48}),
    "x.to(y)": (lambda x, y: x.to(y), {"device_to_host": 48}),
    "x.to(float32 and cpu)": (lambda x, y: x.to("cpu", torch.float32), {"device_to_host": 48}),
    "x.type()": (lambda x, y: x.type(torch.DoubleTensor), {"device_to_host": 48}),
    "x.numpy(force)": (lambda x, y: x.numpy(force=True), {"device_to_host": 48}),
    "np.asarray(x.cpu())": (lambda x, y: np.asarray(x[:3].cpu()), {"device_to_host": 24}),
    "insitu to_host": (lambda x, y: to_host(x), {"device_to_host": 48}),
    "y.copy_(x)": (lambda x, y: y.copy_(x), {"device_to_host": 48}),
    "y[2:4] = x": (lambda x, y: y.__setitem__(slice(2, 4), x[:2]), {"device_to_host": 16}),
    "x.item()": (lambda x, y: x[0].item(), {"device_to_host": 8}),
    "float(x)": (lambda x, y: float(x[0]), {"device_to_host": 8}),
    "int(x)": (lambda x, y: int(x[1]), {"device_to_host": 8}),
    "if x": (lambda x, y: 1 if x.sum() else 2, {"device_to_host": 8}),
    "x.tolist()": (lambda x, y: x.tolist(), {"device_to_host": 48}),
    "for value in x": (lambda x, y: [float(value) for value in x], {"device_to_host": 48}),
    "max(x)": (lambda x, y: max(x), {"device_to_host": 5}),
    "print(x)": (lambda x, y: repr(x), None),  # as torch formats numbers: its own affair
    "f'{x}'": (lambda x, y: f"{x[0]:.3f}", {"device_to_host": 8}),
    "y.to(device)": (lambda x, y: y.to(DEVICE), {"host_to_device": 48}),
    "x.copy_(y)": (lambda x, y: x.copy_(y), {"host_to_device": 48}),
    "x[:2] = y": (lambda x, y: x.__setitem__(slice(2), y[:2]), {"host_to_device": 16}),
    "x[[0, 2]]": (lambda x, y: x[[0, 2]], {"host_to_device": 16}),
    "x[index of the host]": (lambda x, y: x[torch.tensor([0, 2, 4])], {"host_to_device": 24}),
    "torch.tensor(list)": (
        lambda x, y: torch.tensor([1, 2], device=DEVICE),
        {"host_to_device": 16},
    ),
    "torch.as_tensor(array)": (
        lambda x, y: torch.as_tensor(np.ones(3), device=DEVICE),
        {"host_to_device": 24},
    ),
    "x.new_tensor(list)": (lambda x, y: x.new_tensor([1.0, 2.0]), {"host_to_device": 16}),
    "module.to(device)": (lambda x, y: nn.Linear(3, 2).to(DEVICE), {"host_to_device": 32}),
    "module.cpu()": (lambda x, y: on_device().cpu(), {"device_to_host": 32}),
    "staged for MPI": (lambda x, y: _buffer(MPI.COMM_SELF, x), {"device_to_host": 48}),
    "load_state_dict": (lambda x, y: on_device().load_state_dict(STATE), {"host_to_device": 32}),
}
CLEAN = {
    "x.clone()": (lambda x, y: x.clone(), {"device_to_device": 48}),
    "copy.deepcopy(x)": (lambda x, y: copy.deepcopy(x), {"device_to_device": 48}),
    "x.to(float32)": (lambda x, y: x.to(torch.float32), {"device_to_device": 24}),
    "a new tensor": (lambda x, y: torch.full((3,), 2.0, device=DEVICE), {}),
    "arithmetic": (lambda x, y: (x * 2.0 + x[0]).sum(), {}),
    "a view": (lambda x, y: x.view(2, 3)[1], {}),
    "the host alone": (lambda x, y: y.clone().tolist(), {}),
}
STATE = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
STEPS = 1000


def on_device():
    return nn.Linear(3, 2, device=DEVICE)


def bytes_of(moves):
    total = {}
    for direction, size in moves:
        total[direction] = total.get(direction, 0) + size
    return total


def seed(act):
    x, y = torch.arange(6.0, dtype=torch.float64).to(DEVICE), torch.ones(6, dtype=torch.float64)
    second_device.MOVED.clear()
    with Audit() as audit:
        act(x, y)
    result = {
        "audit": bytes_of((line.direction, line.bytes) for line in audit.lines),
        "device": bytes_of(second_device.MOVED),
        "where": [line.where for line in audit.lines],
        "refused": None,
    }
    second_device.MOVED.clear()
    try:
        with no_host_transfer():
            act(x, y)
    except RuntimeError as error:  # load_state_dict makes a RuntimeError of it
        result["refused"] = str(error)
    result["moved in spite of it"] = bytes_of(second_device.MOVED)
    return result


def clean_steps():
    x = torch.full((6,), 1.0, device=DEVICE)
    with no_host_transfer() as audit:
        for _ in range(STEPS):
            x = 0.5 * x.clone() - x.view(2, 3).sum() * x[0] / 6
    return {
        "bytes": audit.field_bytes,
        "crossings": [str(line) for line in audit.lines if line.passes_host],
    }


def main():
    kept = second_device.register()
    results = {name: seed(act) for name, (act, _) in {**WAYS, **CLEAN}.items()}
    print(json.dumps(results | {"clean steps": clean_steps(), "kept": len(kept)}))


if __name__ == "__main__":
    main()
