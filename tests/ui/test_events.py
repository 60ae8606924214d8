"""What hangs on the events of the pages' components."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from diffatlas.ui.app import build_app
from diffatlas.ui.libraries import Libraries


def test_no_two_events_keep_each_other_going(tmp_path: Path) -> None:
    """Of what hangs on one event, Gradio's page asks anew for all when one is made up for ("always_last").

    Two of that kind would make up for each other for ever, and the page never come to rest.
    """
    config = build_app(Libraries(tmp_path)).get_config_file()
    made_up = Counter(
        (target, event)
        for each in config["dependencies"]
        # What runs in the browser alone is never under way.
        if each["trigger_mode"] == "always_last" and each["backend_fn"]
        for target, event in each["targets"]
    )
    assert made_up, "the pages have some of that kind"
    assert {what: count for what, count in made_up.items() if count > 1} == {}
