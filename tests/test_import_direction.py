"""Imports flow one way: a module imports only what stands to its left."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = [
    ["solver.errors"],
    ["solver.boundaries", "solver.mpi"],
    ["solver._drivers", "solver._occa", "solver.threads"],
    ["solver.placement"],
    ["solver.jit"],
    ["solver.kernel"],
    ["solver.device"],
    ["solver.decomposition", "solver.messages", "solver.precision", "solver.ranks"],
    ["solver.grid", "solver.steppers", "solver.tiles"],
    ["solver.blocks", "solver.halo", "solver.levels", "solver.reduction", "solver.sharing"],
    [
        "solver.direct",
        "solver.field",
        "solver.initial",
        "solver.patch",
        "solver.recorder",
        "solver.sides",
        "solver.staggered",
    ],
    ["solver.assembly", "solver.finite", "solver.passes"],
    ["solver.multigrid"],
    ["solver.poisson"],
    ["solver.equations.equation"],
    ["solver.explicit"],
    [
        "solver.equations.advection_diffusion",
        "solver.equations.burgers",
        "solver.equations.kuramoto_sivashinsky",
        "solver.equations.navier_stokes",
    ],
    ["solver.equations"],
    ["solver.simulation"],
    ["solver.trial"],
    ["solver"],
    ["insitu.ending"],
    ["insitu.bridge", "insitu.collectives", "insitu.distributed", "insitu.scaling"],
    ["insitu.locality", "insitu.metrics", "insitu.parallel", "insitu.reduction"],
    ["insitu.training"],
    ["insitu.lessons"],
    ["insitu.surrogates"],
    ["insitu.models", "insitu.case_errors", "insitu.exact", "insitu.flows", "insitu.online"],
    ["insitu.fields", "insitu.logs"],
    ["insitu.audit", "insitu.refinement", "insitu.solution"],
    ["insitu.sampler"],
    ["insitu.closure", "insitu.takeover"],
    ["insitu.timing"],
    ["insitu.checkpoint"],
    ["insitu.config", "insitu.launch", "insitu.figures"],
    ["insitu.information", "insitu.online.clock", "insitu.online.run", "insitu.views"],
    ["insitu.ensembles", "insitu.field_figures", "insitu.forecasting", "insitu.schedule"],
    [
        "insitu.fields.writer",
        "insitu.report",
        "insitu.resume",
        "insitu.scalars",
        "insitu.submission",
    ],
    ["insitu.doctor", "insitu.pipeline", "insitu.convergence"],
    ["insitu.application.blocks", "insitu.application.times"],
    ["insitu.application.fields"],
    ["insitu.application.recording"],
    ["insitu.application.results"],
    ["insitu.application.coupling"],
    ["insitu.application.embedding"],
    ["insitu.application"],
    ["insitu"],
    ["insitu.cli"],
    ["insitu.__main__"],
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
LEARNING = (
    "insitu.locality.influence",
    "insitu.locality.layers",
    "insitu.metrics",
    "insitu.scaling",
    "insitu.training",
    "insitu.reduction",
    "insitu.models",
    "insitu.surrogates",
)
FILES = [
    path
    for package in ("solver", "insitu")
    for path in (ROOT / package).rglob("*.py")
    if "native" not in path.parts
]


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def rank_of(module):
    while module not in RANK:
        module = module.rpartition(".")[0]
    return RANK[module]


def imported_by(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield whole if whole in RANK else node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_module_imports_to_its_right(path):
    own = module_of(path)
    for imported in imported_by(path):
        if imported.split(".")[0] in ("solver", "insitu"):
            inside = rank_of(imported) == rank_of(own) and imported.startswith(
                own.rpartition(".")[0]
            )
            assert rank_of(imported) < rank_of(own) or inside, f"{own} imports {imported}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_the_solver_knows_no_learning_and_learning_no_solver(path):
    own = module_of(path)
    packages = {imported.split(".")[0] for imported in imported_by(path)}
    if own.split(".")[0] == "solver":
        assert not packages & {"insitu", "torch", "cupy", "sklearn"}
    if own.startswith(LEARNING):
        assert not packages & {"solver", "mpi4py", "cupy"}
