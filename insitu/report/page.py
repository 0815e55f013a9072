"""``report.html``: one page with all that a run left to be looked at, in one file that asks for nothing else."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import yaml

from insitu.case_errors import CaseError
from insitu.fields import find_fields
from insitu.report.folder import replace_file
from insitu.report.pictures import Picture, draw_all

__all__ = ["write_page"]

_EMBEDDED = 12 << 20  # bytes of an animation that is still put into the page
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def write_page(folder: Path) -> Path:
    """Draw the figures of a run directory again and write its page, from what is saved there.

    Parameters
    ----------
    folder
        Of a run that has finished or not.

    Returns
    -------
    Path
        Of ``report.html``.

    Raises
    ------
    CaseError
        It is no run directory.
    """
    report, state = _read(folder, "report.json"), _read(folder, "state.json")
    if not report and not state and not (folder / "case.yaml").is_file():
        raise CaseError(
            f"{folder} must be the directory of a run, it has neither report.json nor state.json nor case.yaml; name one that "
            "`insitu run` has written"
        )
    pictures = draw_all(folder, report)
    page = _ENVIRONMENT.get_template("page.html").render(
        **_parts(folder, report, state),
        pictures=[_embedded(folder, picture) for picture in pictures],
        animation=_animation(folder),
    )
    replace_file(folder / "report.html", page)
    return folder / "report.html"


def _parts(folder: Path, report: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page is filled with beside pictures."""
    file = folder / "case.yaml"
    case = file.read_text() if file.is_file() else ""
    resolved = report.get("case") or yaml.safe_load(case) or {}
    status = report.get("status") or "unfinished"
    if (
        state.get("status") == "unfinished" and status != "finished"
    ):  # which it says last, after its page
        status = "unfinished"
    stages = report.get("stages", [])
    lines = [line | {"stage": stage["name"]} for stage in stages for line in stage["transfers"]]
    fields = find_fields(folder)
    return {
        "folder": folder.resolve().name,
        "status": status,
        "error": report.get("error"),
        "state": state,
        "title": _title(resolved),
        "simulation": report.get("simulation", {}),
        "sampling": report.get("sampling", {}),
        "learning": report.get("learning", {}),
        "surrogates": report.get("surrogates", {}),
        "online": report.get("online", {}),
        "takeover": report.get("driver", {}).get("takeover"),
        "closure": report.get("driver", {}).get("closure"),
        "fields": report.get("fields", {}),
        "field_file": fields.name if fields else None,
        "stages": stages,
        "lines": sorted(lines, key=lambda line: -line["bytes"]),
        "provenance": report.get("provenance", {}),
        "resolved": resolved,
        "case": case,
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _title(case: Mapping[str, Any]) -> str:
    """Return the equation and the grid of a run, as far as its case says them: an application's need not."""
    equation, grid = case.get("equation"), case.get("grid")
    name = equation["class_path"].rpartition(".")[2] if equation else "A run"
    return f"{name}, {' × '.join(map(str, grid['points']))} points" if grid else name


def _read(folder: Path, name: str) -> dict[str, Any]:
    file = folder / name
    return json.loads(file.read_text()) if file.is_file() else {}


def _embedded(folder: Path, picture: Picture) -> dict[str, Any]:
    return picture._asdict() | {"data": _as_uri(folder / "figures" / picture.file, "image/png")}


def _animation(folder: Path) -> dict[str, Any] | None:
    """Return the animation of a run, in the page where it is small."""
    for name, kind in (("animation.mp4", "video/mp4"), ("animation.gif", "image/gif")):
        file = folder / "figures" / name
        if file.is_file():
            is_small = file.stat().st_size <= _EMBEDDED
            data = _as_uri(file, kind) if is_small else None
            return {"name": name, "data": data, "is_video": kind.startswith("video")}
    return None


def _as_uri(file: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _number(value: Any) -> str:
    """Return a number with four digits, a text as it is, nothing for None."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}".replace(",", "\u202f") if isinstance(value, int) else f"{value:.4g}"


def _bytes(value: int) -> str:
    """Return bytes in a unit that suits them."""
    size, unit = float(value), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{value} B" if unit == "B" else f"{size:.3g} {unit}"


_ENVIRONMENT.filters |= {"number": _number, "bytes": _bytes}
