"""Each site's script is the stored one, valid bash, with what the site makes mandatory, and gives each rank its GPU."""

import contextlib
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.batch import NEEDED, Place, job, seen_by, showing

import insitu
from insitu.submission import known_sites
from insitu.submission.options import CARRIED
from solver import placement

ROOT = Path(insitu.__file__).parent.parent
STORED = Path(__file__).parent.parent / "data" / "jobs"
SITES = sorted(known_sites())
ASKED = [*NEEDED, "--nodes", "2", "--queue", "somewhere"]
MANDATORY = {
    "polaris": [
        "-A PROJ",
        "-l walltime=1:00:00",
        "-l filesystems=home:eagle",
        "-l select=2:system=polaris",
    ],
    "aurora": ["-A PROJ", "-l walltime=1:00:00", "-l filesystems=home:eagle", "-l select=2"],
    "perlmutter": [
        "--account=PROJ",
        "--time=1:00:00",
        "--constraint=gpu",
        "--qos=somewhere",
        "--gpus-per-node=4",
    ],
    "frontier": ["--account=PROJ", "--time=1:00:00", "--nodes=2"],
    "pbs": ["-l walltime=1:00:00", "-l select=2:ncpus=1:mpiprocs=1"],
    "slurm": ["--time=1:00:00", "--nodes=2"],
    "cobalt": ["-n 2", "-q somewhere", "-A PROJ", "-t 1:00:00"],
}


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script of a site, with names of folders that are the same everywhere."""
    monkeypatch.chdir(tmp_path)
    for name in CARRIED:
        monkeypatch.delenv(name, raising=False)

    def make(site, *arguments):
        text = job(*ASKED, *arguments, site=site, output="run").script()
        return text.replace(str(tmp_path), "/scratch/user").replace(str(ROOT), "/home/user/insitu")

    return make


@pytest.mark.parametrize("site", SITES)
def test_the_script_is_the_stored_one(site, script):
    assert script(site) == (STORED / f"{site}.sh").read_text()


@pytest.mark.parametrize("site", SITES)
def test_what_the_shell_says_of_launcher_and_device_reaches_the_job(site, script, monkeypatch):
    """PBS passes no variables by itself, and a successor's -v would replace a directive's."""
    assert "export INSITU_DEVICE" not in script(site)
    monkeypatch.setenv("INSITU_LAUNCHER", "mpiexec -n 2")
    monkeypatch.setenv("INSITU_DEVICE", "cpu")
    text = script(site)
    assert "\nexport INSITU_DEVICE=cpu 'INSITU_LAUNCHER=mpiexec -n 2'\n" in text
    assert text.index("INSITU_LAUNCHER=") < text.index('"${launch[@]}"')


@pytest.mark.parametrize("path", sorted(STORED.glob("*.sh")), ids=lambda path: path.stem)
def test_the_script_is_valid_bash(path):
    subprocess.run(["bash", "-n", path], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True)
    assert done.stdout == ""


@pytest.mark.parametrize("site", SITES)
def test_directives_stand_together_and_hold_what_is_mandatory(site, script):
    lines = script(site).splitlines()[1:]
    prefix = lines[0].split()[0] + " "
    directives = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
    assert lines[: len(directives)] == [prefix + directive for directive in directives]
    assert set(MANDATORY[site]) <= set(directives)
    assert not [
        line
        for line in lines
        if line.startswith(("#PBS", "#SBATCH", "#COBALT")) and prefix not in line
    ]


def test_directives_of_one_s_own_follow_the_site_s(script):
    text = script("polaris", "--directive", "-m be", "--directive", "-M me@here")
    assert "#PBS -r y\n#PBS -m be\n#PBS -M me@here\n\n" in text


def physical_gpu(monkeypatch, local, visible, order):
    """Return which of the GPUs it sees the solver takes on the rank of this number on its node."""

    @contextlib.contextmanager
    def node(comm):
        yield SimpleNamespace(rank=local)

    monkeypatch.setattr(placement, "ranks_on_node", node)
    monkeypatch.setattr(placement._occa, "device_count", lambda mode: len(visible))
    monkeypatch.setenv("INSITU_GPU_ORDER", order)
    return visible[placement.choose_gpu("CUDA", SimpleNamespace(size=2))]


GPUS = {
    "polaris": ("CUDA_VISIBLE_DEVICES", 4, "reverse", lambda local: str(3 - local % 4)),
    "perlmutter": ("CUDA_VISIBLE_DEVICES", 4, "forward", lambda local: str(local % 4)),
    "frontier": ("ROCR_VISIBLE_DEVICES", 8, "forward", lambda local: "45236701"[local]),
    "pbs": ("CUDA_VISIBLE_DEVICES", 4, "forward", lambda local: str(local % 4)),
    "slurm": ("CUDA_VISIBLE_DEVICES", 4, "forward", lambda local: str(local % 4)),
}


@pytest.mark.parametrize("ranks", range(1, 9))
@pytest.mark.parametrize("site", GPUS)
def test_each_rank_takes_its_gpu(site, ranks, tmp_path, monkeypatch):
    variable, gpus, order, expected = GPUS[site]
    place = Place(tmp_path)
    place.insitu(showing(variable))
    text = job(*ASKED, f"--ranks-per-node={ranks}", site=site, output=place.run).script()
    code, out = place.job(text)
    assert code == 0, out
    seen = [own.split(",") if own else [str(n) for n in range(gpus)] for own in seen_by(out)]
    taken = [physical_gpu(monkeypatch, local, own, order) for local, own in enumerate(seen)]
    assert taken == [expected(local) for local in range(ranks)]
    assert all(len(own) == (1 if site in ("polaris", "frontier") else gpus) for own in seen)


@pytest.mark.parametrize("ranks", [*range(1, 9), 12])
@pytest.mark.parametrize(
    ("numbering", "tile"),
    [("COMPOSITE", lambda local: f"{local // 2}.{local % 2}"), ("FLAT", str)],
)
def test_each_rank_takes_its_tile_on_aurora(ranks, numbering, tile, tmp_path):
    place = Place(tmp_path)
    place.insitu(showing("ZE_AFFINITY_MASK"))
    text = job(*ASKED, f"--ranks-per-node={ranks}", site="aurora", output=place.run).script()
    code, out = place.job(text, ZE_FLAT_DEVICE_HIERARCHY=numbering)
    assert code == 0, out
    assert seen_by(out) == [tile(local) for local in range(ranks)]
    near = (tmp_path / "launched").read_text().split("list:")[1].split()[0]
    assert len(near.split(":")) == ranks


def test_a_site_sees_the_gpus_of_the_order_that_set_env_gives_it():
    text = (ROOT / "set_env.sh").read_text()
    orders = {
        site: subprocess.run(
            [
                "bash",
                "-c",
                f"{text[text.index('_insitu_modules()') : text.index('_insitu_install()')]}\n"
                f'module() {{ :; }}; conda() {{ :; }}; _insitu_modules {site}; echo "${{INSITU_GPU_ORDER:-forward}}"',
            ],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": "/usr/bin:/bin"},
        ).stdout.strip()
        for site in ("polaris", "perlmutter", "frontier", "generic")
    }
    known = {name: order for name, (_, _, order, _) in GPUS.items()}
    assert orders == {name: known.get(name, "forward") for name in orders}
