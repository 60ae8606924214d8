"""The Sweep page: one prompt and seed over a list of values, in lanes that can be compared."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import gradio as gr

from diffatlas.library.study import Study
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

    def sweep(asked: Mapping[str, Any], request: gr.Request) -> Generator[dict[str, Any], None, None]:
        """Run a prompt over a list of values, and stream the cells.

        Args:
            seed: a whole number; of several rows, that of the first.
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

        def plan() -> Study:
            params, lanes = forms.to_params(asked), to_lanes(asked["lanes"])
            seeds, exact = forms.whole(asked["seeds"]), bool(asked["exact"])
            return plan_sweep(
                params,
                asked["field"],
                asked["values"],
                seeds=seeds,
                lanes=lanes,
                exact=exact,
                backend=forms.to_backend(asked),
            )

        yield from run_page(runner, plan, asked, request)

    wire_run(form, sweep, island, runner.sessions, "sweep")
    wire_study(app, form, island, runner)
    return form
