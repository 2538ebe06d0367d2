"""The container's main process starts with every job: what it imports is time that all wait."""

import subprocess
import sys

LEFT_FOR_OTHERS = {
    "asyncio",
    "ctypes",
    "pydantic",
    "subprocess",
    "tempfile",
    "urllib.request",
    "usher.child",
    "usher.client",
    "usher.description",
    "usher.discovery",
    "usher.job",
}


def loaded_by(statement):
    program = f"{statement}; import sys; print(*sys.modules)"
    command = [sys.executable, "-S", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_main_process_loads_neither_pydantic_nor_the_job():
    assert LEFT_FOR_OTHERS & loaded_by("import usher.entry") == set()


def test_the_command_line_loads_neither_asyncio_nor_boxes():
    loaded = loaded_by("import usher.cli.main; usher.cli.main.build_parser()")
    assert {"asyncio", "pydantic", "usher.box.runtimes", "usher.sessions"} & loaded == set()


def test_callers_need_neither_pydantic_nor_the_contract():
    # A caller may be a Chalice app with a `chalicelib` package.
    loaded = loaded_by("from usher import Client, invoke, wait, kill, logs")
    assert {"pydantic", "chalicelib"} & loaded == set()


def test_all_that_is_offered_is_there():
    import usher

    assert all(getattr(usher, name) is not None for name in usher.__all__)
    assert not hasattr(usher, "nonsense")
