"""What a folder says beside the contract may be anything, too: what cannot be used of it is left out, and told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from diffatlas.attention.resampled import measured_on
from diffatlas.attention.trace import AttentionTrace
from diffatlas.errors import InvalidParams
from diffatlas.formats.static import kept
from diffatlas.formats.static.check import check_folder
from diffatlas.formats.static.read import import_static
from diffatlas.formats.static.write import plan, write
from diffatlas.library import Library
from tests.attended_runs import run_of
from tests.formats.static.static_folders import reference_folder

MEASURED = "diffatlas_measured.json"
ON_MAPS = "on maps resampled to 16 × 16 cells"


@pytest.fixture
def library(tmp_path) -> Library:
    return Library(tmp_path / "library")


@pytest.fixture
def folder(tmp_path) -> Path:
    return write(plan(run_of(5, own={"up_blocks.0.attn1": ((16, 16), (8, 8), "up")})), tmp_path / "run")


def edit(folder: Path, name: str, change) -> None:
    data = json.loads((folder / name).read_text())
    change(data)
    (folder / name).write_text(json.dumps(data))


def layer(data: dict) -> dict:
    return data["layers"][0]


SPOILT = {
    "it is cut off": lambda f: (f / MEASURED).write_text('{"version": 1, "ste'),
    "it is no object": lambda f: (f / MEASURED).write_text("[]"),
    "it is of a newer version": lambda f: edit(f, MEASURED, lambda d: d.update(version=2)),
    "it holds NaN": lambda f: edit(f, MEASURED, lambda d: layer(d)["entropy"].__setitem__(0, float("nan"))),
    "it holds a number beyond all": lambda f: (f / MEASURED).write_text(
        (f / MEASURED).read_text().replace('"kl":[null', '"kl":[1e999')
    ),
    "a step is beyond the run": lambda f: edit(f, MEASURED, lambda d: d.update(steps=[0, 1, 3])),
    "a step is there twice": lambda f: edit(f, MEASURED, lambda d: d.update(steps=[0, 1, 1])),
    "steps are fewer": lambda f: edit(f, MEASURED, lambda d: d.update(steps=[0, 1])),
    "a list is too long": lambda f: edit(f, MEASURED, lambda d: layer(d)["kl"].append(1.0)),
    "an entropy is text": lambda f: edit(f, MEASURED, lambda d: layer(d)["entropy"].__setitem__(1, "2.0")),
    "a layer has no name": lambda f: edit(f, MEASURED, lambda d: layer(d).pop("name")),
    "a layer has more than it can": lambda f: edit(f, MEASURED, lambda d: layer(d).update(run="rm -rf")),
    "it is nested deep": lambda f: (f / MEASURED).write_text('{"layers":' + "[" * 500 + "]" * 500 + "}"),
    "it is too large": lambda f: (f / MEASURED).open("ab").truncate(33_000_000),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_measures_that_cannot_be_used_are_told_and_those_of_the_maps_taken(library, folder, fault):
    SPOILT[fault](folder)
    problems = check_folder(folder).problems
    assert problems
    assert {(p.where, p.severe) for p in problems} == {(MEASURED, True)}
    done = import_static(library, folder)
    (note,) = (note for note in done.notes if MEASURED in note)
    assert "measured on the folder's maps instead" in note
    trace = AttentionTrace.of(library.load(done.run_id))
    assert measured_on(trace) == ON_MAPS
    assert np.isfinite(trace.entropy()).all()


def test_more_numbers_than_a_manifest_takes_are_refused(library, folder, monkeypatch):
    monkeypatch.setattr(kept, "MOST_NUMBERS", 100)
    assert any("more than 100 numbers" in p.what for p in check_folder(folder).problems)
    assert any("more than 100 numbers" in note for note in import_static(library, folder).notes)


def test_a_link_in_place_of_measures_is_not_followed(library, folder, tmp_path):
    (folder / MEASURED).rename(tmp_path / "elsewhere.json")
    (folder / MEASURED).symlink_to(tmp_path / "elsewhere.json")
    assert [p.where for p in check_folder(folder).problems] == [MEASURED]
    assert measured_on(AttentionTrace.of(library.load(import_static(library, folder).run_id))) == ON_MAPS


def test_measures_of_other_layers_or_tokens_are_passed_over(library, folder):
    edit(folder, MEASURED, lambda d: layer(d).update(name="nobody's"))
    edit(folder, MEASURED, lambda d: d["layers"][1].update(activation=[[0.5]] * 3))
    assert check_folder(folder).problems == []
    trace = AttentionTrace.of(library.load(import_static(library, folder).run_id))
    assert measured_on(trace) == ON_MAPS
    assert trace.activation().shape == (3, 77)


def test_without_the_file_it_is_said_that_the_maps_were_measured(library, folder):
    (folder / MEASURED).unlink()
    assert check_folder(folder).problems == []
    done = import_static(library, folder)
    assert done.notes == ()
    assert measured_on(AttentionTrace.of(library.load(done.run_id))) == ON_MAPS


OURS = {
    "params of no request": {"params": {"model": "shapes", "prompt": "a", "seed": 0, "spell": "abracadabra"}},
    "params of another type": {"params": {"model": "shapes", "prompt": ["a"], "seed": 0}},
    "a status that is none": {"status": "<b>complete</b>"},
    "a block that is no name": {"layers": [{"name": "a", "kind": "cross", "block": {}}]},
    "missing parts that are no sentences": {"missing": {"attention": 5}},
    "an error without a message": {"error": {"code": "x"}},
    "a last picture that is none": {"final_image": 5},
}


@pytest.mark.parametrize("fault", OURS)
def test_what_we_add_is_left_out_whole_where_it_is_not_ours(library, folder, fault):
    edit(folder, "metadata.json", lambda d: d["diffatlas"].update(OURS[fault]))
    done = import_static(library, folder)
    assert any("What Diffusion Atlas added to the metadata is left out" in note for note in done.notes)
    run = library.load(done.run_id)
    assert (run.params.prompt, run.status) == ("a red circle and a blue square", "complete")
    assert library.check(done.run_id).error is None


def test_the_contracts_fields_outweigh_ours(library, folder):
    edit(folder, "metadata.json", lambda d: d["diffatlas"]["params"].update(prompt="ours", seed=99))
    run = library.load(import_static(library, folder).run_id)
    assert (run.params.prompt, run.params.seed) == ("a red circle and a blue square", 5)


def test_a_grid_that_would_need_more_memory_than_there_is_is_not_believed(library, folder):
    edit(folder, "metadata.json", lambda d: d["diffatlas"]["layers"][0].update(grid=[1_000_000, 1_000_000]))
    trace = AttentionTrace.of(library.load(import_static(library, folder).run_id))
    assert {x.grid for x in trace.cross_layers} == {(16, 16)}
    assert trace.maps().shape == (3, 77, 16, 16)


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "a\\b", "a" * 100, ""])
def test_names_of_layers_lead_nowhere_when_the_run_is_written_again(library, tmp_path, name):
    folder = reference_folder(tmp_path / "run")

    def rename(data: dict) -> None:
        data["layers"][0]["id"] = name
        for entry in data["attention_files"]:
            entry["layer_id"] = entry["layer_id"].replace("layer_0", name)

    edit(folder, "metadata.json", rename)
    run = library.load(import_static(library, folder).run_id)
    assert any(key.startswith("cross:") for key in run.steps[0].attention)
    # It carries nothing of such a folder, and says so where that is needed.
    with pytest.raises(Exception, match="import its folder again"):
        plan(run)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.update(schema_version="2.0.0"), "not a version that is known here"),
        (lambda d: d["generator"].update(cfg_scale=float("nan")), "bare NaN"),
        (lambda d: d["layers"].append("layer"), "layers[2] is"),
    ],
)
def test_metadata_that_is_not_of_the_contract_is_refused_in_one_sentence(library, tmp_path, change, told):
    folder = reference_folder(tmp_path / "run")
    edit(folder, "metadata.json", change)
    with pytest.raises(InvalidParams) as refused:
        import_static(library, folder)
    assert told in str(refused.value)
    assert str(refused.value).count("\n") == 0


def test_bare_nan_is_a_warning_among_measures_and_damage_elsewhere(tmp_path):
    folder = reference_folder(tmp_path / "run")

    def spoil(data: dict) -> None:
        data["cross_attention_entropy"][0] = {"step": 0, "mean": np.nan, "by_layer": {"layer_0": np.nan}}
        data["attention_kl_divergence"] = [None, np.inf, 0.1]

    edit(folder, "metrics.json", spoil)
    report = check_folder(folder)
    assert report.valid()
    assert [(p.where, p.what, p.severe) for p in report.problems] == [
        (
            "metrics.json",
            "cross_attention_entropy holds bare NaN or infinity in 2 places, which is no JSON: its tool took"
            " logarithms in half precision, where 0 has none; it is read as a number that is not known",
            False,
        ),
        (
            "metrics.json",
            "attention_kl_divergence holds bare NaN or infinity in 1 place, which is no JSON; it is read as a"
            " number that is not known",
            False,
        ),
    ]
    edit(folder, "latent_pca.json", lambda d: d["points"].__setitem__(0, [np.nan, 0.0]))
    report = check_folder(folder)
    assert not report.valid()
    assert any(p.where == "latent_pca.json" and "bare NaN" in p.what and p.severe for p in report.problems)
