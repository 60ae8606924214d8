"""The dataset of how a model learned, as anybody takes it in."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from diffatlas.library import Library
from diffatlas.shapes.detect import detect


def test_each_prompt_has_six_runs_from_one_noise_and_the_last_draws_its_colours(tmp_path):
    library = Library(tmp_path / "runs")
    by_prompt = defaultdict(list)
    for run_id in library.import_dataset("how-it-learned"):
        run = library.open(run_id)
        by_prompt[run.manifest["params"]["prompt"]].append((int(run.info.model.rpartition("-")[2]), run))
    assert len(by_prompt) == 3
    for prompt, runs in by_prompt.items():
        runs = [run for _, run in sorted(runs, key=lambda pair: pair[0])]
        paths = [run.latents() for run in runs]
        assert len(paths) == 6
        assert all(np.array_equal(path[0], paths[0][0]) for path in paths)
        assert not any(np.array_equal(path[-1], paths[0][-1]) for path in paths[1:])
        drawn = {found.color for found in detect(np.asarray(runs[-1].images()[0]), min_score=0)}
        assert drawn == {word for word in prompt.split() if word in ("red", "yellow", "blue", "green")}
    assert library.import_dataset("how-it-learned") == []
