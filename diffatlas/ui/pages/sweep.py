"""The Sweep page: one prompt and seed over a list of values, in lanes that can be compared."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import gradio as gr

from diffatlas.registry import list_models
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.study_form import StudyForm, build_sweep_form, to_lanes
from diffatlas.ui.components.viewer import StudyIsland
from diffatlas.ui.study_runner import StudyRunner
from diffatlas.ui.study_services import StudyServices
from diffatlas.ui.study_wiring import model_info, run_page, wire_study
from diffatlas.ui.wiring import wire_run


def sweep_page(app: gr.Blocks, services: StudyServices, runner: StudyRunner) -> StudyForm:
    """Draw the page inside ``app``, and return its form."""
    models = list_models("local")
    with gr.Row(elem_classes=["da-page", "da-page-sweep"]):
        with gr.Column(scale=0, min_width=300, elem_classes="da-side"):
            form = build_sweep_form(models, model_info(models[0].id))
        with gr.Column(scale=1, min_width=300, elem_classes="da-main"):
            island = StudyIsland("sweep", services.functions, elem_id="sweep")

    def sweep(
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
        field: str,
        values: str,
        seeds: float,
        request: gr.Request,
    ) -> Generator[dict[str, Any], None, None]:
        """Run a prompt over a list of values, and stream the cells.

        Args:
            model: an id of the model list or of the Hub, or a pipeline folder; on a shared server of the list.
            prompt: what the image should show.
            negative_prompt: what guidance pushes away from.
            seed: a whole number; of several rows, that of the first.
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
            field: what is swept: guidance_scale, guidance_method, num_inference_steps, scheduler or seed.
            values: the values, with commas.
            seeds: how many seeds, a row each.
        """

        def asked() -> Any:
            base = (model, prompt, negative_prompt, seed, steps, guidance, size, scheduler)
            params = forms.to_params(*base, guidance_method, guidance_options)
            study = plan_sweep(
                params, field, values, seeds=forms.whole(seeds), lanes=to_lanes(lanes), exact=bool(exact)
            )
            return study, forms.to_capture(previews, preview_decoder)

        yield from run_page(runner, asked, again, seed_mode, request)

    wire_run(form, sweep, island, runner.sessions, "sweep")
    wire_study(app, form, island, runner)
    return form
