"""A torch device with memory of its own: NumPy arrays behind torch's dispatcher, so that tensors truly move without a GPU.

Made of what torch ships for back ends in Python (torch.utils.backend_registration). It holds for the rest of a process, so tests
use it in one of their own. Each copy that this device makes to and from the host is noted in `MOVED`.
"""

import functools

import torch
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "apart"
# Operations that torch makes of others that resize what they write into, which NumPy's memory cannot.
FUNCTIONAL = "detach alias abs pow.Tensor_Scalar gt.Scalar gt.Tensor ne.Scalar ne.Tensor lt.Scalar ceil div.Tensor masked_select"
MOVED: list[tuple[str, int]] = []  # (direction, bytes)


class Apart(torch.Tensor):
    """A tensor whose values lie where the host's tensors do not see them."""

    @staticmethod
    def __new__(cls, values):
        tensor = torch._C._acc.create_empty_tensor(values.shape, torch.from_numpy(values).dtype)
        tensor.__class__ = cls
        return tensor

    def __init__(self, values):
        self.values_apart = values

    def __format__(self, form):
        return format(self.item(), form)


def copy_from(source, target, non_blocking=False):
    from_here = isinstance(source, Apart)
    if from_here != isinstance(target, Apart):
        smaller = source if source.numel() <= target.numel() else target
        MOVED.append(("device_to_host" if from_here else "host_to_device", smaller.nbytes))
    inside(target).copy_(inside(source))
    return target


def item(tensor):
    MOVED.append(("device_to_host", tensor.element_size()))
    return tensor.values_apart.item()


def inside(value):
    """Return an argument as the device computes with it, on the same memory."""
    if isinstance(value, Apart):
        return torch.from_numpy(value.values_apart)
    return torch.device("cpu") if isinstance(value, torch.device) else value


def compute(operation, *arguments, **keywords):
    """Run any other operation on the device's own memory."""
    result = operation(*tree_map(inside, arguments), **tree_map(inside, keywords))
    return tree_map(lambda x: Apart(x.numpy()) if isinstance(x, torch.Tensor) else x, result)


def register():
    """Let this process have the device; what is returned is to be kept."""
    _setup_privateuseone_for_python_backend(NAME)
    library, others = torch.library.Library("aten", "IMPL"), torch.library.Library("_", "IMPL")
    library.impl("_copy_from", copy_from, "PrivateUse1")
    library.impl("_local_scalar_dense", item, "PrivateUse1")
    others.fallback(compute, "PrivateUse1")
    for name in FUNCTIONAL.split():
        operation = getattr(torch.ops.aten, name.partition(".")[0])
        overload = getattr(operation, name.partition(".")[2] or "default")
        library.impl(name, functools.partial(compute, overload), "PrivateUse1")
    return library, others
