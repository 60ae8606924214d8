"""A pack from a file of any form that can be read, told apart by what is in it."""

from __future__ import annotations

from pathlib import Path

from diffatlas.bench.packs import compbench, dpg, geneval, geneval2, oneig, tiif
from diffatlas.bench.packs.files import read_pack
from diffatlas.bench.packs.rows import csv_rows, full_lines, json_object
from diffatlas.bench.tasks import Pack
from diffatlas.errors import Unreadable
from diffatlas.files import read_object

#: How the names of files end: our own, lines of GenEval, GenEval 2 and TIIF-Bench, tables of OneIG-Bench and DPG-Bench,
#: and prompts of T2I-CompBench++.
ENDINGS = (".yaml", ".yml", ".json", ".jsonl", ".csv", ".txt")


def read_file(path: Path | str) -> Pack:
    """Return the pack of a file, by how its name ends (`ENDINGS`) and what is in it; of TIIF-Bench also of a folder.

    Raises `InvalidParams` with the line and the field of what is wrong, and `Unreadable` for what is no pack at all, or
    where there is no such file.
    """
    path = Path(path)
    if path.is_dir():
        return tiif.read_tiif(path)
    _check_ending(path.name)
    try:
        if path.suffix.lower() == ".txt":
            return compbench.read_compbench([path])
        if path.suffix.lower() == ".jsonl":
            return _read_lines(path)
        if path.suffix.lower() == ".csv":
            return _read_table(path)
        if path.suffix.lower() == ".json" and _has_questions_of_oneig(path):
            raise Unreadable(
                f"{path.name} has OneIG's questions without their prompts: give OneIG-Bench.csv."
            )
        return read_pack(path)
    except FileNotFoundError:
        raise Unreadable(f"There is no file {path}.") from None


def is_file_name(source: str) -> bool:
    """Whether a text names a file of a pack rather than a pack by its name."""
    return source.lower().endswith(ENDINGS)


def _check_ending(name: str) -> None:
    if not is_file_name(name):
        raise Unreadable(f"{name} is no file of a pack: their names end in {', '.join(ENDINGS)}.")


def _read_lines(path: Path) -> Pack:
    (number, line), *_ = full_lines(path)
    row = json_object(line, path, number)
    if geneval2.is_geneval2(row):
        return geneval2.read_geneval2(path)
    return tiif.read_tiif(path) if tiif.is_tiif(row) else geneval.read_metadata(path)


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
