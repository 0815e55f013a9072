"""OKL source to kernel: includes, defines, the signature read from OCCA's translation."""

import ast
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from solver import _occa, jit
from solver.errors import KernelBuildError

# A checkout's own kernels come first, so that an editable install needs no reinstall for them.
_SHIPPED = (Path(__file__).parent.parent / "kernels", jit.package_directory() / "kernels")
_INCLUDE = re.compile(r'^[ \t]*#include[ \t]+"([^"]+)"[^\n]*$', re.MULTILINE)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_DEFINE = re.compile(r"^[ \t]*#define[ \t]+(\w+)[ \t]+(\d+)[ \t]*$", re.MULTILINE)
# OCCA 1 calls its translation source.cpp, OCCA 2 puts the file's name before it.
_TRANSLATION = "source.cpp" if _occa.occa_version_number < 20000 else "*.source.cpp"
_QUALIFIERS = ("const", "__global", "__restrict__", "__constant", "restrict")
_DTYPES = {
    "int": "int32",
    "long": "int64",
    "longint": "int64",
    "float": "float32",
    "double": "float64",
}

# (name, dtype, is_pointer, is_const), and the same with the postfix program of its @dim.
Parameter = tuple[str, str, bool, bool]
Declaration = tuple[str, str, bool, bool, list[tuple[str, int]]]


def build(
    device: _occa.Device, source: str | os.PathLike[str], name: str, defines: Mapping[str, Any]
) -> _occa.Kernel:
    """Compile ``name`` from a file, a shipped file or source text; see `Device.build`."""
    text, stem = read(source)
    if re.search(rf"@kernel\s+void\s+{re.escape(name)}\s*\(", _COMMENT.sub("", text)) is None:
        raise KernelBuildError(
            f"{stem} must define '@kernel void {name}(...)', it does not; correct the kernel's name"
        )
    _require_bounded_exclusive(device.mode, text, defines)
    if device.mode == "CUDA":
        compiler = os.environ.get("OCCA_CUDA_COMPILER", "nvcc")
        if shutil.which(compiler.split()[0]) is None:
            raise KernelBuildError(
                f"mode CUDA compiles kernels with {compiler!r}, which is not found; "
                "put it on PATH or set OCCA_CUDA_COMPILER"
            )
    dims = _dims(name, text)
    cache = jit.prepare_cache()
    file = _store(cache, text, stem)
    properties = {
        "defines": {
            f"INSITU_MODE_{device.mode.upper()}": "1",
            **{key: _literal(value) for key, value in defines.items()},
        },
        "type_validation": False,
    }
    if _occa.occa_version_number >= 20000:
        properties["serial"] = {"include_std": True}
    kernel = _compile(device, cache, file, name, properties)
    parameters = _parameters(kernel, name)
    constants = _integer_constants(_COMMENT.sub("", text), defines)
    kernel.declare(_declarations(name, parameters, dims, constants))
    return kernel


def read(source: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the OKL text with every ``#include "..."`` replaced by its file, and its short name.

    OCCA 1 neither hashes included files nor parses what follows them on the next line.
    """
    if isinstance(source, str) and ("@kernel" in source or "\n" in source):
        return _flatten(source, Path.cwd(), "the source text"), "source"
    path = _find(Path(source), Path.cwd())
    return _flatten(path.read_text(), path.parent, path.name), path.stem


def shipped(name: str) -> Path:
    """Return the file of a kernel that belongs to this package, whatever lies in the current folder."""
    return next(folder / name for folder in _SHIPPED if (folder / name).is_file()).resolve()


def _find(path: Path, beside: Path) -> Path:
    candidates = [beside / path, *(folder / path for folder in _SHIPPED)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise KernelBuildError(
        f"a kernel file is expected, {path} is neither in {beside} nor shipped with the package; "
        "correct the path"
    )


def _flatten(text: str, folder: Path, label: str, seen: tuple[Path, ...] = ()) -> str:
    def replace(match: re.Match[str]) -> str:
        path = _find(Path(match[1]), folder).resolve()
        if path in seen:
            raise KernelBuildError(
                f"{label} includes {match[1]}, which includes itself; break the circle"
            )
        return _flatten(path.read_text(), path.parent, path.name, (*seen, path))

    return _INCLUDE.sub(replace, text)


def _store(cache: Path, text: str, stem: str) -> Path:
    folder = cache / "sources" / hashlib.sha256(text.encode()).hexdigest()[:16]
    file = folder / f"{stem}.okl"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as temporary:
            temporary.write(text)
        os.replace(temporary.name, file)
    return file


def _literal(value: Any) -> str:
    """Return a macro's text; OCCA 1 would truncate an integer of 2**31 or more."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, int | np.integer) and -(2**63) < value < 2**63:
        text = str(int(value)) if abs(int(value)) < 2**31 else f"{int(value)}L"
    elif isinstance(value, float | np.floating) and math.isfinite(value):
        text = repr(float(value))
    else:
        raise KernelBuildError(
            "a define must be text, a finite number or an integer of 64 bits, "
            f"got {value!r}; convert it"
        )
    return f"({text})" if value < 0 else text


def _compile(
    device: _occa.Device, cache: Path, file: Path, name: str, properties: dict[str, Any]
) -> _occa.Kernel:
    with jit.exclusive(cache), jit.captured_output() as output:
        try:
            return _occa.build(device, str(file), name, json.dumps(properties))
        except KernelBuildError as error:
            failure = str(error)
            if device.mode in ("CUDA", "HIP") and _occa.occa_version_number < 20000:
                _repeat_aloud(device, file, name, properties)
    raise KernelBuildError(
        f"kernel '{name}' from {file.name} does not build: {failure}\n{output.text}".rstrip()
    )


def _repeat_aloud(device: _occa.Device, file: Path, name: str, properties: dict[str, Any]) -> None:
    """Build again so that OCCA 1 shows what the GPU compiler said."""
    try:
        _occa.build(device, str(file), name, json.dumps({**properties, "verbose": True}))
    except KernelBuildError:
        return


def _parameters(kernel: _occa.Kernel, name: str) -> list[Parameter]:
    """Return the arguments as OCCA's translation has them.

    There macros are resolved; OCCA's own metadata calls every integer "int".
    """
    files = list(Path(kernel.directory).glob(_TRANSLATION))
    translated = files[0].read_text() if files else ""
    entry = re.search(rf"\bvoid\b[^;{{}}]*?\b(?:_occa_{name}_0|{name})\s*\(", translated)
    if entry is None:
        raise KernelBuildError(
            f"kernel '{name}': OCCA's translation in {kernel.directory} has no such function; "
            "clear the kernel cache"
        )
    declarations = _arguments(translated, entry.end())
    return [_parameter(name, declaration) for declaration in declarations]


def _declarations(
    kernel: str,
    parameters: list[Parameter],
    dims: Mapping[str, ast.expr],
    constants: Mapping[str, int],
) -> list[Declaration]:
    positions = {
        name: position
        for position, (name, dtype, is_pointer, _) in enumerate(parameters)
        if dtype.startswith("int") and not is_pointer
    }
    names = {name for name, *_ in parameters}
    lengths = {
        name: _program(kernel, name, expression, positions, constants)
        for name, expression in dims.items()
        if name in names  # the text may have more of them, which a define leaves out
    }
    return [(*parameter, lengths.get(parameter[0], [])) for parameter in parameters]


def _arguments(text: str, start: int) -> list[str]:
    """Return the comma-separated parts of a parenthesis that opened just before ``start``."""
    parts, depth, begin = [], 0, start
    for position in range(start, len(text)):
        character = text[position]
        if character == "(":
            depth += 1
        elif character == ")" and depth:
            depth -= 1
        elif character == ")" or (character == "," and not depth):
            parts.append(text[begin:position])
            begin = position + 1
            if character == ")":
                break
    return [part.strip() for part in parts if part.strip()]


def _parameter(kernel: str, declaration: str) -> Parameter:
    words = re.findall(r"\w+", declaration)
    name = words.pop() if "[" not in declaration else declaration
    spelled = "".join(word for word in words if word not in _QUALIFIERS)
    if spelled not in _DTYPES:
        raise KernelBuildError(
            f"kernel '{kernel}', argument '{name}' must be int, long, float, double or a pointer "
            f"to one, got '{declaration}'; change its type"
        )
    return name, _DTYPES[spelled], "*" in declaration, "const" in words


def _integer_constants(code: str, defines: Mapping[str, Any]) -> dict[str, int]:
    given = {key: int(v) for key, v in defines.items() if isinstance(v, int | np.integer)}
    return given | {key: int(value) for key, value in _DEFINE.findall(code)}


def _dims(kernel: str, text: str) -> dict[str, ast.expr]:
    """Return each argument's declared length, the product of its ``@dim``.

    Read before OCCA sees the source: OCCA 2 crashes on an incomplete expression there.
    """
    text = _COMMENT.sub("", text)
    entry = re.search(rf"@kernel\s+void\s+{kernel}\s*\(", text)
    dims = {}
    for declaration in _arguments(text, entry.end()) if entry else []:
        dim = re.search(r"@dim\s*\(", declaration)
        if dim:
            name = re.findall(r"\w+", declaration[: dim.start()])[-1]
            product = "*".join(f"({part})" for part in _arguments(declaration, dim.end()))
            try:
                dims[name] = ast.parse(product, mode="eval").body
            except SyntaxError:
                raise _unreadable_length(kernel, name, product) from None
    return dims


def _unreadable_length(kernel: str, argument: str, expression: str) -> KernelBuildError:
    return KernelBuildError(
        f"kernel '{kernel}', argument '{argument}': @dim must be made of + - * /, integers, "
        f"integer arguments and integer defines, got '{expression}'; simplify it"
    )


_OPERATIONS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def _program(
    kernel: str,
    argument: str,
    expression: ast.expr,
    positions: Mapping[str, int],
    constants: Mapping[str, int],
) -> list[tuple[str, int]]:
    """Return the postfix program of an integer expression over arguments and constants."""

    def visit(node: ast.expr) -> list[tuple[str, int]]:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return [("c", node.value)]
        if isinstance(node, ast.Name) and node.id in positions:
            return [("a", positions[node.id])]
        if isinstance(node, ast.Name) and node.id in constants:
            return [("c", constants[node.id])]
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
            return [*visit(node.left), *visit(node.right), (_OPERATIONS[type(node.op)], 0)]
        raise _unreadable_length(kernel, argument, ast.unparse(expression))

    return visit(expression)


_EXCLUSIVE_LIMIT = 256


def _require_bounded_exclusive(mode: str, text: str, defines: Mapping[str, Any]) -> None:
    """Refuse an ``@exclusive`` that may overflow: OCCA 1's host modes give it 256 entries."""
    code = _COMMENT.sub("", text)
    if (
        _occa.occa_version_number >= 20000
        or mode not in ("Serial", "OpenMP")
        or "@exclusive" not in code
    ):
        return
    constants = _integer_constants(code, defines)
    sizes = re.findall(r"=\s*0\s*;\s*\w+\s*<\s*(\w+)\s*;[^;]*;\s*@inner", code)
    sizes += re.findall(r"@tile\s*\(\s*(\w+)[^)]*@inner", code)
    for size in sizes or ["?"]:
        trips = int(size) if size.isdigit() else constants.get(size, _EXCLUSIVE_LIMIT + 1)
        if trips > _EXCLUSIVE_LIMIT or len(sizes) < code.count("@inner"):
            raise KernelBuildError(
                f"@exclusive in mode {mode} of OCCA {_occa.occa_version} holds {_EXCLUSIVE_LIMIT} "
                f"entries, an @inner loop of {size} trips does not provably fit; give it a "
                "constant bound of at most 256, use @shared, or use OCCA 2"
            )
