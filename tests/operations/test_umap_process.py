"""The process that computes UMAP: it answers, says what goes wrong, and is nobody's burden."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import psutil
import pytest

from diffatlas.operations.umap_process import UmapProcess

#: As a person writes it: without a guard, so what runs it again runs all of it again.
SCRIPT = """
import os
from pathlib import Path
with open("runs.txt", "a") as file:
    file.write("once more\\n")

import numpy as np
from diffatlas.operations.projections import Projections
projections = Projections()
os.mkdir("here")
Path("here/random.py").write_text("raise SystemExit('a file of the working folder was imported')")
os.chdir("here")
{then}
"""


def script(tmp_path, then):
    path = tmp_path / "mine.py"
    path.write_text(SCRIPT.format(then=then))
    return subprocess.Popen([sys.executable, str(path)], cwd=tmp_path, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def process():
    process = UmapProcess()
    yield process
    process.close()


def apart(n):
    points = np.random.default_rng(1).normal(size=(n, 3))
    return np.linalg.norm(points[:, None] - points, axis=-1)


def test_what_cannot_be_embedded_is_an_error_and_the_next_is_answered(process):
    with pytest.raises(RuntimeError, match="square"):
        process.submit(np.zeros((6, 5)), 2).result(120)
    first = process.pid
    with pytest.raises(RuntimeError, match="at least"):
        process.submit(apart(2), 2).result(120)
    assert process.pid == first


def test_one_that_was_killed_says_so_and_is_started_anew(process):
    waiting = process.submit(apart(20), 3)
    while process.pid is None:
        pass
    psutil.Process(process.pid).kill()
    with pytest.raises(RuntimeError, match="has ended"):
        waiting.result(120)
    with pytest.raises(RuntimeError, match="square"):
        process.submit(np.zeros((6, 5)), 2).result(120)


@pytest.mark.slow
def test_a_script_without_a_guard_is_not_run_again(tmp_path):
    then = "projections.prepare()\nprint(projections._prepared.result(300).shape)"
    assert script(tmp_path, then).communicate(timeout=300)[0] == "(20, 3)\n"
    assert (tmp_path / "runs.txt").read_text() == "once more\n"


def test_it_ends_with_a_program_that_is_killed_while_it_computes(tmp_path):
    then = (
        "projections.prepare()\n"
        "while projections._process.pid is None: pass\n"
        "print(projections._process.pid, flush=True)\n"
        "import time; time.sleep(600)"
    )
    program = script(tmp_path, then)
    worker = psutil.Process(int(program.stdout.readline()))
    program.kill()
    program.wait()
    worker.wait(timeout=60)


def test_a_program_ends_at_once_while_something_is_being_computed(tmp_path):
    program = script(tmp_path, "projections.prepare()\nwhile projections._process.pid is None: pass")
    assert program.wait(timeout=60) == 0
