"""Record the examples that the pages begin with: runs and studies of the embedded model, a library in a folder.

Run from the project's root::

    python -m docs.record_examples
    python -m docs.record_examples others

It replaces ``diffatlas/examples``, or with ``others`` only the runs that can be looked at besides (`OTHERS`). What is
asked is in `diffatlas.ui.starts`.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from diffatlas import Capture, GenerationParams, Library
from diffatlas.library.shipped import EXAMPLES
from diffatlas.library.study import Study
from diffatlas.operations.trace import shared_local_backend, trace
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.studies.run import run_study
from diffatlas.ui.presets import Preset
from diffatlas.ui.starts import IDS_FILE, NEIGHBOURS, OTHERS, OTHERS_ATTENTION_EVERY, RADIUS, SCALES, STARTS

README = """# Examples

Recorded runs and studies of the embedded model, laid out as a library is: what each page shows before anything has
run. `python -m docs.record_examples` makes them again; `starts.json` says which belongs to which page. They are
only read. To keep the folder small, the neighbours are kept without the model's single predictions, and the run whose
colours change places without any prediction, with attention at every fifth step.
"""


def request(preset: Preset) -> GenerationParams:
    """What a form asks that a preset of single runs has filled."""
    guidance = preset.settings.get("guidance_scale", 3.0)
    return GenerationParams(
        model="shapes",
        prompt=preset.prompt,
        seed=preset.seed,
        num_inference_steps=30,
        guidance_scale=guidance,
        width=64,
        height=64,
    )


def record_others(library: Library) -> dict[str, str]:
    """Record the runs of `OTHERS` into a library; return their ids by name."""
    small = Capture(
        previews="every",
        preview_decoder="linear",
        predictions=False,
        x0=False,
        attention="cross",
        attention_every=OTHERS_ATTENTION_EVERY,
    )
    return {
        name: trace(request(start.preset), capture=small, library=library).id
        for name, (_, start) in OTHERS.items()
    }


def replace_others() -> None:
    """Record the runs of `OTHERS` anew, and leave all else as it is."""
    known = json.loads(IDS_FILE.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Path(folder) / "examples")
        for name, run_id in record_others(library).items():
            if name in known:
                shutil.rmtree(EXAMPLES / known[name], ignore_errors=True)
            shutil.copytree(library.folder / run_id, EXAMPLES / run_id)
            known[name] = run_id
    IDS_FILE.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def record_study(study: Study, library: Library, capture: Capture) -> str:
    """Run a study into a library; return its id."""
    for _ in run_study(study, lambda _: shared_local_backend(), library, capture, reuse=False):
        pass
    return study.id


def main() -> None:
    """Record everything and put it in place."""
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Path(folder) / "examples")
        whole = Capture(previews="every", preview_decoder="linear")
        run = trace(
            request(STARTS["trajectory"].preset),
            capture=Capture(previews="every", attention="cross"),
            library=library,
        )
        sweep = plan_sweep(request(STARTS["sweep"].preset), "guidance_scale", SCALES)
        around = plan_neighbourhood(request(STARTS["neighbourhood"].preset), k=NEIGHBOURS, radius=RADIUS)
        small = Capture(previews="every", preview_decoder="linear", predictions=False)
        ids = {
            "trajectory": run.id,
            "attention": run.id,
            "sweep": record_study(sweep, library, whole),
            "neighbourhood": record_study(around, library, small),
            **record_others(library),
        }
        (library.folder / "README.md").write_text(README, encoding="utf-8")
        (library.folder / IDS_FILE.name).write_text(json.dumps(ids, indent=1) + "\n", encoding="utf-8")
        for index in library.folder.glob("*.sqlite*"):
            index.unlink()
        shutil.rmtree(EXAMPLES, ignore_errors=True)
        shutil.copytree(library.folder, EXAMPLES)


if __name__ == "__main__":
    replace_others() if sys.argv[1:] == ["others"] else main()
