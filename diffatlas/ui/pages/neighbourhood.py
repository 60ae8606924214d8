"""The Neighbourhood page: what lies around a point of latent space."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import gradio as gr

from diffatlas.registry import list_models
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.study_form import StudyForm, build_neighbourhood_form, to_lanes
from diffatlas.ui.components.viewer import StudyIsland
from diffatlas.ui.study_runner import StudyRunner
from diffatlas.ui.study_services import StudyServices
from diffatlas.ui.study_wiring import model_info, run_page, wire_study
from diffatlas.ui.wiring import wire_run


def neighbourhood_page(app: gr.Blocks, services: StudyServices, runner: StudyRunner) -> StudyForm:
    """Draw the page inside ``app``, and return its form."""
    models = list_models("local")
    with gr.Row(elem_classes=["da-page", "da-page-neighbourhood"]):
        with gr.Column(scale=0, min_width=300, elem_classes="da-side"):
            form = build_neighbourhood_form(models, model_info(models[0].id))
        with gr.Column(scale=1, min_width=300, elem_classes="da-main"):
            island = StudyIsland("neighbourhood", services.functions, elem_id="neighbourhood")

    def neighbourhood(
        model: str,
        prompt: str,
        negative_prompt: str,
        seed: float,
        steps: float,
        guidance: float,
        size: str,
        scheduler: str,
        guidance_method: str,
        guidance_options: str,
        previews: str,
        preview_decoder: str,
        again: bool,
        lanes: list[str],
        exact: bool,
        seed_mode: str,
        mode: str,
        k: float,
        radius: float,
        spread: str,
        step: float,
        to_seed: float,
        stops: float,
        offset: float,
        request: gr.Request,
    ) -> Generator[dict[str, Any], None, None]:
        """Run a prompt from noise around one seed's, and stream the cells.

        Args:
            model: an id of the model list or of the Hub, or a pipeline folder; on a shared server of the list.
            prompt: what the image should show.
            negative_prompt: what guidance pushes away from.
            seed: the anchor's seed, a whole number.
            steps: number of denoising steps.
            guidance: guidance scale; at most 1 turns guidance off.
            size: width x height in pixels, such as 64x64.
            scheduler: a scheduler's name; empty for the model's own.
            guidance_method: a name of `diffatlas.guidance.METHODS`; empty for plain guidance.
            guidance_options: the method's options, such as eta=0.5, norm=10.
            previews: every, off, or the number of steps from one preview to the next.
            preview_decoder: linear or vae.
            again: whether to run even where the library has the same runs already.
            lanes: what further lanes differ in, such as scheduler=euler.
            exact: whether every cell runs alone, bit-equal to a single run.
            seed_mode: what becomes of the seed afterwards: keep, next or shuffle.
            mode: perturb, slerp (between two seeds) or offset (seeds near in number).
            k: how many neighbours, of perturb and offset.
            radius: of perturb, from 0 to 1.
            spread: even (out to the radius) or shell (all at the radius).
            step: of perturb, the step at whose state the noise is perturbed; 0 is the start.
            to_seed: of slerp, the seed at the other end.
            stops: of slerp, how many points on the way, both ends among them.
            offset: of offset, how far seeds may lie from the anchor's.
        """

        def asked() -> Any:
            base = (model, prompt, negative_prompt, seed, steps, guidance, size, scheduler)
            params = forms.to_params(*base, guidance_method, guidance_options)
            study = plan_neighbourhood(
                params,
                mode,
                k=forms.whole(k),
                radius=radius,
                spread=spread,
                step=forms.whole(step),
                to_seed=forms.whole(to_seed),
                stops=forms.whole(stops),
                offset=forms.whole(offset),
                lanes=to_lanes(lanes),
                exact=bool(exact),
            )
            return study, forms.to_capture(previews, preview_decoder)

        yield from run_page(runner, asked, again, seed_mode, request)

    wire_run(form, neighbourhood, island, runner.sessions, "neighbourhood")
    wire_study(app, form, island, runner)
    return form
