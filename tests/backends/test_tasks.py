"""A model from text to image also begins from a picture, and paints anew inside a mask."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

import diffatlas
from diffatlas import GenerationParams, ImageInput, Library, open_backend
from diffatlas.backends import tasks
from diffatlas.backends.parts import PipeParts
from diffatlas.capture.digest import digest_of
from diffatlas.errors import CapabilityError, DiffAtlasError
from diffatlas.operations.trace import stream_batch
from tests.pipelines import build_flux, build_pixart, build_sd, build_sd3, build_sdxl

PIXELS = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)
MASK = Image.fromarray(((np.arange(64)[:, None] + np.arange(64)) < 64).astype(np.uint8) * 255)
ASKED = GenerationParams(prompt="a red circle", seed=5, num_inference_steps=6, guidance_scale=4.0)
BUILDERS = {"sd": build_sd, "sdxl": build_sdxl, "sd3": build_sd3, "flux": build_flux}


def with_pictures(mask: bool, **extra: Any) -> GenerationParams:
    pictures = {"image": PICTURE} | ({"mask_image": MASK} if mask else {})
    inputs = tuple(ImageInput.of(name, picture) for name, picture in pictures.items())
    return ASKED.replace(inputs=inputs, extra=extra or None)


@pytest.mark.parametrize(
    ("name", "mask"),
    # Inpainting of Stable Diffusion 3 takes models of 16 or 33 channels alone.
    [(name, mask) for name in BUILDERS for mask in (False, True) if (name, mask) != ("sd3", True)],
)
def test_the_image_is_that_of_diffusers_pipeline(name: str, mask: bool) -> None:
    pipe = BUILDERS[name]()
    digest, attributes = digest_of(pipe), dict(vars(pipe))
    run = diffatlas.trace(with_pictures(mask, strength=0.5), backend=open_backend("local", pipe=pipe))
    assert run.raise_for_error().status == "complete"
    assert digest_of(pipe) == digest
    assert all(vars(pipe)[key] is value for key, value in attributes.items())
    auto = diffusers.AutoPipelineForInpainting if mask else diffusers.AutoPipelineForImage2Image
    other = auto.from_pipe(pipe)
    given = {"image": PICTURE} | ({"mask_image": MASK} if mask else {})
    if "width" in inspect.signature(type(other).__call__).parameters:
        given |= {"width": 64, "height": 64}
    expected = other(
        "a red circle",
        **given,
        strength=0.5,
        num_inference_steps=6,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(5),
    ).images[0]
    np.testing.assert_array_equal(run.images[0], np.asarray(expected))
    assert len(run.steps) == run.total_steps == 3  # the path begins half-way
    assert run.provenance["pipeline"] == type(other).__name__
    assert (run.params.width, run.params.height) == (64, 64)


def test_the_embedded_models_begin_from_pictures(tmp_path: Path) -> None:
    library, backend = Library(tmp_path), open_backend("local")
    for model, mask in (("shapes", False), ("shapes", True), ("shapes-dit", False)):
        asked = with_pictures(mask, strength=0.5).replace(model=model)
        run = diffatlas.trace(asked, backend=backend, library=library).raise_for_error()
        assert len(run.steps) == 3
        assert diffatlas.trace(asked, backend=backend, library=library).cached_from == run.id
        stored = library.load(run.id).params
        np.testing.assert_array_equal(stored.inputs[0].pixels, PIXELS)
    # Text to image goes on as before.
    plain = diffatlas.trace(ASKED, backend=backend).raise_for_error()
    assert (len(plain.steps), plain.provenance["pipeline"]) == (6, "StableDiffusionPipeline")


def test_strength_moves_the_beginning() -> None:
    backend = open_backend("local")
    sigmas = []
    for strength in (0.34, 0.67, 1.0):
        run = diffatlas.trace(with_pictures(False, strength=strength), backend=backend)
        assert len(run.steps) == run.total_steps == int(6 * strength)
        sigmas.append(run.initial_sigma)
    assert sigmas == sorted(sigmas)
    assert sigmas[0] < sigmas[2] / 2


def test_its_own_strength_is_told() -> None:
    resolved = open_backend("local").resolve(with_pictures(False))
    assert resolved.extra == {"strength": 0.8}
    assert open_backend("local").resolve(resolved) == resolved


def test_a_batch_begins_from_one_picture() -> None:
    asked = with_pictures(False, strength=0.5)
    backend = open_backend("local")
    images = {
        i: event.pixels
        for i, event in stream_batch([asked, asked.replace(seed=6)], backend=backend)
        if event.kind == "image"
    }
    alone = diffatlas.trace(asked.replace(seed=6), backend=backend).images[0]
    assert np.abs(images[1].astype(int) - alone).max() <= 1
    assert (images[0] != images[1]).any()


def test_what_a_model_can_do_is_known() -> None:
    assert tasks.tasks_of(PipeParts(build_sd())) == ("image-to-image", "inpainting")
    assert tasks.tasks_of(PipeParts(build_pixart())) == ()


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"extra": {"strength": 0}}, "extra", "above 0"),
        ({"extra": {"strength": 1.5}}, "extra", "above 0"),
        ({"extra": {"strength": "half"}}, "extra", "above 0"),
        ({"extra": {"strength": 0.1}}, "extra", "leaves none of 6 steps"),
        ({"width": 128}, "width", "that of the picture"),
        ({"inputs": (ImageInput.of("image", PICTURE.resize((62, 64))),)}, "width", "multiple of"),
        ({"inputs": (ImageInput.of("depth", PICTURE),)}, "inputs", "image-to-image and inpainting"),
        (
            {"inputs": (ImageInput.of("image", PICTURE), ImageInput.of("mask_image", MASK.resize((32, 32))))},
            "inputs",
            "of the size of the picture",
        ),
        ({"inputs": (ImageInput.of("image", PICTURE),) * 2}, "inputs", "one place"),
        ({"noise": diffatlas.params.Noise("perturb", 3, 0.2)}, "noise", "from noise alone"),
    ],
)
def test_what_does_not_fit_is_one_sentence(changes: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(DiffAtlasError, match=words) as caught:
        open_backend("local").resolve(with_pictures(False).replace(**changes))
    assert caught.value.field == field


def test_a_model_that_takes_none_says_so() -> None:
    with pytest.raises(CapabilityError, match="neither image-to-image nor inpainting"):
        open_backend("local", pipe=build_pixart()).resolve(with_pictures(False))
