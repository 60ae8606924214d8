"""The picture of a form: cropped to the size, with what is painted as its mask, under the names that the model has."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import torch
from fastapi import HTTPException
from gradio.components.image_editor import EditorData
from gradio.data_classes import FileData
from PIL import Image

import diffatlas
from diffatlas import GenerationParams, ImageInput, open_backend
from diffatlas.errors import CapabilityError, DiffAtlasError, InvalidParams
from diffatlas.ui.components import picture_field
from diffatlas.ui.components.picture_field import PictureEditor, follow, with_picture, words
from diffatlas.ui.private_files import private_url
from tests.pipelines import build_pixart, build_sd

ASKED = GenerationParams(
    prompt="a red circle", seed=3, num_inference_steps=4, guidance_scale=3.0, width=64, height=64
)
PIXELS = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def drawn(picture=PIXELS, painted=None):
    """What `gr.ImageEditor` gives: a background and one layer of what is painted."""
    background = None if picture is None else Image.fromarray(picture).convert("RGBA")
    height, width = (64, 64) if picture is None else picture.shape[:2]
    layer = np.zeros((height, width, 4), np.uint8)
    if painted is not None:
        layer[painted] = (224, 161, 10, 178)
    return {"background": background, "layers": [Image.fromarray(layer)], "composite": background}


@pytest.fixture(scope="module")
def backend():
    return open_backend("local")


def control_pipe():
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline

    sd = build_sd()
    torch.manual_seed(5)
    net = ControlNetModel.from_unet(sd.unet, conditioning_embedding_out_channels=(16, 32, 96))
    for part in (
        net.controlnet_cond_embedding.conv_out,
        *net.controlnet_down_blocks,
        net.controlnet_mid_block,
    ):
        # A new ControlNet begins with zeros, and would hold nothing.
        torch.nn.init.normal_(part.weight, std=0.5)
    return StableDiffusionControlNetPipeline(**sd.components, controlnet=net, requires_safety_checker=False)


def test_a_picture_of_the_size_goes_in_as_it_is(backend):
    made = with_picture(ASKED, drawn(), 0.5, backend.takes_picture)
    assert made == ASKED.replace(
        inputs=(ImageInput.of("image", Image.fromarray(PIXELS)),), extra={"strength": 0.5}
    )
    assert len(diffatlas.trace(made, backend=backend).raise_for_error().steps) == 2
    # Without a number it is the pipeline's own.
    assert backend.resolve(with_picture(ASKED, drawn(), None, backend.takes_picture)).extra == {
        "strength": 0.8
    }


def test_what_is_painted_is_the_mask_and_the_rest_stays(backend):
    picture = diffatlas.trace(ASKED.replace(num_inference_steps=12), backend=backend).images[0]
    painted = np.zeros((64, 64), bool)
    painted[:, 40:] = True
    made = with_picture(
        ASKED.replace(prompt="a blue square"), drawn(picture, painted), 1.0, backend.takes_picture
    )
    image, mask = made.inputs
    assert (image.name, mask.name, mask.mode) == ("image", "mask_image", "L")
    np.testing.assert_array_equal(mask.pixels, painted * 255)
    inside = diffatlas.trace(made, backend=backend).raise_for_error().images[0]
    everywhere = diffatlas.trace(made.replace(inputs=(image,)), backend=backend).raise_for_error().images[0]
    near, far = (np.abs(one.astype(float) - picture)[:, :32].mean() for one in (inside, everywhere))
    assert near < 3
    assert far > 5 * near


def test_picture_and_mask_are_cropped_alike(backend):
    """A wide picture, painted in its right half only: of the middle square, the right half is the mask."""
    wide = np.zeros((50, 100, 3), np.uint8)
    wide[:, 50:] = 255
    painted = np.zeros((50, 100), bool)
    painted[:, 50:] = True
    image, mask = with_picture(ASKED, drawn(wide, painted), 0.5, backend.takes_picture).inputs
    assert (image.width, image.height, mask.width, mask.height) == (64, 64, 64, 64)
    np.testing.assert_array_equal(image.pixels[..., 0] > 127, mask.pixels > 127)
    np.testing.assert_array_equal(mask.pixels[:, [0, 30, 34, 63]], np.tile([0, 0, 255, 255], (64, 1)))


def test_what_is_transparent_is_white():
    clear = np.zeros((8, 8, 4), np.uint8)
    clear[0] = (10, 20, 30, 255)
    picture, mask = picture_field.picture_and_mask({"background": Image.fromarray(clear), "layers": []})
    assert mask is None
    assert (picture.getpixel((0, 0)), picture.getpixel((0, 5))) == ((10, 20, 30), (255, 255, 255))


@pytest.mark.parametrize(
    "empty",
    [None, {}, drawn(None), {"background": Image.new("RGBA", (9, 9), (0, 0, 0, 0)), "layers": []}],
)
def test_an_empty_field_asks_nothing(backend, empty):
    assert with_picture(ASKED, empty, 0.5, backend.takes_picture) == ASKED


def test_a_faint_trace_of_the_brush_is_no_mask(backend):
    faint = drawn()
    faint["layers"] = [Image.new("RGBA", (64, 64), (224, 161, 10, 40))]
    assert [one.name for one in with_picture(ASKED, faint, 0.5, backend.takes_picture).inputs] == ["image"]


@pytest.mark.parametrize(
    ("value", "takes", "error", "said"),
    [
        (drawn(None, np.ones((64, 64), bool)), "shapes", InvalidParams, "no picture under"),
        (drawn(painted=np.ones((64, 64), bool)), "no mask", CapabilityError, "cannot paint a part anew"),
        (drawn(), "nothing", CapabilityError, "takes no picture"),
        (drawn(), "/nowhere", DiffAtlasError, "nowhere"),
    ],
)
def test_what_cannot_be_is_one_sentence_at_the_field(backend, value, takes, error, said):
    from diffatlas.backends.tasks import TakesPicture

    known = {"no mask": TakesPicture("image-to-image"), "nothing": None}

    def asked(model):
        return known[takes] if takes in known else backend.takes_picture(model)

    params = ASKED if takes in known else ASKED.replace(model=takes)
    with pytest.raises(error, match=said) as caught:
        with_picture(params, value, 0.5, asked)
    assert caught.value.field in ("inputs", "model")


def test_a_huge_picture_is_refused(monkeypatch, backend):
    monkeypatch.setattr(picture_field, "MAX_PIXELS", 64 * 64 - 1)
    with pytest.raises(InvalidParams, match="64 x 64 pixels: give a smaller one"):
        with_picture(ASKED, drawn(), 0.5, backend.takes_picture)


def test_a_controlnet_is_a_mode_of_a_model_that_has_one(tmp_path):
    """As a pipeline in memory and as a folder: the picture is the control, the number its scale; the path is whole."""
    pipe = control_pipe()
    pipe.save_pretrained(tmp_path / "held")
    for backend, model in (
        (open_backend("local", pipe=pipe, name="held"), "held"),
        (open_backend("local"), str(tmp_path / "held")),
    ):
        takes = backend.takes_picture(model)
        assert (takes.task, takes.picture, takes.mask, takes.needed) == ("control", "image", None, True)
        asked = ASKED.replace(model=model, guidance_scale=4.0)
        with pytest.raises(InvalidParams, match="held to a picture: give one") as caught:
            backend.resolve(asked)
        assert caught.value.field == "inputs"
        made = with_picture(asked, drawn(), 0.6, backend.takes_picture)
        assert made.extra == {"controlnet_conditioning_scale": 0.6}
        run = diffatlas.trace(made, backend=backend).raise_for_error()
        assert len(run.steps) == 4
        expected = pipe(
            ASKED.prompt,
            image=Image.fromarray(PIXELS),
            controlnet_conditioning_scale=0.6,
            num_inference_steps=4,
            guidance_scale=4.0,
            width=64,
            height=64,
            generator=torch.Generator().manual_seed(3),
        ).images[0]
        np.testing.assert_array_equal(run.images[0], np.asarray(expected))
        loose = diffatlas.trace(made.replace(extra={"controlnet_conditioning_scale": 0.0}), backend=backend)
        assert (loose.images[0] != run.images[0]).any()


def test_the_field_says_what_the_model_does_with_a_picture(backend):
    hint, editor, amount = follow("shapes", backend.takes_picture)
    assert "begins from this picture" in hint
    assert "Paint over" in hint
    assert (editor["visible"], amount["visible"], amount["value"], amount["label"]) == (
        True,
        True,
        0.8,
        "Strength",
    )
    held = open_backend("local", pipe=control_pipe(), name="held")
    hint, _, amount = follow("held", held.takes_picture)
    assert "ControlNet" in hint
    assert (amount["label"], amount["value"]) == ("Control", 1.0)
    none = open_backend("local", pipe=build_pixart(), name="text alone")
    hint, editor, amount = follow("text alone", none.takes_picture)
    assert (hint, editor["visible"], amount["visible"]) == (words(None), False, False)
    # A model that cannot be found is said at its own field.
    assert follow("no such model", backend.takes_picture)[1]["visible"]


def test_a_model_that_needs_two_pictures_is_told_of():
    from diffusers import StableDiffusionControlNetImg2ImgPipeline

    from diffatlas.backends import tasks

    parts = SimpleNamespace(
        pipeline=StableDiffusionControlNetImg2ImgPipeline, index={"controlnet": ["a", "b"]}
    )
    assert tasks.picture_of(parts) is None


@pytest.fixture
def editor(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    with gr.Blocks():
        return PictureEditor(type="pil")


def test_the_editor_takes_pictures_that_were_uploaded_and_nothing_else(editor, tmp_path):
    picture, text = tmp_path / "<b>picture.png", tmp_path / "text.png"
    Image.new("RGB", (4, 4), "red").save(picture)
    text.write_text("<script>alert(1)</script>")
    private = private_url("1" * 32, picture.read_bytes(), "image.png").removeprefix("gradio_api/file=")

    def given(path):
        return EditorData(background=FileData(path=str(path)), layers=[], composite=None)

    assert editor.get_block_name() == "imageeditor"  # what the browser draws it as
    assert editor.preprocess(given(picture))["background"].size == (4, 4)
    assert editor.preprocess(None) is None
    for wrong in (text, tmp_path / "nowhere.png", tmp_path, private):
        with pytest.raises(gr.Error) as told:
            editor.preprocess(given(wrong))
        assert str(tmp_path) not in told.value.message
        assert "picture" in told.value.message or "upload" in told.value.message


def test_a_part_of_a_picture_is_one_or_is_refused(editor):
    def part(file=b"png", **changes):
        asked = {"type": "layer", "index": "0", "id": "x"} | changes
        return SimpleNamespace(data=asked, files=[("file", file)])

    editor.accept_blobs(part())
    editor.accept_blobs(part(type="background", index=None))
    for wrong in (
        *(None, 5, "x", [], {}),
        *(part(index=index) for index in ("1000000000", -1, "x", [], {})),
        *(part(type=kind) for kind in (None, "x", [])),
        *(part(id=name) for name in (None, [], 5)),
        part(file=None),
        SimpleNamespace(data={}, files=[]),
    ):
        with pytest.raises(HTTPException) as told:
            editor.accept_blobs(wrong)
        assert told.value.status_code == 422
