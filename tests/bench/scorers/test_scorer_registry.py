"""Scorers by name, and the registry of their models."""

import pytest

from diffatlas.bench.judgements import judge_all
from diffatlas.bench.scored import SCORERS, open_scorer
from diffatlas.bench.scorers.registry import KINDS, default_model, parse_line, scorer_models
from diffatlas.bench.tasks import Task
from diffatlas.errors import InvalidParams
from diffatlas.registry import RegistryError
from diffatlas.request import name_problem


def test_the_registry_that_ships_has_of_each_kind_what_a_scorer_needs():
    models = scorer_models()
    assert {one.kind for one in models} <= set(KINDS)
    for one in models:
        # Of models that answer questions it was not looked up.
        assert one.download or one.kind == "questions", one.id
        assert one.dtype, one.id
        assert one.revision is None or name_problem("revision", one.revision) is None
    assert [one.kind for one in scorer_models("clip")] == ["clip", "clip"]
    assert all(one.template is None or one.template.count("{}") == 1 for one in models)
    assert default_model("detector") == "facebook/mask2former-swin-small-coco-instance"


def test_another_folder_of_registries_has_its_own_or_that_which_ships(tmp_path, monkeypatch):
    shipped = scorer_models()
    monkeypatch.setenv("DIFFATLAS_MODELS", str(tmp_path))
    assert scorer_models() == shipped
    (tmp_path / "scorers.md").write_text("# Mine\n\nme/judge | Judge | Mine. kind=detector dtype=bf16\n")
    (one,) = scorer_models()
    assert (one.id, one.kind, one.notes, one.dtype, one.download) == (
        "me/judge",
        "detector",
        "Mine.",
        "bf16",
        None,
    )
    with pytest.raises(InvalidParams, match="No model of kind 'clip'"):
        default_model("clip")
    (tmp_path / "scorers.md").write_text("me/judge | Judge | Mine.\n")
    with pytest.raises(RegistryError, match=r"scorers\.md, line 1: its hint kind= is missing"):
        scorer_models()


def test_a_line_in_quotes_may_hold_spaces():
    assert parse_line('"my judge" | Judge | kind=questions template="a b"').template == "a b"


def test_a_scorer_is_told_by_its_name_and_takes_only_its_own_options():
    assert {"shapes", "hand"} <= set(SCORERS)
    assert open_scorer("shapes", threshold=None).card.name == "shapes"
    for name, words in (
        ("ears", "There is no scorer 'ears': there are shapes, hand"),
        ("ears:model", "There is no scorer 'ears:model'"),
        ("shapes:model", "has no models: leave ':model' out"),
    ):
        with pytest.raises(InvalidParams, match=words):
            open_scorer(name)
    with pytest.raises(InvalidParams, match="'shapes' has no option 'threshold': it has none"):
        open_scorer("shapes", threshold=0.5)


def test_by_hand_nothing_is_judged():
    task = Task(id="a", prompt="a dog", tag="-", kind="free")
    (one,) = judge_all(open_scorer("hand"), [None], [task], [0])
    assert (one.judgement.verdict, one.judgement.value) == ("cannot judge", None)
    assert one.judgement.reasons[0].startswith("A person judges this")
