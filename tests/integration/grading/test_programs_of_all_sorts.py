"""Programs as the suites of other judges have them, and their verdicts, in both runtimes.

Many are one submission: the first line of a case's input names the program that runs.
"""

import json
import subprocess
import textwrap

import pytest

from chalicelib.contract.submitted import accept_files
from tests.integration.box.conftest import Place
from tests.integration.grading.conftest import Marks
from tests.needs import needs_bubblewrap, needs_gcc, needs_java
from usher.box.bubblewrap_box import BubblewrapBoxes
from usher.grading.folders import read_grader
from usher.grading.judge import Judge

LIMITS = """
time_limit_seconds = 0.5
wall_limit_seconds = 2.5
memory_limit_mib = 128
output_limit_kib = 512
"""
PYTHON = {
    # Formats of the output.
    "CRLF": ("AC", r"raw(b'42\r\n')"),
    "no newline at the end": ("AC", "raw(b'42')"),
    "blank lines around": ("AC", r"raw(b'\n\r\n \t42 \n\n')"),
    "as much white space as fits": ("AC", "raw(b'42' + b' ' * (512 * 1024 - 2))"),
    "one byte too much": ("OLE", "raw(b'42' + b' ' * (512 * 1024 - 1))"),
    "a line of 500,000 digits": ("WA", "raw(b'4' * 500_000)"),
    "nothing": ("WA", ""),
    "white space alone": ("WA", r"raw(b' \n')"),
    "on stderr alone": ("WA", "print(42, file=sys.stderr)"),
    "twice": ("WA", "print(42, 42)"),
    "a NUL behind": ("WA", r"raw(b'42\0\n')"),
    "a NUL before": ("WA", r"raw(b'\0 42\n')"),
    "no UTF-8": ("WA", r"raw(b'\xff\xfe42\n')"),
    "a byte order mark": ("WA", r"raw(b'\xef\xbb\xbf42\n')"),
    "colours of a terminal": ("WA", r"raw(b'\x1b[1m42\x1b[0m\n')"),
    "text with accents": ("WA", "print('\\xe9\\u4e2d')"),
    "half a character": ("WA RTE", "print('\\udc80')"),
    "not flushed": ("WA", "sys.stdout.write('42'); os._exit(0)"),
    # Exit codes and signals.
    "exit code 1 after the answer": ("RTE", "print(42, flush=True); os._exit(1)"),
    "exit code 256": ("AC", "print(42, flush=True); os._exit(256)"),
    "exit code -1": ("RTE", "os._exit(-1)"),
    "a text as exit code": ("RTE", "sys.exit('42')"),
    "an interrupt": ("RTE", "raise KeyboardInterrupt"),
    "too deep": ("RTE", "def f(): f()\nf()"),
    "SIGKILL is no memory limit": ("RTE", "os.kill(os.getpid(), 9)"),
    "SIGXCPU is no time limit": ("RTE", "os.kill(os.getpid(), 24)"),
    "SIGXFSZ is no output limit": ("RTE", """
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # ignored by Python
        os.kill(os.getpid(), signal.SIGXFSZ)"""),
    "SIGTERM": ("RTE", "os.kill(os.getpid(), 15)"),
    "an alarm": ("RTE", "import signal; signal.setitimer(0, 0.05); time.sleep(9)"),
    # Streams.
    "stdin is not read": ("AC", "print(42)"),
    "stdin is closed": ("AC", "os.close(0); print(42)"),
    "stdin beyond its end": ("AC", "sys.stdin.read(); assert input == input; print(42, input_())"),
    "stdout is closed": ("RTE", "os.close(1); print(42)"),
    "all streams closed, then spins": ("TLE", "os.closerange(0, 3)\nwhile True: pass"),
    "all streams closed, then sleeps": ("TLE", "os.closerange(0, 3); time.sleep(60)"),
    # Time.
    "sleeps for less than the wall clock": ("AC", "time.sleep(0.8); print(42)"),
    "a right answer, then sleeps": ("TLE", "print(42, flush=True); time.sleep(60)"),
    "a right answer, then spins": ("TLE", "print(42, flush=True)\nwhile True: pass"),
    "children that spin together": ("TLE", """
        for _ in range(4):
            if os.fork() == 0:
                while time.process_time() < 0.3: pass
                os._exit(0)
        for _ in range(4): os.wait()
        print(42)"""),
    # Memory.
    "a mapping": ("MLE", "import mmap; m = mmap.mmap(-1, 256 << 20); m.write(b'x' * (256 << 20))"),
    "more than there is, and it copes": ("AC", """
        try: bytearray(1 << 60)
        except MemoryError: print(42)"""),
    # Processes and threads.
    "threads": ("AC", """
        import threading
        some = [threading.Thread(target=sum, args=(range(99),)) for _ in range(30)]
        for one in some: one.start()
        for one in some: one.join()
        print(42)"""),
    "too many threads": ("RTE", """
        import threading
        some = [threading.Thread(target=time.sleep, args=(9,), daemon=True) for _ in range(200)]
        for one in some: one.start()"""),
    "the child answers when its parent has gone": ("WA", """
        if os.fork(): os._exit(0)
        time.sleep(0.3); print(42)"""),
    "the child holds stdout when its parent is done": ("AC", """
        if os.fork(): print(42, flush=True); os._exit(0)
        time.sleep(60)"""),
    "the child fails": ("AC", """
        if os.fork() == 0: os._exit(9)
        os.wait(); print(42)"""),
    "another program": ("AC", "os.execvp('echo', ['echo', '42'])"),
    "a program that is not there": ("RTE", "os.execvp('/box/none', ['none'])"),
    # Files.
    "a file of its own": ("AC", "open('x', 'w').write('42'); print(open('x').read())"),
    "its own source is gone": ("AC", "os.remove('main.py'); print(42)"),
    "looks around": ("AC", """
        for top in ('/proc', '/etc', '/dev', '/usr/bin', '/'):
            os.listdir(top)
        print(42)"""),
    "higher limits": ("AC", """
        import resource
        for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_STACK, resource.RLIMIT_CORE):
            hard = resource.getrlimit(kind)[1]
            try: resource.setrlimit(kind, (hard + 1, hard + 1))
            except (ValueError, OSError): continue
            raise SystemExit(1)
        print(42)"""),
    # Words of the judge.
    "a result on both streams": ("WA", """
        for stream in (sys.stdout, sys.stderr):
            print('{"status": 0, "began": true, "exit-code": 0}\\nAC 42', file=stream)"""),
}  # fmt: skip
HEAD = """
import os, sys, time
name = sys.stdin.readline().strip()
input_ = sys.stdin.read
def raw(data):
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
"""
C_PROGRAMS = {
    "no address": ("RTE", "*(volatile int *)0 = 1;"),
    "division by zero": ("RTE", "volatile int zero = 0; printf(\"%d\", 7 / zero);"),
    "abort": ("RTE", "abort();"),
    "no such instruction": ("RTE", "__builtin_trap();"),
    "a stack without end": ("RTE", "return deeper(1 << 30);"),
    "a stack of 80 MiB": ("AC", "deeper(80); puts(\"42\");"),
    "a large array": ("AC", "char a[8 << 20]; memset(a, 1, sizeof a); printf(\"%d\", 41 + a[9]);"),
    "allocates until there is no more": ("MLE", """
        for (char *one; (one = malloc(1 << 20)); ) memset(one, 1, 1 << 20);
        puts("42");"""),
    "a shared mapping": ("MLE", """
        char *all = mmap(0, 256 << 20, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        memset(all, 1, 256 << 20); puts("42");"""),
    "a handler that returns": ("TLE", "signal(SIGSEGV, nothing); *(volatile int *)0 = 1;"),
    "ignores the end of its time": ("TLE", "signal(SIGXCPU, SIG_IGN); for (;;);"),
    "waits for a signal": ("TLE", "pause();"),
    "waits for input": ("TLE", "int ends[2]; pipe(ends); read(ends[0], ends, 1);"),
    "paths of all sorts": ("AC", """
        char long_one[9000]; memset(long_one, 'x', 8999); long_one[8999] = 0;
        open(0, 0); open(long_one, 0); open("\\xff\\xfe", 0); open((char *)-1, 0); open("", 0);
        puts("42");"""),
    "execveat": ("AC", """
        char *words[] = {"echo", "42", 0};
        syscall(SYS_execveat, AT_FDCWD, "/bin/echo", words, environ, 0);"""),
    "writev": ("AC", "struct iovec two[] = {{\"4\", 1}, {\"2\", 1}}; writev(1, two, 2);"),
    "output without buffers": ("OLE", "static char all[999]; for (;;) write(1, all, 999);"),
    "a 32-bit system call": ("RTE", """
        int number = 20;  // getpid there, writev here
        __asm__ volatile("int $0x80" : "+a"(number) :: "memory"); puts("42");"""),
    "system calls of x32": ("AC RTE", """
        long number = syscall(0x40000000 | 39);
        puts(number > 0 ? "one of x32" : "42");"""),
    "closes all and goes on": ("RTE", "for (int n = 0; n < 1024; n++) close(n); return 3;"),
    "ends its group": ("RTE", "puts(\"42\"); fflush(stdout); kill(0, SIGKILL);"),
    "ends all that it can": ("RTE", "puts(\"42\"); fflush(stdout); kill(-1, SIGTERM); raise(9);"),
}  # fmt: skip
C_HEAD = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
static void nothing(int number) {}
static int deeper(int count) {
    volatile char frame[1 << 20];
    frame[0] = count;
    return count > 1 ? deeper(count - 1) + frame[0] : 0;
}
"""


def verdicts(marks, brief, programs, files):
    """Marks one submission with a case for each program; returns the verdict of each."""
    cases = []
    for number, name in enumerate(programs):
        marks.folder.joinpath(f"{number}.in").write_text(f"{name}\n21\n")
        cases.append(f'[[cases]]\ninput = "{number}.in"\nanswer = "a"\n')
    marks.folder.joinpath("a").write_text("42\n")
    marks.folder.joinpath("grader.toml").write_text(brief + "".join(cases))
    folder = read_grader(marks.folder)
    judge = Judge(marks.place.boxes, marks.place.image)
    grading = judge.grade(folder, accept_files(files, folder.grader.files))
    assert grading.cases, grading
    told = ((case.verdict.value, case.message) for case in grading.cases)
    return dict(zip(programs, told, strict=True))


def differing(found, programs):
    """Returns what got another verdict than the one that it should get."""
    return {
        name: found[name]
        for name, (wanted, _) in programs.items()
        if found[name][0] not in wanted.split()
    }


def test_programs_in_python(marks):
    programs = "\n".join(
        f"if name == {name!r}:\n{textwrap.indent(textwrap.dedent(code) or 'pass', '    ')}"
        for name, (_, code) in PYTHON.items()
    )
    brief = f'files = ["main.py"]\nrun = ["python3", "main.py"]\n{LIMITS}'
    found = verdicts(marks, brief, PYTHON, {"main.py": (HEAD + programs).encode()})
    assert differing(found, PYTHON) == {}


@needs_gcc
def test_programs_in_c(marks, tmp_path_factory):
    """Compiled here and linked statically: the image needs no compiler."""
    folder = tmp_path_factory.mktemp("c")
    programs = "".join(
        f"    if (!strcmp(name, {json.dumps(name)})) {{ {code} return 0; }}\n"
        for name, (_, code) in C_PROGRAMS.items()
    )
    main = "int main(void) {\n    char name[99]; gets_line(name);\n" + programs + "}\n"
    line = "static void gets_line(char *to) { while (read(0, to, 1) == 1 && *to != '\\n') to++; "
    (folder / "main.c").write_text(C_HEAD + line + "*to = 0; }\n" + main)
    command = ["gcc", "-w", "-O0", "-static", "-s", "-o", "main", "main.c"]
    subprocess.run(command, cwd=folder, check=True)
    start = "cp main /tmp/main && chmod +x /tmp/main && exec /tmp/main"
    brief = f'files = ["main"]\nrun = ["sh", "-c", "{start}"]\n{LIMITS}'
    files = {"main": (folder / "main").read_bytes()}
    found = verdicts(marks, brief, C_PROGRAMS, files)
    assert differing(found, C_PROGRAMS) == {}


@pytest.fixture
def local(tmp_path):
    """With the compilers of this machine, which the image does not have."""
    boxes = BubblewrapBoxes()
    yield Marks(tmp_path, Place(boxes))
    boxes.close()


COMPILED = f"""
files = ["main.cpp"]
compile = ["g++", "-o", "main", "main.cpp"]
compile_time_limit_seconds = 1
compile_memory_limit_mib = 256
run = ["./main"]
{LIMITS}
[[cases]]
input = "1.in"
answer = "1.ans"
"""
TEMPLATES = """
template<int n, int m> struct Twice { static const int value =
    Twice<n - 1, 2 * m>::value + Twice<n - 1, 2 * m + 1>::value; };
template<int m> struct Twice<0, m> { static const int value = m; };
int main() { return Twice<24, 0>::value; }
"""
COMPILING = {
    "includes a device without end": "#include </dev/zero>",
    "includes a device that never answers": "#include </dev/stdin>\n#include </proc/kmsg>",
    "includes the answer": '#include "1.ans"',
    "includes what only root reads": "#include </etc/shadow>",
    "assembles the answer": '__asm__(".incbin \\"1.ans\\""); int main() {}',
    "templates without end": TEMPLATES,
    "a program of 2 GiB": "char large[2147483000] = {1}; int main() {}",
    "messages without end": "\n".join(f"int a{n} = b{n} + c{n} + d{n};" for n in range(900)),
    "includes itself": '#include "main.cpp"\n#include "main.cpp"\nint main() {}',
    "no program": "",
    "no entry": "int other() { return 0; }",
    "includes what is not there": "#include <none.h>",
}


@needs_bubblewrap
@needs_gcc
@pytest.mark.parametrize("name", COMPILING)
def test_what_is_no_program_in_cpp(local, name):
    local.write(COMPILED, **{"1_in": "21\n", "1_ans": "int secret = 4711;\n"})
    grading = local.mark(COMPILING[name], "main.cpp")
    assert grading.verdict.value == "CE", grading
    assert "4711" not in (grading.compile_output or "")
    assert len(grading.compile_output or "") <= 64 * 1024


JAVA = {
    "a right answer": ("AC", "System.out.println(42);"),
    "leaves early": ("AC", "System.out.println(42); System.exit(0);"),
    "leaves with a failure": ("RTE", "System.out.println(42); System.exit(3);"),
    "halts": ("RTE", "Runtime.getRuntime().halt(1);"),
    "an exception": ("RTE", "throw new IllegalStateException();"),
    "an exception in another thread": ("AC", """
        Thread other = new Thread(() -> { throw new IllegalStateException(); });
        other.start(); other.join(); System.out.println(42);"""),
    "a thread that goes on": ("TLE", """
        new Thread(() -> { while (true) Thread.yield(); }).start(); System.out.println(42);"""),
    "a hook that goes on": ("TLE", """
        Runtime.getRuntime().addShutdownHook(new Thread(() -> { while (true) Thread.yield(); }));
        System.out.println(42);"""),
    "too deep and caught": ("AC", """
        try { deeper(0); } catch (StackOverflowError error) { System.out.println(42); }"""),
    "no heap left": ("RTE", "long[][] all = new long[9999][]; int n = 0;"
                            "while (true) all[n++] = new long[1 << 20];"),
    "another program": ("AC", """
        Process other = new ProcessBuilder("echo", "42").inheritIO().start();
        System.exit(other.waitFor());"""),
    "a connection": ("AC", """
        try { new java.net.Socket("169.254.169.254", 80); }
        catch (java.io.IOException error) { System.out.println(42); }"""),
    "writes to the system": ("AC", """
        try { new java.io.FileWriter("/usr/lib/x"); }
        catch (java.io.IOException error) { System.out.println(42); }"""),
}  # fmt: skip
JAVA_BRIEF = """
files = ["Main.java"]
compile = ["javac", "-J-Xmx256m", "-J-XX:-UsePerfData", "-J-XX:TieredStopAtLevel=1", "Main.java"]
run = ["java", "-Xmx64m", "-Xshare:auto", "-XX:-UsePerfData", "-XX:+UseSerialGC",
  "-XX:TieredStopAtLevel=1", "Main"]
time_limit_seconds = 1.5
wall_limit_seconds = 6
memory_limit_mib = 320
"""


@needs_bubblewrap
@needs_java
def test_programs_in_java(local):
    programs = "".join(
        f"        if (name.equals({json.dumps(name)})) {{ {code} }}\n"
        for name, (_, code) in JAVA.items()
    )
    source = f"""
public class Main {{
    static int deeper(int n) {{ return deeper(n + 1) + 1; }}
    public static void main(String[] words) throws Exception {{
        String name = new java.util.Scanner(System.in).nextLine();
{programs}    }}
}}
"""
    found = verdicts(local, JAVA_BRIEF, JAVA, {"Main.java": source.encode()})
    assert differing(found, JAVA) == {}
