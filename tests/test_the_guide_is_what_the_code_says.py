"""The guide lists the keys, classes and messages that the code has, with the code's own words."""

import importlib
import importlib.util
import inspect
import json
import re
import sys

import pytest
from helpers.messages import pattern, texts
from helpers.pages import GUIDE, ROOT, blocks
from torch import nn

import insitu
import insitu.models
import insitu.online
import insitu.reduction
import insitu.surrogates
import solver
from solver.steppers import METHODS

SPEC = importlib.util.spec_from_file_location("case_keys", ROOT / "docs" / "case_keys.py")
case_keys = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(case_keys)

CASES, EQUATIONS = ROOT / "docs" / "cases.md", ROOT / "docs" / "equations.md"
TROUBLES = (ROOT / "docs" / "troubleshooting.md").read_text()
BY_HAND = {insitu.models.Forecaster, insitu.models.Persistence, insitu.online.Split}


def public(module, base):
    """Return the classes of a kind that a module shows."""
    shown = [getattr(module, name) for name in module.__all__]
    return {each for each in shown if inspect.isclass(each) and issubclass(each, base)} - {base}


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.name)
def test_tables_of_keys_are_up_to_date(page):
    text = page.read_text()
    assert case_keys.rewritten(text) == text, "run python docs/case_keys.py"


def test_every_part_of_a_case_has_its_table():
    nameable = (
        public(solver, solver.Equation)
        | public(insitu.models, insitu.models.Forecaster)
        | public(insitu.reduction, insitu.reduction.POD)
        | {insitu.reduction.POD}
        | public(insitu.online, insitu.online.Split)
        | (public(insitu.surrogates, nn.Module) - {insitu.surrogates.Surrogate})
    )
    written = set().union(*(case_keys.described(page.read_text()) for page in GUIDE))
    missing = {*case_keys.parts(), *nameable} - BY_HAND - written
    assert not missing


def test_sides_and_methods_are_all_there():
    cases, equations = CASES.read_text(), EQUATIONS.read_text()
    sides = {side.__name__ for side in public(solver, solver.Boundary)}
    assert sides == set(re.findall(r"^\| `([A-Z]\w+)` \| (?:`|\|| )", cases, re.MULTILINE)) & sides
    for method in METHODS.values():
        row = f"| `{method.name}` | {method.order} | {method.stages} |"
        assert row in equations


def test_every_message_of_insitu_info_is_explained():
    page = " ".join(TROUBLES.replace("`", "").split())
    said = [parts for parts in texts(ROOT / "insitu" / "information.py") if is_message(parts)]
    assert len(said) > 8
    unexplained = [parts for parts in said if not pattern(parts).search(page)]
    assert not unexplained


def is_message(parts):
    """Whether a text is a sentence, not the label of a line."""
    text = "".join(parts)
    return re.search(r"\w\w (\w|\w+ )", text) is not None and "  " not in text


def test_quoted_errors_are_the_codes_own():
    files = [*(ROOT / "solver").rglob("*.py"), *(ROOT / "insitu").rglob("*.py")]
    known = [
        pattern(parts)
        for file in files
        for parts in texts(file)
        if len(re.sub(r"\W", "", "".join(parts))) > 20
    ]
    quoted = [
        line.strip()
        for block in blocks(CASES.with_name("troubleshooting.md"), "text")
        for line in block.splitlines()
    ]
    assert len(quoted) > 10
    unknown = [
        line
        for line in quoted
        if not line.startswith("set_env.sh:")
        and not any(each.fullmatch(line) or each.fullmatch(f"{line}\n...") for each in known)
    ]
    assert not unknown


def test_what_set_env_says_is_quoted_right():
    script = (ROOT / "set_env.sh").read_text()
    (line,) = re.findall(r"^set_env\.sh: .*", TROUBLES, re.MULTILINE)
    for part in re.split(r"Python \d+\.\d+\.\d+", line):
        assert part.strip() in script


def test_every_public_name_is_in_the_reference():
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    modules = re.findall(r"automodule:: ([\w.]+)", pages)
    listed = {id(vars(sys.modules[m])[name]) for m in modules for name in public_names(m)}
    shown = {f"insitu.{name}": getattr(insitu, name) for name in insitu.__all__}
    assert not [name for name, thing in shown.items() if id(thing) not in listed]


def public_names(module):
    return importlib.import_module(module).__all__


def test_json_is_json():
    for page in GUIDE:
        for block in blocks(page, "json"):
            json.loads(block)
