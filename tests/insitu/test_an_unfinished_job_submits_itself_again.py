"""A job goes on in further jobs while its run is unfinished and gets on, and at most so many times."""

import signal
import time

import pytest
from helpers.batch import NEEDED, Place, job, state_text

ASKED = [*NEEDED, "--resubmissions", "3"]


def reach(step, indent=1, **values):
    """Return bash text that leaves a checkpoint and a state file behind."""
    saved = f'mkdir -p "$output/checkpoints/step-{step}"'
    return f"{saved}; cat > \"$output/state.json\" <<< '{state_text(indent, step=step, **values)}'"


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def script(place, site="pbs", *arguments):
    return job(*ASKED, *arguments, site=site, output=place.run).script()


@pytest.mark.parametrize("text", [reach(20), reach(20, indent=None)])
def test_pbs_gets_a_successor_that_waits_for_the_end(text, place):
    place.insitu(text)
    code, out = place.job(script(place), INSITU_RESUBMISSION="1")
    assert code == 0, out
    (asked,) = place.asked()
    wait = ["qsub", "-W", "depend=afterany:41.server"]
    assert asked == [*wait, "-v", "INSITU_RESUBMISSION=2", str(place.run / "job.sh")]
    assert "submits itself again\n42.server\n" in out


def test_slurm_requeues_the_job(place):
    place.insitu(reach(20))
    code, out = place.job(script(place, "slurm"), SLURM_RESTART_COUNT="2")
    assert code == 0, out
    assert place.asked() == [["scontrol", "requeue", "41"]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (reach(20, status="finished"), ""),
        (reach(20, status="failed") + "\nexit 3", ""),
        ("exit 3", ""),
        (reach(10), "no new checkpoint, before there was step-10"),
        (reach(20, reason="STOP file"), "stopped by the file STOP"),
        (reach(20) + '\ntouch "$output/STOP"', "stopped by the file STOP"),
    ],
)
def test_it_does_not_go_on(text, said, place):
    (place.run / "checkpoints" / "step-10").mkdir(parents=True)
    (place.run / "state.json").write_text(state_text(step=10, checkpoint="step-10"))
    place.insitu(text)
    code, out = place.job(script(place))
    assert place.asked() == []
    assert said in out
    assert code == (3 if "exit 3" in text else 0)


@pytest.mark.parametrize(
    "site, count", [("pbs", "INSITU_RESUBMISSION"), ("slurm", "SLURM_RESTART_COUNT")]
)
def test_the_last_job_asked_for_does_not_go_on(site, count, place):
    place.insitu(reach(20))
    code, out = place.job(script(place, site), **{count: "3"})
    assert place.asked() == []
    assert "3 resubmissions are all that were asked for" in out


def test_a_job_whose_forerunner_was_killed_without_progress_stops(place):
    place.insitu("exit 1")
    assert place.job(script(place))[0] == 1
    place.insitu('touch "$output/ran"')
    code, out = place.job(script(place), INSITU_RESUBMISSION="1")
    assert (code, place.asked()) == (1, [])
    assert "the job before left no new checkpoint" in out
    assert not (place.run / "ran").exists()


def test_a_new_checkpoint_is_progress_even_where_the_state_file_is_old(place):
    place.insitu('mkdir -p "$output/checkpoints/step-7"; exit 1')
    place.job(script(place))
    place.insitu(reach(20))
    code, out = place.job(script(place), INSITU_RESUBMISSION="1")
    assert len(place.asked()) == 1, out
    assert len((place.run / "jobs.log").read_text().splitlines()) == 2


def test_a_successor_of_a_finished_run_ends_at_once(place):
    place.run.mkdir()
    (place.run / "state.json").write_text(state_text(status="finished"))
    place.insitu('touch "$output/ran"')
    code, out = place.job(script(place), INSITU_RESUBMISSION="1")
    assert (code, place.asked()) == (0, [])
    assert not (place.run / "ran").exists()


def signalled(place, text, seconds):
    """Run a job that hangs, with SIGTERM some seconds after it began; return what it said, and what was asked for meanwhile."""
    place.insitu(
        """trap '' TERM; touch "$output/runs"; until [ -e "$output/go" ]; do sleep 0.05; done"""
    )
    began, process = time.monotonic(), place.start(text)
    while not (place.run / "runs").exists():
        time.sleep(0.02)
    time.sleep(max(0, seconds - time.monotonic() + began))
    process.send_signal(signal.SIGTERM)
    time.sleep(1)
    asked = place.asked()
    (place.run / "go").touch()
    return process.communicate(timeout=30)[0], asked


def test_the_end_of_the_walltime_submits_before_the_run_has_ended(place):
    text = script(place, "pbs", "--time", "0:00:02", "--margin", "1")
    out, asked = signalled(place, text, 1.5)
    assert len(asked) == len(place.asked()) == 1, out


def test_qdel_does_not(place):
    out, asked = signalled(place, script(place), 0)
    assert asked == place.asked() == []
    assert "told to end before its time" in out


@pytest.mark.parametrize("site", ["pbs", "slurm"])
def test_the_run_is_told_when_it_has_to_stop(site, place):
    place.insitu('echo "told $INSITU_JOB_END_TIME"')
    began = time.time()
    _, out = place.job(script(place, site))
    told = int(out.split("told ")[1].split()[0])
    assert began + 3299 - 2 <= told <= time.time() + 3300


def test_a_signal_that_comes_before_the_run_can_take_it_is_ignored(place):
    place.insitu("kill -USR1 $$; echo alive")
    _, out = place.job(script(place, "slurm"))
    assert "alive" in out


@pytest.mark.parametrize("variable", ["INSITU_MEMBER", "PBS_ARRAY_INDEX", "SLURM_ARRAY_TASK_ID"])
def test_a_member_has_its_flags_and_its_directory(variable, place):
    made = job(
        *ASKED,
        "--array=equation.nu=[0.01, 0.02]",
        "--array=initial=[sin, 'a b']",
        site="pbs",
        output=place.run,
    )
    made.write()
    place.insitu(f'{reach(20)}\nprintf "%s\\n" "$all"')
    code, out = place.job(made.script(), **{variable: "3"})
    assert code == 0, out
    assert " --equation.nu=0.02 --initial=a b\n" in out
    assert (place.run / "member-003" / "state.json").exists()
    (asked,) = place.asked()
    assert asked[1] == "-a" and asked[3:5] == ["-v", "INSITU_RESUBMISSION=1,INSITU_MEMBER=3"]
