"""Coverage-guided search for input that makes a parser fail: `python -m tests.fuzz --help`.

Each target runs in a process of its own, under atheris. New input that reaches new code goes to
build/fuzz/NAME; with --keep the smallest set that reaches all of it joins tests/fuzz/corpus/NAME.
Input that fails is written to build/fuzz: put it into the corpus together with the fix.
"""

import argparse
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).with_name("corpus")
MAX_BYTES = 1024
INPUT_SECONDS = 20
"""A single input that takes more seconds is a finding."""

HANG_SECONDS = 7200
"""Against a search that never ends."""


def search(name: str, options: argparse.Namespace) -> int:
    """Search one target; the exit code is not 0 where something was found."""
    print(f"fuzz: {name}", flush=True)
    found = ROOT / "build" / "fuzz" / name
    found.mkdir(parents=True, exist_ok=True)
    flags = [f"-max_len={MAX_BYTES}", f"-timeout={INPUT_SECONDS}", "-rss_limit_mb=2048"]
    flags += [f"-max_total_time={options.seconds}", f"-artifact_prefix={found.parent}/{name}-"]
    if options.runs:
        flags += [f"-runs={options.runs}", f"-seed={options.seed}"]
    folders = [str(found), str(options.corpus / name)]
    done = _inside(name, [*flags, "-verbosity=0", *folders])
    if done == 0 and options.keep:
        return _inside(name, ["-merge=1", "-verbosity=0", *reversed(folders)])
    return done


def _inside(name: str, flags: list[str]) -> int:
    command = [sys.executable, "-m", "tests.fuzz", "--inside", name, *flags]
    return subprocess.run(command, cwd=ROOT, check=False, timeout=HANG_SECONDS).returncode


def run_inside(name: str, flags: list[str]) -> None:
    """Run atheris in this process, which it ends. Only the product's code is instrumented."""
    import atheris

    with atheris.instrument_imports(include=["chalicelib", "session_handler"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([str(_program(name)), *flags], TARGETS[name])
    atheris.Fuzz()


def _program(name: str) -> Path:
    """A file that runs this target: libFuzzer starts itself again for each part of a merge."""
    file = ROOT / "build" / "fuzz" / f"{name}.sh"
    file.parent.mkdir(parents=True, exist_ok=True)
    command = shlex.join([sys.executable, "-m", "tests.fuzz", "--inside", name])
    file.write_text(f'#!/bin/sh\ncd {shlex.quote(str(ROOT))} && exec {command} "$@"\n', "utf-8")
    file.chmod(0o755)
    return file


def main() -> int:
    """Search all targets, or those that are named."""
    if sys.argv[1:2] == ["--inside"]:
        run_inside(sys.argv[2], sys.argv[3:])
        return 0
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--runs", type=int, default=0, help="end after so many inputs, too")
    parser.add_argument("--seed", type=int, default=1, help="of a search with --runs")
    parser.add_argument("--keep", action="store_true", help="add what reached new code")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="another folder of corpora")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="searches at once")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    options = parser.parse_args()
    names = list(options.targets or TARGETS)
    with ThreadPoolExecutor(options.jobs) as searches:  # each waits for a process of its own
        codes = list(searches.map(lambda name: search(name, options), names))
    failed = [name for name, code in zip(names, codes, strict=True) if code]
    print("fuzz: found something in " + ", ".join(failed) if failed else "fuzz: found nothing")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
