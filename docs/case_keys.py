"""Write the tables of keys in docs/cases.md and docs/models.md from the classes they describe: python docs/case_keys.py.

A table stands between ``<!-- keys: insitu.config.Time -->`` and ``<!-- end -->``.
"""

import dataclasses
import importlib
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docstring_parser

from insitu.config import Case

FOLDER = Path(__file__).parent
MARKED = re.compile(r"(<!-- keys: ([\w.]+) -->\n).*?(<!-- end -->)", re.DOTALL)
EMPTY = inspect.Parameter.empty


def main() -> None:
    """Write all tables anew."""
    for page in sorted(FOLDER.glob("*.md")):
        text = page.read_text()
        written = rewritten(text)
        if written != text:
            page.write_text(written)


def rewritten(page: str) -> str:
    """Return a page with its tables written anew."""
    return MARKED.sub(lambda found: f"{found[1]}{table(imported(found[2]))}\n{found[3]}", page)


def described(page: str) -> set[type]:
    """Return the classes whose keys a page lists."""
    return {imported(found[2]) for found in MARKED.finditer(page)}


def imported(path: str) -> type:
    """Return a class by its import path."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def parts(settings: type = Case) -> Iterator[type]:
    """Yield the dataclasses that a case is made of, each once."""
    seen, waiting = set(), [settings]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            yield current
            hints = typing.get_type_hints(current)
            waiting += [
                each
                for hint in hints.values()
                for each in flat(hint)
                if dataclasses.is_dataclass(each)
            ]


def flat(hint: Any) -> Iterator[Any]:
    """Yield a type and all types within it."""
    yield hint
    for inner in typing.get_args(hint):
        yield from flat(inner)


def table(described: type) -> str:
    """Return what a class is given: key, type, default, meaning."""
    documented = docstring_parser.parse(inspect.cleandoc(described.__doc__ or "")).params
    meanings = {name: each for each in documented for name in re.split(r",\s*", each.arg_name)}
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, parameter in inspect.signature(described).parameters.items():
        if name not in meanings:
            raise SystemExit(f"the docstring of {described.__name__} must describe {name}")
        meaning = meanings[name]
        kind = meaning.type_name or type_text(parameter.annotation)
        kind = kind.removesuffix(", optional")
        default = default_text(default_of(described, name, parameter.default))
        cells = (f"`{name}`", kind.replace("sequence", "list"), default, meaning.description)
        rows.append("| " + " | ".join(as_cell(str(cell)) for cell in cells) + " |")
    return "\n".join(rows)


def as_cell(text: str) -> str:
    """Return text as one cell of a table."""
    line = " ".join(text.split()).replace("``", "`").replace("|", "\\|")
    pieces = line.split("`")
    pieces[::2] = [piece.replace("*", "\\*") for piece in pieces[::2]]
    return "`".join(pieces)


def type_text(hint: Any) -> str:
    """Return a type in the words of a case file."""
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_text(each) for each in arguments)
    if origin is typing.Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if hint in (None, type(None)):
        return "null"
    if origin is list or (origin is tuple and arguments[-1] is ...):
        return f"list of {type_text(arguments[0])}"
    if origin is tuple:
        return f"[{', '.join(type_text(each) for each in arguments)}]"
    if origin is dict:
        return f"{type_text(arguments[1])} by name"
    if callable(hint) and origin is not None:
        return "class path"
    return {"bool": "true or false", "str": "text", "Module": "torch module"}.get(
        hint.__name__, hint.__name__
    )


def default_of(described: type, name: str, default: Any) -> Any:
    """Return what a parameter is where it is left out, made where it is made anew for each object."""
    factory = getattr(described, "__dataclass_fields__", {}).get(name)
    is_made = factory is not None and factory.default_factory is not dataclasses.MISSING
    return factory.default_factory() if is_made else default


def default_text(value: Any) -> str:
    """Return a default as it stands in a case file."""
    if value is EMPTY:
        return "required"
    if value is None or isinstance(value, bool | int | float | str | dict):
        return f"`{json.dumps(value)}`".replace('"', "")
    if isinstance(value, list | tuple):
        return ", ".join(default_text(each) for each in value) or "none"
    if dataclasses.is_dataclass(value):
        return "its defaults"
    name = value.__name__ if isinstance(value, type) else type(value).__name__
    return f"`{name}`"


if __name__ == "__main__":
    main()
