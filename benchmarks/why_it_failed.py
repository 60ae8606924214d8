"""Why do images fail: what do guidance angle, path, parting, attention and groups say of those that do?

Prompts of a pack of shapes are drawn by an embedded model with several seeds each, judged by the exact detector, and
their failures compared with what was measured of their runs. Of the prompts only those with both verdicts tell; their
number is printed. Run from the project's root::

    python -m benchmarks.why_it_failed --pack shapes-hard --prompts 30 --seeds 4

``--library`` keeps the runs, and serves them the next time.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.rounds import Short
from diffatlas import bench
from diffatlas.bench.tasks import Pack
from diffatlas.bench.why import Case, Why, cases_of, measure, why
from diffatlas.library import Library

PACKS = ("shapes", "shapes-hard")


def main(
    pack: Annotated[str, typer.Option(help="shapes, shapes-hard, or all.")] = "shapes-hard",
    prompts: Annotated[int, typer.Option(help="Prompts of each pack, shared out over its categories.")] = 30,
    seeds: Annotated[int, typer.Option(help="Images of a prompt.")] = 4,
    first: Annotated[int, typer.Option(help="The first seed.")] = 0,
    steps: int = 30,
    guidance: float = 3.0,
    model: str = "shapes",
    tag: Annotated[list[str] | None, typer.Option(help="Only prompts of this category.")] = None,
    kept: Annotated[Path | None, typer.Option("--library", help="Where runs are kept.")] = None,
    short: Short = False,
) -> None:
    """Print how the verdicts fall by category, then a line a measure."""
    if short:
        prompts, seeds, steps = 4, 2, 4
    asked = chosen(pack, prompts, tag)
    with tempfile.TemporaryDirectory() as folder:
        library = Library(kept or folder)
        began = time.perf_counter()
        options = {"seeds": seeds, "seed": first, "num_inference_steps": steps, "guidance_scale": guidance}
        made = bench.run(asked, model, keep="attention", library=library, **options)
        cases = cases_of(made, library)
        if made.study.status != "complete" or len(cases) != len(made.study.cells):
            raise RuntimeError("Not every image was made.")
        if any(case.failed is None for case in cases):
            raise RuntimeError("Not every image was judged.")
        drawn = time.perf_counter() - began
        measured = list(measure(cases))
        read = time.perf_counter() - began - drawn
        found = why(measured)
    print_verdicts(cases)
    print_lines(found)
    print(f"\n{drawn:.1f} s to draw and judge {len(cases)} images, {read:.1f} s to measure them")


def chosen(name: str, prompts: int, tags: list[str] | None) -> Pack:
    """So many prompts of one pack or of each, the same number of each category."""
    found = []
    for one in PACKS if name == "all" else (name,):
        if one not in PACKS:
            raise typer.BadParameter(f"There is no pack {one!r} here: give {', '.join(PACKS)} or all.")
        wanted = [tag for tag in bench.shipped_pack(one, 1).tags if not tags or tag in tags]
        if wanted:
            own = bench.shipped_pack(one, -(-prompts // len(wanted)))
            found += [task for task in own.tasks if task.tag in wanted]
    if not found:
        raise typer.BadParameter(f"No prompt is of {tags}.")
    return Pack(name="asked", title="Why did it fail", tasks=tuple(found))


def print_verdicts(cases: list[Case]) -> None:
    """Print of each category how many images failed, and how many prompts have both verdicts."""
    print("category\timages\tfailed\tprompts\twith both verdicts")
    for tag in dict.fromkeys(case.task.tag for case in cases):
        own = [case for case in cases if case.task.tag == tag]
        by_prompt: dict[str, set[bool | None]] = {}
        for case in own:
            by_prompt.setdefault(case.task.id, set()).add(case.failed)
        both = sum({True, False} <= verdicts for verdicts in by_prompt.values())
        print(f"{tag}\t{len(own)}\t{sum(case.failed is True for case in own)}\t{len(by_prompt)}\t{both}")


def print_lines(found: Why) -> None:
    """Print what each measure says."""
    print(
        "\nmeasure\tdifference\tinterval\tin deviations\tlarger when failing\tp\tp, Holm\tprompts\tof all images"
    )
    for line in found.lines:
        one, every = line.within, line.overall
        overall = "-" if every is None else f"{every.difference:.3g} [{every.low:.3g}, {every.high:.3g}]"
        if one is None:
            print(f"{line.measure.key}\t{line.sentence}\t{overall}")
            continue
        size = "-" if one.standardised is None else f"{one.standardised[0]:.2f}"
        print(
            f"{line.measure.key}\t{one.difference:.3g}\t[{one.low:.3g}, {one.high:.3g}]\t{size}"
            f"\t{one.larger.value:.2f} [{one.larger.low:.2f}, {one.larger.high:.2f}]\t{one.p:.2g}"
            f"\t{line.adjusted:.2g}\t{one.prompts}\t{overall}"
        )
    print()
    print(found.method, *(line.sentence for line in found.lines), found.groups, sep="\n")


if __name__ == "__main__":
    typer.run(main)
