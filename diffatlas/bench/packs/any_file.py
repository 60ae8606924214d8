"""A pack of whatever file or folder one has, told apart by what is in it."""

from __future__ import annotations

from pathlib import Path

from diffatlas.bench.packs import compbench, dpg, geneval, geneval2, oneig, tiif
from diffatlas.bench.packs.files import read_pack
from diffatlas.bench.packs.rows import csv_rows, full_lines, json_object
from diffatlas.bench.tasks import Pack
from diffatlas.errors import Unreadable
from diffatlas.files import read_object

ENDINGS = (".yaml", ".yml", ".json", ".jsonl", ".csv", ".txt")


def is_file_of_pack(source: str) -> bool:
    """Whether a text names a file or a folder, rather than a pack that comes with the program."""
    path = Path(source)
    return path.suffix.lower() in ENDINGS or path.is_dir()


def read_any(path: Path | str) -> Pack:
    """Return the pack of a file of its own form, or of somebody else's set.

    YAML and JSON; JSON lines of GenEval, GenEval 2 and TIIF-Bench, of the last also a folder; tables of OneIG-Bench and
    DPG-Bench; prompts of T2I-CompBench++, one a line.

    Raises `Unreadable` for what is none of these or not there, and as the reader of each.
    """
    path = Path(path)
    try:
        return _read(path)
    except FileNotFoundError:
        raise Unreadable(f"There is no file {path}.") from None


def _read(path: Path) -> Pack:
    ending = path.suffix.lower()
    if path.is_dir():
        return tiif.read_tiif(path)
    if ending == ".txt":
        return compbench.read_compbench([path])
    if ending == ".csv":
        return _read_table(path)
    if ending == ".jsonl":
        (number, line), *_ = full_lines(path)
        row = json_object(line, path, number)
        if geneval2.is_geneval2(row):
            return geneval2.read_geneval2(path)
        return tiif.read_tiif(path) if tiif.is_tiif(row) else geneval.read_metadata(path)
    if ending == ".json" and _has_questions_of_oneig(path):
        raise Unreadable(f"{path.name} has OneIG's questions without their prompts: give OneIG-Bench.csv.")
    if ending in ENDINGS:
        return read_pack(path)
    raise Unreadable(f"{path.name} is no file of a pack: those end in {', '.join(ENDINGS)}.")


def _read_table(path: Path) -> Pack:
    head = csv_rows(path)[0][1]
    if "question_natural_language" in head:
        return dpg.read_dpg(path)
    if any(name in head for name in oneig.PROMPTS):
        return oneig.read_oneig(path)
    raise Unreadable(
        f"{path.name} is no table that is known here: OneIG-Bench's has a column prompt_en or prompt_cn, DPG-Bench's "
        f"question_natural_language, and this one {', '.join(head)}."
    )


def _has_questions_of_oneig(path: Path) -> bool:
    try:
        return oneig.is_questions(read_object(path))
    except Unreadable:
        # Whatever is wrong with it, the reader of packs says with its line.
        return False
