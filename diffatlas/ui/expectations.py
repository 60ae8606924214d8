"""What a form says of a run before it runs: that its size is not the model's, and how long it should take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from diffatlas.backends.bounds import Bounds, sentence
from diffatlas.backends.estimate import Estimate
from diffatlas.backends.hosted import money
from diffatlas.backends.model_info import ModelInfo
from diffatlas.capture.spec import Capture
from diffatlas.errors import DiffAtlasError, OverBound
from diffatlas.params import GenerationParams
from diffatlas.registry import HOSTED
from diffatlas.ui import said
from diffatlas.ui.components import form as forms
from diffatlas.ui.places import LOCAL, name_of

#: The fields of a form that decide what a run takes, by their names in a link.
ASKED = ("model", "steps", "guidance", "size", "scheduler", "guidance_method", "backend")
#: No estimate depends on it, but a request has one.
_PROMPT = "a picture"


def told(backend: Any, bounds: Bounds, refused: bool, asked: Mapping[str, Any]) -> list[Any]:
    """Return updates of what `expected_field` draws: hidden where the size is the model's and the time is short.

    refused: whether the last run was, because of what it should take. asked: the values of `ASKED`.
    """
    words, over = "", refused
    try:
        params = forms.to_params({**asked, "prompt": _PROMPT})
        place = forms.to_backend(asked)
        if place in HOSTED:
            return _paid(place, params)
        if place != LOCAL:
            # How long it takes there is not known here.
            return [gr.update(value="", visible=False), gr.update(visible=False)]
        estimate = backend.estimate(params, Capture())
        info = forms.known(backend.info, params.model)
        if estimate is None:
            words = _unmeasured(params, info)
        else:
            try:
                bounds.check(estimate)
            except OverBound:
                over = True
            if over or (params.width, params.height) != estimate.own:
                words = _whole(estimate, over, bounds)
    except DiffAtlasError:
        # What is wrong with a field is for the run to say.
        over = False
    offers = over and not bounds.shared
    return [gr.update(value=words, visible=bool(words)), gr.update(visible=offers)]


def image_of(backend: str, params: GenerationParams) -> tuple[str, str, int | None, int | None]:
    """Return an image of a provider as `diffatlas.backends.hosted.money.estimate` takes it."""
    return backend, params.model, params.width, params.height


def _paid(backend: str, params: GenerationParams) -> list[Any]:
    """Return the updates for a provider: what one image costs there."""
    (one,) = money.estimate([image_of(backend, params)]).parts
    listed = f"models/{backend}.md"
    price = (
        f"is not known to {listed}"
        if one.dollars is None
        else (f"is about {money.dollars_words(one.dollars)} by {listed}")
    )
    words = f"The price of an image of {one.name} at {name_of(backend)} {price}."
    return [gr.update(value=said.as_html(words), visible=True), gr.update(visible=False)]


def asked_again(question: str) -> list[Any]:
    """Return updates of what `expected_field` draws: the question of a run that was refused, and the button."""
    return [gr.update(value=said.as_html(question), visible=True), gr.update(visible=True)]


def _whole(estimate: Estimate, over: bool, bounds: Bounds) -> str:
    if not over:
        return sentence(estimate)
    end = "which is more than this server allows." if bounds.shared else "Run it all the same?"
    words = sentence(estimate)
    return f"{words[:-1]}, {end}" if bounds.shared else f"{words} {end}"


def _unmeasured(params: GenerationParams, info: ModelInfo | None) -> str:
    if info is None or (params.width, params.height) == (info.width, info.height):
        return ""
    return (
        f"This model was made for {info.width} x {info.height}; how long {params.width} x {params.height} takes here "
        "is known once it has run."
    )
