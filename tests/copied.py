"""Programs in processes of their own that are copies of one which has imported torch, diffusers and Gradio already.

To import them takes ten seconds of a core, of which no test that starts an app or a command has anything. A test of how
a program starts starts a real one.
"""

from __future__ import annotations

import importlib
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

#: Whether this process is a copy itself, in which a program runs.
_is_copy = False


def start(
    *command: str, folder: Path, environment: Mapping[str, str], out: Path, errors: Path | None = None
) -> BaseProcess:
    """Start ``python COMMAND`` in ``folder``; ``command`` is a file, or "-m" and a module, and arguments.

    environment: all its variables. out, errors: what it prints is added to these files, to ``out`` both by default.
    """
    context = get_context(_kind())
    context.set_forkserver_preload(["tests.heavy_libraries"])
    process = context.Process(
        target=_become, args=(command, folder, dict(environment), out, errors or out), name=command[-1]
    )
    process.start()
    return process


def run(*command: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run ``python COMMAND`` in ``folder`` to its end, and return what came of it: see `start`."""
    with tempfile.TemporaryDirectory() as name:
        out, errors = Path(name, "out"), Path(name, "errors")
        process = start(*command, folder=folder, environment=environment, out=out, errors=errors)
        process.join()
        return subprocess.CompletedProcess(command, process.exitcode, out.read_text(), errors.read_text())


def _kind() -> str:
    """Return how a process is made: of threads that hold a lock a copy has the lock alone."""
    if sys.platform != "linux" or (_is_copy and threading.active_count() > 1):
        return "spawn"
    return "fork" if _is_copy else "forkserver"


def _become(
    command: tuple[str, ...], folder: Path, environment: Mapping[str, str], out: Path, errors: Path
) -> None:
    """Be a program."""
    global _is_copy
    _is_copy = True
    for number, path in ((1, out), (2, errors)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if "gradio.http_server" in sys.modules:
        # It reads its address when it is imported.
        importlib.reload(sys.modules["gradio.http_server"])
    if command[0] == "-m":
        sys.argv = list(command[1:])
        sys.path.insert(0, str(folder))
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(command)
        sys.path.insert(0, str(Path(command[0]).parent))
        runpy.run_path(command[0], run_name="__main__")
