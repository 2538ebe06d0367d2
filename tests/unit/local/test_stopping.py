import os
import signal
import subprocess
import sys
import threading

from local.stopping import SignalHandlers


def test_a_signal_is_handled_while_the_main_thread_holds_the_lock_of_the_handler():
    lock, received = threading.Lock(), threading.Event()

    def handle(number):
        with lock:
            received.set()

    with SignalHandlers([signal.SIGUSR1], handle):
        with lock:
            os.kill(os.getpid(), signal.SIGUSR1)
            sum(range(10_000))  # bytecodes between which a handler would run, and wait for ever
        assert received.wait(10)


def test_each_of_several_signals_is_handled_and_no_other():
    numbers, both = [], threading.Semaphore(0)

    def handle(number):
        numbers.append(number)
        both.release()

    before = signal.getsignal(signal.SIGUSR1)
    with SignalHandlers([signal.SIGUSR1, signal.SIGUSR2], handle):
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
            assert both.acquire(timeout=10)
    assert numbers == [signal.SIGUSR1, signal.SIGUSR2]
    assert signal.getsignal(signal.SIGUSR1) is before


def test_the_end_of_a_process_writes_out_what_was_printed_and_waits_for_no_thread():
    program = """
import sys, threading
from local.stopping import end_process
threading.Thread(target=threading.Event().wait).start()
print("the last line", end="")
end_process(3)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, b"the last line", b"")
