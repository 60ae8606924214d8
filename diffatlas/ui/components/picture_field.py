"""The field of a form for a picture: to begin from, to paint anew in part, or to be held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from fastapi import HTTPException
from gradio.components.base import server
from PIL import Image

from diffatlas.backends import tasks
from diffatlas.backends.tasks import USUAL, TakesPicture
from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.params import GenerationParams
from diffatlas.ui import said
from diffatlas.ui.asked_values import typed
from diffatlas.ui.private_files import is_private

#: The prefix of the form beside which the image of a run is in view.
RUNS_PAGE = "field"
#: What is painted is seen on light and dark pictures, and they are seen through it: colour and opacity.
BRUSH = ("#e0a10a", 0.7)
#: Of a painted pixel, the opacity (0 to 255) from which on it is part of the mask: half that of the brush.
PAINTED = 90
#: Pixels that an uploaded picture may have: about those of a large camera.
MAX_PIXELS = 50_000_000
#: Layers of an editor's drawing; ours has one.
MOST_LAYERS = 20
#: What an amount is called, and what is said of it, by the argument that it is.
AMOUNTS = {
    "strength": ("Strength", "Noise on it, from 0 to 1: at 1 little of it is left."),
    "controlnet_conditioning_scale": ("Control", "How firmly it is held to; 1 is usual."),
}
_SIZED = "It is cropped and scaled to the size above."
_SAID = {
    "image-to-image": "The path begins from this picture with noise on it, not from noise alone.",
    "control": "This model has a ControlNet, which holds the image to this picture, such as edges, depth or a pose.",
    "edit": "This model works on a picture.",
}
_PAINT = "Paint over a part, and only that part is made anew."
_NONE = (
    "This model takes no picture here: it goes from text alone, or needs several, which are given in Python."
)


class PictureEditor(gr.ImageEditor):
    """The editor, of which whatever it is given is either a picture that its visitor uploaded or refused."""

    #: The browser draws it as what it is made from.
    is_template = True

    @server
    def accept_blobs(self, data: Any) -> None:
        """Take a part of a picture from the browser. Raises HTTPException for what is none."""
        try:
            part, (_, file) = data.data, data.files[0]
            index = part["index"]
            fits = index in (None, "", "null") or 0 <= int(index) < MOST_LAYERS
            known = part["type"] in ("layer", "background", "composite") and isinstance(file, bytes)
            if not (fits and known and isinstance(part["id"], str)):
                raise ValueError(index)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            raise HTTPException(422, "This is no part of a picture.") from None
        super().accept_blobs(data)

    def preprocess(self, payload: Any) -> Any:
        """Return the pictures. Raises `gr.Error` for files that are none, and for those that the app made."""
        files = [] if payload is None else [payload.background, payload.composite, *payload.layers]
        if any(is_private(file.path) for file in files if file is not None):
            raise said.refusal("This file is no upload: choose it from your disk.", "Picture")
        try:
            return super().preprocess(payload)
        except (OSError, ValueError, SyntaxError, KeyError, Image.DecompressionBombError):
            raise said.refusal(
                "This file cannot be read as a picture: give a PNG, JPEG or WebP.", "Picture"
            ) from None


@dataclass(frozen=True)
class PictureField:
    """What is folded away under the sampling fields."""

    fold: gr.Accordion
    hint: gr.Markdown
    editor: gr.ImageEditor
    amount: gr.Number

    @property
    def values(self) -> dict[str, gr.components.Component]:
        """What a run is given, by the names of an endpoint's arguments."""
        return {"picture": self.editor, "amount": self.amount}

    @property
    def following(self) -> list[gr.components.Component]:
        """What changes with the model, in the order of `follow`."""
        return [self.hint, self.editor, self.amount]


def picture_field(page: str) -> PictureField:
    """Draw the field; inside a form's column."""
    with gr.Accordion("From a picture", open=False, elem_classes=["da-fold", "da-from-picture"]) as fold:
        hint = gr.Markdown(words(USUAL), elem_classes="da-hint")
        editor = PictureEditor(
            label="Picture",
            show_label=False,
            type="pil",
            format="png",
            sources=("upload", "clipboard"),
            transforms=(),
            layers=False,
            brush=gr.Brush(default_size="auto", colors=[BRUSH], default_color=BRUSH, color_mode="fixed"),
            placeholder="Drop a picture here",
            height=260,
            elem_id=f"{page}-inputs",
            elem_classes="da-editor",
        )
        # The other pages have no image of a run in view.
        gr.Button("Take the image of the run", size="sm", elem_classes="da-take", visible=page == RUNS_PAGE)
        amount = gr.Number(
            USUAL.default,
            label=AMOUNTS["strength"][0],
            info=said.as_hint(AMOUNTS["strength"][1]),
            step=0.05,
            elem_id=f"{page}-extra",
            min_width=60,
        )
    return PictureField(fold, hint, editor, amount)


def words(takes: TakesPicture | None) -> str:
    """Return what is said of the field for a model that takes such a picture, or none."""
    if takes is None:
        return _NONE
    return " ".join(filter(None, (_SAID[takes.task], takes.mask and _PAINT, _SIZED)))


def follow(model: str | None, takes: Callable[[str], TakesPicture | None]) -> list[Any]:
    """Return the updates of the field for another model. ``takes`` as `LocalBackend.takes_picture`."""
    try:
        found = takes(typed(model, "model"))
    except DiffAtlasError:
        # What is wrong with the model is said at its own field.
        found = USUAL
    shown = gr.update(visible=found is not None)
    if found is None or found.amount is None:
        return [words(found), shown, gr.update(visible=False)]
    label, info = AMOUNTS[found.amount]
    return [words(found), shown, said.hint(info, label=label, value=found.default, visible=True)]


def with_picture(
    params: GenerationParams,
    drawn: Mapping[str, Any] | None,
    amount: float | None,
    takes: Callable[[str], TakesPicture | None],
) -> GenerationParams:
    """Return a request with the picture of the field, if there is one: cropped to the request's size and scaled.

    drawn: Pillow images as `gr.ImageEditor` gives them, ``background`` and ``layers``; what is painted is the mask.
    amount: the strength, or how firmly a ControlNet holds; the pipeline's own where None.

    Raises `CapabilityError` or `InvalidParams` for a model that takes no such picture, and the errors of ``takes``.
    """
    picture, mask = picture_and_mask(drawn)
    if picture is None:
        return params
    return tasks.with_picture(params, picture, mask, amount, takes(params.model))


def picture_and_mask(drawn: Mapping[str, Any] | None) -> tuple[Any, Any]:
    """Return the picture (RGB, on white) and the mask (L, or None) of an editor's value; (None, None) of an empty one.

    Raises `InvalidParams` for a mask without a picture, and for too large a picture.
    """
    import numpy as np

    painted = [np.asarray(layer.convert("RGBA"))[..., 3] for layer in (drawn or {}).get("layers") or ()]
    painted = [alpha >= PAINTED for alpha in painted if alpha.max(initial=0) >= PAINTED]
    picture = (drawn or {}).get("background")
    if picture is None or not np.asarray(picture.convert("RGBA"))[..., 3].any():
        if painted:
            raise InvalidParams(
                "There is no picture under what is painted: choose one, or clear the field.", field="inputs"
            )
        return None, None
    if picture.width * picture.height > MAX_PIXELS:
        raise InvalidParams(
            f"The picture is of {picture.width:,} x {picture.height:,} pixels: give a smaller one.",
            field="inputs",
        )
    clear = picture.convert("RGBA")
    whole = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    mask = Image.fromarray(np.logical_or.reduce(painted).astype(np.uint8) * 255) if painted else None
    return whole, mask
