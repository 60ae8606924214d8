"""The commands of the Bench: packs of tasks, images of a folder scored, and verdicts counted and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffatlas import files
from diffatlas.cli import bench_marks
from diffatlas.cli.output import print_table, quieten, showing_progress
from diffatlas.cli.running import say
from diffatlas.cli.scorer_options import Options, takes_scorer_options
from diffatlas.errors import InvalidParams

if TYPE_CHECKING:
    from diffatlas.bench.counted import Counted
    from diffatlas.bench.judgements import Card, Judged, Scorer
    from diffatlas.bench.statistics import Compared, Rate

commands = typer.Typer(help="Task packs, scorers, and verdicts with their statistics.", no_args_is_help=True)
commands.command()(bench_marks.agree)

RESULTS = typer.Argument(
    metavar="RESULTS",
    help="A results.jsonl, of this program or of GenEval's; with --pack, lists of scores of GenEval 2 (.json); or a"
    " bench of the library, as ID or ID@LANE.",
)
ASKED = typer.Option(
    "--pack", help="What was asked, by its name or file: of lists of scores, and of a map of images."
)
OF_BENCH = typer.Option("--scorer", help="Whose verdicts on a bench. Default: the first that judged it.")
LEVEL = typer.Option(help="Level of confidence of the intervals.")
OVERWRITE = typer.Option("--overwrite", help="Write over a file that is there.")
AS_JSON = typer.Option("--json", help="Print everything as JSON.")
SCORER = typer.Option(
    help="What judges: shapes, clip, objects, questions, vqascore, or one of these with a model, as `bench scorers`"
    " lists them; after the colon any id of the Hub and any folder."
)


@commands.command()
def packs() -> None:
    """List the packs that come with the program."""
    from diffatlas.bench.packs.shipped import SHIPPED, shipped_pack

    rows = []
    for name, one in SHIPPED.items():
        made = shipped_pack(name)
        rows.append((name, one.title, str(len(made.tasks)), ", ".join(made.tags)))
    print_table(("Pack", "Title", "Prompts", "Categories"), rows)


@commands.command()
def pack(
    source: Annotated[
        str,
        typer.Argument(
            metavar="PACK",
            help="The name of a pack, a file of YAML or JSON, lines of GenEval, GenEval 2 or TIIF-Bench (.jsonl), a"
            " table of OneIG-Bench or DPG-Bench (.csv), or prompts of T2I-CompBench++ (.txt).",
        ),
    ],
    to: Annotated[
        Path | None, typer.Option(help="Write it there: .yaml, .json, or .jsonl as GenEval has it.")
    ] = None,
    each: Annotated[int | None, typer.Option(help="Prompts of each category, of a pack by name.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the prompts of a pack by name.")] = 0,
    overwrite: Annotated[bool, OVERWRITE] = False,
) -> None:
    """Look at a pack, or write it to a file; a file is checked, and the first fault said with its line and field."""
    from diffatlas.bench.packs.writing import WRITTEN, file_text
    from diffatlas.bench.session import pack_of
    from diffatlas.library import Library

    made = pack_of(source, Library(), each, seed)
    if to is None:
        print_table(("Task", "Category", "Prompt"), [(task.id, task.tag, task.prompt) for task in made.tasks])
        return
    kind = to.suffix.removeprefix(".").replace("yml", "yaml")
    if kind not in WRITTEN:
        raise InvalidParams(f"{to.name}: a pack is written as .yaml, .json or .jsonl.", field="to")
    write_file(to, file_text(made, kind).encode(), overwrite)
    typer.echo(f"{len(made.tasks)} prompts in {len(made.tags)} categories: {to}")


@commands.command()
def schema() -> None:
    """Print the JSON schema of a pack, for editors that check files by one."""
    from diffatlas.bench.packs.files import pack_schema

    typer.echo(json.dumps(pack_schema(), indent=1))


@commands.command()
def scorers() -> None:
    """List what can judge images, and the models that it does that with."""
    from diffatlas.bench.scorers.registry import SCORERS, scorer_models

    rows = []
    for word, kind in SCORERS.items():
        if kind.models is None:
            rows.append((word, kind.about, "", "", ""))
        for model in scorer_models(kind.models) if kind.models else ():
            size = "" if model.download is None else f"{model.download:g} GB"
            rows.append((f"{word}:{model.id}", kind.about, model.name, size, model.notes))
    print_table(("Scorer", "Judges", "Model", "Download", "Notes"), rows)


@commands.command()
@takes_scorer_options
def score(
    *,
    images: Annotated[
        Path,
        typer.Argument(
            help="A folder in GenEval's layout, 00000/metadata.jsonl and 00000/samples/0000.png; or with --pack a map"
            " of GenEval 2's form (.json), prompts and the paths of their images."
        ),
    ],
    scorer: Annotated[str, SCORER] = "shapes",
    options: Options,
    to: Annotated[
        Path | None,
        typer.Option(
            help="Write the verdicts there, in the form of GenEval's results.jsonl, or with --pack that of GenEval 2's"
            " lists of scores (.json)."
        ),
    ] = None,
    asked: Annotated[str | None, ASKED] = None,
    level: Annotated[float, LEVEL] = 0.95,
    as_json: Annotated[bool, AS_JSON] = False,
    overwrite: Annotated[bool, OVERWRITE] = False,
) -> None:
    """Judge images that are there already, and count the verdicts by category."""
    from diffatlas.bench import scored
    from diffatlas.bench.counted import count
    from diffatlas.bench.judgements import by_pack
    from diffatlas.bench.session import pack_of
    from diffatlas.library import Library

    made = None if asked is None else pack_of(asked, Library())
    samples = scored.samples_of(images, made)
    judge = _open(scorer, **options)
    if made is not None:
        judge = by_pack(judge, made)
    with showing_progress() as show:
        judged = scored.score(judge, samples, lambda share: show(share, "Judging"))
    counted = count(judged, level)
    if to is not None:
        write_file(to, scored.written(to, samples, judged, made).encode(), overwrite)
    show_counted(counted, judged, as_json, judge.card)


@commands.command()
@takes_scorer_options
def audit(
    *,
    scorer: Annotated[
        str | None,
        typer.Option(help="What is put to the test: shapes; of a bench the first that judged it."),
    ] = None,
    options: Options,
    each: Annotated[int, typer.Option(help="Scenes of each kind of fault.")] = 40,
    seed: Annotated[int, typer.Option(help="Draws the scenes.")] = 0,
    results: Annotated[
        str | None,
        typer.Option(help="Verdicts that are put to the test on marks by hand: a file, or a bench."),
    ] = None,
    marks: Annotated[Path | None, typer.Option(help=bench_marks.MARKS)] = None,
    metadata: Annotated[Path | None, typer.Option(help=bench_marks.METADATA)] = None,
    rates: Annotated[
        str | None,
        typer.Option(
            help="Verdicts of the scorer, a file or a bench: their rates are freed of the errors on the scenes."
        ),
    ] = None,
    level: Annotated[float, LEVEL] = 0.95,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Put a scorer to the test on drawn scenes, as asked and with a fault planted in each, or on marks by hand."""
    from dataclasses import asdict

    if results is not None:
        bench_marks.audit_by_marks(results, scorer, marks, metadata, level, as_json)
        return
    if marks is not None:
        raise InvalidParams("--marks tests verdicts: name these with --results.", field="results")

    from diffatlas.bench.against_marks import corrected_by
    from diffatlas.bench.audit import audit as put_to_the_test
    from diffatlas.bench.session import judged_from

    judged = None
    if rates is not None:
        name = None if bench_marks.is_file(rates) else scorer
        judged = judged_from(rates, name, by_hand=False)
    judge = _open(scorer or "shapes", **options)
    found = put_to_the_test(judge, each, seed)
    lines = () if judged is None else corrected_by(found, judged, level)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "corrected": [asdict(line) for line in lines]}))
        return
    rows = []
    for one in found.kinds:
        told = ("", "", "0") if one.right is None else (*_share(one.right), str(one.right.images))
        rows.append((one.fault, *told, str(one.unjudged)))
    print_table(("Scene", "Judged rightly", "95% interval", "Images", "Not judged"), rows)
    if lines:
        typer.echo("")
        bench_marks.print_corrected(lines, level)


def _open(name: str, **options: Any) -> Scorer:
    """Open a scorer. Its model's own bars and warnings are not for the shell."""
    from diffatlas.bench.scorers.registry import SCORERS, open_scorer

    word = name.partition(":")[0]
    if word in SCORERS and SCORERS[word].models:
        quieten()
    return open_scorer(name, **options)


def _share(one: Rate) -> tuple[str, str]:
    return f"{one.value:.3f}", f"{one.low:.3f} to {one.high:.3f}"


@commands.command("count")
def count_results(
    results: Annotated[str, RESULTS],
    scorer: Annotated[str | None, OF_BENCH] = None,
    asked: Annotated[str | None, ASKED] = None,
    by: Annotated[
        str, typer.Option(help="category, or atoms: the number of things that a prompt demands.")
    ] = "category",
    level: Annotated[float, LEVEL] = 0.95,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Count verdicts by category, with intervals that know that the images of a prompt are alike."""
    from diffatlas.bench.counted import count
    from diffatlas.bench.session import judged_from

    if by not in ("category", "atoms"):
        raise InvalidParams(f"--by is category or atoms, and not {by!r}.", field="by")
    judged = judged_from(results, scorer, asked=asked)
    if by == "atoms":
        _show_by_atoms(judged, level, as_json)
        return
    show_counted(count(judged, level), judged, as_json)


@commands.command("compare")
def compare_results(
    first: Annotated[str, RESULTS],
    second: Annotated[str, RESULTS],
    scorer: Annotated[str | None, OF_BENCH] = None,
    asked: Annotated[str | None, ASKED] = None,
    level: Annotated[float, LEVEL] = 0.95,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Compare the verdicts on two models, prompt by prompt; the p-values of the categories are Holm's."""
    from dataclasses import asdict

    from diffatlas.bench.counted import differences
    from diffatlas.bench.session import judged_from

    sides = [judged_from(side, scorer, asked=asked) for side in (first, second)]
    whole, found = differences(*sides, level)
    if as_json:
        rows = [{"category": one.tag, **asdict(one.compared), "adjusted": one.adjusted} for one in found]
        typer.echo(json.dumps({"all": asdict(whole), "categories": rows}))
        return
    rows = [(one.tag, *_difference(one.compared), f"{one.adjusted:.3g}") for one in found]
    rows.append(("all prompts", *_difference(whole), f"{whole.p:.3g}"))
    columns = (
        "Category",
        "Prompts",
        "Differ",
        "Second minus first",
        f"{level:.0%} interval",
        "Detectable",
        "p",
    )
    print_table(columns, rows)


def _difference(one: Compared) -> tuple[str, ...]:
    interval = f"{one.low:+.3f} to {one.high:+.3f}"
    return str(one.prompts), str(one.differ), f"{one.difference:+.3f}", interval, f"{one.detectable:.3f}"


def show_counted(counted: Counted, judged: list[Judged], as_json: bool, scorer: Card | None = None) -> None:
    """Print what was counted; as JSON with each verdict, and what judged, where that is known."""
    from dataclasses import asdict

    if as_json:
        verdicts = [
            {
                "task": one.task.id,
                "category": one.task.tag,
                "prompt": one.task.prompt,
                "number": one.number,
                "verdict": one.judgement.verdict,
                "reasons": list(one.judgement.reasons),
                "score": one.judgement.score,
                "evidence": dict(one.judgement.evidence),
            }
            for one in judged
        ]
        card = None if scorer is None else asdict(scorer)
        typer.echo(json.dumps({"scorer": card, **asdict(counted), "verdicts": verdicts}))
        return
    rows = [(line.tag, *_rate(line.rate), str(line.unjudged)) for line in counted.lines]
    if counted.overall is not None:
        rows.append(
            ("mean of categories", *_rate(counted.overall), str(sum(k.unjudged for k in counted.lines)))
        )
    print_table(("Category", *_columns(counted.level)), rows)
    if counted.overall is not None and counted.overall.prompts > 1:
        from diffatlas.bench.statistics.words import rate_sentences

        for sentence in rate_sentences(counted.overall):
            say(sentence)


def _show_by_atoms(judged: list[Judged], level: float, as_json: bool) -> None:
    """Print the rates by the number of things that a prompt demands."""
    from dataclasses import asdict

    from diffatlas.bench.difficulty import by_atoms

    found = by_atoms(judged, level)
    if not found:
        raise InvalidParams(
            "These results say of no prompt what it demands: their metadata are missing.", field="by"
        )
    if as_json:
        typer.echo(json.dumps([asdict(line) for line in found]))
        return
    rows = [(str(line.atoms), *_rate(line.rate), str(line.unjudged)) for line in found]
    print_table(("Things demanded", *_columns(level)), rows)


def _columns(level: float) -> tuple[str, ...]:
    """The heads of `_rate`, and of the images that were not judged."""
    interval = f"{level:.0%} interval"
    return "Correct", interval, "Images", "Prompts", "Any correct", "Alike", "Worth", "Not judged"


def _rate(one: Rate | None) -> tuple[str, ...]:
    """Rate, interval, images, prompts, prompts with any correct, correlation in a prompt, independent images."""
    if one is None:
        return "", "", "0", "0", "", "", ""
    alike = "" if one.correlation is None else f"{one.correlation:.2f}"
    counts = str(one.images), str(one.prompts)
    return *_share(one), *counts, f"{one.any_correct:.3f}", alike, f"{one.effective:.0f}"


def write_file(path: Path, data: bytes, overwrite: bool) -> None:
    """Write a file whole, its folder too. Raises `InvalidParams` where it is there already or cannot be written."""
    from diffatlas.library.format import write_atomically

    if path.exists() and not overwrite:
        raise InvalidParams(f"{path} is there already: name another file, or add --overwrite.", field="to")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise InvalidParams(f"{path} cannot be written: {files.reason_of(error)}.", field="to") from error
