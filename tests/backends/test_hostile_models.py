"""Folders of models written by anybody: looked up and loaded, or refused in a sentence that names the file."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from diffatlas import cli
from diffatlas.backends import loading, loras
from diffatlas.backends.look_up import look_up
from diffatlas.backends.model_info import find_source, revision
from diffatlas.errors import DiffAtlasError, InvalidParams, ModelLoadError
from diffatlas.params import Lora
from diffatlas.ui.chosen_model import choose
from tests.hostile import HOSTILE, bounded, damaged, with_another_part

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def model(folders: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the tests' own, of which one file at a time is damaged."""
    folder = tmp_path_factory.mktemp("hostile") / "sd"
    shutil.copytree(folders("sd"), folder)
    return folder


@pytest.fixture
def room(model: Path, tmp_path: Path) -> Path:
    shutil.copytree(model, tmp_path / "sd")
    return tmp_path / "sd"


@pytest.fixture(autouse=True)
def no_pickles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is unpickled, whatever a folder holds."""

    def unpickle(*_: Any, **__: Any) -> Any:
        opened.append("a pickle was read")
        raise AssertionError(opened[0])

    opened: list[str] = []
    monkeypatch.setattr("torch.load", unpickle)
    monkeypatch.setattr(pickle, "load", unpickle)
    monkeypatch.setattr(pickle, "loads", unpickle)
    yield
    assert not opened


def refusal(act: Callable[[], Any]) -> DiffAtlasError | None:
    """How something is refused: on one line. Anything but a typed error comes out."""
    refused = None
    try:
        act()
    except DiffAtlasError as error:
        refused = error
    if refused is not None:
        assert "\n" not in refused.message
        assert len(refused.message) < 700
    return refused


def looked_at(folder: Path) -> DiffAtlasError | None:
    return refusal(lambda: look_up(str(folder), device="cpu", dtype="fp32").sentence)


def loaded(folder: Path) -> DiffAtlasError | None:
    return refusal(lambda: loading.load(find_source(str(folder)), folder, "cpu", "fp32"))


def used(folder: Path) -> DiffAtlasError | None:
    return looked_at(folder) or loaded(folder) or refusal(lambda: revision(folder))


def configs_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.json"))


def test_the_good_one_is_taken(model: Path) -> None:
    assert used(model) is None


@bounded(60)
@given(data=st.data())
def test_a_config_with_anything_in_it_is_looked_up_or_refused(model: Path, data: st.DataObject) -> None:
    small = [path for path in configs_of(model) if path.stat().st_size < 20_000]
    path = data.draw(st.sampled_from(small))
    before = path.read_bytes()
    try:
        path.write_text(json.dumps(with_another_part(data, json.loads(before), HOSTILE)))
        looked_at(model)
        # What a form asks of a model.
        refusal(lambda: choose(str(model)))
    finally:
        path.write_bytes(before)


@bounded(30)
@given(data=st.data())
def test_a_config_with_anything_in_it_is_loaded_or_refused(model: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(configs_of(model)))
    before = path.read_bytes()
    try:
        path.write_text(json.dumps(with_another_part(data, json.loads(before), HOSTILE)))
        used(model)
    finally:
        path.write_bytes(before)


@bounded(30)
@given(data=st.data())
def test_a_damaged_file_is_refused(model: Path, data: st.DataObject) -> None:
    paths = sorted(path for path in model.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(paths))
    before = path.read_bytes()
    # Of weights the beginning, which says what they are.
    head = before[:4000] if path.suffix == ".safetensors" else before
    try:
        path.write_bytes(damaged(data, head) + before[len(head) :])
        used(model)
    finally:
        path.write_bytes(before)


NAMES = [
    "model_index.json",
    "unet/config.json",
    WEIGHTS,
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer.json",
]


@pytest.mark.parametrize(
    "kind", ["folder", "pipe", "loop", "broken link", "device", "empty", "deep", "digits"]
)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_such_file_is_named(room: Path, name: str, kind: str) -> None:
    path = room / name
    path.unlink()
    {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "loop": lambda: path.symlink_to(path),
        "broken link": lambda: path.symlink_to("nowhere"),
        "device": lambda: path.symlink_to("/dev/zero"),
        "empty": path.touch,
        "deep": lambda: path.write_text("[" * 100_000),
        "digits": lambda: path.write_text("9" * 5000),
    }[kind]()
    refused = used(room)
    assert refused is not None
    assert path.name in refused.message or path.parent.name in refused.message
    refusal(lambda: revision(room))


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("unet/config.json", {"layers_per_block": 10**9}, "layers_per_block is more than 1,000"),
        ("text_encoder/config.json", {"num_hidden_layers": 10**9}, "num_hidden_layers is more than 1,000"),
        ("text_encoder/config.json", {"max_position_embeddings": 10**12}, "is more than 20,000,000"),
        ("unet/config.json", {"sample_size": 10**9}, "sample_size is no whole number"),
        ("vae/config.json", {"block_out_channels": [1] * 5000}, "block_out_channels has 5,000 entries"),
        (
            "scheduler/scheduler_config.json",
            {"num_train_timesteps": 10**11},
            "num_train_timesteps is no whole",
        ),
        ("scheduler/scheduler_config.json", {"_class_name": ["x"]}, "_class_name is no text"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": "long"}, "model_max_length is no number"),
        ("model_index.json", {"../unet": ["diffusers", "UNet2DConditionModel"]}, "'../unet'"),
        ("model_index.json", {"_class_name": ["pipeline", "Mine"]}, "_class_name is no text"),
    ],
)
def test_numbers_and_names_are_not_believed(room: Path, name: str, change: dict[str, Any], why: str) -> None:
    path = room / name
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    refused = used(room)
    assert isinstance(refused, ModelLoadError)
    assert why in refused.message
    assert path.name in refused.message


@pytest.mark.parametrize("library", ["mine", "planted", "../planted", "antigravity", ""])
def test_code_of_a_folder_is_never_run(room: Path, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = room.parent / "ran"
    for place in (room / "unet", room, room.parent):
        (place / f"{Path(library).name or 'x'}.py").write_text(
            f"open({str(ran)!r}, 'w')\nclass Model: pass\n"
        )
    monkeypatch.syspath_prepend(str(room.parent))
    path = room / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"unet": [library, "Model"]}))
    refused = loaded(room)
    assert isinstance(refused, ModelLoadError)
    assert "never run" in refused.message
    assert not ran.exists()
    assert library not in sys.modules


def test_an_index_of_parts_names_only_safetensors_of_its_folder(room: Path) -> None:
    weights = room / WEIGHTS
    for name in (
        "../x.safetensors",
        "model.bin",
        "x\0.safetensors",
        "a" * 300 + ".safetensors",
        5,
        "/etc/passwd",
    ):
        index = weights.with_name("diffusion_pytorch_model.safetensors.index.json")
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        refused = used(room)
        assert isinstance(refused, ModelLoadError)
        assert index.name in refused.message


def test_a_pointer_in_a_folder_is_not_followed(room: Path) -> None:
    before = revision(room)
    (room / "checkpoint.path").write_text("/dev/zero")
    assert revision(room) == before


def test_one_file_with_strange_weights(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    shape = {"a": {"dtype": "F8_E4M3", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}
    header = json.dumps(shape).encode()
    for content in (
        b"",
        b"\xff" * 20,
        len(header).to_bytes(8, "little") + header + b"1234",
        pickle.dumps([1]),
    ):
        file.write_bytes(content)
        refused = refusal(lambda: look_up(str(file), device="cpu"))
        assert isinstance(refused, ModelLoadError)
        assert "x.safetensors" in refused.message


@pytest.mark.parametrize(
    "name",
    [
        "~nobody/x",
        "a\0b.safetensors",
        "x" * 5000,
        "/dev/zero",
        "loop.safetensors",
        "empty.safetensors",
        "sparse.safetensors",
        "rooms",
    ],
)
def test_a_lora_that_is_none(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop.safetensors").symlink_to("loop.safetensors")
    Path("empty.safetensors").touch()
    Path("rooms").mkdir()
    Path("rooms/a.safetensors").mkdir()
    with Path("sparse.safetensors").open("wb") as file:
        file.truncate(10**12)
    refused = refusal(lambda: loras.described([Lora(f"./{name}" if name[0] in "lesr" else name)]))
    assert isinstance(refused, (InvalidParams, ModelLoadError))
    assert refused.field == "loras"


def test_a_lora_with_anything_in_it_leaves_the_pipeline_as_it_was(model: Path, tmp_path: Path) -> None:
    import numpy as np

    ready = loading.load(find_source(str(model)), model, "cpu", "fp32")
    key = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    given_up: list[int] = []
    for tensors in (
        {},
        {"x": np.zeros(3, np.float32)},
        {f"{key}.lora_A.weight": np.zeros((4, 3), np.float32)},
        {
            f"{key}.lora_A.weight": np.zeros((4, 3), np.float32),
            f"{key}.lora_B.weight": np.zeros((9, 4), np.float32),
        },
        {f"{key}.lora_A.weight": np.zeros(4, np.float32), f"{key}.lora_B.weight": np.zeros((), np.float32)},
        {"unet.." + key: np.zeros((4, 4), np.int8)},
    ):
        file = tmp_path / "style.safetensors"
        save_file(tensors, file)

        def put_on(file: Path = file) -> None:
            with loras.applied(ready, [Lora(str(file))], lambda: given_up.append(1)):
                pass

        refused = refusal(put_on)
        assert isinstance(refused, ModelLoadError)
        assert "style.safetensors" in refused.message


def test_the_shell_says_it_on_one_line(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (room / "unet" / "config.json").write_text('{"sample_size": "x"}')
    for command in ("show", "add"):
        assert cli.run(["models", command, str(room)]) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert said[0].startswith("error: unet/config.json cannot be used: sample_size is no whole number")
