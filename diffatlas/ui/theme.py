"""The look: ivory paper or near-black, ink, burgundy and gold, in the families that Gradio bundles."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.themes.utils.fonts import LocalFont

STATIC = Path(__file__).parent / "static"
#: In this order; a later one may refine an earlier one.
SHEETS = (
    "page.css",
    "viewer.css",
    "film.css",
    "inspector.css",
    "space.css",
    "layers.css",
    "deep.css",
    "study.css",
    "study_views.css",
    "attention.css",
    "lab.css",
    "library.css",
)

PAPER, PAPER_DARK = "#faf7f0", "#151311"
SHEET, SHEET_DARK = "#fffdf8", "#1c1916"
INK, INK_DARK = "#1f1a17", "#ece5d8"
MUTED, MUTED_DARK = "#6a6058", "#a89d8f"
RULE, RULE_DARK = "#ddd4c3", "#3a342d"
BURGUNDY, BURGUNDY_DARK = "#7c2d36", "#d9848c"


class Atlas(gr.themes.Base):
    """Flat, ruled and quiet: no shadows, small radii, one accent."""

    def __init__(self) -> None:
        super().__init__(
            primary_hue=gr.themes.Color(
                name="burgundy",
                c50="#faf0f0", c100="#f3dddf", c200="#e6bcc0", c300="#d9848c", c400="#b95761", c500="#7c2d36",
                c600="#6c262f", c700="#5b2028", c800="#4a1a20", c900="#3a1419", c950="#2a0e12",
            ),
            neutral_hue=gr.themes.colors.stone,
            spacing_size=gr.themes.sizes.spacing_md,
            radius_size=gr.themes.sizes.radius_none,
            text_size=gr.themes.sizes.text_md,
            font=[LocalFont("IBM Plex Sans", weights=(400, 700)), "ui-sans-serif", "sans-serif"],
            font_mono=[LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace"],
        )  # fmt: skip
        super().set(
            body_background_fill=PAPER,
            body_background_fill_dark=PAPER_DARK,
            body_text_color=INK,
            body_text_color_dark=INK_DARK,
            body_text_color_subdued=MUTED,
            body_text_color_subdued_dark=MUTED_DARK,
            background_fill_primary=SHEET,
            background_fill_primary_dark=SHEET_DARK,
            background_fill_secondary=PAPER,
            background_fill_secondary_dark=PAPER_DARK,
            border_color_primary=RULE,
            border_color_primary_dark=RULE_DARK,
            border_color_accent=BURGUNDY,
            border_color_accent_dark=BURGUNDY_DARK,
            color_accent=BURGUNDY,
            color_accent_soft="#f3e7e0",
            color_accent_soft_dark="#33211f",
            link_text_color=BURGUNDY,
            link_text_color_dark=BURGUNDY_DARK,
            block_background_fill="transparent",
            block_background_fill_dark="transparent",
            block_border_width="0px",
            block_padding="0px",
            block_shadow="none",
            block_label_background_fill="transparent",
            block_label_background_fill_dark="transparent",
            block_title_text_color=INK,
            block_title_text_color_dark=INK_DARK,
            block_title_text_size="14px",
            block_title_text_weight="600",
            block_info_text_color=MUTED,
            block_info_text_color_dark=MUTED_DARK,
            block_info_text_size="13px",
            panel_background_fill="transparent",
            panel_background_fill_dark="transparent",
            panel_border_width="0px",
            form_gap_width="0px",
            layout_gap="18px",
            input_background_fill=SHEET,
            input_background_fill_dark=SHEET_DARK,
            input_border_color="#b9ad9a",
            input_border_color_dark="#5d544a",
            input_border_color_focus=BURGUNDY,
            input_border_color_focus_dark=BURGUNDY_DARK,
            input_border_width="1px",
            input_shadow="none",
            input_shadow_focus="none",
            input_placeholder_color="#857a6e",
            input_placeholder_color_dark="#8d8377",
            input_text_size="15px",
            input_radius="2px",
            button_large_radius="2px",
            button_medium_radius="2px",
            button_small_radius="2px",
            button_primary_background_fill=BURGUNDY,
            button_primary_background_fill_dark="#8c3540",
            button_primary_background_fill_hover="#672329",
            button_primary_background_fill_hover_dark="#a03f4b",
            button_primary_text_color="#fffaf2",
            button_primary_text_color_dark="#fffaf2",
            button_primary_border_color="transparent",
            button_primary_border_color_dark="transparent",
            button_secondary_background_fill="transparent",
            button_secondary_background_fill_dark="transparent",
            button_secondary_background_fill_hover="#f1eadc",
            button_secondary_background_fill_hover_dark="#29241f",
            button_secondary_border_color="#b9ad9a",
            button_secondary_border_color_dark="#5d544a",
            button_secondary_text_color=INK,
            button_secondary_text_color_dark=INK_DARK,
            button_border_width="1px",
            checkbox_label_background_fill="transparent",
            checkbox_label_background_fill_dark="transparent",
            checkbox_label_background_fill_hover="transparent",
            checkbox_label_background_fill_hover_dark="transparent",
            checkbox_label_background_fill_selected="transparent",
            checkbox_label_background_fill_selected_dark="transparent",
            checkbox_label_border_width="0px",
            checkbox_label_border_width_dark="0px",
            checkbox_label_padding="2px 14px 2px 0",
            checkbox_background_color_selected=BURGUNDY,
            checkbox_background_color_selected_dark=BURGUNDY,
            checkbox_border_color_selected=BURGUNDY,
            checkbox_border_color_selected_dark=BURGUNDY,
            checkbox_label_text_color_selected=INK,
            checkbox_label_text_color_selected_dark=INK_DARK,
        )


def head() -> str:
    """Return the style sheets as one ``<style>`` element, there before the first paint."""
    sheets = [(STATIC / name).read_text(encoding="utf-8") for name in SHEETS]
    return f"<style>\n{_serif()}{''.join(sheets)}</style>"


def _serif() -> str:
    """The serif of the headings, for which a Gradio theme has no slot."""
    return "".join(
        '@font-face {font-family: "Lora"; font-display: swap; '
        f"font-weight: {weight}; "
        f'src: url("gradio_api/file={(STATIC / "vendor/lora").as_posix()}/lora-latin-{weight}-normal.woff2") '
        'format("woff2");}\n'
        for weight in (400, 600)
    )
