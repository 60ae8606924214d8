"""One card of a bench in full: its picture, what its prompt demands, and all that is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from diffatlas.bench.bench import Bench
from diffatlas.bench.judgements import Card, Judgement
from diffatlas.bench.words import demands
from diffatlas.errors import DiffAtlasError
from diffatlas.formats.wire import rounded
from diffatlas.library import Library
from diffatlas.library.study import Cell
from diffatlas.ui.bench_numbers import bench_judges
from diffatlas.ui.wire import bench as wire

#: Boxes of one judgement that are drawn, and facts that are told beside them.
MOST_SEEN, MOST_FACTS = 100, 12


def card_detail(
    bench: Bench, cell: Cell, library: Library, pixels: np.ndarray | None, url: str | None
) -> wire.CardDetail:
    """Return a card in full. pixels: its image (H, W, 3), where there is one; url: where that can be fetched."""
    task = bench.task(cell)
    said = [
        _opinion(name, bench.said.get(name, {}).get(cell.key), bench.cards.get(name))
        for name in bench_judges(bench)
        if cell.key in bench.said.get(name, {})
    ]
    height, width = (0, 0) if pixels is None else pixels.shape[:2]
    return {
        "image": url,
        "width": int(width),
        "height": int(height),
        "task": task.id,
        "prompt": task.prompt,
        "tag": task.tag,
        "demands": demands(task),
        "facts": _facts(cell),
        "said": said,
        "attention": _has_attention(cell, library),
    }


def _opinion(name: str, said: Judgement | None, card: Card | None) -> wire.Opinion:
    assert said is not None
    return {
        "scorer": name,
        "verdict": said.verdict,
        "score": None if said.score is None else rounded(said.score),
        "reasons": list(said.reasons),
        "seen": _seen(said.evidence),
        "answers": _answers(said.evidence),
        "also": _also(said.evidence),
        "card": _card_rows(card),
    }


def _seen(evidence: Mapping[str, Any]) -> list[wire.Seen]:
    """Objects with a box, as object scorers leave them; what is none is left out."""
    found: list[wire.Seen] = []
    objects = evidence.get("objects")
    for one in objects if isinstance(objects, (list, tuple)) else ():
        box = one.get("box") if isinstance(one, Mapping) else None
        if not isinstance(box, (list, tuple)) or len(box) != 4 or not all(map(_is_number, box)):
            continue
        words = [str(one[key]) for key in ("color", "class") if one.get(key)]
        score = one.get("score")
        found.append(
            {
                "label": " ".join(words) or "object",
                "box": [rounded(float(side)) for side in box],
                "score": rounded(float(score)) if _is_number(score) else None,
            }
        )
    return found[:MOST_SEEN]


def _answers(evidence: Mapping[str, Any]) -> list[wire.Answered]:
    """Answers to questions, as scorers that ask leave them."""
    found: list[wire.Answered] = []
    answers = evidence.get("answers")
    for one in answers if isinstance(answers, (list, tuple)) else ():
        if not isinstance(one, Mapping):
            continue
        right = next((one[key] for key in ("probability", "right", "p") if _is_number(one.get(key))), None)
        found.append(
            {
                "question": str(one.get("question") or one.get("text") or one.get("id") or ""),
                "expected": str(one.get("expected") or ""),
                "answer": str(one.get("answer") or ""),
                "probability": None if right is None else rounded(float(right)),
            }
        )
    return found[:MOST_SEEN]


def _also(evidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What else was seen, a line each."""
    plain = [(key, value) for key, value in evidence.items() if key not in ("objects", "answers")]
    return [(str(key), _text(value)) for key, value in plain if isinstance(value, (str, int, float))][
        :MOST_FACTS
    ]


def _card_rows(card: Card | None) -> list[tuple[str, str]]:
    if card is None:
        return []
    rows = [(name, getattr(card, name)) for name in ("about", "model", "revision", "template", "dtype")]
    rows += [(name, _text(value)) for name, value in card.settings.items()]
    return [(name, value) for name, value in rows if value]


def _facts(cell: Cell) -> list[tuple[str, str]]:
    params = cell.params
    rows = [
        ("model", params.model),
        ("seed", str(params.seed)),
        ("steps", str(params.num_inference_steps)),
        ("guidance", f"{params.guidance_scale:g}"),
        ("scheduler", params.scheduler or ""),
        ("method", params.guidance_method or ""),
        ("made", "taken from the library" if cell.cached else "in a batch" if cell.batched else ""),
    ]
    return [(name, value) for name, value in rows if value]


def _has_attention(cell: Cell, library: Library) -> bool:
    try:
        return bool(cell.run_id) and library.open(str(cell.run_id)).info.attention not in ("", "off")
    except DiffAtlasError:
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
