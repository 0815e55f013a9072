"""insitu submit renders and submits, and says in one sentence what is missing or cannot be."""

import socket
import subprocess
from pathlib import Path

import pytest
from helpers.batch import CASE, NEEDED, SCHEDULER, job, write_command

from insitu import cli
from insitu.submission import find_site, known_sites

ROOT = Path(__file__).parent.parent.parent
HOSTS = ("INSITU_SITE", "NERSC_HOST", "LMOD_SYSTEM_NAME", "PBS_O_HOST")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """A host that is no known site, in an empty folder."""
    for variable in HOSTS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def scheduler(monkeypatch, tmp_path):
    """Commands that note what they are asked for."""
    for name in ("qsub", "sbatch", "salloc"):
        write_command(tmp_path / "bin", name, SCHEDULER)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("NOTES", str(tmp_path))
    return lambda: (tmp_path / "asked").read_text().splitlines()


def submit(*arguments):
    return cli.main(["submit", str(CASE), *arguments])


def test_it_submits_and_prints_the_job(scheduler, capsys, tmp_path):
    assert (
        submit(
            "--site=polaris", "--nodes=2", *NEEDED, "--", "--time.until=2", "--grid.points", "[64]"
        )
        == 0
    )
    folder = tmp_path / "out" / "burgers"
    assert capsys.readouterr().out == "42.server\n"
    assert scheduler() == [f"qsub {folder / 'job.sh'}"]
    assert "flags=(--time.until=2 --grid.points '[64]')\n" in (folder / "job.sh").read_text()


def test_a_dry_run_leaves_nothing_behind(capsys, tmp_path):
    assert submit("--site=slurm", "--time=0:10:00", "--dry-run") == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("#!/bin/bash -l\n#SBATCH")
    assert shown.err.startswith("not submitted: sbatch --parsable ")
    assert list(tmp_path.iterdir()) == []


def test_an_array_has_a_line_of_flags_for_each_member(scheduler, tmp_path):
    (tmp_path / "members.yaml").write_text(
        "- {initial: sin}\n- {initial: gaussian, time.steps: 7}\n"
    )
    sweep = "--array=equation.nu=[0.01, 0.02]"
    assert (
        submit("--site=slurm", "--time=0:10:00", "--output=a", sweep, "--array=members.yaml") == 0
    )
    assert scheduler() == [f"sbatch --parsable --array=0-3 {tmp_path / 'a' / 'job.sh'}"]
    assert (tmp_path / "a" / "members").read_text().splitlines() == [
        "--equation.nu=0.01 --initial=sin",
        "--equation.nu=0.01 --initial=gaussian --time.steps=7",
        "--equation.nu=0.02 --initial=sin",
        "--equation.nu=0.02 --initial=gaussian --time.steps=7",
    ]
    assert job(*NEEDED, sweep, site="pbs", output="b").command()[:3] == ["qsub", "-J", "0-1"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--time=1:00:00"], "--site is needed where no known site is recognised; give one of"),
        (["--site=elsewhere", *NEEDED], "--site must be one of"),
        (["--site=slurm"], "site slurm needs --time (the walltime, as 1:00:00), got none; add it"),
        (
            ["--site=polaris", "--time=1:00:00", "--account=A"],
            "site polaris needs --filesystems (those",
        ),
        (
            ["--site=aurora", *NEEDED[:2]],
            "--account (the project that pays) and --filesystems (those",
        ),
        (
            ["--site=frontier", *NEEDED[:2]],
            "site frontier needs --account (the project that pays), got",
        ),
        (["--site=slurm", "--time=60"], "--time must be a walltime as 1:00:00, got 60"),
        (["--site=slurm", "--time=0:00:00"], "--time must be a walltime as 1:00:00, got 0:00:00"),
        (
            ["--site=slurm", "--time=0:01:00", "--margin=60"],
            "--margin must be from 0 to 59 s, got 60",
        ),
        (["--site=slurm", "--time=0:01:00", "--nodes=0"], "--nodes must be 1 or more, got 0"),
        (
            ["--site=slurm", "--time=0:01:00", "--resubmissions=-1"],
            "--resubmissions must be 0 or more",
        ),
        (["--site=slurm", "--time=0:01:00", "--queue=a b"], "--queue must be one word, got 'a b'"),
        (["--site=slurm", "--time=0:01:00", "--directive=a\nb"], "--directive must be one line"),
        (
            ["--site=frontier", *NEEDED, "--ranks-per-node=9"],
            "a node of frontier takes 8 ranks or fewer",
        ),
        (
            ["--site=slurm", *NEEDED, "--array=equation.nu=[0.01]"],
            "--array needs two members or more",
        ),
        (["--site=slurm", *NEEDED, "--array=equation.nu=1"], "--array must give a list of values"),
        (
            ["--site=slurm", *NEEDED, "--array=none.yaml"],
            "--array must be KEY=[VALUE, ...] or a YAML file",
        ),
        (["--site=slurm", *NEEDED, "--array=equation.nu=[1, -1]"], "nu must be a positive number"),
        (["--site=slurm", *NEEDED, "--", "--nonsense=1"], "nonsense"),
        (["--site=slurm", *NEEDED, "--nonsense=1"], "nonsense"),
        (["--site=slurm", *NEEDED], "which is not found here; submit on its login node"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments, sentence, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert submit(*arguments) in (1, 2)
    message = capsys.readouterr().err.strip()
    assert sentence in message
    assert message.startswith("insitu: error: ") and "\n" not in message


def test_a_refusal_of_the_scheduler_is_passed_on(scheduler, capsys, tmp_path):
    write_command(
        tmp_path / "bin",
        "sbatch",
        "#!/bin/bash\necho 'sbatch: error: no such partition' >&2; exit 1\n",
    )
    assert submit("--site=slurm", *NEEDED) == 2
    assert "sbatch says: sbatch: error: no such partition" in capsys.readouterr().err


def test_a_queue_without_chains_gets_none(capsys):
    assert "most=0" in job(*NEEDED, "--queue=debug", site="polaris", output="a").script()
    assert "debug of polaris allows no job to submit the next" in capsys.readouterr().err
    assert "most=0" in job(*NEEDED, "--directive=--qos=debug", site="frontier", output="a").script()
    assert "most=10" in job(*NEEDED, "--queue=prod", site="polaris", output="a").script()


def test_a_session_asks_for_the_nodes_of_the_script(scheduler, capsys):
    assert submit("--site=polaris", "--queue=debug", *NEEDED, "--interactive", "--dry-run") == 0
    asked = "-A PROJ -q debug -l select=1:system=polaris -l place=scatter -l walltime=1:00:00 -l filesystems=home:eagle"
    assert capsys.readouterr().out == f"qsub -I {asked}\n"
    assert submit("--site=frontier", *NEEDED, "--interactive", "--dry-run") == 0
    assert capsys.readouterr().out == "salloc --account=PROJ --nodes=1 --time=1:00:00\n"


def test_a_site_of_one_s_own_is_one_file(tmp_path, capsys):
    text = (ROOT / "jobs" / "sites" / "slurm.sh").read_text()
    mine = tmp_path / "mine.sh"
    mine.write_text(text.replace("#% needs = []", '#% needs = ["queue"]').replace("srun", "ibrun"))
    made = job("--time=1:00:00", "--queue=normal", site=mine, output="a").script()
    assert "INSITU_LAUNCHER:-ibrun --ntasks=1" in made
    assert submit(f"--site={mine}", "--time=1:00:00") == 2
    assert "site mine needs --queue (where it waits), got none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("#% needs = [", "must be TOML"),
        ("#% need = []", "got need; correct it"),
        ('#% scheduler = "lsf"', "with one of pbs, slurm, cobalt, got 'lsf'"),
        ('#% ranks_per_node = "4"', "ranks_per_node of"),
        ('#% needs = ["money"]', "must be among account, queue, filesystems, got money"),
        ("{{nothing.sh}}", "asks for the part nothing.sh"),
        ("{{nothing}}", "asks for the value nothing"),
    ],
)
def test_a_mistake_in_a_site_s_file_is_one_sentence(line, sentence, tmp_path, capsys):
    start = "" if "scheduler" in line else '#% scheduler = "slurm"\n'
    (tmp_path / "mine.sh").write_text(f"{start}{line}\n")
    assert submit("--site=mine.sh", "--time=1:00:00", "--dry-run") == 2
    message = capsys.readouterr().err
    assert sentence in message and message.count("\n") == 1


SHELL = (ROOT / "set_env.sh").read_text()
FUNCTION = SHELL[SHELL.index("_insitu_site()") : SHELL.index("_insitu_modules()")]


@pytest.mark.parametrize(
    "variables",
    [
        {"NERSC_HOST": "perlmutter"},
        {"LMOD_SYSTEM_NAME": "frontier"},
        {"PBS_O_HOST": "polaris-login-02.hsn.cm.polaris.alcf.anl.gov"},
        {"PBS_O_HOST": "aurora-uan-0010"},
        {"INSITU_SITE": "polaris", "PBS_O_HOST": "aurora-uan-0010"},
    ],
)
def test_the_site_is_the_one_that_set_env_recognises(variables, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    told = subprocess.run(
        ["bash", "-c", f"{FUNCTION}\n_insitu_site"], capture_output=True, text=True, check=True
    )
    assert find_site(None).name == told.stdout.strip()
    assert find_site(None) == known_sites()[find_site(None).name]


@pytest.mark.parametrize("flag", ["--output", "--resume", "--time-limit"])
def test_what_the_script_says_itself_is_refused_after_the_dashes(scheduler, capsys, flag):
    assert submit("--site", "slurm", "--time", "1:00:00", "--", f"{flag}=never") == 2
    assert f"{flag} is the script's to say in a job" in capsys.readouterr().err
