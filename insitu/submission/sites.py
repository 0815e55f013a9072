"""Sites: a template of a job script, and what a site asks for, in one file."""

import os
import re
import shlex
import socket
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from insitu.case_errors import CaseError

__all__ = ["Site", "find_site", "known_sites"]

# A checkout's own sites come first; a wheel has them beside this module.
_SHIPPED = (Path(__file__).parent.parent.parent / "jobs" / "sites", Path(__file__).parent / "sites")
_PLACEHOLDER = re.compile(r"\{\{(\w+)(?:\|([^}]*))?\}\}")
_PART = re.compile(r"^\{\{(\w+\.sh)\}\}\n", re.MULTILINE)
_FACT = re.compile(r"^#% ?(.*)\n", re.MULTILINE)
_HOSTS = ("NERSC_HOST", "LMOD_SYSTEM_NAME", "PBS_O_HOST")
_KINDS = {
    "needs": list,
    "unchained": list,
    "ranks_per_node": int,
    "most_ranks_per_node": int,
    "cores_per_node": int,
    "most_cores": int,
}
_NEEDS = ("account", "queue", "filesystems")
_SCHEDULERS = ("pbs", "slurm", "cobalt")


@dataclass(frozen=True)
class Site:
    """A place where jobs run.

    Parameters
    ----------
    name
        As ``--site`` takes it.
    text
        Template of the script: bash, with ``{{value}}`` for a value, ``{{value|prefix}}`` for one that may be missing, and
        ``{{part.sh}}`` for a file of the folder ``parts``.
    folder
        Where the file is.
    scheduler
        "pbs", "slurm" or "cobalt".
    environment
        What set_env.sh calls the site.
    needs
        Options without which the site takes no job.
    ranks_per_node
        Ranks on a node where none are asked for: one for each GPU.
    most_ranks_per_node
        Ranks that fit on a node; null: no limit is known.
    host
        Part of the host's name by which the site is recognised; null: it is not.
    queue
        Queue where none is asked for; null: the site's own choice.
    cores_per_node
        Cores to be shared out to a node's ranks; null: ranks get one each unless asked for.
    most_cores
        Cores a rank gets at most.
    unchained
        Queues that allow no job to submit the next.
    """

    name: str
    text: str
    folder: Path
    scheduler: str
    environment: str = "generic"
    needs: tuple[str, ...] = ()
    ranks_per_node: int = 1
    most_ranks_per_node: int | None = None
    host: str | None = None
    queue: str | None = None
    cores_per_node: int | None = None
    most_cores: int | None = None
    unchained: tuple[str, ...] = field(default=())

    def cores(self, ranks_per_node: int) -> int:
        """Return the cores of each rank where so many share a node."""
        share = max(1, (self.cores_per_node or 1) // ranks_per_node)
        return min(share, self.most_cores or share)

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the script.

        A line with a value that is None is left out. Values, and the items of lists, are quoted for the shell, but not in lines
        that begin with #, which a list repeats for each of its items.

        Parameters
        ----------
        values
            Text, numbers and lists of texts by name.

        Raises
        ------
        CaseError
            The template names a part or a value that does not exist.
        """
        given = {"environment": self.environment, **values}
        lines = (line for text in self._whole().splitlines() for line in self._lines(text, given))
        return "".join(f"{line}\n" for line in lines)

    def _whole(self) -> str:
        return _FACT.sub("", _PART.sub(lambda part: self._part(part[1]), self.text))

    def _part(self, name: str) -> str:
        for folder in (self.folder, *_SHIPPED):
            if (folder / "parts" / name).is_file():
                return (folder / "parts" / name).read_text()
        raise CaseError(
            f"site {self.name} asks for the part {name}, which is not in {self.folder / 'parts'}; use one of {_parts()}"
        )

    def _lines(self, line: str, values: Mapping[str, Any]) -> list[str]:
        """Return what becomes of a line: none, one, or one for each item."""
        repeated: list[Any] = [None]
        for name, prefix in _PLACEHOLDER.findall(line):
            if name not in values:
                raise CaseError(
                    f"site {self.name} asks for the value {name}, which there is none of; use one of {', '.join(sorted(values))}"
                )
            if values[name] is None and not prefix:
                return []
            if line.startswith("#") and isinstance(values[name], list):
                repeated = values[name]
        return [_PLACEHOLDER.sub(_filling(line, values, item), line) for item in repeated]


def known_sites() -> dict[str, Site]:
    """Return the sites that come with this package, by name."""
    folder = next((folder for folder in _SHIPPED if folder.is_dir()), _SHIPPED[-1])
    return {path.stem: _read(path) for path in sorted(folder.glob("*.sh"))}


def find_site(name: str | None) -> Site:
    """Return a site by its name, by the path of a file of one's own, or, where it is None, the one that this host belongs to.

    Raises
    ------
    CaseError
        There is none of that name, the host belongs to none, or the file is not that of a site.
    """
    sites = known_sites()
    if name is None:
        name = os.environ.get("INSITU_SITE") or _detected(sites)
        if name not in sites:
            raise CaseError(
                f"--site is needed where no known site is recognised; give one of {', '.join(sites)}, or a file of your own"
            )
    if name in sites:
        return sites[name]
    if not Path(name).is_file():
        raise CaseError(
            f"--site must be one of {', '.join(sites)}, or a file of your own, got {name}; correct it"
        )
    return _read(Path(name))


def _detected(sites: Mapping[str, Site]) -> str | None:
    """Return the site of this host, as set_env.sh finds it."""
    host = "".join(os.environ.get(variable, "") for variable in _HOSTS) + socket.gethostname()
    return next((name for name, site in sites.items() if site.host and site.host in host), None)


def _read(path: Path) -> Site:
    text = path.read_text()
    try:
        facts = tomllib.loads("\n".join(_FACT.findall(text)))
    except tomllib.TOMLDecodeError as error:
        raise CaseError(
            f"lines '#% name = value' of {path} must be TOML, got {error}; correct them"
        ) from None
    known = {each.name for each in fields(Site)} - {"name", "text", "folder"}
    if unknown := sorted(facts.keys() - known):
        raise CaseError(
            f"lines '#% name = value' of {path} must name {', '.join(sorted(known))}, got {unknown[0]}; correct it"
        )
    for name, value in facts.items():
        kind = _KINDS.get(name, str)
        if type(value) is not kind:
            raise CaseError(
                f"{name} of {path} must be of the kind {kind.__name__}, got {value!r}; correct it"
            )
    if not set(facts.get("needs", ())) <= set(_NEEDS):
        raise CaseError(
            f"needs of {path} must be among {', '.join(_NEEDS)}, got {', '.join(facts['needs'])}; correct it"
        )
    if facts.get("scheduler") not in _SCHEDULERS:
        raise CaseError(
            f"{path} needs a line '#% scheduler = ...' with one of {', '.join(_SCHEDULERS)}, got {facts.get('scheduler')!r}; "
            "add it"
        )
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()
    }
    return Site(name=path.stem, text=text, folder=path.parent, **given)


def _parts() -> str:
    return ", ".join(
        sorted(path.name for folder in _SHIPPED for path in (folder / "parts").glob("*.sh"))
    )


def _filling(line: str, values: Mapping[str, Any], item: Any) -> Callable[[re.Match[str]], str]:
    """Return what replaces each placeholder of a line."""

    def fill(found: re.Match[str]) -> str:
        value = values[found[1]]
        if value is None:
            return ""
        if line.startswith("#"):
            return f"{found[2] or ''}{item if isinstance(value, list) else value}"
        quoted = shlex.join(value) if isinstance(value, list) else shlex.quote(str(value))
        return f"{found[2] or ''}{quoted}"

    return fill
