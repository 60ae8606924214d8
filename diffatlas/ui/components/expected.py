"""The lines of a form that say how much it asks for and how long that takes, and the button to run it all the same."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr


@dataclass(frozen=True)
class Expected:
    """The line, and the button that runs what is above the bound."""

    line: gr.Markdown
    anyway: gr.Button

    @property
    def shown(self) -> list[gr.components.Component]:
        """What `told` returns updates of."""
        return [self.line, self.anyway]


def counted_field(page: str) -> gr.Markdown:
    """Draw the line that says how much a form asks for, hidden until there is something to say."""
    return gr.Markdown(visible=False, elem_id=f"{page}-counted", elem_classes="da-expected")


def expected_field(page: str) -> Expected:
    """Draw them, hidden until there is something to say."""
    line = gr.Markdown(visible=False, elem_id=f"{page}-expected", elem_classes="da-expected")
    anyway = gr.Button(
        "Run all the same", visible=False, elem_id=f"{page}-anyway", elem_classes="da-anyway", size="sm"
    )
    return Expected(line, anyway)
