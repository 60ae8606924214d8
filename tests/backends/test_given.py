"""A pipeline that is handed in is a backend: its runs are those of the plain call, and it is left as it was."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import diffatlas
from diffatlas import Capture, GenerationParams, ImageInput, Library, Lora, open_backend
from diffatlas.backends import local
from diffatlas.capture.digest import digest_of
from diffatlas.capture.ran_on import revision_of
from diffatlas.errors import CapabilityError, DiffAtlasError, InvalidParams, SchedulerMismatch
from diffatlas.operations.trace import stream_batch
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.studies.run import run_study
from tests.pipelines import build_flux, build_pixart, build_sd, build_sd3, build_sdxl

BUILDERS = {"sd": build_sd, "sdxl": build_sdxl, "sd3": build_sd3, "flux": build_flux, "pixart": build_pixart}
ASKED = GenerationParams(
    prompt="a red circle", seed=7, num_inference_steps=4, guidance_scale=4.0, width=64, height=64
)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


@pytest.fixture
def sd() -> Any:
    return build_sd()


def plain_image(pipe: Any, **more: Any) -> np.ndarray:
    asked = {"guidance_scale": 4.0, "num_inference_steps": 4, "width": 64, "height": 64, **more}
    if "use_resolution_binning" in inspect.signature(type(pipe).__call__).parameters:
        asked["use_resolution_binning"] = False
    return np.asarray(pipe("a red circle", generator=torch.Generator().manual_seed(7), **asked).images[0])


@pytest.mark.parametrize("name", BUILDERS)
def test_the_image_is_that_of_the_plain_call(name: str) -> None:
    pipe = BUILDERS[name]()
    expected = plain_image(copy.deepcopy(pipe))
    run = diffatlas.trace(ASKED, backend=open_backend("local", pipe=pipe, name="mine")).raise_for_error()
    np.testing.assert_array_equal(run.images[0], expected)
    assert run.params.model == run.provenance["model"] == "mine"
    assert run.provenance["source"] == "memory"
    assert run.provenance["revision"] == {"digest": digest_of(pipe)}
    assert run.provenance["components"]["vae"] == type(pipe.vae).__name__


@pytest.mark.parametrize("scheduler", [None, "euler", "dpm++_2m"])
@pytest.mark.parametrize("method", [None, "apg", "pag"])
def test_it_is_left_as_it_was(sd: Any, scheduler: str | None, method: str | None) -> None:
    digest, attributes, config = digest_of(sd), dict(vars(sd)), dict(sd.config)
    state = {k: v for k, v in vars(sd.scheduler).items() if not isinstance(v, torch.Tensor)}
    asked = ASKED.replace(scheduler=scheduler, guidance_method=method)
    run = diffatlas.trace(asked, Capture(attention="all"), open_backend("local", pipe=sd))
    assert run.raise_for_error().status == "complete"
    assert vars(sd).keys() == attributes.keys()
    assert all(vars(sd)[name] is attributes[name] for name in attributes)
    assert dict(sd.config) == config
    assert {k: v for k, v in vars(sd.scheduler).items() if not isinstance(v, torch.Tensor)} == state
    assert digest_of(sd) == digest


def test_what_was_changed_of_its_scheduler_by_hand_is_used(sd: Any) -> None:
    sd.scheduler.alphas_cumprod = sd.scheduler.alphas_cumprod.clone() ** 1.1
    expected = plain_image(copy.deepcopy(sd))
    np.testing.assert_array_equal(
        diffatlas.trace(ASKED, backend=open_backend("local", pipe=sd)).images[0], expected
    )


def test_another_scheduler_that_it_is_given_later_is_its_own(sd: Any) -> None:
    from diffusers import EulerDiscreteScheduler

    backend = open_backend("local", pipe=sd)
    assert backend.resolve(ASKED).scheduler == "ddim"
    sd.scheduler = EulerDiscreteScheduler.from_config(sd.scheduler.config)
    assert backend.resolve(ASKED).scheduler == "euler"
    np.testing.assert_array_equal(diffatlas.trace(ASKED, backend=backend).images[0], plain_image(sd))


def test_the_same_request_is_served_from_the_library(sd: Any, library: Library) -> None:
    backend = open_backend("local", pipe=sd)
    first = diffatlas.trace(ASKED, backend=backend, library=library)
    assert first.cached_from is None
    assert diffatlas.trace(ASKED, backend=backend, library=library).cached_from == first.id
    # Another process, or another session, that has the same pipeline.
    again = open_backend("local", pipe=copy.deepcopy(sd))
    assert diffatlas.trace(ASKED, backend=again, library=library).cached_from == first.id


def _train(pipe: Any) -> None:
    pipe.unet.requires_grad_(True)
    loss = pipe.unet(torch.ones(1, 4, 16, 16), 1, torch.ones(1, 77, 32)).sample.square().mean()
    loss.backward()
    with torch.no_grad():
        for p in pipe.unet.parameters():
            p -= 1e-3 * p.grad if p.grad is not None else 0


def _past_autograd(pipe: Any) -> None:
    pipe.unet.conv_in.weight.data.mul_(1.001)


@pytest.mark.parametrize("change", [_train, _past_autograd])
def test_changed_weights_are_another_model(sd: Any, library: Library, change: Any) -> None:
    backend = open_backend("local", pipe=sd)
    first = diffatlas.trace(ASKED, backend=backend, library=library)
    change(sd)
    second = diffatlas.trace(ASKED, backend=backend, library=library)
    assert second.cached_from is None
    assert (second.images[0] != first.images[0]).any()


def test_weights_that_change_while_another_model_runs_are_seen(sd: Any) -> None:
    backend = open_backend("local", pipe=sd)
    before = backend.identity(backend.resolve(ASKED))
    other = ASKED.replace(model="shapes-dit", num_inference_steps=2)
    seen = []
    for event in backend.trace(other):
        if event.kind == "step" and not seen:
            _past_autograd(sd)
            seen.append(backend.identity(backend.resolve(ASKED)))
    assert seen[0]["revision"] != before["revision"]


def test_a_name_that_goes_to_another_pipeline_while_the_first_is_looked_at_stays_its(
    sd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_backend("local", pipe=sd, name="mine")
    other = build_sd()
    looked = []

    def look(pipe: Any) -> str:
        if not looked:
            looked.append(pipe)
            backend.remove("mine")
            backend.add(other, "mine")
        return revision_of(pipe)

    monkeypatch.setattr(local, "revision_of", look)
    backend.identity(backend.resolve(ASKED.replace(model="mine")))
    assert looked == [sd]
    assert backend.pipeline("mine") is other


def test_where_it_cannot_be_told_what_decides_results_nothing_is_served(sd: Any, library: Library) -> None:
    sd.unet.conv_in.register_forward_hook(lambda module, args, output: None)
    backend = open_backend("local", pipe=sd)
    assert backend.identity(backend.resolve(ASKED)) is None
    runs = [diffatlas.trace(ASKED, backend=backend, library=library) for _ in range(2)]
    assert [run.cached_from for run in runs] == [None, None]
    assert "hooks" in runs[0].provenance["revision"]["no_digest"]


def test_extra_arguments_are_passed_on_and_are_part_of_the_key(sd: Any, library: Library) -> None:
    backend = open_backend("local", pipe=sd)
    asked = ASKED.replace(extra={"eta": 1.0, "guidance_rescale": 0.5})
    run = diffatlas.trace(asked, backend=backend, library=library)
    np.testing.assert_array_equal(run.images[0], plain_image(sd, eta=1.0, guidance_rescale=0.5))
    assert library.load(run.id).params.extra == {"eta": 1.0, "guidance_rescale": 0.5}
    other = diffatlas.trace(ASKED, backend=backend, library=library)
    assert other.cached_from is None
    assert (other.images[0] != run.images[0]).any()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"no_such": 1}, "does not take no_such"),
        ({"width": 32}, "field of its own"),
        ({"ip_adapter_image": object()}, "of the type object"),
        ({"eta": float("nan")}, "of the type float"),
        ({"a b": 1}, "no name of an argument"),
        ({"text": "x" * 30_000}, "longer"),
    ],
)
def test_wrong_extra_arguments_are_named(sd: Any, extra: dict[str, Any], words: str) -> None:
    with pytest.raises(DiffAtlasError, match=words) as caught:
        diffatlas.trace(ASKED.replace(extra=extra), backend=open_backend("local", pipe=sd))
    assert caught.value.field == "extra"


def test_a_pipeline_from_image_to_image_takes_the_picture_of_a_request(sd: Any, library: Library) -> None:
    from diffusers import StableDiffusionImg2ImgPipeline

    pipe = StableDiffusionImg2ImgPipeline(**sd.components, requires_safety_checker=False)
    start = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    asked = ASKED.replace(
        width=None, height=None, inputs=(ImageInput.of("image", start),), extra={"strength": 0.5}
    )
    backend = open_backend("local", pipe=pipe)
    run = diffatlas.trace(asked, backend=backend, library=library).raise_for_error()
    expected = pipe(
        "a red circle",
        image=start,
        strength=0.5,
        guidance_scale=4.0,
        num_inference_steps=4,
        generator=torch.Generator().manual_seed(7),
    ).images[0]
    np.testing.assert_array_equal(run.images[0], np.asarray(expected))
    assert len(run.steps) == run.total_steps == 2
    stored = library.load(run.id).params
    np.testing.assert_array_equal(stored.inputs[0].pixels, np.asarray(start))
    assert diffatlas.trace(stored, backend=backend, library=library).cached_from == run.id
    other = asked.replace(inputs=(ImageInput.of("image", start.rotate(90)),))
    assert diffatlas.trace(other, backend=backend, library=library).cached_from is None


@pytest.mark.parametrize("exact", [True, False])
def test_a_sweep_and_a_neighbourhood_run_on_it(sd: Any, library: Library, exact: bool) -> None:
    backend = open_backend("local", pipe=sd, name="mine")
    base = backend.resolve(ASKED)
    digest = digest_of(sd)
    for study in (
        plan_sweep(base, "guidance_scale", "1 4 8", exact=exact),
        plan_sweep(base, "scheduler", "ddim euler", exact=exact),
        plan_neighbourhood(base, k=2, radius=0.2, exact=exact),
    ):
        *_, last = run_study(study, lambda name: backend, library)
        assert last.study.status == "complete"
        assert all(library.open(cell.run_id).params.model == "mine" for cell in last.study.cells)
    assert digest_of(sd) == digest


def test_a_batch_runs_on_it(sd: Any, library: Library) -> None:
    backend = open_backend("local", pipe=sd, name="mine")
    asked = ASKED.replace(model="mine")
    ends = [
        event
        for _, event in stream_batch([asked, asked.replace(seed=8)], backend=backend, library=library)
        if event.kind in ("finished", "failed")
    ]
    assert [end.status for end in ends] == ["complete", "complete"]
    alone = diffatlas.trace(asked, backend=backend)
    batched = [library.load(info.id) for info in library.list() if info.seed == 7]
    np.testing.assert_allclose(batched[0].steps[-1].latents, alone.steps[-1].latents, atol=1e-4)


def test_other_models_are_there_as_well(sd: Any) -> None:
    backend = open_backend("local", pipe=sd, name="mine")
    assert backend.resolve(ASKED).model == "mine"  # No model was named.
    assert backend.resolve(ASKED.replace(model="shapes-dit")).model == "shapes-dit"
    assert backend.is_loaded("mine")
    assert backend.info("mine").width == 64
    assert backend.pipeline("mine") is sd
    beside = open_backend("local")
    assert beside.add(sd) == "StableDiffusionPipeline"
    assert beside.resolve(ASKED).model == "shapes"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"pipe": "stabilityai/sdxl"}, InvalidParams, "give a pipeline that is loaded"),
        ({"pipe": object()}, InvalidParams, "give a pipeline that is loaded"),
        ({"pipe": torch.nn.Linear(2, 2)}, CapabilityError, "no denoiser and scheduler"),
        ({"name": "mine"}, InvalidParams, "A name is for a pipeline"),
    ],
)
def test_what_is_no_pipeline_is_refused(options: dict[str, Any], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        open_backend("local", **options)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"variant": "fp16"}, CapabilityError, "has no variant"),
        ({"scheduler": "flow_euler"}, SchedulerMismatch, "does not fit"),
        ({"width": 65}, InvalidParams, "multiple of"),
        ({"loras": (Lora("nowhere.safetensors"),)}, InvalidParams, "no LoRA file"),
    ],
)
def test_a_wrong_request_is_one_sentence(sd: Any, changes: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        diffatlas.trace(ASKED.replace(**changes), backend=open_backend("local", pipe=sd))


def test_it_stays_where_it_is(sd: Any) -> None:
    with pytest.raises(InvalidParams, match="stays on its device"):
        open_backend("local", pipe=sd, device="cpu")
    backend = open_backend("local", pipe=sd)
    with pytest.raises(InvalidParams, match="another name"):
        backend.add(build_sd())
