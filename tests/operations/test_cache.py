"""An identical request is served from the library."""

import dataclasses
import json
import threading

import numpy as np
import pytest
from PIL import Image as Picture

from diffatlas.backends import open_backend
from diffatlas.capture.spec import Capture
from diffatlas.events import Failed, Finished, Image, Started, Step
from diffatlas.inputs import ImageInput
from diffatlas.library import Library
from diffatlas.operations import cache
from diffatlas.operations.trace import stream, stream_batch, trace
from diffatlas.params import GenerationParams, Noise
from diffatlas.run import collect

FULL = Capture(previews="every")


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "library")


@pytest.fixture
def ask(shapes_backend, library):
    """Run a request with the library; options of `stream` as they are."""

    def run(params, capture=FULL, **options):
        return collect(stream(params, capture, options.pop("backend", shapes_backend), library, **options))

    return run


def alter_manifest(library, run_id, change):
    path = library.path(run_id) / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_a_second_request_costs_no_denoiser_call_and_no_load(ask, library, shapes_asked, count):
    first = ask(shapes_asked, backend=open_backend("local", device="cpu"))
    assert (count.denoiser, count.loads, first.cached_from) == (4, 1, None)
    backend = open_backend("local", device="cpu")
    again = ask(shapes_asked, backend=backend)
    assert (count.denoiser, count.loads) == (4, 1)
    assert not backend.is_loaded("shapes")
    assert (again.id, again.cached_from, again.status) == (first.id, first.id, "complete")
    assert np.array_equal(again.latents, first.latents)
    assert np.array_equal(again.images[0], first.images[0])
    assert [step.metrics for step in again.steps] == [step.metrics for step in first.steps]
    assert [info.id for info in library.list()] == [first.id]


def test_the_key_is_stored_with_the_run(ask, library, shapes_asked, shapes_backend):
    run = ask(shapes_asked)
    expected = cache.cache_key(run.params, shapes_backend.identity(run.params))
    assert run.provenance["key"] == expected
    stored = library.open(run.id)
    assert stored.provenance["key"] == expected
    assert cache.find(library, expected, FULL).id == run.id
    assert cache.find(library, "0" * 64, FULL) is None


def test_reuse_can_be_refused(ask, library, shapes_asked, count):
    first = ask(shapes_asked)
    second = ask(shapes_asked, reuse=False)
    assert (count.denoiser, second.cached_from) == (8, None)
    assert second.id != first.id
    assert np.array_equal(second.latents, first.latents)
    # Of two that would do, the newest serves.
    assert ask(shapes_asked).cached_from == second.id
    assert count.denoiser == 8


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a red square"},
        {"negative_prompt": "a blue square"},
        {"seed": 8},
        {"num_inference_steps": 3},
        {"guidance_scale": 5.001},
        {"scheduler": "euler"},
        {"num_images_per_prompt": 2},
    ],
)
def test_another_request_runs(ask, shapes_asked, count, change):
    ask(shapes_asked)
    before = count.denoiser
    run = ask(shapes_asked.replace(**change))
    assert run.cached_from is None
    assert count.denoiser > before


def test_a_request_with_the_models_own_values_spelled_out_is_the_same(ask, shapes_asked):
    first = ask(shapes_asked)
    assert (shapes_asked.scheduler, first.params.scheduler) == (None, "ddim")
    assert ask(first.params.replace(guidance_scale=5)).cached_from == first.id


def test_another_dtype_runs(ask, shapes_asked):
    ask(shapes_asked)
    assert ask(shapes_asked, backend=open_backend("local", device="cpu", dtype="bf16")).cached_from is None


def test_every_field_of_request_and_identity_changes_the_key_and_nothing_else(shapes_backend, shapes_asked):
    params = shapes_backend.resolve(shapes_asked)
    identity = shapes_backend.identity(params)
    key = cache.cache_key(params, identity)

    changed = {}
    for field in dataclasses.fields(GenerationParams):
        value = getattr(params, field.name)
        other = value + 1 if isinstance(value, (int, float)) else f"{value}!"
        if field.name == "noise":
            other = Noise("perturb", 1, 0.5)
        elif field.name == "guidance_options" or field.name == "extra":
            other = {"eta": 0.5}
        elif field.name == "inputs":
            other = (ImageInput.of("image", Picture.new("RGB", (2, 2))),)
        changed[field.name] = cache.cache_key(params.replace(**{field.name: other}), identity)
    for path in paths(identity):
        changed[path] = cache.cache_key(params, with_change(identity, path))
    assert {"seed", "revision.sha256", "scheduler.config.beta_end", "dtype", "device"} <= {
        path if isinstance(path, str) else ".".join(path) for path in changed
    }
    assert len({key, *changed.values()}) == len(changed) + 1

    def turned(value):
        if isinstance(value, dict):
            return {name: turned(value[name]) for name in reversed(value)}
        return value

    assert json.dumps(turned(identity)) != json.dumps(identity)
    assert cache.cache_key(params, turned(identity)) == key
    assert cache.cache_key(params.replace(guidance_scale=5), json.loads(json.dumps(identity))) == key


def paths(value, prefix=()):
    for name, part in value.items():
        if isinstance(part, dict) and part:
            yield from paths(part, (*prefix, name))
        else:
            yield (*prefix, name)


def with_change(value, path):
    name, *rest = path
    return {**value, name: with_change(value[name], rest) if rest else f"{value[name]}!"}


def test_neither_folder_nor_clock_changes_the_key(tmp_path, shapes_backend, shapes_asked):
    runs = [trace(shapes_asked, FULL, shapes_backend, Library(tmp_path / name)) for name in ("a", "b")]
    assert runs[0].provenance["started"] != runs[1].provenance["started"]
    assert runs[1].cached_from is None
    assert runs[0].provenance["key"] == runs[1].provenance["key"]
    # Nor does what is captured.
    less = trace(shapes_asked, Capture(x0=False), shapes_backend)
    assert less.provenance["key"] == runs[0].provenance["key"]


#: Apart from these, a served run is a real one, bit for bit.
OF_THE_RUN = {"run_id", "cached_from", "seconds"}


def assert_same(served, real):
    assert [event.kind for event in served] == [event.kind for event in real]
    for a, b in zip(served, real, strict=True):
        for field in dataclasses.fields(a):
            if field.name in OF_THE_RUN:
                continue
            x, y = getattr(a, field.name), getattr(b, field.name)
            if isinstance(y, np.ndarray):
                assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes()), (a, field.name)
            elif field.name == "provenance":
                assert {**x, "started": 0} == {**y, "started": 0}
            else:
                assert x == y, (a.kind, field.name)


LESS = [
    FULL,
    Capture(previews=3),
    Capture(previews="off"),
    Capture(previews="every", latents=False),
    Capture(previews=2, predictions=False),
    Capture(previews="every", x0=False),
    Capture(previews="every", metrics=False),
    Capture(latents=False, predictions=False, x0=False, metrics=False),
]


def test_a_run_with_more_serves_a_request_for_less(ask, library, shapes_asked, shapes_backend, count):
    asked = shapes_asked.replace(num_images_per_prompt=2)
    full = ask(asked)
    for capture in LESS:
        real = list(stream(asked, capture, shapes_backend))
        before = count.denoiser
        served = list(stream(asked, capture, shapes_backend, library))
        assert count.denoiser == before
        assert served[0].cached_from == full.id
        assert_same(served, real)
    assert len(library.list()) == 1


def test_packed_latents_and_previews_of_a_vae_are_served_alike(
    flux_cfg_pipe, tmp_path, library, shapes_backend
):
    flux_cfg_pipe.save_pretrained(tmp_path / "flux")
    asked = GenerationParams(
        model=str(tmp_path / "flux"),
        prompt="x",
        num_inference_steps=3,
        guidance_scale=1.0,
        width=64,
        height=64,
    )
    backend = open_backend("local", device="cpu")
    more = Capture(previews="every", preview_decoder="vae", preview_size=32)
    full = collect(stream(asked, more, backend, library)).raise_for_error()
    for capture in (more, dataclasses.replace(more, previews=2), Capture(previews="off")):
        served = list(stream(asked, capture, backend, library))
        assert served[0].cached_from == full.id
        assert_same(served, list(stream(asked, capture, backend)))


def test_a_run_with_less_does_not_serve_a_request_for_more(ask, shapes_asked):
    ask(shapes_asked, Capture(previews="off"))
    assert ask(shapes_asked, Capture(previews=2)).cached_from is None
    assert ask(shapes_asked, Capture(previews="every", preview_decoder="vae")).cached_from is None
    assert ask(shapes_asked, Capture(previews=2, preview_size=32)).cached_from is None
    assert ask(shapes_asked, Capture(previews=4)).cached_from is not None


def test_a_stopped_run_is_never_served(ask, library, shapes_asked, shapes_backend):
    stop = threading.Event()
    events = stream(shapes_asked, FULL, shapes_backend, library, stop)
    for event in events:
        if isinstance(event, Step):
            stop.set()
    assert (event.kind, event.status) == ("finished", "stopped")
    # Closed, as when a tab goes away.
    events = stream(shapes_asked, FULL, shapes_backend, library)
    next(events)
    events.close()
    assert {info.status for info in library.list()} == {"stopped"}
    assert ask(shapes_asked).cached_from is None


def test_a_failed_run_is_never_served(ask, library, shapes_asked, shapes_backend):
    def throw(module, args):
        raise ZeroDivisionError

    hook = shapes_backend.pipeline("shapes").unet.register_forward_pre_hook(throw)
    try:
        with pytest.raises(Exception, match="ZeroDivisionError"):
            ask(shapes_asked)
    finally:
        hook.remove()
    failing = ask(shapes_asked)
    alter_manifest(library, failing.id, lambda m: m.update(status="failed", error={"message": "x"}))
    assert ask(shapes_asked).cached_from is None


def test_a_run_whose_process_died_is_never_served(ask, library, shapes_asked):
    run = ask(shapes_asked)
    alter_manifest(library, run.id, lambda m: m.update(status="running", writer={"pid": 0, "started": 0.0}))
    assert library.open(run.id).status == "partial"
    assert ask(shapes_asked).cached_from is None


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def without_last_line(path):
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


DAMAGE = {
    "steps/step_0002.safetensors": cut,
    "initial.safetensors": lambda path: path.unlink(),
    "images/image_00.png": cut,
    "previews/step_0001_00.png": lambda path: path.unlink(),
    "steps.jsonl": without_last_line,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_run_is_passed_over(ask, library, shapes_asked, name):
    run = ask(shapes_asked)
    assert cache.is_whole(library.open(run.id))
    DAMAGE[name](library.path(run.id) / name)
    assert not cache.is_whole(library.open(run.id))
    again = ask(shapes_asked)
    assert (again.cached_from, again.status) == (None, "complete")


def test_a_manifest_that_was_edited_serves_neither_request(ask, library, shapes_asked):
    """The key is checked against what the manifest says was asked."""
    run = ask(shapes_asked)
    alter_manifest(library, run.id, lambda m: m["params"].update(prompt="a blue circle"))
    assert ask(shapes_asked).cached_from is None
    assert ask(shapes_asked.replace(prompt="a blue circle")).cached_from is None


def test_what_is_damaged_while_it_is_served_ends_as_failed(ask, library, shapes_asked):
    run = ask(shapes_asked)
    events = cache.replayed(library.open(run.id), FULL)
    assert isinstance(next(events), Started)
    cut(library.path(run.id) / "steps/step_0001.safetensors")
    rest = list(events)
    assert [type(event) for event in rest] == [Step, Failed]
    assert rest[-1].code == "damaged_run"


def test_a_stop_before_the_start_is_a_stop(library, ask, shapes_asked, shapes_backend):
    ask(shapes_asked)
    stop = threading.Event()
    stop.set()
    events = list(stream(shapes_asked, FULL, shapes_backend, library, stop))
    assert [type(event) for event in events] == [Finished]
    assert events[0].status == "stopped"


def test_a_wrong_request_says_so_once(shapes_asked, shapes_backend, library):
    events = list(stream(shapes_asked.replace(width=63), FULL, shapes_backend, library))
    assert [(type(e), e.code, e.field) for e in events] == [(Failed, "invalid_params", "width")]
    events = list(stream(shapes_asked.replace(model="nope"), FULL, shapes_backend, library))
    assert [(type(e), e.code) for e in events] == [(Failed, "unknown_model")]
    assert library.list() == []


def test_serving_counts_as_a_use(tmp_path, shapes_asked, shapes_backend):
    class Touched(Library):
        def touch(self, run_id):
            used.append(run_id)

    used, library = [], Touched(tmp_path / "library")
    run = trace(shapes_asked, FULL, shapes_backend, library)
    used.clear()
    trace(shapes_asked, FULL, shapes_backend, library)
    assert used == [run.id]


def test_a_library_that_cannot_be_asked_does_not_stop_a_run(
    tmp_path, shapes_asked, shapes_backend, monkeypatch
):
    library = Library(tmp_path / "library")

    def broken(*args, **options):
        raise OSError("no such disk")

    monkeypatch.setattr(cache, "find", broken)
    assert trace(shapes_asked, FULL, shapes_backend, library).status == "complete"


class Elsewhere:
    """A backend that cannot say what decides its results."""

    name, capabilities = "elsewhere", None

    def __init__(self, local):
        self._local, self.runs = local, 0

    def trace(self, params, capture=None, stop=None):
        self.runs += 1
        for event in self._local.trace(params, capture, stop):
            if isinstance(event, Started):
                rest = {k: v for k, v in event.provenance.items() if k != "identity"}
                event = dataclasses.replace(event, provenance=rest)
            yield event


def test_a_backend_without_an_identity_always_runs(ask, library, shapes_asked, shapes_backend):
    elsewhere = Elsewhere(shapes_backend)
    for _ in range(2):
        run = ask(shapes_asked, backend=elsewhere)
        assert run.cached_from is None
        assert "key" not in run.provenance
    assert elsewhere.runs == 2
    # Its runs serve nobody else either.
    assert ask(shapes_asked).cached_from is None


def test_images_arrive_once_each(ask, library, shapes_asked):
    run = ask(shapes_asked.replace(num_images_per_prompt=3))
    images = [e for e in cache.replayed(library.open(run.id), FULL) if isinstance(e, Image)]
    assert [image.index for image in images] == [0, 1, 2]
    assert all(np.array_equal(image.pixels, run.images[image.index]) for image in images)


@pytest.fixture
def ask_batch(shapes_backend, library):
    """Run cells in a batch with the library; return the runs."""

    def run(cells, capture=FULL, **options):
        events = {i: [] for i in range(len(cells))}
        for i, event in stream_batch(cells, capture, shapes_backend, library, **options):
            events[i].append(event)
        return [collect(events[i]) for i in range(len(cells))]

    return run


def test_a_run_out_of_a_batch_answers_a_batch_and_no_exact_request(ask, ask_batch, shapes_asked, count):
    cells = [shapes_asked.replace(guidance_scale=g) for g in (1.0, 3.0, 5.0)]
    first = ask_batch(cells)
    assert [run.cached_from for run in first] == [None] * 3
    assert count.denoiser == 4
    again = ask_batch(cells)
    assert [run.cached_from for run in again] == [run.id for run in first]
    assert count.denoiser == 4
    for a, b in zip(again, first, strict=True):
        assert np.array_equal(a.latents, b.latents)
        assert a.provenance["batch"] == b.provenance["batch"]
    exact = ask(cells[1])
    assert exact.cached_from is None
    assert count.denoiser == 8
    # Both would do now; the exact one is better.
    assert ask_batch(cells)[1].cached_from == exact.id
    assert ask(cells[1]).cached_from == exact.id


def test_only_what_is_missing_runs(ask, ask_batch, shapes_asked, count):
    cells = [shapes_asked.replace(guidance_scale=g) for g in (1.0, 3.0, 5.0, 7.0)]
    known = ask(cells[1])
    runs = ask_batch(cells)
    assert [run.cached_from for run in runs] == [None, known.id, None, None]
    assert count.denoiser == 8
    assert [run.provenance["batch"]["size"] for run in runs if run.cached_from is None] == [3, 3, 3]
    assert [run.params.guidance_scale for run in runs] == [1.0, 3.0, 5.0, 7.0]
    # One that is left runs by itself, and so answers everything.
    last = ask_batch([*cells, shapes_asked.replace(guidance_scale=9.0)])[-1]
    assert "batch" not in last.provenance
    assert ask(shapes_asked.replace(guidance_scale=9.0)).cached_from == last.id
    assert all(run.cached_from is None for run in ask_batch(cells, reuse=False))


def test_an_option_at_its_default_is_the_same_request(ask, shapes_asked):
    first = ask(shapes_asked.replace(guidance_method="apg"))
    spelled = shapes_asked.replace(guidance_method="apg", guidance_options={"eta": 0, "norm": 15})
    assert ask(spelled).cached_from == first.id
    assert ask(spelled.replace(guidance_options={"eta": 0.5})).cached_from is None
    assert ask(shapes_asked).cached_from is None


def test_a_lookup_says_whether_a_batch_will_do(ask_batch, library, shapes_backend, shapes_asked):
    run = ask_batch([shapes_asked, shapes_asked.replace(seed=8)])[0]
    assert cache.lookup(library, shapes_backend, shapes_asked, FULL) is None
    assert cache.lookup(library, shapes_backend, shapes_asked, FULL, batched=True).id == run.id


def test_changed_states_and_what_is_missing_are_served_as_they_came(library):
    """A run with three steps where two were planned, changed before its second, some of it not to be had."""
    rng = np.random.default_rng(0)

    def array():
        return rng.normal(size=(1, 4, 8, 8)).astype(np.float32)

    missing = {
        "attention": "a",
        "previews": "b",
        "cond_pred": "c",
        "x0_pred": "d",
        "sigma": "e",
        "steps": "f",
    }
    full = Capture(previews=2, attention="all")
    events = [
        Started(
            "20260131-120000-1a2b3c4d", GenerationParams(prompt="x"), array(), None, 2, {}, full.to_dict()
        ),
        *(
            Step(
                index=i,
                timestep=float(i),
                sigma=None,
                latents=array(),
                metrics={"step_length": 1.0},
                preview=rng.integers(0, 256, (1, 8, 8, 3), np.uint8) if i == 2 else None,
                start_latents=array() if i == 1 else None,
                other_preds={"perturbed": array()} if i == 1 else {},
            )
            for i in range(3)
        ),
        Image(0, rng.integers(0, 256, (8, 8, 3), np.uint8)),
        Finished("complete", 1.0, [], missing),
    ]
    list(library.record(iter(events)))
    stored = library.open(events[0].run_id)

    served = list(cache.replayed(stored, full))
    assert (served[0].initial_sigma, served[0].provenance) == (None, {})
    assert [step.sigma for step in served[1:4]] == [None] * 3
    assert served[2].start_latents.tobytes() == events[2].start_latents.tobytes()
    assert served[2].other_preds["perturbed"].tobytes() == events[2].other_preds["perturbed"].tobytes()
    assert served[3].preview.tobytes() == events[3].preview.tobytes()
    assert served[-1] == events[-1]

    less = list(cache.replayed(stored, Capture(latents=False, predictions=False, x0=False, previews="off")))
    assert [step.start_latents for step in less[1:4]] == [None] * 3
    assert [step.other_preds for step in less[1:4]] == [{}] * 3
    assert less[-1].missing == {"cond_pred": "c", "sigma": "e", "steps": "f"}
    bare = Capture(latents=False, predictions=False, x0=False, previews="off", metrics=False)
    assert list(cache.replayed(stored, bare))[-1].missing == {"sigma": "e", "steps": "f"}
