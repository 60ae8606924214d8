"""What is kept of the lab in a folder, and what becomes of it where files are damaged, hostile or too many."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from diffatlas.errors import InvalidParams
from diffatlas.lab2d import Recipe, Trainer, drawn, preset, shelf, states
from diffatlas.lab2d.shelf import Shelf

SMALL = Recipe(width=16, depth=1, batch=16, steps=400, seed=5)


@pytest.fixture
def trained() -> Trainer:
    trainer = Trainer(preset("moons"), SMALL)
    trainer.run(320)
    return trainer


def test_a_network_comes_back_to_the_bit_and_trains_on_as_if_nothing_had_been(tmp_path, trained):
    kept = Shelf(tmp_path).keep_network(trained)
    again, trainer = Shelf(tmp_path).open(kept.id)
    assert again == kept
    assert (trainer.step, trainer.recipe, trainer.target.name) == (320, SMALL, "moons")
    np.testing.assert_array_equal(np.float32(trainer.losses), np.float32(trained.losses))
    for one in (trained, trainer):
        one.run(40)
    np.testing.assert_array_equal(trainer.average, trained.average)
    np.testing.assert_array_equal(trainer.early, trained.early)
    # Anybody's reader of safetensors finds the weights.
    stored = load_file(tmp_path / kept.weights)
    assert set(stored) == {"average", "last", "moments", "early", "losses"}


def test_a_network_that_goes_on_stays_one_and_two_that_went_on_become_two(tmp_path, trained):
    here = Shelf(tmp_path)
    first = here.keep_network(trained)
    assert here.keep_network(trained) == first
    _, other = here.open(first.id)
    trained.run(10)
    second = here.keep_network(trained, before=first)
    assert (second.id, len(list(tmp_path.glob("*.safetensors")))) == (first.id, 1)
    # In another window it was opened before that, and went its own way.
    other.run(20)
    third = here.keep_network(other, before=first)
    assert third.id != first.id
    assert {kept.step for kept in here.list()} == {330, 340}


def test_a_drawing_is_kept_once_however_often_it_is_begun(tmp_path):
    points = np.random.default_rng(0).uniform(-1, 1, (30, 2))
    here = Shelf(tmp_path)
    kept = here.keep_drawing(drawn(points, [k % 2 for k in range(30)], jitter=0.1))
    assert here.keep_drawing(here.open(kept.id)[1]) == kept
    np.testing.assert_allclose(here.open(kept.id)[1].parts.means, points)
    here.delete(kept.id)
    assert here.keep_drawing(drawn(points, [k % 2 for k in range(30)], jitter=0.1)) is None
    assert here.list() == []


def test_one_is_renamed_deleted_and_had_back(tmp_path, trained):
    here = Shelf(tmp_path)
    kept = here.keep_network(trained)
    assert here.rename(kept.id, "  my \n moons ").name == "my moons"
    for wrong in ("x" * 81, None, "a\x00b"):
        with pytest.raises(InvalidParams, match="one line"):
            here.rename(kept.id, wrong)
    here.delete(kept.id)
    assert here.list() == []
    with pytest.raises(InvalidParams, match="no longer kept"):
        here.open(kept.id)
    here.restore(kept.id)
    assert here.open(kept.id)[0].name == "my moons"
    with pytest.raises(InvalidParams, match="had back"):
        here.restore(kept.id)


def test_of_the_deleted_only_the_last_few_stay_on_the_disk(tmp_path, trained):
    here = Shelf(tmp_path)
    for _ in range(shelf.MOST_DELETED + 3):
        trained.run(1)
        here.delete(here.keep_network(trained).id)
    assert len(list(tmp_path.glob("*.deleted"))) == shelf.MOST_DELETED
    assert len(list(tmp_path.glob("*.safetensors"))) == shelf.MOST_DELETED


def test_a_bound_by_count_and_one_by_bytes_say_so(tmp_path, trained):
    few = Shelf(tmp_path / "few", most=2)
    for _ in range(2):
        trained.run(1)
        last = few.keep_network(trained)
    trained.run(1)
    with pytest.raises(InvalidParams, match="delete one"):
        few.keep_network(trained)
    # The same network may go on where it is.
    assert few.keep_network(trained, before=last).id == last.id
    size = len(save(states.parts_of(trained)))
    small = Shelf(tmp_path / "small", most=9, most_bytes=int(2.5 * size))
    for _ in range(2):
        trained.run(1)
        last = small.keep_network(trained)
    trained.run(1)
    with pytest.raises(InvalidParams, match="delete one"):
        small.keep_network(trained)
    small.delete(last.id)
    # What was deleted makes room.
    small.keep_network(trained)
    assert sum(path.stat().st_size for path in small.folder.iterdir()) < 2.5 * size + 5000


def test_a_write_that_is_cut_off_leaves_what_was_kept(tmp_path, trained, monkeypatch):
    here = Shelf(tmp_path)
    kept = here.keep_network(trained)
    before = here.open(kept.id)[1].average.copy()
    trained.run(5)
    monkeypatch.setattr(Shelf, "_write", lambda self, kept: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        here.keep_network(trained, before=kept)
    np.testing.assert_array_equal(here.open(kept.id)[1].average, before)


class Trap:
    def __reduce__(self):
        return os.system, ("touch trapped",)


def _spoil(kept, folder: Path, how: str) -> None:
    text, weights = folder / f"{kept.id}.json", folder / kept.weights
    value = json.loads(text.read_text())
    match how:
        case "pickle":
            weights.write_bytes(pickle.dumps(Trap()))
        case "short":
            weights.write_bytes(weights.read_bytes()[:-9])
        case "one bit":
            data = bytearray(weights.read_bytes())
            data[-1] ^= 1
            weights.write_bytes(data)
        case "no weights":
            weights.unlink()
        case "elsewhere":
            (folder.parent / "secret.safetensors").write_bytes(weights.read_bytes())
            text.write_text(json.dumps({**value, "weights": "../secret.safetensors"}))
        case "other recipe":
            text.write_text(json.dumps({**value, "recipe": {**value["recipe"], "width": 17}}))
        case "link":
            weights.rename(folder / "real")
            weights.symlink_to(folder / "real")
        case "no JSON":
            text.write_text('{"id": ')
        case "deep":
            text.write_text("[" * 100_000)
        case "a number":
            text.write_text("7")


@pytest.mark.parametrize(
    "how",
    ["pickle", "short", "one bit", "no weights", "elsewhere", "other recipe", "link", "no JSON", "deep", "a number"],
)  # fmt: skip
def test_what_is_damaged_or_hostile_is_a_sentence_and_the_others_stay(tmp_path, trained, how, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = Shelf(tmp_path / "kept")
    bad = here.keep_network(trained)
    trained.run(1)
    good = here.keep_network(trained)
    _spoil(bad, here.folder, how)
    with pytest.raises(InvalidParams):
        here.open(bad.id)
    assert not (tmp_path / "trapped").exists()
    assert {kept.id for kept in here.list()} == {bad.id, good.id}
    here.open(good.id)
    here.delete(bad.id)
    assert [kept.id for kept in here.list()] == [good.id]


@pytest.mark.parametrize("name", ["../../etc/passwd", "", None, 7, "a" * 31, "A" * 32])
def test_only_an_id_is_a_name(tmp_path, name):
    for call in (Shelf(tmp_path).open, Shelf(tmp_path).delete, Shelf(tmp_path).restore):
        with pytest.raises(InvalidParams):
            call(name)


def test_a_network_that_diverged_is_not_kept(tmp_path, trained):
    trained.vector[:] = np.nan
    with pytest.raises(InvalidParams, match="diverged"):
        Shelf(tmp_path).keep_network(trained)
    assert not list(tmp_path.iterdir())


def test_what_a_crash_left_goes_after_a_day(tmp_path, trained):
    here = Shelf(tmp_path)
    kept = here.keep_network(trained)
    lost = tmp_path / f"{'0' * 32}-00000000.safetensors"
    lost.write_bytes(b"left")
    trained.run(1)
    other = here.keep_network(trained)
    here.delete(other.id)
    assert lost.exists()
    os.utime(lost, (0, 0))
    here.restore(other.id)
    here.delete(other.id)
    assert not lost.exists()
    assert here.open(kept.id)[0] == kept
