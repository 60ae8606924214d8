"""Nothing of a model is left in memory when another one is loaded, whatever was done with it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffatlas.backends import loading, placement
from diffatlas.backends.local import LocalBackend
from diffatlas.capture.spec import Capture
from diffatlas.events import Failed, Step
from diffatlas.inputs import ImageInput
from diffatlas.params import GenerationParams, Lora
from diffatlas.registry import ModelEntry, add_model, remove_model
from diffatlas.run import collect
from tests.backends.test_loras import write_lora


def _runs(backend: LocalBackend, asked: GenerationParams, tmp_path: Path) -> None:
    capture = Capture(attention="all", previews="every", preview_decoder="vae")
    collect(backend.trace(asked, capture)).raise_for_error()
    collect(backend.trace(asked.replace(guidance_method="pag"))).raise_for_error()
    list(backend.trace_batch([asked, asked.replace(seed=8)]))


def _is_measured_and_decodes(backend: LocalBackend, asked: GenerationParams, tmp_path: Path) -> None:
    backend.measure(asked)
    backend.identity(backend.resolve(asked))
    backend.decode(asked, np.zeros((1, 4, 16, 16), np.float32))


def _is_stopped(backend: LocalBackend, asked: GenerationParams, tmp_path: Path) -> None:
    stop = threading.Event()
    for event in backend.trace(asked, Capture(previews="every"), stop):
        if isinstance(event, Step):
            stop.set()
    backend.trace(asked).close()


def _fails(backend: LocalBackend, asked: GenerationParams, tmp_path: Path) -> None:
    backend.pipeline(asked.model).vae.decode = None
    assert isinstance(list(backend.trace(asked))[-1], Failed)


def _has_a_lora_and_a_picture(backend: LocalBackend, asked: GenerationParams, tmp_path: Path) -> None:
    loras = (Lora(str(write_lora(tmp_path, seed=1))),)
    collect(backend.trace(asked.replace(loras=loras))).raise_for_error()
    picture = ImageInput.of("image", Image.new("RGB", (64, 64), "red"))
    collect(backend.trace(asked.replace(inputs=(picture,)))).raise_for_error()


@pytest.mark.parametrize(
    ("what", "hints"),
    [
        (_runs, {}),
        (_is_measured_and_decodes, {}),
        (_fails, {}),
        (_has_a_lora_and_a_picture, {}),
        (_is_stopped, {"compile": "blocks", "vae": "tiling"}),
    ],
)
def test_nothing_is_left_when_another_model_is_loaded(
    what: Callable[..., None],
    hints: dict[str, str],
    asked: GenerationParams,
    folders: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIFFATLAS_USER_MODELS", str(tmp_path / "models.md"))
    monkeypatch.setattr(placement, "COMPILER", "eager")
    if hints:
        add_model(ModelEntry(asked.model, "Mine", **hints))
    backend = LocalBackend("cpu")
    asked = asked.replace(num_inference_steps=2)
    pipe = backend.pipeline(asked.model)
    parts = {name: part for name, part in pipe.components.items() if hasattr(part, "parameters")}
    parts |= {"pipeline": pipe, "scheduler": pipe.scheduler, "weights": next(pipe.unet.parameters())}
    watched = {name: weakref.ref(part) for name, part in parts.items()}
    del pipe, parts
    what(backend, asked, tmp_path)
    assert watched["unet"]() is not None
    alive: list[str] = []
    load = loading.load

    def look(*args: Any, **options: Any) -> Any:
        alive.extend(name for name, ref in watched.items() if ref() is not None)
        return load(*args, **options)

    # While it is loaded, both would have to fit.
    monkeypatch.setattr(loading, "load", look)
    backend.pipeline(str(folders("sd3")))
    assert alive == []
    if hints:
        remove_model(asked.model)


def test_nothing_is_left_of_a_pipeline_that_was_handed_in_and_offloaded() -> None:
    from tests import pipelines

    pipe = pipelines.build_sd()
    placement.put(pipe, placement.Placement("group"), "cpu")
    backend = LocalBackend("cpu")
    name = backend.add(pipe)
    asked = GenerationParams(name, "a red circle", num_inference_steps=2, width=64, height=64)
    collect(backend.trace(asked, Capture(attention="cross"))).raise_for_error()
    watched = [weakref.ref(part) for part in (pipe, pipe.unet, pipe.vae, pipe.text_encoder)]
    backend.remove(name)
    del pipe
    loading.release("cpu")
    assert [ref() for ref in watched] == [None] * 4
