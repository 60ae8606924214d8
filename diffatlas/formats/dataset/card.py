"""The card of a dataset: what the Hub reads (YAML), what a person reads (Markdown), and a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffatlas.formats.dataset.schema import (
    ATTENTION,
    CARD,
    CONFIGS,
    DATA,
    LICENCES,
    SHEET,
    STUDIES,
    TAG,
    one_line,
)
from diffatlas.library import reader

if TYPE_CHECKING:
    from diffatlas.formats.dataset.write import Exported

#: Runs that the card's table and its picture show at most.
TABLE_RUNS = 100
SHEET_RUNS = 8
#: Pictures in a line of the contact sheet, and their longest side and distance in pixels.
COLUMNS = 8
TILE, GAP = 128, 8
_PAPER = (250, 247, 240)
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~$:@])")
_WWW = re.compile(r"(www)\.", re.IGNORECASE)


def write_card(
    folder: Path,
    runs: Sequence[Exported],
    *,
    per: str,
    licence: str,
    title: str,
    description: str,
    rows: Mapping[str, int],
) -> None:
    """Write the card, and a contact sheet where the runs have pictures, into the folder of a dataset.

    rows: how many each table has.
    """
    from huggingface_hub import DatasetCard, DatasetCardData

    title = one_line(title)[:200] or "Runs of Diffusion Atlas"
    sheet = contact_sheet(runs)
    if sheet is not None:
        from PIL import Image as Pictures

        Pictures.fromarray(sheet).save(folder / SHEET)
    data = DatasetCardData(
        license=licence,
        pretty_name=title,
        size_categories=_size_category(rows[DATA]),
        tags=[TAG, "diffusers", "text-to-image", "image", "latents"],
        # The table of the runs is the one that is shown and loaded first.
        configs=[
            {
                "config_name": CONFIGS[table],
                **({"default": True} if table == DATA else {}),
                "data_files": [{"split": "train", "path": f"{table}/train-*.parquet"}],
            }
            for table in rows
        ],
    )
    body = _body(
        runs,
        per=per,
        licence=licence,
        title=title,
        description=description,
        rows=rows,
        picture=sheet is not None,
    )
    card = DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{body}")
    (folder / CARD).write_text(str(card), encoding="utf-8", errors="backslashreplace")


def as_text(value: object) -> str:
    """Return untrusted text for Markdown: on one line, nothing in it read as HTML or markup."""
    text = one_line(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Escaping the colon, the at and the point of www. also keeps a bare address from becoming a link.
    return _WWW.sub(r"\1\\.", _MARKUP.sub(r"\\\1", text))


def contact_sheet(runs: Sequence[Exported]) -> np.ndarray | None:
    """Return a picture (H, W, 3), uint8, of the first `SHEET_RUNS` runs, or None where they have none.

    A line is a run, from its first preview to its final image; runs without previews share the lines.
    """
    strips = [strip for run in runs[:SHEET_RUNS] if (strip := _strip(run))]
    if not strips:
        return None
    if all(len(strip) == 1 for strip in strips):
        finals = [picture for strip in strips for picture in strip]
        strips = [finals[i : i + COLUMNS] for i in range(0, len(finals), COLUMNS)]
    height = len(strips) * (TILE + GAP) + GAP
    width = max(len(strip) for strip in strips) * (TILE + GAP) + GAP
    sheet = np.full((height, width, 3), _PAPER, np.uint8)
    for row, strip in enumerate(strips):
        for column, picture in enumerate(strip):
            top, left = row * (TILE + GAP) + GAP, column * (TILE + GAP) + GAP
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def _strip(run: Exported) -> list[np.ndarray]:
    """Return thumbnails of previews, spread evenly over the run, and of the first final image."""
    folder = run.stored.folder
    with reader.reading(folder):
        finals = reader.read_images(folder)[:1]
        previewed = [line for line in run.lines if line["previews"]]
        room = COLUMNS - len(finals)
        if len(previewed) > room:
            previewed = [previewed[round(i)] for i in np.linspace(0, len(previewed) - 1, room)]
        pictures = [reader.read_preview(folder, line)[0] for line in previewed]
    return [_thumbnail(picture) for picture in [*pictures, *finals]]


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    from PIL import Image as Pictures

    scale = TILE / max(pixels.shape[:2])
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    kind = Pictures.Resampling.NEAREST if scale > 1 else Pictures.Resampling.LANCZOS
    return np.asarray(Pictures.fromarray(pixels).resize(size, kind))


def _body(
    runs: Sequence[Exported],
    *,
    per: str,
    licence: str,
    title: str,
    description: str,
    rows: Mapping[str, int],
    picture: bool,
) -> str:
    models = sorted({run.stored.params.model for run in runs})
    parts = [f"# {as_text(title)}"]
    if description.strip():
        parts.append(description.strip())
    if picture:
        parts.append(f"![Contact sheet: each line is a run, from noise to image]({SHEET})")
    count = f"{len(runs)} run" + ("s" if len(runs) != 1 else "")
    what = "run" if per == "run" else "state of a run (step 0 is the noise)"
    made = ", ".join(as_text(model) for model in models)
    parts += [
        f"{count} of text-to-image diffusion, recorded step by step with Diffusion Atlas; {rows[DATA]} rows, one per "
        f"{what}. Made with: {made}.",
        "## Load it",
        _LOAD_RUN if per == "run" else _LOAD_STEP,
        *([_LOAD_ATTENTION] if ATTENTION in rows else []),
        "## Open it in Diffusion Atlas",
        "```bash\ndiffatlas dataset import PATH_OR_USER/NAME\n```\n\nThe runs come back bit for bit: latents, "
        "predictions, pictures, numbers, parameters and marks. " + _kept_words(runs, rows),
        "## Columns",
        _COLUMNS[per],
        *([_ATTENTION_COLUMNS.format(rows[ATTENTION])] if ATTENTION in rows else []),
        *([_STUDY_COLUMNS.format(rows[STUDIES])] if STUDIES in rows else []),
        "## Runs",
        _table(runs),
        "## Licence",
        f"{LICENCES[licence]}. The licences of the models apply to what they made, too.",
    ]
    return "\n\n".join(parts) + "\n"


def _kept_words(runs: Sequence[Exported], rows: Mapping[str, int]) -> str:
    """Say what of attention and of studies is here."""
    if ATTENTION in rows:
        words = "So does their attention, which is a table of its own."
    elif any(run.left_out for run in runs):
        words = "Their attention was left out."
    else:
        words = "They were recorded without attention."
    return words + (" The studies that they are of come back with them." if STUDIES in rows else "")


def _table(runs: Sequence[Exported]) -> str:
    lines = ["| Run | Prompt | Model | Seed | Steps | Guidance | Size | Scheduler |", "|---" * 8 + "|"]
    for run in runs[:TABLE_RUNS]:
        params = run.stored.params
        prompt = params.prompt if len(params.prompt) <= 160 else params.prompt[:159] + "…"
        cells = (
            run.stored.id,
            prompt,
            params.model,
            "" if params.seed is None else params.seed,
            len(run.lines),
            f"{params.guidance_scale:g}",
            f"{params.width} × {params.height}",
            params.scheduler,
        )
        lines.append("| " + " | ".join(as_text(cell) for cell in cells) + " |")
    if len(runs) > TABLE_RUNS:
        lines.append(f"\nand {len(runs) - TABLE_RUNS} more.")
    return "\n".join(lines)


def _size_category(rows: int) -> str:
    limits = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((name for limit, name in limits if rows < limit), "1M<n<10M")


_LOAD_RUN = """```python
from datasets import load_dataset
from safetensors.numpy import load

runs = load_dataset("PATH_OR_USER/NAME", split="train")  # streaming=True works, too
run = runs[0]
run["image"]                                # the final image
latents = load(run["latents"])["latents"]   # (T + 1, B, ...): the path, x_T first
```"""

_LOAD_STEP = """```python
from datasets import load_dataset
from safetensors.numpy import load

states = load_dataset("PATH_OR_USER/NAME", split="train")  # streaming=True works, too
state = states[1]
state["preview"]                              # what the model expects the image to be
latents = load(state["latents"])["latents"]   # (1, B, ...): the state after this step
```"""

_LOAD_ATTENTION = """```python
maps = load_dataset("PATH_OR_USER/NAME", "attention", split="train")  # not fetched unless it is asked for
row = maps[0]
row["step"], row["layer"], row["entropy"]     # which map it is, and how spread it is (nats)
weights = load(row["maps"])["maps"]           # (B, tokens, rows, columns): how much each place looks at each token
weights[0, row["words"].index("red")]         # the first token of the word "red"
```"""

_ATTENTION_COLUMNS = """The table `attention`, {} rows, one for each map of a layer at a step:

| Column | What it holds |
|---|---|
| `run_id`, `step` | of which run, and of which step (1 is the first) |
| `kind`, `layer`, `block`, `heads`, `grid` | `cross` (to the text) or `self`; the layer's name in the model, its \
part, its heads, and its rows and columns |
| `entropy`, `entropy_share` | mean entropy over the tokens (of self-attention, over the places), in nats, and as a \
share of the most that there can be |
| `words`, `tokens`, `activation` | for each token the word of the prompt, the token as text, and its mean weight over \
the places; none for self-attention |
| `shape`, `maps` | safetensors: `maps` (B, tokens, rows, columns); of self-attention (B, rows, columns, rows, \
columns), the place that looks first. An axis in front is that of the two halves of guidance, one after B that of the \
heads, where they were kept |

The measures are those of the first image of the batch and of its conditional half, with the heads averaged."""

_STUDY_COLUMNS = """The table `studies`, {} rows, one for each study:

| Column | What it holds |
|---|---|
| `study_id`, `operation`, `title`, `created`, `status` | which study, what it did, and how it ended |
| `runs`, `cells` | its runs; its cells, each with its lane, its place, its label and its run |
| `image_cells`, `images` | pictures of cells that left no run |
| `study`, `locked` | the file of the study and whether its runs are to stay, for the import |"""

_SHARED = """| `model`, `prompt`, `negative_prompt`, `seed`, `num_inference_steps`, `guidance_scale`, \
`width`, `height`, `scheduler`, `num_images_per_prompt` | what was asked, in diffusers' names |
| `guidance_method`, `guidance_options`, `noise` | the method of guidance and its options, and what the noise was made \
of besides that of the seed, as JSON |
| `inputs` | the pictures that the run was given |
| `status`, `created` | how the run ended, and when it began (UTC) |
| `manifest`, `steps_jsonl`, `marks` | the files of the run, for the import |"""

_COLUMNS = {
    "run": f"""| Column | What it holds |
|---|---|
| `run_id` | which run: also the name of its folder in a library |
| `image`, `more_images` | the final image, and the others of the batch |
| `previews`, `preview_steps` | pictures of the estimate x0, and the step of each (1 is the first) |
| `latents` | safetensors: `latents` (T + 1, B, ...), x_T first; `start_latents` (K, B, ...), the state before a step, \
where it was changed after the step before |
| `predictions` | safetensors: `noise_pred`, `cond_pred`, `uncond_pred`, `x0_pred`, `other_preds/...`, those that were \
captured, each (K, B, ...); `steps` in its metadata says which steps |
| `timesteps`, `sigmas`, `metrics` | one number per step; sigma is the noise level after the step |
| `path_length`, `chord`, `straightness`, `mean_curvature`, `dimensions_95` | of the path of the first image: its \
length, the distance from its beginning to its end, that distance by the length, its mean turn in degrees, and the \
dimensions that hold 95% of it |
| `initial_sigma`, `steps`, `total_steps`, `seconds` | noise level of x_T, steps done and planned, wall-clock time |
| `name`, `tags`, `note` | what the owner wrote about the run |
{_SHARED}""",
    "step": f"""| Column | What it holds |
|---|---|
| `run_id`, `step` | which run, and which state of it: 0 is the noise x_T, k the state after step k |
| `preview`, `more_previews` | a picture of the estimate x0, and of the others of the batch |
| `image`, `more_images` | the final images, in the last row of the run |
| `latents` | safetensors: `latents` (1, B, ...), the state; `start_latents`, the state before the step, where it was \
changed after the step before |
| `predictions` | safetensors: `noise_pred`, `cond_pred`, `uncond_pred`, `x0_pred`, `other_preds/...`, those that were \
captured, each (1, B, ...) |
| `timestep`, `sigma`, `x0_gain`, `metrics` | the numbers of the step; sigma is the noise level of the state |
{_SHARED}""",
}
