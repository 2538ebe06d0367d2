"""The interpreter keeps its variables, can be interrupted, and comes back when it ended."""

import signal

from python_repl import PythonRepl

from usher.testing import open_session


def output_until(session, text):
    seen = ""
    while text not in seen:
        seen += session.wait_for_message(20).get("output", "")
    return seen


def message_with(session, key):
    while key not in (message := session.wait_for_message(20)):
        pass
    return message[key]


def test_variables_and_files_stay_and_errors_are_shown():
    with open_session(PythonRepl()) as session:
        session.send({"run": "x = 20\n"})
        session.send({"run": "print('sum', x + 22)\n"})
        output_until(session, "sum 42")
        session.send({"run": "open('notes.txt', 'w').close(); print('written')\n"})
        while message_with(session, "files") != ["notes.txt"]:
            pass
        session.send({"run": "1 / 0\n"})
        output_until(session, "ZeroDivisionError: division by zero")


def test_an_endless_loop_is_interrupted():
    # As in a container: a shell lets what it runs in its background ignore SIGINT, children too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open_session(PythonRepl()) as session:
        session.send({"run": "print('begins')\n"})
        output_until(session, "begins\n")
        session.send({"run": "while True: pass\n\n"})
        session.pass_time(0.2)
        session.send({"interrupt": True})
        output_until(session, "KeyboardInterrupt")


def test_one_that_ended_is_started_anew():
    with open_session(PythonRepl()) as session:
        session.send({"run": "x = 1; print('ready')\n"})
        output_until(session, "ready\n")
        session.send({"run": "import os; os._exit(3)\n"})
        assert message_with(session, "exited") == 3
        session.pass_time(0.5)
        session.send({"run": "print('x' in globals())\n"})
        output_until(session, "False\n")
        session.send({"restart": True})
        assert message_with(session, "exited") == -9


def test_what_is_no_command_is_answered():
    with open_session(PythonRepl()) as session:
        for message in ({}, {"run": 1}, {"run": "x" * 100_000}, {"interrupt": 1}):
            session.send(message)
            assert "at most 64 KiB" in message_with(session, "error")
