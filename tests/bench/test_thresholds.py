"""Cosines that are there already, held against another threshold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diffatlas.bench.judgements import Card, Judgement
from diffatlas.bench.kept import Benches
from diffatlas.bench.packs.shipped import shipped_pack
from diffatlas.bench.plan import plan_bench
from diffatlas.bench.thresholds import judge_with_threshold, threshold_of
from diffatlas.errors import InvalidParams
from diffatlas.params import GenerationParams

COSINES = (0.19, 0.24, 0.26, 0.31, 0.25)


@pytest.fixture
def bench(tmp_path):
    """A bench of six cells: five have cosines, one cannot be judged."""
    planned = plan_bench(
        shipped_pack("shapes", 1), GenerationParams(prompt="-"), seeds=1, scorers=["clip", "shapes"]
    )
    cells = tuple(replace(cell, status="complete", image=True) for cell in planned.study.cells)
    benches = Benches(tmp_path)
    benches.create(planned)
    benches.save(replace(planned.study, cells=cells, status="complete"))
    benches.judge_with(planned.id, "clip", Card("clip:x", "Cosines.", settings={"threshold": 0.25}))
    said = {
        cell.key: Judgement(
            "pass" if cosine >= 0.25 else "fail", evidence={"cosine": cosine, "threshold": 0.25}
        )
        for cell, cosine in zip(cells, COSINES, strict=False)
    }
    benches.say(planned.id, "clip", {**said, cells[5].key: Judgement("cannot judge", ("It is not read.",))})
    benches.judge_with(planned.id, "shapes", Card("shapes", "Exact."))
    benches.say(planned.id, "shapes", {cells[0].key: Judgement("pass")})
    return benches.open(planned.id)


def test_another_threshold_decides_anew_and_is_kept(bench, tmp_path):
    assert threshold_of(bench, "clip") == 0.25
    judge_with_threshold(bench, "clip", 0.3, Benches(tmp_path))
    after = Benches(tmp_path).open(bench.id)
    verdicts = [after.said["clip"][cell.key].verdict for cell in after.study.cells]
    assert verdicts == ["pass" if cosine >= 0.3 else "fail" for cosine in COSINES] + ["cannot judge"]
    assert [after.said["clip"][cell.key].evidence["cosine"] for cell in after.study.cells[:5]] == list(
        COSINES
    )
    assert threshold_of(after, "clip") == 0.3
    # So that images which come later are held against it too.
    assert after.options["clip"] == {"threshold": 0.3}
    assert after.said["shapes"] == bench.said["shapes"]


@pytest.mark.parametrize(
    ("scorer", "threshold", "why"),
    [
        ("clip", 1.5, "a cosine is from -1 to 1"),
        ("shapes", 0.3, "not judged by CLIP"),
        ("objects", 0.3, "was not judged by"),
    ],
)
def test_what_has_no_cosine_and_what_is_none_is_refused(bench, tmp_path, scorer, threshold, why):
    with pytest.raises(InvalidParams, match=why):
        judge_with_threshold(bench, scorer, threshold, Benches(tmp_path))
    assert Benches(tmp_path).open(bench.id) == bench
    assert threshold_of(bench, "shapes") is None
