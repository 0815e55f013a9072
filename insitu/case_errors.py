"""What is wrong with a case, in one sentence."""

import re

from solver import SolverError

__all__ = ["CaseError", "one_sentence"]


class CaseError(ValueError):
    """A case that cannot be run as it is written."""


def one_sentence(error: Exception) -> str:
    """Return a parser's message as one sentence: expected, got, remedy."""
    if isinstance(error.__cause__, SolverError | CaseError):
        return str(error.__cause__)
    text = " ".join(str(error).split())
    for pattern, sentence in _SENTENCES:
        if found := re.search(pattern, text):
            return sentence.format(*(group for group in found.groups() if group))
    key = re.findall(r'[Kk]ey "([^"]+)"', text)
    expected = re.findall(r"Expected a (?:<class '(\w+)'>|typing\.Literal\[(.*?)\])", text)
    got = re.search(r"(?:Got value|Given value): (.*?)(?: Given value type.*)?$", text)
    if key and expected and got:
        names = dict.fromkeys(
            "null" if name == "NoneType" else name for pair in expected for name in pair if name
        )
        return f"{'.'.join(key)} must be {' or '.join(names)}, got {got[1]}; `insitu run --help` explains each key"
    return f"{text}; `insitu run --help` explains each key"


_SENTENCES = (
    (
        r"Errors:.*?- ((?!Expected a|Problem with|Parser key)[^;]+; [^;]+?) (?:- Expected|Given value type)",
        "{}",
    ),
    (
        r"unrecognized arguments: (.*)|Key \"([^\"]+)\" is not expected",
        "only keys of a case are expected, got {}; `insitu run --help` lists them",
    ),
    (
        r"[Kk]ey \"([^\"]+)\".*class_path '([^']+)': Option '([^']+)' is not accepted",
        "{0} must have parameters of {1}, got {2}; `insitu run --help` explains each key",
    ),
    (
        r"[Kk]ey \"([^\"]+)\".*class_path '([^']+)': the following arguments are required: (\S+)",
        "{0} must have a value for each parameter of {1} without a default, got none for {2}; add it under init_args",
    ),
    (
        r"[Kk]ey \"([^\"]+)\".*Expected a dot import path string: (\S+)",
        "{0} must name a known class or give its class_path, got {1}; `insitu run --help` lists the classes",
    ),
)
