"""The guide's Python runs, its cases load, and the commands it shows exist with the flags they are given."""

import importlib.util
import re
import shlex
import shutil
import sys
import textwrap

import pytest
import yaml
from helpers.pages import GUIDE, ROOT, blocks
from helpers.processes import finish, start_ranks

from insitu import cli, load_case

BASE = {
    "grid": {"points": [64], "extent": [[0.0, 6.283185307179586]]},
    "equation": {"class_path": "Burgers", "init_args": {"nu": 0.1}},
    "time": {"until": 0.1},
}
SITES = {"git", "module", "qsub", "sbatch", "salloc", "srun", "jupyter", "jupytext", "nvidia-smi"}
BUILT_IN = {"cd", "source", "export", "."}


def with_language(language):
    return [page for page in GUIDE if blocks(page, language)]


def is_of_ranks(page):
    return any("COMM_WORLD" in block for block in blocks(page, "python"))


@pytest.mark.parametrize(
    "page",
    [page for page in with_language("python") if not is_of_ranks(page)],
    ids=lambda page: page.name,
)
def test_python_runs_from_the_top_of_its_page(page, tmp_path, monkeypatch):
    monkeypatch.setenv("INSITU_DEVICE", "OpenMP")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(textwrap.dedent(block), names)


@pytest.mark.parametrize("page", [*filter(is_of_ranks, GUIDE)], ids=lambda page: page.name)
def test_python_of_ranks_runs_on_two(page, tmp_path):
    file = tmp_path / "page.py"
    file.write_text("\n".join(map(textwrap.dedent, blocks(page, "python"))))
    status, _, err = finish(start_ranks(2, sys.executable, file, INSITU_DEVICE="OpenMP"))
    assert (status, err) == (0, "")


@pytest.mark.parametrize("page", with_language("yaml"), ids=lambda page: page.name)
def test_cases_load(page, tmp_path):
    for number, block in enumerate(blocks(page, "yaml")):
        case = tmp_path / f"{number}.yaml"
        case.write_text(yaml.safe_dump({**BASE, **yaml.safe_load(block)}))
        load_case(case)


@pytest.mark.parametrize("page", with_language("bash"), ids=lambda page: page.name)
def test_commands_exist(page):
    unknown = [
        command for block in blocks(page, "bash") for command in commands(block) if fault(command)
    ]
    assert not unknown


def commands(block):
    """Yield the commands of a block as lists of words, without what is set for them and what starts them on ranks."""
    for line in block.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|\||;", line.partition(" #")[0]):
            words = shlex.split(part)
            while words and re.match(r"\w+=", words[0]):
                words = words[1:]
            if words[:2] == ["mpirun", "-n"]:
                words = words[3:]
            if words and not words[0].startswith("#"):
                yield words


def fault(words):
    """Return what is wrong with a command, None where nothing is."""
    name, *rest = words
    files = [word for word in words if re.match(r"(jobs|tests|benchmarks|docs)/[\w/]+\.\w+$", word)]
    if any(not (ROOT / file).exists() for file in files):
        return "no such file"
    if name == "insitu":
        _, parsers = cli._parsers()
        flags = {word.partition("=")[0] for word in rest if word.startswith("--")}
        known = parsers[rest[0]].format_help() if rest[0] in parsers else ""
        return None if known and all(flag in known for flag in flags - {"--debug"}) else "insitu"
    if name == "python" and rest[0] == "-m":
        return (
            None if importlib.util.find_spec(rest[1]) or rest[1] in OPTIONAL else "no such module"
        )
    return None if name in SITES | BUILT_IN or shutil.which(name) else "no such command"


OPTIONAL = {"ipykernel", "sphinx"}
