"""What a check finds."""

from typing import Literal, NamedTuple

__all__ = ["Fault", "Finding", "Skip", "table"]


class Fault(Exception):
    """A check failed; the text says what is wrong and what to do."""


class Skip(Exception):
    """A check has nothing to look at; the text says why."""


class Finding(NamedTuple):
    """The outcome of a check.

    Attributes
    ----------
    check
        What was asked.
    status
        "PASS", "FAIL" or "skipped".
    sentence
        What was seen; of a failure what is wrong and the remedy.
    """

    check: str
    status: Literal["PASS", "FAIL", "skipped"]
    sentence: str


def table(findings: list[Finding]) -> str:
    """Return findings as text, a line each."""
    width = max(len(finding.check) for finding in findings)
    return "\n".join(f"{f.status:<8} {f.check:<{width}}  {f.sentence}" for f in findings)
