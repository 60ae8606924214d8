"""A request as bytes: the same at the other end, and nothing else is taken for one."""

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from PIL import Image as Pictures
from safetensors.numpy import save

from diffatlas import Capture, GenerationParams
from diffatlas.backends import open_backend, wire
from diffatlas.backends.base import Capabilities
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.events import to_bytes
from diffatlas.inputs import ImageInput

rng = np.random.default_rng(0)


def picture(name: str, mode: str = "RGB") -> ImageInput:
    size = (6, 5, 3) if mode == "RGB" else (6, 5)
    return ImageInput.of(name, Pictures.fromarray(rng.integers(0, 255, size, np.uint8)))


CELLS = [
    GenerationParams(prompt="é ✓", seed=3),
    GenerationParams(prompt="a\nb", inputs=(picture("image"), picture("mask_image", "L"))),
    GenerationParams(prompt="x", inputs=(replace(picture("image"), pixels=None),)),
]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("capture", [None, Capture(previews=3, attention="cross", attention_layers=("mid",))])
def test_a_request_arrives_as_it_was_sent(cell, capture):
    for asked in (wire.asked_of(cell, capture), wire.asked_of([cell, CELLS[0]], capture)):
        back = wire.asked_from_bytes(wire.asked_to_bytes(asked))
        assert back == asked
        for sent, got in zip(asked.cells, back.cells, strict=True):
            assert [None if x.pixels is None else x.pixels.tobytes() for x in got.inputs] == [
                None if x.pixels is None else x.pixels.tobytes() for x in sent.inputs
            ]


def altered(**rest):
    plain = {"version": wire.VERSION, "cells": [{"prompt": "x"}], "capture": {}, "batch": False} | rest
    return save({}, metadata={"request": json.dumps(plain)})


@pytest.mark.parametrize(
    ("blob", "error"),
    [
        (b"", ValueError),
        (b"\x80\x04\x95" * 40, ValueError),
        (save({}, metadata={"event": "{}"}), ValueError),
        (altered(version=wire.VERSION + 1), CapabilityError),
        (altered(cells=[]), ValueError),
        (altered(cells=[{"prompt": "x"}] * 2), ValueError),
        (altered(cells=[{"prompt": "x"}] * (wire.MOST_CELLS + 1), batch=True), ValueError),
        (altered(cells="x"), ValueError),
        (altered(cells=[3]), ValueError),
        (altered(cells=[{"prompt": 3}]), ValueError),
        (altered(cells=[{"unheard": 3}]), InvalidParams),
        (altered(capture={"unheard": 3}), InvalidParams),
        (altered(capture=[]), ValueError),
        (altered(batch="yes"), ValueError),
    ],
)
def test_what_is_no_request_is_refused(blob, error):
    with pytest.raises(error):
        wire.asked_from_bytes(blob)


def test_events_come_back_as_the_backend_yields_them():
    backend = open_backend("local")
    asked = wire.asked_of(
        [GenerationParams(prompt="a red circle", num_inference_steps=2, seed=seed) for seed in (1, 2)],
        Capture(previews="every", attention="cross"),
    )
    found = list(wire.answers(backend, asked))
    assert {position for position, _ in found} == {0, 1}
    for position, event in found:
        at, back = wire.answer_from_bytes(wire.answer_to_bytes(position, event))
        assert at == position
        assert to_bytes(back) == to_bytes(event)


@pytest.mark.parametrize("module", ["remote.backend.RemoteBackend", "ray.RayBackend", "modal.ModalBackend"])
def test_a_batch_that_no_request_holds_is_run_one_by_one(module):
    """Whoever is told so runs the cells by themselves (`diffatlas.operations.trace.stream_batch`)."""
    path, _, name = f"diffatlas.backends.{module}".rpartition(".")
    backend = object.__new__(getattr(import_module(path), name))
    backend.capabilities = Capabilities(batch=True)
    cells = [GenerationParams(prompt="x", seed=seed) for seed in range(wire.MOST_CELLS + 1)]
    told = list(backend.trace_batch(cells))
    assert [position for position, _ in told] == list(range(len(cells)))
    assert {(event.kind, event.field) for _, event in told} == {("failed", "batch")}
