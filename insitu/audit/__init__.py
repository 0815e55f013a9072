"""Proof that nothing moved through the host: a ledger of transfers, and a block that refuses them."""

from insitu.audit.budget import TransferBudgetError, Transfers
from insitu.audit.lines import HostTransferError, Line, merged
from insitu.audit.recording import Audit, no_host_transfer

__all__ = [
    "Audit",
    "HostTransferError",
    "Line",
    "TransferBudgetError",
    "Transfers",
    "merged",
    "no_host_transfer",
]
