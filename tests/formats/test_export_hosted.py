"""Exports of a run that a provider made: an image, and no step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffatlas.errors import CapabilityError
from diffatlas.events import Finished, Image, Started
from diffatlas.formats.code import run_code
from diffatlas.formats.hosted import backend_of, hosted_run
from diffatlas.formats.kinds import KINDS, export
from diffatlas.formats.named import Named
from diffatlas.formats.sheet.shapes import facts
from diffatlas.formats.static import write
from diffatlas.library import Library
from diffatlas.params import GenerationParams
from diffatlas.run import Run, new_run_id

WHY = "Replicate shows no latents: a hosted service returns only the finished image."
#: What shows steps, of which there are none.
OF_STEPS = ("gif", "mp4", "html")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder: Path = tmp_path_factory.mktemp("library")
    params = GenerationParams(
        model="black-forest-labs/flux-schnell",
        prompt="a red circle",
        seed=7,
        num_inference_steps=4,
        width=64,
        height=64,
    )
    hosted = {
        "provider": "Replicate",
        "model": params.model,
        "sent": {"seed": 7},
        "request_id": "p1",
        "seed": None,
    }
    said = {**hosted, "seed": 7, "told": {"metrics": {"predict_time": 0.42}}}
    ignored = {"guidance_scale": "FLUX.1 schnell takes no guidance scale: 5 is not sent."}
    known = {"backend": "replicate", "hosted": hosted, "ignored": ignored}
    events = [
        Started(new_run_id(), params, None, None, None, known),
        Image(0, np.full((64, 64, 3), 90, np.uint8)),
        Finished("complete", 1.5, missing={"latents": WHY}, provenance={"hosted": said}),
    ]
    library = Library(folder)
    for _ in library.record(iter(events), "trace"):
        pass
    return library.load(events[0].run_id)


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_export_is_made_or_says_why_not(run: Run, kind: str) -> None:
    named = [Named("one", run, "#800000")]
    if kind in OF_STEPS:
        with pytest.raises(CapabilityError) as refused:
            export(kind, named)
        assert refused.value.message.startswith(WHY)
    else:
        assert export(kind, named)


def test_a_static_folder_is_refused_with_the_reason(run: Run) -> None:
    with pytest.raises(CapabilityError, match="shows no latents"):
        write.plan(run)


def test_the_lines_of_python_open_the_provider(run: Run) -> None:
    code = run_code(run.params, run.capture, run.provenance, run.id)
    compile(code, "lines", "exec")
    assert "diffatlas.trace(params, capture, backend='replicate')" in code


def test_what_is_printed_says_who_made_it_and_leaves_out_what_was_not_heeded(run: Run) -> None:
    assert "at Replicate" in facts(run)
    assert "4 steps" in facts(run)
    assert "guidance" not in facts(run)
    assert hosted_run(run.provenance).told[:3] == (
        ("request", "p1"),
        ("seed", "7"),
        ("metrics predict_time", "0.42"),
    )


@pytest.mark.parametrize("found", [None, "x", {"sent": 3, "told": [1], "provider": {"a": 1}}])
def test_what_an_imported_run_says_of_a_provider_is_read_as_it_is(found: object) -> None:
    told = hosted_run({"hosted": found, "ignored": 5})
    assert (told is None) == (not isinstance(found, dict))
    assert backend_of({"backend": ["replicate"], "hosted": found}) == "local"
