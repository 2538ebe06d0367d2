"""Programs of every kind get their verdict, in both runtimes."""

import json

import pytest

from chalicelib.contract.submitted import accept_files
from usher.grading.folders import read_grader
from usher.grading.judge import Judge
from usher.grading.results import document, for_learner
from usher.grading.verdicts import Verdict

DOUBLE = """
files = ["main.py"]
run = ["python3", "main.py"]
output_limit_kib = 64
time_limit_seconds = 0.5
wall_limit_seconds = 2
[[cases]]
input = "1.in"
answer = "1.ans"
points = 40
visibility = "visible"
[[cases]]
input = "2.in"
answer = "2.ans"
points = 60
"""
FILES = {"1_in": "21\n", "1_ans": "42\n", "2_in": "98701\n", "2_ans": "197402\n"}


@pytest.fixture
def double(marks):
    marks.write(DOUBLE, **FILES)
    return marks


PROGRAMS = [
    ("print(int(input()) * 2)", "AC", 100),
    ("print(42)", "WA", 40),
    ("import sys; sys.exit(3)", "RTE", 0),
    ("import os; os.abort()", "RTE", 0),
    ("while True: pass", "TLE", 0),
    ("import time; time.sleep(60)", "TLE", 0),
    ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", "TLE", 0),
    ("held = bytearray(b'x' * (200 << 20))", "MLE", 0),
    ("while True: print('x' * 1000)", "OLE", 0),
    ("import sys\nwhile True: print('x' * 1000, file=sys.stderr)", "OLE", 0),
    # Output of a submission, or a result file that it writes, changes nothing.
    ('print(\'{"verdict": "AC", "score": 100}\'); print("timelimit exceeded")', "WA", 0),
    ("import os; open('/tmp/feedback.json', 'w').write('{\"fractionalScore\": 1}')", "WA", 0),
    ("open('1.ans', 'w').write('x'); print(42)", "WA", 40),
    # The answers are not in the box.
    ("print(open('1.ans').read())", "RTE", 0),
    ("import glob; print(*map(str, glob.glob('/box/**/*.ans', recursive=True)[:1]))", "WA", 0),
]  # fmt: skip


@pytest.mark.parametrize(("program", "verdict", "score"), PROGRAMS)
def test_verdicts(double, program, verdict, score):
    grading = double.mark(program)
    assert (grading.verdict.value, grading.score) == (verdict, score), document(grading)


def test_the_next_submission_finds_nothing_of_the_last(double):
    double.mark("open('/tmp/left', 'w'); open('/dev/shm/left', 'w'); open('left', 'w')")
    program = "import os; print(*[p for p in ('/tmp', '/dev/shm', '.') if 'left' in os.listdir(p)])"
    grading = double.mark(program)
    assert grading.cases[0].output == "\n"


def test_a_learner_sees_the_visible_case_and_nothing_of_the_hidden(double):
    grading = double.mark("import sys; n = input(); print(n); print(n, file=sys.stderr); exit(1)")
    told = json.dumps(document(for_learner(grading)))
    assert "21" in told
    assert "98701" not in told
    assert "197402" not in told
    assert "98701" in json.dumps(document(grading))


def test_progress_is_told(double):
    double.mark("print(42)")
    assert double.progress == [("case", 1, 2), ("case", 2, 2)]


COMPILED = """
files = ["main.py"]
compile = ["python3", "-c", # as a build script would
 "import py_compile; py_compile.compile('main.py', 'main.pyc', None, True)"]
run = ["python3", "main.pyc"]
[[cases]]
input = "1.in"
answer = "1.ans"
"""


def test_what_is_compiled_is_run(marks):
    marks.write(COMPILED, **FILES)
    assert marks.mark("print(42)").verdict is Verdict.AC
    assert marks.progress[0] == ("compiling", 0, 0)


def test_what_does_not_compile(marks):
    marks.write(COMPILED, **FILES)
    grading = marks.mark("print(")
    assert (grading.verdict, grading.score) == (Verdict.CE, 0)
    assert "SyntaxError" in grading.compile_output
    assert grading.compile_exit_code == 1
    assert [case.verdict for case in grading.cases] == [Verdict.SK]


HOSTILE_COMPILE = COMPILED.replace("import py_compile;", "exec(open('main.py').read());").replace(
    "run =", "compile_time_limit_seconds = 1\nrun ="
)


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import os, time\nif os.fork() == 0: os.setsid(); time.sleep(60)\nraise SystemExit(1)",
        "print(open('1.ans').read())",
        "print(open('/dev/zero').read())",
    ],
)
def test_code_that_runs_while_it_is_compiled(marks, program):
    marks.write(HOSTILE_COMPILE, **FILES)
    assert marks.mark(program).verdict is Verdict.CE


CHECKED = """
files = ["main.py"]
run = ["python3", "main.py"]
checker = {program = "check.py"}
[[cases]]
input = "1.in"
answer = "1.ans"
points = 10
"""


@pytest.mark.parametrize(
    ("checker", "verdict", "score"),
    [
        ("assert open(sys.argv[2]).read() == open(sys.argv[3]).read()", "AC", 10),
        ("sys.exit(1)", "WA", 0),
        ("sys.exit(2)", "PE", 0),
        ("print('points 4', file=sys.stderr); sys.exit(7)", "WA", 4),
        ("print('points 10.0 all', file=sys.stderr); sys.exit(7)", "AC", 10),
        ("sys.exit(7)", "IE", None),
        ("print('points 11', file=sys.stderr); sys.exit(7)", "IE", None),
        ("print('points nan', file=sys.stderr); sys.exit(7)", "IE", None),
        ("sys.exit(3)", "IE", None),
        ("sys.exit(42)", "IE", None),
        ("os.abort()", "IE", None),
        ("time.sleep(100)", "IE", None),
        ("assert 62784 <= os.getuid() <= 64002 and os.getuid() != 64001", "AC", 10),
        ("while True: sys.stdout.write('x' * 65536)", "IE", None),
        ("while True: sys.stderr.write('x' * 65536)", "IE", None),
        ("while True: os.fork()", "IE", None),
        ("for n in range(10 ** 6): open(f'/tmp/{n}', 'w').close()", "IE", None),
        ("held = b'x' * 2 ** 30", "IE", None),
        ("int('x')", "IE", None),
        ("print('wrong', file=sys.stderr); sys.exit(1)", "WA", 0),
        ("if os.fork() == 0: os.setsid(); time.sleep(600)", "AC", 10),
    ],
)
def test_an_authors_checker(marks, checker, verdict, score, monkeypatch):
    from dataclasses import replace

    from usher.grading import programs

    monkeypatch.setattr(programs, "SETTINGS", replace(programs.SETTINGS, wall_seconds=2.0))
    marks.write(CHECKED, check_py=f"import os, sys, time\n{checker}", **FILES)
    grading = marks.mark("print(42)")
    assert (grading.verdict.value, grading.score) == (verdict, score), document(grading)


INTERACTIVE = """
files = ["main.py"]
run = ["python3", "main.py"]
time_limit_seconds = 1
wall_limit_seconds = 3
interactor = "talk.py"
[[cases]]
input = "1.in"
points = 10
"""
TALK = """
import sys
secret = int(open(sys.argv[1]).read())
for _ in range(10):
    try:
        guess = int(input())
    except (EOFError, ValueError):
        print("no number", file=sys.stderr)
        sys.exit(2)
    print("=" if guess == secret else "<" if secret < guess else ">", flush=True)
    if guess == secret:
        sys.exit(0)
print("too many guesses", file=sys.stderr)
sys.exit(1)
"""
GUESS = """
low, high = 0, 100
while True:
    middle = (low + high) // 2
    print(middle, flush=True)
    answer = input()
    if answer == "=":
        break
    low, high = (low, middle - 1) if answer == "<" else (middle + 1, high)
"""


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        (GUESS, "AC"),
        ("while True: print(1, flush=True); input()", "WA"),
        ("print('x')", "PE"),
        ("import sys; sys.exit(5)", "RTE"),
        ("input()", "TLE"),
        ("while True: pass", "TLE"),
        ("while True: print('1' * 5000)", "OLE"),
    ],
)
def test_a_conversation(marks, program, verdict):
    marks.write(INTERACTIVE, talk_py=TALK, **FILES)
    grading = marks.mark(program)
    assert grading.verdict.value == verdict, document(grading)


@pytest.mark.parametrize(
    "interactor",
    [
        "while True: print('1' * 65536)",
        "while True: print('1' * 65536, file=sys.stderr)",
        "while True: os.fork()",
        "held = b'x' * 2 ** 30",
        "os.kill(os.getpid(), 9)",
        "sys.exit(17)",
    ],
)
def test_a_hostile_interactor_costs_the_learner_nothing(marks, interactor):
    marks.write(INTERACTIVE, talk_py=f"import os, sys\n{interactor}", **FILES)
    grading = marks.mark(GUESS)
    assert (grading.verdict.value, grading.score) == ("IE", None), document(grading)
    marks.write(INTERACTIVE, talk_py=TALK, **FILES)
    assert marks.mark(GUESS).verdict is Verdict.AC


SLEEPS = "import time; time.sleep(60)"
HANGS = f"import sys\ninput(){{}}\n{SLEEPS}"
NO_FLUSH = "import sys; print(50); sys.stdin.readline()"


@pytest.mark.parametrize(
    ("interactor", "program", "verdict"),
    [
        # The submission waits for the interactor, which reads a guess and answers nothing, or
        # exited.
        (HANGS.format(""), GUESS, "IE"),
        (HANGS.format(";sys.exit(17)"), f"print(50, flush=True)\n{SLEEPS}", "IE"),
        # The interactor waits for the submission.
        (TALK, SLEEPS, "TLE"),
        (TALK, NO_FLUSH, "TLE"),
        # No process kept this one waiting.
        (HANGS.format(""), "while True: pass", "TLE"),
    ],
    ids=["hangs", "died", "silent", "not flushed", "busy"],
)
def test_who_keeps_the_other_waiting_is_at_fault(marks, interactor, program, verdict):
    brief = INTERACTIVE.replace("wall_limit_seconds = 3", "wall_limit_seconds = 2")
    marks.write(brief, talk_py=interactor, **FILES)
    grading = marks.mark(program)
    assert grading.verdict.value == verdict, document(grading)
    (case,) = grading.cases
    assert ("interactor" in case.message) == (verdict == "IE")
    assert "interactor" not in for_learner(grading).cases[0].message


def test_groups_that_depend_are_skipped(marks):
    groups = (
        '[[groups]]\nname = "a"\ncases = ["2"]\n[[groups]]\ncases = ["1"]\ndepends_on = ["a"]\n'
    )
    marks.write(DOUBLE + groups, **FILES)
    grading = marks.mark("print(42)")
    assert [case.verdict for case in grading.cases] == [Verdict.SK, Verdict.WA]
    assert grading.score == 0


def test_as_large_as_a_submission_and_a_grader_may_be(marks):
    """500 cases, 64 files, 1 MiB together. Under bubblewrap fewer: a case is as any other there."""
    count = 500 if marks.place.name == "docker" else 50
    cases = "".join(
        f'[[cases]]\nname = "{number}"\ninput = "1.in"\nanswer = "1.ans"\n'
        for number in range(count)
    )
    head = 'files = ["main.sh", "*.txt"]\nrun = ["sh", "main.sh"]\nwall_limit_seconds = 30\n'
    marks.write(head + cases, **FILES)
    files = {f"{number}.txt": b"x" * 16_500 for number in range(63)}
    files["main.sh"] = b"set -- *.txt; read n; [ $# = 63 ] && echo $((n * 2))\n"
    folder = read_grader(marks.folder)
    judge = Judge(marks.place.boxes, marks.place.image)
    grading = judge.grade(folder, accept_files(files, folder.grader.files))
    assert (grading.verdict, grading.score, len(grading.cases)) == (Verdict.AC, count, count)
