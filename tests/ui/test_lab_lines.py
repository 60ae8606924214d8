"""The lines of Python make what the 2D Lab's page shows."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from diffatlas.lab2d import states
from diffatlas.ui.lab_services import LabServices
from tests.spoken import Spoken
from tests.ui.test_lab_kept import train

ME = "a" * 32
RECIPE = {"width": 16, "depth": 2, "batch": 32, "steps": 400, "seed": 3}


def drawing() -> dict[str, Any]:
    points = np.random.default_rng(0).uniform(-1, 1, (31, 2)).round(4).tolist()
    labels = [k % 2 for k in range(31)]
    return {"name": "drawing", "points": points, "labels": labels, "classes": ["1", "2"], "jitter": 0.08}


def begun(services: LabServices, case: str, folder: Any) -> tuple[str, Any]:
    """A lab, and the network that its page has."""
    match case:
        case "pretrained":
            lab = services.begin(ME, {"target": {"preset": "moons"}, "pretrained": True})["lab"]
        case "trained on":
            lab = services.begin(ME, {"target": {"preset": "rings"}, "pretrained": True})["lab"]
            train(services, lab, 20)
        case "drawing":
            lab = services.begin(ME, {"target": drawing(), "recipe": RECIPE})["lab"]
            train(services, lab, 310)
            train(services, lab, 30)
        case "training set":
            recipe = {**RECIPE, "train_points": 40}
            lab = services.begin(ME, {"target": {"preset": "tree"}, "recipe": recipe})["lab"]
            train(services, lab, 310)
        case "file":
            lab = services.begin(ME, {"target": drawing(), "recipe": RECIPE})["lab"]
            train(services, lab, 50)
            text = states.json.dumps(states.to_json(services._labs.find(ME, lab).trainer))
            lab = services.open(ME, {"text": text})["lab"]
            (folder / "lab-drawing-50.json").write_text(text)
        case _:
            lab = services.begin(ME, {"target": {"preset": "swiss_roll"}, "recipe": RECIPE})["lab"]
    return lab, services._labs.find(ME, lab).trainer


@pytest.mark.parametrize(
    ("case", "asked"),
    [
        ("pretrained", {}),
        ("pretrained", {"sampler": "ddim", "steps": 12, "eta": 0.5, "seed": 4, "classes": 1, "weight": 2.0}),
        ("pretrained", {"field": "empirical", "points": 30, "classes": "none", "sampler": "euler"}),
        ("pretrained", {"field": "exact", "weight": 1.5, "kind": "auto", "interval": True, "low": 0.2, "high": 1.0}),
        ("trained on", {"churn": 20.0}),
        ("drawing", {"classes": 0, "weight": 1.0, "kind": "auto"}),
        ("training set", {"field": "empirical", "weight": 2.0, "kind": "auto", "sampler": "dpmpp_2m"}),
        ("file", {}),
        ("untrained", {"field": "exact"}),
    ],
)  # fmt: skip
def test_the_lines_make_the_network_the_samples_and_the_measures(tmp_path, monkeypatch, case, asked):
    monkeypatch.chdir(tmp_path)
    services = Spoken(LabServices())
    lab, trainer = begun(services, case, tmp_path)
    shown = services.sample(ME, {"lab": lab, "n": 300, **asked})
    measured = services.measure(ME, {"lab": lab})["measures"]
    names: dict[str, Any] = {}
    exec(compile(shown["python"], "lines", "exec"), names)
    points = np.frombuffer(base64.b64decode(shown["final"]), "<f4").reshape(-1, 2)
    np.testing.assert_allclose(names["points"], points, atol=1e-4)
    if shown["labels"] is not None:
        assert names["labels"].tolist() == shown["labels"]
    if case != "untrained" or trainer.step:
        assert names["trainer"].step == trainer.step
        np.testing.assert_allclose(names["trainer"].average, trainer.average, atol=1e-5)
    for name, value in measured.items():
        assert getattr(names["measures"], name) == pytest.approx(value, abs=1e-3, rel=1e-3)
