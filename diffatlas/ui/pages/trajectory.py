"""The Trajectory page: one prompt, its runs, and their paths from noise to image."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import gradio as gr

from diffatlas.operations.projections import Projections
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.registry import list_models
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.form import Form, build_form
from diffatlas.ui.components.picture_field import with_picture
from diffatlas.ui.components.viewer import Viewer, own_schedulers, own_words
from diffatlas.ui.layers import Layers
from diffatlas.ui.live_runs import Asked, LiveRuns, Shelf
from diffatlas.ui.services import Services
from diffatlas.ui.tab_memory import empty_when_quiet
from diffatlas.ui.turns import Turns
from diffatlas.ui.visitors import visitor_of
from diffatlas.ui.wiring import wire_form, wire_note, wire_picture, wire_run


def trajectory_page(app: gr.Blocks, layers: Layers, turns: Turns, projections: Projections) -> Form:
    """Draw the page inside ``app``, and return its form.

    Runs take ``turns`` with the other pages', and go to the visitor's library, of which ``layers`` shows some.
    """
    models = list_models("local")
    names = {entry.id: entry.name for entry in models}
    backend = shared_local_backend()
    services = Services(layers, backend, names, projections)
    empty_when_quiet(services)

    def listed(visitor: str) -> list[dict[str, Any]]:
        # Whoever has a run may want to see its path.
        projections.prepare()
        return services.list_layers(visitor)["layers"]

    shelf = Shelf(layers.library, layers.begin, layers.lock, listed, layers.check_room)
    live = LiveRuns(backend, names, turns, shelf)

    with gr.Row(elem_classes=["da-page", "da-page-trajectory"]):
        with gr.Column(scale=0, min_width=300, elem_classes="da-side"):
            form = build_form(models, forms.known(backend.info, models[0].id))
        with gr.Column(scale=1, min_width=300, elem_classes="da-main"):
            viewer = Viewer(
                [*services.functions, live.growing.function],
                own_schedulers(models),
                own_words(models),
                elem_id="viewer",
            )

    def reading(*values: Any) -> Callable[[], Asked]:
        *base, previews, decoder, runs, seed_mode, again, method, options, attention, noise, images = values[
            :18
        ]
        picture, amount = values[18:]

        def asked() -> Asked:
            params = forms.to_params(*base, method, options, noise, images)
            params = with_picture(params, picture, amount, backend.takes_picture)
            capture = forms.to_capture(previews, decoder, attention)
            return Asked(params, capture, forms.to_runs(runs, seed_mode), seed_mode, not again)

        return asked

    def trace(
        model: str,
        prompt: str,
        negative_prompt: str,
        seed: float,
        steps: float,
        guidance: float,
        size: str,
        scheduler: str,
        previews: str,
        preview_decoder: str,
        runs: float,
        seed_mode: str,
        again: bool,
        guidance_method: str,
        guidance_options: str,
        attention: str,
        noise: str,
        images: float,
        request: gr.Request,
        picture: dict[str, Any] | None = None,
        amount: float | None = None,
    ) -> Generator[dict[str, Any], None, None]:
        """Run a prompt, once or several times, and stream the steps.

        Args:
            model: an id of the model list or of the Hub, or a pipeline folder; on a shared server of the list.
            prompt: what the image should show.
            negative_prompt: what guidance pushes away from.
            seed: a whole number; of several runs, that of the first.
            steps: number of denoising steps.
            guidance: guidance scale; at most 1 turns guidance off.
            size: width x height in pixels, such as 64x64.
            scheduler: a scheduler's name; empty for the model's own.
            previews: every, off, or the number of steps from one preview to the next.
            preview_decoder: linear or vae.
            runs: how many runs, one after another; all but the last become locked layers.
            seed_mode: what becomes of the seed after a run: keep, next or shuffle.
            again: whether to run even where the library has the same run already.
            guidance_method: a name of `diffatlas.guidance.METHODS`; empty for plain guidance.
            guidance_options: the method's options, such as eta=0.5, norm=10.
            attention: what to capture of attention: off, cross (what each word looks at) or all (places as well).
            noise: what the seed's noise becomes, such as perturb, seed=8, amount=0.3; empty for nothing.
            images: how many images in one batch.
            picture: what the run begins from or is held to, and what is painted over it; empty for none.
            amount: how much noise the picture gets, or how firmly it is held to.
        """
        base = (model, prompt, negative_prompt, seed, steps, guidance, size, scheduler)
        capture = (previews, preview_decoder)
        rest = (guidance_method, guidance_options, attention, noise, images, picture, amount)
        asked = reading(*base, *capture, runs, seed_mode, again, *rest)
        yield from live.stream(prompt, model, asked, request)

    def follow(request: gr.Request, *values: Any) -> Generator[dict[str, Any], None, None]:
        yield from live.follow(values[1], values[0], reading(*values), request)

    def forget(request: gr.Request) -> None:
        if not visitor_of(request):
            layers.forget(visitor_of(request, request.session_hash))

    wire_run(form, trace, viewer, live.sessions, "trace", follow)

    def params_of(request: gr.Request, run_id: Any) -> GenerationParams:
        visitor = visitor_of(request, request.session_hash)
        return layers.library(visitor).open(layers.find(visitor, run_id).id).params

    last = wire_form(app, form, "field", live.sessions, forget=forget, warns=True)
    wire_note(form, viewer, last, params_of)
    wire_picture(form)
    return form
