"""The 2D Lab page: diffusion in the plane, where the exact answer is known."""

from __future__ import annotations

import gradio as gr

from diffatlas.ui.components.viewer import LabIsland
from diffatlas.ui.lab_services import LabServices


def lab_page(services: LabServices) -> None:
    """Draw the page. Each visitor has labs of their own."""
    with (
        gr.Row(elem_classes=["da-page", "da-page-lab"]),
        gr.Column(scale=1, min_width=300, elem_classes="da-main"),
    ):
        LabIsland(services.functions, elem_id="lab")
