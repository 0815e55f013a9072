"""Random numbers of a training, apart from all others."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["seeded"]


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[torch.Generator]:
    """Seed torch inside the block, leave its global random state outside untouched.

    Parameters
    ----------
    seed
        Seed of torch's CPU generator, of the one of `device` and of the yielded generator.
    device
        The only CUDA or HIP device whose state is saved and seeded; a CPU device adds none.

    Yields
    ------
    torch.Generator
        A fresh generator on the CPU, so that what it draws is the same on every device.
    """
    forked = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=forked):
        torch.random.default_generator.manual_seed(seed)
        for index in forked:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield torch.Generator().manual_seed(seed)
