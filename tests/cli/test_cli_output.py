"""What the shell says of a run whose noise levels are not known, that lacks something or was changed on its way."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from diffatlas.cli.output import follow
from diffatlas.events import Finished, Started, Step
from diffatlas.params import GenerationParams

X = np.zeros((1, 4, 2, 2), np.float32)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_run_without_noise_levels_is_followed_to_its_end(capsys, monkeypatch, terminal):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    params = GenerationParams(prompt="x", seed=1, width=64, height=64)
    events = [
        Started("20260101-000000-00000000", params, X, None, 2, {}),
        Step(0, 2.0, None, X),
        Step(1, 1.0, None, X, start_latents=X),
        Finished("complete", 1.0, [], {"sigma": "The scheduler [tells] none."}),
    ]
    assert follow(event for event in events) == "20260101-000000-00000000"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    said = " ".join(plain.split())
    assert "Not recorded: the noise levels. The scheduler [tells] none." in said
    assert "before step 2: lengths are of the true states." in said
