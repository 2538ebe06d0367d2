import os
import subprocess
import sys

import pytest

from local.leftovers import RunFolder, live_runs, remove_dead_runs

HOLD = """
import sys
from pathlib import Path
from local.leftovers import RunFolder
run = RunFolder.create(Path(sys.argv[1]))
run.tell(aws="http://127.0.0.1:1")
print(run.run_id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_run(tmp_path):
    """Another process that holds a run below `tmp_path / "runs"`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "runs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.run_id = process.stdout.readline().strip()
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def kill(process):
    process.kill()
    process.wait()


def test_a_folder_is_private_and_goes_away_with_the_last_run(tmp_path):
    base = tmp_path / "runs"
    first, second = RunFolder.create(base), RunFolder.create(base)
    assert first.run_id != second.run_id
    assert base.stat().st_mode & 0o777 == 0o700
    assert first.path.stat().st_mode & 0o777 == 0o700
    first.remove()
    assert second.path.is_dir()
    second.remove()
    assert not base.exists()


def test_a_folder_goes_away_although_a_process_that_ends_still_writes_into_it(
    tmp_path, monkeypatch
):
    base = tmp_path / "runs"
    run = RunFolder.create(base)
    late = ["first.log", "second.log"]
    rmdir = os.rmdir

    def rmdir_after_a_write(path, **where):
        if late and str(path) == "logs":
            (run.logs / late.pop()).write_text("a line")
        rmdir(path, **where)

    monkeypatch.setattr(os, "rmdir", rmdir_after_a_write)
    run.remove()
    assert not late
    assert not base.exists()


def test_a_folder_that_cannot_go_is_named(tmp_path, monkeypatch, caplog):
    run = RunFolder.create(tmp_path / "runs")
    monkeypatch.setattr("local.leftovers._REMOVALS", 2)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", refuse)
        run.remove()
    assert f"{run.path} stays, the next start removes it" in caplog.text


def test_live_runs_tell_of_themselves_the_youngest_first(tmp_path, other_run):
    mine = RunFolder.create(tmp_path / "runs")
    mine.tell(aws="http://127.0.0.1:2")
    assert [run["aws"][-1] for run in live_runs(tmp_path / "runs")] == ["2", "1"]
    mine.remove()


def test_a_live_run_is_left_alone(tmp_path, other_run):
    removed = []
    lines = remove_dead_runs(tmp_path / "runs", {"things": lambda run: removed.append(run) or 1})
    assert lines is None
    assert removed == []
    assert (tmp_path / "runs" / other_run.run_id).is_dir()


def test_what_a_killed_run_left_is_removed_and_told(tmp_path, other_run):
    kill(other_run)
    removed = []

    def remove(run):
        removed.append((run["run"], run["aws"]))
        return 3

    lines = remove_dead_runs(tmp_path / "runs", {"processes": remove})
    assert lines == "removed what 1 dead run left behind: 3 processes"
    assert removed == [(other_run.run_id, "http://127.0.0.1:1")]
    assert not (tmp_path / "runs" / other_run.run_id).exists()
    assert live_runs(tmp_path / "runs") == []


def test_a_removal_that_fails_leaves_the_run_to_the_next_start(tmp_path, other_run):
    kill(other_run)

    def fail(_):
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError):
        remove_dead_runs(tmp_path / "runs", {"things": fail})
    assert (tmp_path / "runs" / other_run.run_id).is_dir()
    assert remove_dead_runs(tmp_path / "runs", {}) is not None


def test_a_run_of_which_something_cannot_be_removed_now_is_remembered(tmp_path, other_run):
    kill(other_run)
    removers = {"processes": lambda _: 2, "sets of containers": lambda _: None}
    lines = remove_dead_runs(tmp_path / "runs", removers)
    assert lines == "1 dead run left something that cannot be removed now; later"
    assert (tmp_path / "runs" / other_run.run_id).is_dir()
    lines = remove_dead_runs(tmp_path / "runs", {"sets of containers": lambda _: 1})
    assert lines == "removed what 1 dead run left behind: 1 sets of containers"
    assert not (tmp_path / "runs" / other_run.run_id).exists()


def test_where_nobody_ever_ran_there_is_nothing(tmp_path):
    assert live_runs(tmp_path / "runs") == []
    assert remove_dead_runs(tmp_path / "runs", {}) is None
    assert not (tmp_path / "runs").exists()
