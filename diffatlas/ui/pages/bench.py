"""The Bench page: a pack of prompts, run and judged, by scorers and by hand."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from diffatlas.backends.model_info import ModelInfo
from diffatlas.bench.bench import Bench
from diffatlas.bench.keep import capture_of
from diffatlas.bench.plan import plan_bench
from diffatlas.capture.spec import Capture
from diffatlas.library import Library
from diffatlas.registry import ModelEntry, list_models
from diffatlas.ui.bench_packs import pack_of
from diffatlas.ui.bench_runner import BenchRunner
from diffatlas.ui.bench_services import BenchServices
from diffatlas.ui.bench_wiring import wire_bench
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.bench_form import PAGE, build_bench_form, to_scorers
from diffatlas.ui.components.study_form import StudyForm, lanes_beside, to_lanes
from diffatlas.ui.components.viewer import BenchIsland
from diffatlas.ui.study_wiring import model_info
from diffatlas.ui.visitors import visitor_of
from diffatlas.ui.wiring import wire_form, wire_run


def bench_page(
    app: gr.Blocks, services: BenchServices, runner: BenchRunner, around: StudyForm | None, attention: Any
) -> StudyForm:
    """Draw the page inside ``app``, and return its form.

    A card's settings fill the form of neighbourhoods, ``around``, or that of ``attention``, where there are such pages.
    """
    models = list_models("local")
    with gr.Row(elem_classes=["da-page", f"da-page-{PAGE}"]):
        with gr.Column(scale=0, min_width=300, elem_classes="da-side"):
            form, counted = build_bench_form(models, model_info(models[0].id))
        with gr.Column(scale=1, min_width=300, elem_classes="da-main"):
            island = BenchIsland(services.functions, elem_id=PAGE)

    def bench(asked: Mapping[str, Any], request: gr.Request) -> Generator[dict[str, Any], None, None]:
        """Run the prompts of a pack with several seeds, judge the images, and stream what changes.

        Args:
            prompt: not looked at: the prompts are those of the pack.
            seed: a whole number, the first seed.
            previews: every, off, or the number of steps from one preview to the next.
            preview_decoder: linear or vae.
            again: whether to run even where the library has the same runs already.
            lanes: what further lanes differ in, such as scheduler=euler.
            exact: whether every image is made alone, bit-equal to a single run.
            seed_mode: keep.
            pack: the name of a pack.
            each: how many prompts of each category; empty for as many as the pack has by itself.
            pack_seed: draws the prompts.
            seeds: how many images of each prompt.
            scorers: the names of what judges.
            kept: what is kept of each image: paths, attention (these, and what each word looked at) or pictures.
        """

        def plan(library: Library) -> tuple[Bench, Capture]:
            pack = pack_of(library, asked["pack"], asked["each"], asked["pack_seed"])
            params = forms.to_params({**asked, "prompt": pack.tasks[0].prompt})
            planned = plan_bench(
                pack,
                params,
                seeds=forms.whole(asked["seeds"]),
                lanes=to_lanes(asked["lanes"]),
                scorers=to_scorers(asked["scorers"]),
                exact=bool(asked["exact"]),
                backend=forms.to_backend(asked),
            )
            named = {name: forms.whole(asked[name]) for name in ("pack", "each", "pack_seed")}
            spec = {**planned.study.spec, "asked": named}
            capture = capture_of(str(asked["kept"]))
            if capture.latents:
                looks = forms.to_capture(asked["previews"], asked["preview_decoder"])
                capture = replace(capture, previews=looks.previews, preview_decoder=looks.preview_decoder)
            return replace(planned, study=replace(planned.study, spec=spec)), capture

        session = request.session_hash
        yield from runner.run_bench(visitor_of(request, session), session, plan, reuse=not asked["again"])

    def follow(entry: ModelEntry, info: ModelInfo | None) -> list[Any]:
        return [gr.update(choices=lanes_beside(entry, info), value=[])]

    sized = wire_run(form, bench, island, runner.sessions, PAGE)
    last = wire_form(app, form, PAGE, runner.sessions, [form.lanes], follow)
    wire_bench(app, form, island, runner, services, last, around, attention, counted, sized)
    return form
