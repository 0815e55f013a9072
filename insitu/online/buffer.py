"""A bounded buffer of training pairs on the device of the simulation."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from insitu.distributed import Rows, own_part

__all__ = ["Buffer", "Pairs", "Policy"]

Policy = Literal["ring", "reservoir"]


class Pairs:
    """Some pairs of a buffer, gathered when they are asked for.

    Attributes
    ----------
    inputs, targets
        (pairs, components, *points), new memory on the device.
    parameters
        (pairs, p), or None where the model has none.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, parameters: Tensor | None):
        self.inputs, self.targets, self.parameters = inputs, targets, parameters


class Buffer:
    """The newest pairs of a run (ring), or a uniform sample of all of them (reservoir), in memory that does not grow.

    An entry holds a pair of samples of all members of an ensemble. On several ranks entry number n is on rank n mod size, whole;
    which entries there are, and which pairs a batch has, is drawn alike on all ranks from one seed, so it does not depend on
    their number.

    Parameters
    ----------
    capacity
        Entries of all ranks together.
    policy
        "ring" or "reservoir".
    seed
        Of the reservoir and of the batches.
    rank, size
        Which of how many ranks this is.

    Notes
    -----
    Source: Vitter 1985, algorithm R, doi:10.1145/3147.3165.
    """

    def __init__(
        self, capacity: int, policy: Policy = "ring", seed: int = 0, rank: int = 0, size: int = 1
    ) -> None:
        if capacity < 1:
            raise ValueError(
                f"online.capacity must be 1 or more pairs, got {capacity}; correct the case"
            )
        self.capacity, self.policy = capacity, policy
        self.seen = 0
        self.members = 0
        self._rank, self._size = rank, size
        self._generator = torch.Generator().manual_seed(seed)
        self._origins = torch.zeros(capacity, 2, dtype=torch.int64)
        self._first_member = 0
        self._kept: dict[str, Tensor] = {}

    @property
    def entries(self) -> int:
        """Entries held by all ranks."""
        return min(self.seen, self.capacity)

    @property
    def pairs(self) -> int:
        """Pairs held by all ranks: entries times members."""
        return self.entries * self.members

    @property
    def nbytes(self) -> int:
        """Bytes on the device of this rank."""
        return sum(kept.nbytes for kept in self._kept.values())

    def place(self, first: int, last: int, members: range) -> int | None:
        """Return the entry that the next pair of samples takes, None where the reservoir passes it over; all ranks call it."""
        slot = self._slot()
        self.seen += 1
        self.members, self._first_member = len(members), members.start
        if slot is not None:
            self._origins[slot] = torch.tensor([first, last])
        return slot

    def owner(self, slot: int) -> int:
        """Return the rank that holds an entry."""
        return slot % self._size

    def write(
        self,
        slot: int,
        inputs: Float[Tensor, "members components *points"],
        targets: Float[Tensor, "members components *points"],
        parameters: Float[Tensor, "members p"] | None = None,
    ) -> None:
        """Copy a pair of samples into an entry of this rank, device to device."""
        given = {"inputs": inputs, "targets": targets}
        if parameters is not None:
            given["parameters"] = parameters
        rows = -(-(self.capacity - self._rank) // self._size)
        for name, values in given.items():
            if name not in self._kept:
                self._kept[name] = values.new_empty(rows, *values.shape)
            self._kept[name][slot // self._size].copy_(values)

    def draw(self, count: int) -> Int[Tensor, " pairs"]:
        """Draw the numbers of `count` pairs, uniformly and with replacement; the same on all ranks."""
        return torch.randint(0, self.pairs, (count,), generator=self._generator)

    def here(self, numbers: Int[Tensor, " pairs"]) -> Int[Tensor, " held"]:
        """Return those of the numbered pairs that this rank holds, counted from its first."""
        entry, member = numbers // self.members, numbers % self.members
        held = entry % self._size == self._rank
        return entry[held] // self._size * self.members + member[held]

    def gather(self, held: Int[Tensor, " held"]) -> Pairs:
        """Copy pairs of this rank, by the numbers that `here` gives, to new memory on the device."""
        return Pairs(
            self._rows("inputs", held),
            self._rows("targets", held),
            self._rows("parameters", held) if "parameters" in self._kept else None,
        )

    def origins(self) -> Int[Tensor, "pairs 3"]:
        """Return the first sample, the last sample and the member of each pair of all ranks, on the host."""
        samples = self._origins[: self.entries].repeat_interleave(self.members, 0)
        members = torch.arange(self.members).repeat(self.entries) + self._first_member
        return torch.cat([samples, members[:, None]], dim=1)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes: this rank's entries, not copied, and the state of the draws."""
        return {
            "settings": [self.capacity, self.policy],
            "seen": self.seen,
            "members": [self._first_member, self.members],
            "generator": self._generator.get_state(),
            "origins": self._origins,
            "kept": {name: Rows(kept, self.capacity) for name, kept in self._kept.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | None = None) -> None:
        """Take over what `state_dict` returned, with the entries of this rank, on a device; where they are, if none is given.

        Raises
        ------
        ValueError
            It belongs to another capacity or policy.
        """
        settings = [self.capacity, self.policy]
        if state["settings"] != settings:
            raise ValueError(
                f"buffer state: expected capacity and policy {settings}, got {state['settings']}; resume with the settings of "
                "the run that saved it"
            )
        self.seen = state["seen"]
        self._first_member, self.members = state["members"]
        self._generator.set_state(state["generator"].cpu())
        self._origins.copy_(state["origins"])
        kept = own_part(state["kept"])
        self._kept = {name: entries.to(device, copy=True) for name, entries in kept.items()}

    def _slot(self) -> int | None:
        if self.policy == "ring" or self.seen < self.capacity:
            return self.seen % self.capacity
        drawn = int(torch.randint(0, self.seen + 1, (), generator=self._generator))
        return drawn if drawn < self.capacity else None

    def _rows(self, name: str, held: Tensor) -> Tensor:
        kept = self._kept[name].flatten(0, 1)
        if kept.device.type != "cpu":
            held = held.pin_memory().to(kept.device, non_blocking=True)
        return kept[held]
