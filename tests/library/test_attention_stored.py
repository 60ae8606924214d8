"""Attention in the library, in the cache and on the wire."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffatlas import events
from diffatlas.capture.spec import Capture
from diffatlas.errors import DamagedRun, InvalidParams
from diffatlas.events import Finished, Image, Started, Step
from diffatlas.library import Library
from diffatlas.library import format as layout
from diffatlas.library.stored import StoredRun
from diffatlas.library.writer import RunWriter
from diffatlas.operations import cache
from diffatlas.run import Run, collect
from tests.library.made_runs import made

CROSS, SELF = "cross:mid_block.attn2", "self:mid_block.attn1"
DOWN = "cross:down_blocks.0.attn2"
LAYERS = [
    {"name": "down_blocks.0.attn2", "kind": "cross", "block": "down", "tokens": 5},
    {"name": "mid_block.attn1", "kind": "self", "block": "mid", "tokens": None},
    {"name": "mid_block.attn2", "kind": "cross", "block": "mid", "tokens": 5},
]
ALL = Capture(attention="all", attention_halves="both")


def with_attention(run_id: str = "run-1", every: int = 1) -> Run:
    """A run whose steps hold the maps of both halves of one image."""
    rng = np.random.default_rng(3)
    run = made(1, run_id=run_id)

    def maps() -> dict[str, np.ndarray]:
        shapes = {CROSS: (2, 1, 5, 3, 4), DOWN: (2, 1, 5, 6, 8), SELF: (2, 1, 3, 4, 3, 4)}
        return {key: rng.random(shape).astype(np.float16) for key, shape in shapes.items()}

    capture = replace(ALL, attention_every=every)
    steps = tuple(
        replace(s, attention=maps() if capture.wants_attention(s.index, len(run.steps)) else None)
        for s in run.steps
    )
    identity = {"model": "made"}
    described = {"layers": LAYERS, "text": [{"index": 0}]}
    key = cache.cache_key(run.params, identity)
    provenance = run.provenance | {"attention": described, "identity": identity, "key": key}
    return replace(run, steps=steps, capture=capture.to_dict(), provenance=provenance)


def assert_same(a: Step, b: Step) -> None:
    assert (a.attention or {}).keys() == (b.attention or {}).keys()
    for key, maps in (a.attention or {}).items():
        assert maps.dtype == b.attention[key].dtype == np.float16
        np.testing.assert_array_equal(maps, b.attention[key])


def test_it_crosses_the_wire() -> None:
    for step in with_attention().steps:
        back = events.from_bytes(events.to_bytes(step))
        assert_same(back, step)
        np.testing.assert_array_equal(back.latents, step.latents)
    assert events.from_bytes(events.to_bytes(made().steps[0])).attention is None
    # A blob without attention is what it was before there was any.
    assert b"attention" not in events.to_bytes(made().steps[0])


def test_a_library_gives_back_what_was_saved(tmp_path: Path) -> None:
    library, run = Library(tmp_path), with_attention(every=2)
    library.save(run)
    for a, b in zip(library.load(run.id).steps, run.steps, strict=True):
        assert_same(a, b)
    stored = library.open(run.id)
    assert [line["attention"] for line in stored.step_lines()] == [
        sorted(s.attention or ()) for s in run.steps
    ]
    for index, step in enumerate(run.steps):
        assert_same(replace(step, attention=stored.attention(index)), step)
    only = stored.attention(0, [CROSS])
    assert list(only) == [CROSS]
    np.testing.assert_array_equal(only[CROSS], run.steps[0].attention[CROSS])
    with pytest.raises(InvalidParams, match="it has cross:down"):
        stored.attention(0, ["cross:other"])
    with pytest.raises(InvalidParams, match="has no step 9"):
        stored.attention(9)


def test_runs_without_it_are_stored_as_before(tmp_path: Path) -> None:
    library, run = Library(tmp_path), made(2, run_id="run-2")
    library.save(run)
    stored = library.open("run-2")
    assert "attention" not in (stored.folder / layout.STEPS).read_text()
    assert not list(stored.folder.rglob("*attention*"))
    assert stored.attention(0) == {}
    assert library.load("run-2").steps[0].attention is None


def test_a_listed_step_has_its_maps_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process may die between any two writes: what a line lists is there."""
    run, seen = with_attention(), []
    write = layout.write_atomically

    def watched(path: Path, data: bytes) -> None:
        if path.parent.name == "steps":
            listed = (path.parent.parent / layout.STEPS).read_bytes().count(b"\n")
            seen.append((path.name, listed))
        write(path, data)

    monkeypatch.setattr(layout, "write_atomically", watched)
    with RunWriter(tmp_path / run.id) as writer:
        writer.write_run(run)
    maps = [(name, listed) for name, listed in seen if "attention" in name]
    assert maps == [(f"step_{i:04d}.attention.safetensors", i) for i in range(len(run.steps))]


def test_missing_and_cut_files_are_damage(tmp_path: Path) -> None:
    library, run = Library(tmp_path), with_attention()
    library.save(run)
    stored = library.open(run.id)
    path = layout.attention_file(stored.folder, 1)
    whole = path.read_bytes()
    assert cache.is_whole(stored)
    for broken in (whole[:-3], None):
        path.unlink() if broken is None else path.write_bytes(broken)
        assert not cache.is_whole(stored)
        with pytest.raises(DamagedRun):
            stored.attention(1)
        with pytest.raises(DamagedRun):
            library.load(run.id)
        assert stored.step(1).attention is None
        assert list(stored.attention(0)) == sorted(run.steps[0].attention)


@pytest.mark.parametrize(
    ("asked", "names", "layers"),
    [
        (ALL, {CROSS, DOWN, SELF}, 3),
        (Capture(attention="all"), {CROSS, DOWN, SELF}, 3),
        (Capture(attention="cross"), {CROSS, DOWN}, 2),
        (Capture(attention="self", attention_every=2), {SELF}, 1),
        (Capture(attention="all", attention_layers=("mid",)), {CROSS, SELF}, 2),
        (Capture(), set(), None),
    ],
)
def test_the_cache_serves_less_than_was_captured(
    tmp_path: Path, asked: Capture, names: set[str], layers: int | None
) -> None:
    library, run = Library(tmp_path), with_attention()
    library.save(run)
    asked = replace(asked, metrics=False)
    stored = cache.find(library, run.provenance["key"], asked)
    assert stored is not None
    served = collect(cache.replayed(stored, asked))
    assert served.status == "complete"
    assert served.capture == asked.to_dict()
    described = served.provenance.get("attention")
    assert (None if described is None else len(described["layers"])) == layers
    assert ("text" in (described or {})) == ("cross" in asked.attention_kinds)
    for got, step in zip(served.steps, run.steps, strict=True):
        if not asked.wants_attention(step.index, len(run.steps)):
            assert got.attention is None
            continue
        assert set(got.attention) == names
        for key, maps in got.attention.items():
            expected = step.attention[key] if asked.attention_halves == "both" else step.attention[key][0]
            np.testing.assert_array_equal(maps, expected)


def test_the_cache_does_not_serve_what_is_not_there(tmp_path: Path) -> None:
    library = Library(tmp_path)
    library.save(with_attention(every=2))
    key = with_attention().provenance["key"]
    assert cache.find(library, key, replace(ALL, attention_every=2)) is not None
    for more in (
        ALL,
        replace(ALL, attention_every=4, attention_heads="each"),
        replace(ALL, attention_resolution=64),
    ):
        assert cache.find(library, key, more) is None
    # Runs made before attention could be captured serve what they did.
    old = made(4, run_id="old")
    key = cache.cache_key(old.params, {})
    library.save(
        replace(
            old, capture={**Capture().to_dict()}, provenance=old.provenance | {"identity": {}, "key": key}
        )
    )
    assert cache.find(library, key, Capture()) is not None
    assert cache.find(library, key, Capture(attention="cross")) is None


def test_a_run_that_is_being_written_shows_its_attention(tmp_path: Path) -> None:
    run = with_attention()
    with RunWriter(tmp_path / run.id) as writer:
        writer.write(Started(run.id, run.params, run.initial_latents, 14.6, 3, run.provenance, run.capture))
        stored = StoredRun.open(tmp_path / run.id)
        for step in run.steps:
            writer.write(step)
            assert_same(replace(step, attention=stored.attention(step.index)), step)
        writer.write(Image(0, run.images[0]))
        writer.write(Finished("complete", 0.1, [0.0, 0.5, 1.0]))


def test_a_dataset_leaves_attention_out_where_asked_and_says_nothing_of_it(tmp_path):
    import json

    from diffatlas import GenerationParams
    from diffatlas.operations.trace import trace

    mine, yours = Library(tmp_path / "mine"), Library(tmp_path / "yours")
    params = GenerationParams(prompt="a red circle", num_inference_steps=2)
    run = trace(params, Capture(attention="cross"), library=mine)
    mine.export_dataset(tmp_path / "dataset", [run.id], attention=False)
    [imported] = yours.import_dataset(tmp_path / "dataset")
    stored = yours.open(imported)
    assert stored.attention(0) == {}
    assert "attention" not in json.dumps(stored.manifest)
    np.testing.assert_array_equal(stored.step(1).latents, run.steps[1].latents)
    # With it, it is another run there, beside the one that lacks it.
    mine.export_dataset(tmp_path / "whole", [run.id])
    [whole] = yours.import_dataset(tmp_path / "whole")
    assert whole != imported
    assert_same(replace(run.steps[1], attention=yours.open(whole).attention(1)), run.steps[1])
