"""The look: ivory paper or near-black, ink, burgundy and gold, in the families that Gradio bundles."""

from __future__ import annotations

import gradio as gr
from gradio.themes.utils.fonts import LocalFont

from diffatlas.formats.html.bundle import STATIC
from diffatlas.look import BURGUNDIES, NIGHT, PAPER, SANS, variables
from diffatlas.ui.own_files import base, script
from diffatlas.ui.workshop.held import pages

#: In this order; a later one may refine an earlier one.
SHEETS = (
    "core/page.css",
    "form/estimate.css",
    "runs/viewer.css",
    "form/start.css",
    "runs/film.css",
    "runs/inspector.css",
    "runs/space.css",
    "figures/figure.css",
    "runs/layers.css",
    "trajectory/deep.css",
    "study/study.css",
    "study/study_views.css",
    "attention/attention.css",
    "bench/bench.css",
    "bench/board.css",
    "bench/pack.css",
    "lab/lab.css",
    "library/library.css",
    "library/trash.css",
    "library/roll.css",
    "settings/settings.css",
    "core/companions.css",
    "core/invite.css",
)


class Atlas(gr.themes.Base):
    """Flat, ruled and quiet: no shadows, small radii, one accent."""

    def __init__(self) -> None:
        super().__init__(
            primary_hue=gr.themes.Color(*BURGUNDIES, name="burgundy"),
            neutral_hue=gr.themes.colors.stone,
            spacing_size=gr.themes.sizes.spacing_md,
            radius_size=gr.themes.sizes.radius_none,
            text_size=gr.themes.sizes.text_md,
            font=[LocalFont(SANS, weights=(400, 700)), "ui-sans-serif", "sans-serif"],
            font_mono=[LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace"],
        )
        super().set(
            body_background_fill=PAPER.paper,
            body_background_fill_dark=NIGHT.paper,
            body_text_color=PAPER.ink,
            body_text_color_dark=NIGHT.ink,
            body_text_color_subdued=PAPER.muted,
            body_text_color_subdued_dark=NIGHT.muted,
            background_fill_primary=PAPER.sheet,
            background_fill_primary_dark=NIGHT.sheet,
            background_fill_secondary=PAPER.paper,
            background_fill_secondary_dark=NIGHT.paper,
            border_color_primary=PAPER.rule,
            border_color_primary_dark=NIGHT.rule,
            border_color_accent=PAPER.burgundy,
            border_color_accent_dark=NIGHT.burgundy,
            color_accent=PAPER.burgundy,
            color_accent_soft=PAPER.soft,
            color_accent_soft_dark=NIGHT.soft,
            link_text_color=PAPER.burgundy,
            link_text_color_dark=NIGHT.burgundy,
            block_background_fill="transparent",
            block_background_fill_dark="transparent",
            block_border_width="0px",
            block_padding="0px",
            block_shadow="none",
            block_label_background_fill="transparent",
            block_label_background_fill_dark="transparent",
            block_title_text_color=PAPER.ink,
            block_title_text_color_dark=NIGHT.ink,
            block_title_text_size="14px",
            block_title_text_weight="600",
            block_info_text_color=PAPER.muted,
            block_info_text_color_dark=NIGHT.muted,
            block_info_text_size="13px",
            panel_background_fill="transparent",
            panel_background_fill_dark="transparent",
            panel_border_width="0px",
            form_gap_width="0px",
            layout_gap="18px",
            input_background_fill=PAPER.sheet,
            input_background_fill_dark=NIGHT.sheet,
            input_border_color=PAPER.line,
            input_border_color_dark=NIGHT.line,
            input_border_color_focus=PAPER.burgundy,
            input_border_color_focus_dark=NIGHT.burgundy,
            input_border_width="1px",
            input_shadow="none",
            input_shadow_focus="none",
            input_placeholder_color=PAPER.faint,
            input_placeholder_color_dark=NIGHT.faint,
            input_text_size="15px",
            input_radius="2px",
            button_large_radius="2px",
            button_medium_radius="2px",
            button_small_radius="2px",
            button_primary_background_fill=PAPER.press,
            button_primary_background_fill_dark=NIGHT.press,
            button_primary_background_fill_hover=PAPER.press_over,
            button_primary_background_fill_hover_dark=NIGHT.press_over,
            button_primary_text_color=PAPER.on_press,
            button_primary_text_color_dark=NIGHT.on_press,
            button_primary_border_color="transparent",
            button_primary_border_color_dark="transparent",
            button_secondary_background_fill="transparent",
            button_secondary_background_fill_dark="transparent",
            button_secondary_background_fill_hover=PAPER.over,
            button_secondary_background_fill_hover_dark=NIGHT.over,
            button_secondary_border_color=PAPER.line,
            button_secondary_border_color_dark=NIGHT.line,
            button_secondary_text_color=PAPER.ink,
            button_secondary_text_color_dark=NIGHT.ink,
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
            checkbox_background_color_selected=PAPER.burgundy,
            checkbox_background_color_selected_dark=PAPER.burgundy,
            checkbox_border_color_selected=PAPER.burgundy,
            checkbox_border_color_selected_dark=PAPER.burgundy,
            checkbox_label_text_color_selected=PAPER.ink,
            checkbox_label_text_color_selected_dark=NIGHT.ink,
        )


#: The script that stands in the page.
EARLY = "".join(
    (STATIC / name).read_text(encoding="utf-8")
    for name in ("core/early.js", "core/looks.js", "core/stream.js")
)


def head() -> str:
    """Return the style sheets as one ``<style>`` element, which pages there are, and what keeps early clicks: there
    before the first paint.

    The script of the views is fetched while Gradio's own are.
    """
    sheets = [(STATIC / name).read_text(encoding="utf-8") for name in SHEETS]
    style = f"<style>\n{_serif()}{variables()}{''.join(sheets)}</style>"
    there = f'<meta name="diffatlas-pages" content="{",".join(pages())}">'
    # Asked for nothing else, a browser looks for the icon at the head of the host, which a proxy may not pass on.
    icon = f'<link rel="icon" href="{base()}/favicon.svg">'
    return f'{style}\n{there}\n<script>{EARLY}</script>\n<link rel="modulepreload" href="{script()}">\n{icon}'


def _serif() -> str:
    """The serif of the headings, for which a Gradio theme has no slot."""
    return "".join(
        '@font-face {font-family: "Lora"; font-display: swap; '
        f"font-weight: {weight}; "
        f'src: url("{base()}/vendor/lora/lora-latin-{weight}-normal.woff2") '
        'format("woff2");}\n'
        for weight in (400, 600)
    )
