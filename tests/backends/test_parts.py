"""Configs of a pipeline, from its folder or from memory, and the classes that they name."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from diffatlas.backends import parts
from diffatlas.backends.model_info import describe_parts
from diffatlas.backends.parts import FolderParts, PipeParts, class_of_diffusers
from tests.pipelines import build_flux, build_flux2, build_pixart, build_sd, build_sd3


@pytest.mark.parametrize("build", [build_sd, build_sd3, build_flux, build_pixart, build_flux2])
def test_memory_tells_what_the_folder_tells(build: Any, tmp_path: Path) -> None:
    pipe = build()
    pipe.save_pretrained(tmp_path)
    told = [describe_parts("x", "x", each) for each in (FolderParts(tmp_path), PipeParts(pipe))]
    assert told[0] == told[1]
    assert FolderParts(tmp_path).pipeline is PipeParts(pipe).pipeline is type(pipe)


def test_a_class_that_another_thread_is_importing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Importing(types.ModuleType):
        asked = 0

        def __getattr__(self, name: str) -> Any:
            Importing.asked += 1
            if name != "Known" or Importing.asked < 4:
                raise AttributeError(name)
            return int

        def __dir__(self) -> list[str]:
            return ["Known", "Never"]

    monkeypatch.setitem(sys.modules, "diffusers", Importing("diffusers"))
    monkeypatch.setattr(parts, "IMPORT_SECONDS", 0.5)
    assert class_of_diffusers("Unknown") is None
    assert Importing.asked == 1  # What there is none of is not waited for.
    assert class_of_diffusers("Known") is int
    assert class_of_diffusers("Never") is None


def test_a_class_is_found_while_another_thread_imports_diffusers():
    """In a process of its own, because diffusers is imported once; threads ask at several moments of the import."""
    script = """
import threading, time
from diffatlas.backends import tasks
from diffatlas.backends.model_info import find_source
from diffatlas.backends.parts import FolderParts, class_of_diffusers
parts = FolderParts(find_source("shapes").folder)
found = []
def ask(moment):
    time.sleep(moment)
    found.append((parts.pipeline.__name__, tasks.picture_of(parts).task))
threads = [threading.Thread(target=lambda: class_of_diffusers("DiffusionPipeline"))]
threads += [threading.Thread(target=ask, args=(moment,)) for moment in (0.2, 1.0, 2.5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(found)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.strip() == str([("StableDiffusionPipeline", "image-to-image")] * 3), done.stderr


def test_threads_that_import_many_pipelines_at_once_do_not_meet_half_way():
    """In a process of its own. Without turns each try ends with "cannot import name" or a deadlock of imports."""
    script = """
import threading, time
from diffatlas.backends import loading, parts, tasks
from diffatlas.backends.model_info import find_source
from diffatlas.backends.parts import class_of_diffusers, read_index
wrong = []
def on(moment, act):
    def work():
        time.sleep(moment)
        try:
            assert act() is not None
        except BaseException as error:
            wrong.append(f"{moment}: {error}")
    return threading.Thread(target=work)
names = ["StableDiffusion3Pipeline", "FluxPipeline", "PixArtAlphaPipeline", "StableDiffusionXLPipeline", "SanaPipeline"]
index = read_index(find_source("shapes").folder)
plain = class_of_diffusers("StableDiffusionPipeline")
threads = [
    on(0, lambda: tasks._class_for(plain, frozenset({"image"}))),
    on(0.1, lambda: parts.import_classes(index) or True),
    *(on(0.3 * k, lambda name=name: class_of_diffusers(name)) for k, name in enumerate(names)),
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(wrong)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr[-2000:]
