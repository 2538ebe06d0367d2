"""Each way in that is known of other judges has its test, under every runtime of boxes."""

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
BOX, GRADING = "integration/box", "integration/grading"
ATTACKS = f"{BOX}/test_known_attacks.py::test_an_attack_gets_nothing_and_ends"
BARRIERS = f"{BOX}/test_rows.py::test_with_the_barrier_it_does_not"
SIGNALS = f"{BOX}/test_runs.py::test_signals_to_others_reach_nobody_outside"
COMPILING = f"{GRADING}/test_judge.py::test_code_that_runs_while_it_is_compiled"
VERDICTS = f"{GRADING}/test_judge.py::test_verdicts"
FORGING = f"{GRADING}/test_image.py::test_with_it_it_does_not"
SUBMITTED = "unit/usher/grading/test_submitted.py"
WAYS_IN = {
    "code that runs while compiling and reads the tests": [(COMPILING, "1.ans")],
    "code that runs while compiling and reads a device": [(COMPILING, "/dev/zero")],
    "a daemon that survives a compile error": [(COMPILING, "os.setsid()")],
    "fork bomb": [
        (f"{BOX}/test_runs.py::test_a_fork_bomb_ends_and_the_next_run_is_unaffected", ""),
        (BARRIERS, "processes"),
    ],
    "fork and setsid, double fork": [
        (ATTACKS, "double fork with setsid that spins"),
        (f"{BOX}/test_rows.py::test_nothing_outlives_the_run", ""),
    ],
    "SIGSTOP or SIGKILL to parent or judge": [(SIGNALS, ""), (ATTACKS, "stops everything")],
    "a stopped process": [(f"{BOX}/test_runs.py::test_a_stopped_program_ends", "")],
    "fill stdout": [(VERDICTS, "while True: print('x' * 1000)"), (BARRIERS, "output_bytes")],
    "fill stderr": [(ATTACKS, "stderr without end")],
    "fill disk": [(BARRIERS, "scratch_mib"), (ATTACKS, "a sparse file of a terabyte")],
    "fill inodes": [(BARRIERS, "scratch_inodes")],
    "fill shared memory": [(ATTACKS, "fills shared memory with files of no size")],
    "fill memory files": [(ATTACKS, "memory files")],
    "use up what the kernel counts for the user": [
        (f"{BOX}/test_runs.py::test_a_run_uses_up_nothing_that_is_counted_for_its_user", "")
    ],
    "a tree of folders without end": [(ATTACKS, "folders without end")],
    "sleep for ever": [(VERDICTS, "time.sleep(60)"), (BARRIERS, "wall_seconds")],
    "spin": [(ATTACKS, "ignores all signals and spins"), (BARRIERS, "cpu_seconds")],
    "pause": [(ATTACKS, '"pause"')],
    "allocate memory in children": [(ATTACKS, "allocation in children")],
    "read tests": [(VERDICTS, "open('1.ans').read()")],
    "read /proc of others": [(ATTACKS, "/proc/1/environ"), (BARRIERS, "own_processes")],
    "read the environment": [(f"{BOX}/test_rows.py::test_the_environment", "")],
    "secrets of the judge, seen by an author's programs": [
        (f"{GRADING}/test_what_programs_find.py::test_a_submission_and_a_checker", "environ"),
        (f"{GRADING}/test_what_programs_find.py::test_a_submission_and_an_interactor", ""),
    ],
    "a hidden case, left for a later run": [
        (
            f"{GRADING}/test_what_programs_find.py::"
            "test_a_case_finds_nothing_that_an_earlier_one_left",
            "",
        )
    ],
    "metadata service": [
        (ATTACKS, "metadata and neighbours"),
        (f"{BOX}/test_rows.py::test_the_network", ""),
    ],
    "engine socket": [(ATTACKS, "/var/run/docker.sock")],
    "write to control groups": [(ATTACKS, "/sys/fs/cgroup/cgroup.procs")],
    "write to /proc/sys": [(ATTACKS, "/proc/sys/kernel/core_pattern")],
    "write to the compiler or the runtime": [
        (ATTACKS, "/usr/bin/python3"),
        (BARRIERS, "read_only_root"),
    ],
    "write to the next submission's folder": [
        (f"{GRADING}/test_judge.py::test_the_next_submission_finds_nothing_of_the_last", "")
    ],
    "print the judge's own words or JSON": [
        (VERDICTS, "timelimit exceeded"),
        (f"{BOX}/test_runs.py::test_our_own_words_change_nothing", ""),
    ],
    "objects that equal everything, subclasses of float": [(FORGING, "class Any(float)")],
    "result guessed or written by the learner": [
        (VERDICTS, "fractionalScore"),
        (FORGING, "feedback.json"),
    ],
    "archives: ../, absolute, links, devices": [
        (f"{SUBMITTED}::test_tars_that_are_refused", "../up"),
        (f"{SUBMITTED}::test_links_and_devices_in_a_zip", ""),
    ],
    "archives: lying sizes": [
        (f"{SUBMITTED}::test_a_zip_that_lies_about_its_sizes_is_counted", "")
    ],
    "archives: bombs": [(f"{SUBMITTED}::test_a_bomb_in_gzip_is_never_unpacked_whole", "")],
    "names with newlines, NUL, right-to-left marks, 255 bytes": [
        (f"{SUBMITTED}::test_names_that_are_refused", "turn\\u202egnp.exe"),
        (ATTACKS, "names that mislead"),
    ],
    "time out exactly at the limit": [
        (f"{BOX}/test_exact_limits.py::test_processor_time_of_children_is_the_programs", "")
    ],
    "memory exactly at the limit": [
        (f"{BOX}/test_exact_limits.py::test_files_in_memory_count_as_memory", ""),
        (f"{BOX}/test_known_attacks.py::test_the_memory_limit_is_the_programs_to_use", ""),
    ],
    "setuid binaries": [(ATTACKS, "a setuid program"), (BARRIERS, "no_new_privileges")],
    "ptrace": [(ATTACKS, '"ptrace"')],
    "io_uring, keyctl": [(BARRIERS, "io_uring_setup"), (BARRIERS, "keyctl")],
    "userfaultfd": [(ATTACKS, '"userfaultfd"')],
    "unshare, mount, chroot": [
        (ATTACKS, '"unshare"'),
        (ATTACKS, '"mount"'),
        (ATTACKS, '"chroot"'),
    ],
}
"""A way in → tests of it, with a text that the program or name in the test's file has."""
RUNTIMES = {"place", "marks", "double"}
"""Fixtures with a parameter for Docker and one for bubblewrap."""
BEFORE_ANY_BOX = (SUBMITTED,)
DOCKER_ALONE = (FORGING,)
"""Graders of the kind image have no other runtime."""


@cache
def source_of(file: str) -> tuple[str, dict[str, set[str]]]:
    """The text of a file, and the parameters of its functions."""
    text = (TESTS / file).read_text("utf-8")
    functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))
    return text, {each.name: {arg.arg for arg in each.args.args} for each in functions}


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_it_has_a_test_in_each_runtime(way_in):
    for test, words in WAYS_IN[way_in]:
        file, _, name = test.partition("::")
        text, functions = source_of(file)
        assert name in functions, test
        assert words in text, (test, words)
        if not test.startswith((*BEFORE_ANY_BOX, *DOCKER_ALONE)):
            assert functions[name] & RUNTIMES, f"{test} is for one runtime alone"


@pytest.mark.parametrize("folder", [BOX, GRADING])
def test_the_fixtures_are_for_both_runtimes(folder):
    text, functions = source_of(f"{BOX}/conftest.py")
    assert "place" in functions
    assert 'needs_docker.parameter("docker"), needs_bubblewrap.parameter("bubblewrap")' in text
    if folder == GRADING:
        assert "place = place_of_box" in source_of(f"{GRADING}/conftest.py")[0]
        assert "place" in source_of(f"{GRADING}/conftest.py")[1]["marks"]
        assert "marks" in source_of(f"{GRADING}/test_judge.py")[1]["double"]
