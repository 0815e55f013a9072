"""Training beside a solver in one memory: how much torch may take, and what counts as having none left."""

import torch

__all__ = ["cap_memory", "is_out_of_memory", "release_memory"]

_REFUSALS = ("can't allocate memory", "not enough memory", "out of memory")


def cap_memory(device: torch.device, fraction: float) -> int | None:
    """Let torch take at most a fraction of the memory that is free now, after the solver has allocated.

    Parameters
    ----------
    device
        Of the training. A host's memory is shared with everything else on it, and is not capped.
    fraction
        Of the free memory and what torch holds already.

    Returns
    -------
    int or None
        The cap in bytes.
    """
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    cap = int(fraction * (free + torch.cuda.memory_reserved(device)))
    torch.cuda.set_per_process_memory_fraction(cap / total, device)
    return cap


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory could not be had: torch's own on GPUs, its allocator's text on hosts."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _REFUSALS)


def release_memory(device: torch.device) -> None:
    """Give the memory that torch keeps for later back to the device, for the solver and for parts of another size."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
