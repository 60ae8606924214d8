"""What a model computes in where nothing was asked, by family, device and files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffatlas.backends import dtypes
from diffatlas.backends.dtypes import pick_dtype, usual
from diffatlas.backends.model_info import ModelSource
from diffatlas.registry import USER, ModelEntry


@pytest.mark.parametrize(
    ("family", "kind", "told", "bf16", "expected"),
    [
        ("sd", "cpu", "fp16", True, "fp32"),
        ("sd", "cuda", None, True, "fp16"),
        ("transformer", "cuda", None, True, "bf16"),
        ("transformer", "cuda", "fp32", True, "fp32"),
        # A GPU before Ampere has no bfloat16 of its own.
        ("transformer", "cuda", "bf16", False, "fp16"),
        ("transformer", "cuda", None, False, "fp16"),
        # On a Mac float16 overflows.
        ("sd", "mps", "fp16", True, "fp32"),
        ("unet", "mps", "fp16", True, "bf16"),
        ("transformer", "mps", "bf16", True, "bf16"),
        ("transformer", "mps", "bf16", False, "fp32"),
    ],
)
def test_by_family_and_device(family: str, kind: str, told: str | None, bf16: bool, expected: str) -> None:
    assert usual(family, kind, told, bf16) == expected


def test_families_are_told_by_their_folders(tmp_path: Path) -> None:
    assert dtypes.family_of(tmp_path) == "sd"
    (tmp_path / "text_encoder_2").mkdir()
    assert dtypes.family_of(tmp_path) == "unet"
    (tmp_path / "transformer").mkdir()
    assert dtypes.family_of(tmp_path) == "transformer"


def test_whose_line_it_is(tmp_path: Path) -> None:
    """The list that ships does not know the machine; whoever wrote a line of their own does."""
    for provider, expected in (("local", "fp32"), (USER, "fp16")):
        entry = ModelEntry("x", "X", dtype="fp16", provider=provider)
        assert pick_dtype("auto", "mps", ModelSource("x", tmp_path, entry), tmp_path) == expected
    assert pick_dtype("bf16", "mps", ModelSource("x", tmp_path), tmp_path) == "bf16"


def test_a_gpu_is_asked_for_bfloat16_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", lambda device: _Nothing())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **how: asked.append(how) or False)
    assert not dtypes.has_bf16("cuda:1")
    assert asked == [{"including_emulation": False}]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert dtypes.has_bf16("cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.backends.mps, "is_macos_or_newer", lambda major, minor: (major, minor) < (14, 0)
    )
    assert not dtypes.has_bf16("mps")


class _Nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...
