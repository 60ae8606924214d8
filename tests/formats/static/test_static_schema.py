"""The JSON schema of the static folder: it is one, what we and others write fits it, and errors say where they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from diffatlas.formats.static.schema import errors_of, schema
from diffatlas.formats.static.write import plan, write
from tests.attended_runs import run_of
from tests.formats.static.static_folders import reference_folder

OWN = {"up_blocks.0.attn1": ((16, 16), (8, 8), "up")}


def data_of(folder: Path) -> dict:
    return {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> dict:
    return data_of(write(plan(run_of(3, own=OWN)), tmp_path_factory.mktemp("schema") / "run"))


def test_it_is_a_schema_of_its_draft():
    Draft202012Validator.check_schema(schema())
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_what_we_and_other_tools_write_fits_it_by_any_validator(ours, tmp_path):
    assert len(ours) == 5
    for data in (ours, data_of(reference_folder(tmp_path / "theirs"))):
        assert list(Draft202012Validator(schema()).iter_errors(data)) == []
        assert errors_of(data) == []


WRONG = {
    "a field is missing": (("metadata.json", "prompt"), None, "prompt is missing"),
    "a layer has no name": (("metadata.json", "layers", 1, "id"), None, "layers[1].id is missing"),
    "a text is a number": (("metadata.json", "images", 2), 7, "images[2] is 7, not a text"),
    "a number is a text": (
        ("metadata.json", "generator", "cfg_scale"),
        "5",
        'generator.cfg_scale is "5", not a number or null',
    ),
    "true is no number": (
        ("metadata.json", "timesteps", 0),
        True,
        "timesteps[0] is true, not a number or null",
    ),
    "a list is an object": (
        ("metadata.json", "timesteps"),
        {"a": 1},
        "timesteps is an object of 1, not a list",
    ),
    "a kind is unknown": (
        ("metadata.json", "layers", 0, "attention_type"),
        "both",
        'layers[0].attention_type is "both", none of cross, self',
    ),
    "a version is newer": (
        ("metadata.json", "schema_version"),
        "2.0.0",
        'schema_version is "2.0.0", not a version that is known here, 1.0.0',
    ),
    "a shape has a side of 0": (
        ("metadata.json", "attention_files", 0, "shape", 1),
        0,
        "attention_files[0].shape[1] is 0, less than 1",
    ),
    "a shape has a side": (
        ("metadata.json", "attention_files", 0, "shape"),
        [77],
        "attention_files[0].shape has 1 entries, less than 2",
    ),
    "an entropy is a text": (
        ("metrics.json", "cross_attention_entropy", 1, "by_layer", "layer_0"),
        "high",
        'cross_attention_entropy[1].by_layer.layer_0 is "high", not a number or null',
    ),
    "a place is not known": (
        ("latent_pca.json", "points", 0, 1),
        None,
        "points[0] has 1 entries, less than 2",
    ),
    "our version is newer": (("diffatlas_measured.json", "version"), 2, "version is 2, not 1"),
    "what we kept is a text": (
        ("diffatlas_measured.json", "layers", 0, "entropy", 1),
        "1.0",
        'layers[0].entropy[1] is "1.0", not a number or null',
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_an_error_names_file_place_and_fault(ours, fault):
    (file, *path, last), value, told = WRONG[fault]
    data = json.loads(json.dumps(ours))
    place = data[file]
    for step in path:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    assert errors_of(data) == [(file, told)]
    assert len(list(Draft202012Validator(schema()).iter_errors(data))) == 1


def test_many_errors_and_numbers_end(ours):
    """A file of a million numbers, each of another kind than it must be, is no reason to wait."""
    data = {**ours, "metrics.json": {**ours["metrics.json"], "latent_l2_norm": ["no"] * 1_000_000}}
    assert len(errors_of(data)) == 100
    data["metrics.json"]["latent_l2_norm"] = [1.0] * 1_000_000
    assert errors_of(data) == []
