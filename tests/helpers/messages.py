"""What a module can say: its texts, with what is filled in at run time left open."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path


def texts(file: Path) -> Iterator[list[str]]:
    """Yield each text of a file, docstrings apart, as the literal parts around what is filled in."""
    tree = ast.parse(file.read_text())
    apart = {id(part) for node in ast.walk(tree) for part in _not_said(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield _parts(node)
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in apart
        ):
            yield re.split(r"\{\d*\}", node.value)


def pattern(parts: list[str]) -> re.Pattern[str]:
    """Return what matches the text, whatever is filled in."""
    return re.compile(r".+?".join(re.escape(part) for part in parts), re.DOTALL)


def _not_said(node: ast.AST) -> Iterator[ast.AST]:
    """Yield docstrings, annotations' texts and the literal parts of a text with holes, which is yielded whole."""
    if isinstance(node, ast.JoinedStr):
        yield from (part for value in node.values for part in ast.walk(value))
    elif isinstance(node, ast.Expr):
        yield node.value
    elif isinstance(node, ast.Subscript):
        yield from ast.walk(node.slice)


def _parts(text: ast.JoinedStr) -> list[str]:
    parts = [""]
    for value in text.values:
        if isinstance(value, ast.Constant):
            parts[-1] += str(value.value)
        else:
            parts.append("")
    return parts
