"""What is remembered of tabs: little, and for as long as somebody may come back."""

from __future__ import annotations

import gc
import time
from datetime import datetime, timedelta

import gradio as gr
import pytest

from diffatlas.ui import gone, tab_memory
from diffatlas.ui.tab_memory import SlimTab, Tabs, trimmer


@pytest.fixture
def page():
    with gr.Blocks() as app:
        held = gr.State("first")
        boxes = [gr.Textbox("a" * 1000) for _ in range(50)]
        gr.Button().click(lambda: None, None, boxes[0])
    return app, held, boxes


def tabs_of(app):
    tabs = Tabs()
    app.state_session_capacity = tab_memory.MOST
    tabs.set_blocks(app)
    return tabs


def test_a_tab_has_its_own_state_and_no_copy_of_the_page(page):
    app, held, boxes = page
    tabs = tabs_of(app)
    tabs["one"][held._id] = "mine"
    assert tabs["one"][held._id] == "mine"
    assert tabs["two"][held._id] == "first"
    # A component that an event has changed is changed for this tab only.
    tabs["one"][boxes[0]._id] = gr.Textbox("b", render=False)
    assert tabs["one"][boxes[0]._id].value == "b"
    assert tabs["two"][boxes[0]._id] is boxes[0]
    tabs["one"]._update_value_in_config(boxes[0]._id, "c" * 10**6)
    assert tabs["one"].config_values == {}
    gc.collect()
    before = len(gc.get_objects())
    for number in range(20):
        tabs[str(number)]
    gc.collect()
    assert (len(gc.get_objects()) - before) / 20 < 20  # Gradio's own has a few for each component


def test_what_gradio_asks_of_a_tab_is_there():
    """It is built without Gradio's own constructor, which makes the copy: what that sets, this sets as well."""
    with gr.Blocks() as app:
        gr.Textbox()
    theirs, ours = gr.state_holder.SessionState(app), SlimTab(app)
    assert set(vars(theirs)) == set(vars(ours))
    assert set(vars(theirs.blocks_config)) == set(vars(ours.blocks_config))
    assert dict(theirs.blocks_config.blocks) == dict(ours.blocks_config.blocks)
    assert theirs.blocks_config.fns == ours.blocks_config.fns


def test_closed_and_silent_tabs_are_forgotten_and_others_stay(page):
    app, held, _ = page
    tabs = tabs_of(app)
    for name in ("open", "closed", "left", "script"):
        tabs[name][held._id] = name

    def silent(name, seconds):
        tabs.time_last_used[name] = datetime.now() - timedelta(seconds=seconds)

    for name in ("closed", "left"):
        tabs[name].is_closed = True
    silent("left", tab_memory.CLOSED + 1)
    silent("script", tab_memory.SILENT + 1)
    silent("open", tab_memory.SILENT - 60)
    assert tabs.forget() == 2
    assert set(tabs.session_data) == set(tabs.time_last_used) == {"open", "closed"}
    assert tabs["open"][held._id] == "open"
    # Who comes back all the same begins anew.
    assert tabs["left"][held._id] == "first"


def test_what_can_be_had_again_is_let_go_of_when_nobody_asks(page, monkeypatch):
    class Keeps:
        emptied = 0

        def empty(self):
            self.emptied += 1

    class Served:
        is_running = True

        def __init__(self, app):
            self.default_config, self.state_session_capacity = app.default_config, 10
            self.app = type("App", (), {})()

    keeps, app = Keeps(), Served(page[0])
    monkeypatch.setattr(tab_memory, "EVERY", 0.02)
    monkeypatch.setattr(tab_memory, "QUIET", 0.3)
    tab_memory.empty_when_quiet(keeps)
    gone.last_asked[0] = time.monotonic()
    tab_memory.keep_small(app)
    time.sleep(0.1)
    assert keeps.emptied == 0
    end = time.monotonic() + 10
    while not keeps.emptied and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.5)
    assert keeps.emptied == 1  # once, until somebody asks again
    app.is_running = False


def test_free_memory_can_be_given_back():
    assert trimmer()() in (None, 0, 1)
