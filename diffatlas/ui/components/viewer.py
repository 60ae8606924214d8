"""What the pages show: Gradio components around the ES modules in ``static/``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from diffatlas.capture.taught import words_of
from diffatlas.formats.kinds import KINDS
from diffatlas.formats.study_kinds import STUDY_KINDS
from diffatlas.glossary import TERMS
from diffatlas.look import LAYERS
from diffatlas.operations.trace import shared_local_backend
from diffatlas.registry import ModelEntry, models_folder
from diffatlas.request import FIELDS, NAME, NUMBER, SIZE, TEXT, WHOLE
from diffatlas.ui.bench_files import OFFERED
from diffatlas.ui.components.bench_form import scorers_known
from diffatlas.ui.components.bench_view import IDLE as BENCH_IDLE
from diffatlas.ui.components.form import known
from diffatlas.ui.components.run_view import IDLE
from diffatlas.ui.components.study_view import IDLE as STUDY_IDLE
from diffatlas.ui.own_files import script
from diffatlas.ui.starts import start_of
from diffatlas.ui.workshop.held import held
from diffatlas.ui.workshop.plan import LESSONS

# `watch` is called at once and not after the import, so that no change is missed in between.
_LOAD = """
let changed = () => {};
watch("value", () => changed());
(async () => {
  const { modules } = await import(new URL(props.script, document.baseURI).href);
  const onSubmit = (asked) => trigger("submit", asked);
  changed = modules[props.module].mount(element, () => props.value, server, props, onSubmit) ?? changed;
})();
"""


class Island(gr.HTML):
    """An element in which a module of ``static/`` draws.

    The template does not mention the value, so the element and its WebGL context live as long as the page.
    module: the file, which exports ``mount(element, read, server, props, onSubmit)``; ``read`` returns
        the value, ``onSubmit(asked)`` submits an object.
    functions: what it may call on the server, as ``server.<name>``.
    """

    def __init__(self, module: str, value: Any, functions: list[Callable[..., Any]], **kwargs: Any) -> None:
        super().__init__(
            value=value,
            html_template='<div class="da-mount"><p class="da-mounting">Loading the view…</p></div>',
            js_on_load=_LOAD,
            apply_default_css=False,
            server_functions=functions,
            script=script(),
            module=module,
            kinds=[
                {"key": kind.key, "label": kind.label, "about": kind.about, "most": kind.most}
                for kind in KINDS.values()
            ],
            request=asked_fields(),
            **kwargs,
        )

    def postprocess(self, value: dict[str, Any] | None) -> dict[str, Any] | None:
        """Send the value as it is."""
        return value

    def api_info(self) -> dict[str, Any]:
        """The value is an object; see `run_view`."""
        return {"type": "object", "description": "one run: status, run, steps, points, image, totals, error"}


class Viewer(Island):
    """Shows one run as it grows, and the layers; its value is described in `run_view`.

    It submits ``{"fill": run}``. schedulers: the models' own, by id; words: those that models were taught, by id and
    kind.
    """

    def __init__(
        self,
        functions: list[Callable[..., Any]],
        schedulers: Mapping[str, str],
        words: Mapping[str, Mapping[str, Sequence[str]]],
        **kwargs: Any,
    ) -> None:
        glossary = {term.key: asdict(term) for term in TERMS}
        super().__init__(
            "trajectory/viewer.js",
            IDLE,
            functions,
            glossary=glossary,
            palette=list(LAYERS),
            schedulers=schedulers,
            words=words,
            idle=IDLE,
            start=start_of("trajectory"),
            **kwargs,
        )


class AttentionIsland(Island):
    """Shows what the words of a prompt look at; its value is that of `run_view`, the run in progress.

    It submits ``{"fill": run}``. schedulers: the models' own, by id.
    """

    def __init__(
        self, functions: list[Callable[..., Any]], schedulers: Mapping[str, str], **kwargs: Any
    ) -> None:
        glossary = {term.key: asdict(term) for term in TERMS}
        super().__init__(
            "attention/attention.js",
            IDLE,
            functions,
            glossary=glossary,
            palette=list(LAYERS),
            schedulers=schedulers,
            start=start_of("attention"),
            **kwargs,
        )


class LabIsland(Island):
    """The 2D Lab; it has no value, and asks for everything. Its lessons are told by their ids, in order."""

    def __init__(self, functions: list[Callable[..., Any]], **kwargs: Any) -> None:
        glossary = {term.key: asdict(term) for term in TERMS}
        workshop = held()
        super().__init__(
            "lab/lab.js",
            {},
            functions,
            glossary=glossary,
            palette=list(LAYERS),
            lessons=list(LESSONS if workshop is None else workshop.lessons),
            **kwargs,
        )


class LibraryView(Island):
    """Shows the runs of a library."""

    def __init__(self, functions: list[Callable[..., Any]], **kwargs: Any) -> None:
        super().__init__("library/library.js", {}, functions, **kwargs)


class SettingsIsland(Island):
    """The Settings page; it has no value, and asks for everything."""

    def __init__(self, functions: list[Callable[..., Any]], **kwargs: Any) -> None:
        super().__init__("settings/settings.js", {}, functions, **kwargs)


class StatusLine(Island):
    """The line at the head of every page; it has no value, and asks for what it says."""

    def __init__(self, functions: list[Callable[..., Any]], **kwargs: Any) -> None:
        super().__init__("settings/status.js", {}, functions, **kwargs)


class StudyIsland(Island):
    """Shows the cells of a study as they run; its value is described in `study_view`.

    It submits ``{"retry": [cell keys], "id": study}`` and ``{"open": study}``.
    """

    def __init__(self, operation: str, functions: list[Callable[..., Any]], **kwargs: Any) -> None:
        self.operation = operation
        glossary = {term.key: asdict(term) for term in TERMS}
        study_kinds = [
            {"key": kind.key, "label": kind.label, "about": kind.about} for kind in STUDY_KINDS.values()
        ]
        super().__init__(
            "study/study.js",
            STUDY_IDLE,
            functions,
            operation=operation,
            start=start_of(operation),
            glossary=glossary,
            study_kinds=study_kinds,
            palette=list(LAYERS),
            **kwargs,
        )

    def api_info(self) -> dict[str, Any]:
        """The value is an object; see `study_view`."""
        return {"type": "object", "description": "one study: status, study, cells, lanes, error"}


class BenchIsland(Island):
    """Shows a bench as it runs; its value is described in `bench_view`.

    It submits what `diffatlas.ui.wire.bench.BenchSubmitted` has.
    """

    def __init__(self, functions: list[Callable[..., Any]], **kwargs: Any) -> None:
        glossary = {term.key: asdict(term) for term in TERMS}
        scorers = [{"name": name, "about": about} for name, about in scorers_known()]
        files = [
            {"key": key, "label": label, "about": about, "of_lane": of_lane}
            for key, label, about, of_lane in OFFERED
        ]
        super().__init__(
            "bench/bench.js",
            BENCH_IDLE,
            functions,
            glossary=glossary,
            palette=list(LAYERS),
            scorers=scorers,
            files=files,
            **kwargs,
        )

    def api_info(self) -> dict[str, Any]:
        """The value is an object; see `bench_view`."""
        return {"type": "object", "description": "one bench: status, bench, changed, lanes, scorers, error"}


def asked_fields() -> list[dict[str, Any]]:
    """Return what the pages' scripts know of the fields of a request that forms have, by their names in a link.

    single: whether only single runs are asked for it; empties: whether it may be empty; short: whether a sentence can
    have its values.
    """
    backend = {"name": "backend", "called": "backend", "kind": NAME, "single": False, "empties": False}
    request = [
        {
            "name": field.link,
            "called": field.called,
            "kind": field.kind,
            "single": field.single,
            "empties": field.kind != SIZE and (field.optional or (field.kind == TEXT and not field.missing)),
            "short": field.kind in (WHOLE, NUMBER, SIZE) or field.name == "scheduler",
        }
        for field in FIELDS
        if field.in_forms
    ]
    return [{**backend, "short": True}, *request]


def own_schedulers(models: Sequence[ModelEntry]) -> dict[str, str]:
    """Return the name of the scheduler that each model has of its own, as far as its files are on this machine."""
    infos = {entry.id: known(shared_local_backend().info, entry.id) for entry in models}
    return {model: info.schedulers[0] for model, info in infos.items() if info and info.schedulers}


def own_words(models: Sequence[ModelEntry]) -> dict[str, dict[str, list[str]]]:
    """Return the words that models were taught, by kind, of those whose folder tells."""
    told = {entry.id: words_of(models_folder() / Path(entry.id).expanduser()) for entry in models}
    return {model: words for model, words in told.items() if words}
