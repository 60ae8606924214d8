"""The tables and arrays of attention, against NumPy on the maps as they were captured."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import diffatlas
from diffatlas import Capture, GenerationParams
from diffatlas.events import Step
from diffatlas.formats.named import Named
from diffatlas.formats.tables import arrays
from diffatlas.formats.tables import runs as tables
from diffatlas.run import Run
from tests.library.made_runs import made

LAYERS = (("down.0", "cross", (4, 6)), ("mid", "cross", (2, 3)), ("down.0", "self", (2, 3)))
TEXTS = ("<start>", "a", "=red", "circle", "日本")


@pytest.fixture(scope="module")
def attended() -> Run:
    params = GenerationParams(
        prompt="a red circle", seed=7, num_inference_steps=3, guidance_scale=3.0, num_images_per_prompt=2
    )
    return diffatlas.trace(params, Capture(attention="all", attention_halves="both"))


def document(run: Run) -> dict:
    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(tables.json([Named("a", run)]), parse_constant=refuse)


def loaded(run: Run) -> tuple[np.lib.npyio.NpzFile, dict]:
    data = np.load(io.BytesIO(arrays.npz([Named("a", run)])), allow_pickle=False)
    return data, json.loads(str(data["manifest"]))["layers"][0]


def test_json_has_the_measures_of_each_image_and_half(attended) -> None:
    found = document(attended)["layers"][0]["attention"]
    assert found["steps"] == [1, 2, 3]
    assert [(one["image"], one["half"]) for one in found["of"]] == [
        (0, "cond"), (1, "cond"), (0, "uncond"), (1, "uncond"),
    ]  # fmt: skip
    for one in found["of"]:
        half = ("cond", "uncond").index(one["half"])
        maps = [
            [
                step.attention[f"cross:{name}"][half, one["image"]].astype(np.float64)
                for name in one["words_in"]
            ]
            for step in attended.steps
        ]
        for k, of_step in enumerate(maps):
            for i, layer in enumerate(of_step):
                p = np.maximum(layer / layer.sum(0), 1e-12)
                p /= p.sum(0)
                assert one["entropy"][k][i] == pytest.approx(-(p * np.log(p)).sum(0).mean(), rel=1e-3)
            wanted = np.mean([layer.mean((1, 2)) for layer in of_step], axis=0)
            np.testing.assert_allclose(one["activation"][k], wanted, rtol=1e-3, atol=1e-5)
        scores = np.mean(one["activation"], axis=0)
        assert [entry["dominance"] for entry in one["dominance"]] == pytest.approx(
            sorted(scores, reverse=True)
        )
        for entry in one["dominance"]:
            assert entry["dominance"] == pytest.approx(scores[entry["token"]])
            assert entry["text"] == one["tokens"][entry["token"]]["text"]
        assert one["reallocation"][0] == [None] * len(one["words_in"])
        assert np.array(one["reallocation"][1:], dtype=float).min() >= 0
        assert np.shape(one["self_entropy"]) == (3, len(one["places_in"]))
    words = [[token["text"] for token in one["tokens"]][:4] for one in found["of"]]
    assert words[0][1:] == ["a", "red", "circle"]
    assert words[2] != words[0]


def test_json_units_name_every_number(attended) -> None:
    found = document(attended)
    layer, units = found["layers"][0], found["units"]
    assert {*layer["steps"][0], *layer["totals"]} <= set(units)
    assert units["entropy"] == units["reallocation"] == "nats"
    numbers = {name for name, value in layer["run"]["params"].items() if isinstance(value, (int, float))}
    assert numbers | {"seconds", "initial_sigma"} <= set(units)


def test_npz_has_the_maps_as_they_were(attended) -> None:
    data, about = loaded(attended)
    assert data["a/attention/steps"].tolist() == [1, 2, 3]
    names = data["a/attention/layers"].tolist()
    assert {name.removeprefix("attention/").replace("/", ":", 1) for name in names} == set(
        attended.steps[0].attention
    )
    for name in names:
        key = name.removeprefix("attention/").replace("/", ":", 1)
        wanted = np.stack([step.attention[key] for step in attended.steps])
        assert data[f"a/{name}"].dtype == wanted.dtype
        assert np.array_equal(data[f"a/{name}"], wanted)
        axes = about["arrays"][name]["axes"]
        assert len(axes) == wanted.ndim
        assert axes[:3] == ["step", "half", "image"]
    words = data["a/attention/words"]
    assert words.shape == (2, 2, wanted.shape[3] if "cross" in names[-1] else words.shape[2])
    assert words[0, 0, 1:4].tolist() == ["a", "red", "circle"]


def test_safetensors_have_the_same_maps_and_the_texts_beside_them(attended, tmp_path) -> None:
    from safetensors import safe_open

    path = tmp_path / "x.safetensors"
    path.write_bytes(arrays.safetensors([Named("a", attended)]))
    data, about = loaded(attended)
    texts = {"a/attention/layers", "a/attention/words"}
    with safe_open(path, "numpy") as file:
        assert set(file.keys()) == set(data.files) - {"manifest", *texts}
        for name in file.keys():  # noqa: SIM118
            assert np.array_equal(file.get_tensor(name), data[name], equal_nan=True)
        theirs = json.loads(file.metadata()["manifest"])["layers"][0]
    assert theirs == about
    assert {f"a/{name}": np.array(value).tolist() for name, value in theirs["texts"].items()} == {
        name: data[name].tolist() for name in texts
    }


def test_a_run_without_attention_says_so(attended) -> None:
    bare = replace(attended, steps=tuple(replace(step, attention=None) for step in attended.steps))
    assert document(bare)["layers"][0]["attention"] is None
    assert not [name for name in loaded(bare)[0].files if "attention" in name]


@st.composite
def strange(draw) -> Run:
    """A run whose layers ran at some of the steps only, with or without halves, heads and batches."""
    images, heads = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    per_head, both = draw(st.booleans()), draw(st.booleans())
    kinds = draw(st.sampled_from([("cross", "self"), ("cross",), ("self",)]))
    layers = [layer for layer in LAYERS if layer[1] in kinds]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    steps = []
    for index in range(draw(st.integers(1, 4))):
        maps = {}
        for name, kind, grid in layers:
            if draw(st.booleans()):
                front = (*((2,) if both else ()), images, *((heads,) if per_head else ()))
                own = (len(TEXTS), *grid) if kind == "cross" else (*grid, *grid)
                raw = rng.random((*front, *own))
                axes = (-3,) if kind == "cross" else (-2, -1)
                maps[f"{kind}:{name}"] = (raw / raw.sum(axes, keepdims=True)).astype(np.float16)
        latents = rng.normal(size=(images, 4, 4, 6)).astype(np.float32)
        steps.append(Step(index, 900.0 - index, 1.0, latents, attention=maps or None))
    text = [
        {"index": i, "encoder": "clip", "text": word, "word": i or None, "special": not i}
        for i, word in enumerate(TEXTS)
    ]
    described = [
        {"name": name, "kind": kind, "heads": heads, "grid": list(grid),
         "tokens": len(TEXTS) if kind == "cross" else None, "cells": list(grid) if kind == "self" else None}
        for name, kind, grid in layers
    ]  # fmt: skip
    return replace(
        made(1, num_images_per_prompt=images),
        initial_latents=rng.normal(size=(images, 4, 4, 6)).astype(np.float32),
        steps=tuple(steps),
        provenance={"attention": {"layers": described, "text": text}},
        capture={"attention": "all", "attention_heads": "each" if per_head else "mean"},
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(strange())
def test_what_ran_is_there_and_what_did_not_is_unknown(run) -> None:
    held = {(step.index, key): maps for step in run.steps for key, maps in (step.attention or {}).items()}
    data, about = loaded(run)
    found = document(run)["layers"][0]["attention"]
    if not held:
        assert found is None
        assert "a/attention/steps" not in data
        return
    assert found["steps"] == data["a/attention/steps"].tolist() == sorted({index + 1 for index, _ in held})
    there = {}
    for name, row in about["arrays"].items():
        if name.startswith(("attention/cross/", "attention/self/")):
            key = name.removeprefix("attention/").replace("/", ":", 1)
            assert len(row["axes"]) == data[f"a/{name}"].ndim
            there |= {
                (step - 1, key): maps for step, maps in zip(row["steps"], data[f"a/{name}"], strict=True)
            }
    assert there.keys() == held.keys()
    for place, maps in held.items():
        assert there[place].tobytes() == maps.tobytes()
    words = data["a/attention/words"]
    assert len(found["of"]) == words.shape[0] * words.shape[1]
    assert words.shape[2:] == (len(TEXTS),)
    assert words[-1, -1].tolist() == list(TEXTS)
    for one in found["of"]:
        for names, rows, kind in (
            (one["words_in"], one["entropy"], "cross"),
            (one["places_in"], one["self_entropy"], "self"),
        ):
            for step, row in zip(found["steps"], rows or (), strict=False):
                for name, value in zip(names, row, strict=True):
                    assert (value is None) == ((step - 1, f"{kind}:{name}") not in held)
