"""The head and the foot of every page."""

from __future__ import annotations

import html

import gradio as gr

import diffatlas
from diffatlas.formats.code import run_code
from diffatlas.params import GenerationParams
from diffatlas.registry import list_models
from diffatlas.ui.starts import first_of_form
from diffatlas.ui.workshop.plan import PAGE_NAMES, PAGES, Workshop

_HEADER = """
<header class="da-header">
  <h1>Diffusion Atlas</h1>
  <p>See how a diffusion model makes an image, one step at a time.</p>
  <nav class="da-nav" aria-label="Pages">
    {buttons}
  </nav>
  <span class="da-header-acts">
    <button type="button" class="da-plain da-invite-open" hidden>QR code</button>
    <button type="button" class="da-plain da-tour-begin">Tour</button>
    <button type="button" class="da-plain da-ink-switch"></button>
  </span>
</header>
{welcome}
"""

_SWITCH = """
const button = element.querySelector(".da-ink-switch");
const dark = () => document.body.classList.contains("dark");
const name = () => { button.textContent = dark() ? "Light" : "Dark"; };
button.addEventListener("click", () => { window.diffatlasLook.choose(dark() ? "light" : "dark"); name(); });
new MutationObserver(name).observe(document.body, { attributeFilter: ["class"] });
name();
"""


def header(workshop: Workshop | None = None) -> gr.HTML:
    """Title, one line, the pages, and the switch between ivory and near-black; what a workshop says beneath it."""
    pages = PAGES if workshop is None else workshop.pages
    current = 'aria-current="page"'
    buttons = "\n    ".join(
        f'<button type="button" data-page="{page}" {current if page == pages[0] else ""}>{PAGE_NAMES[page]}</button>'
        for page in pages
    )
    text = _HEADER.format(buttons=buttons, welcome="" if workshop is None else _welcome(workshop))
    return gr.HTML(text, js_on_load=_SWITCH, apply_default_css=False, elem_id="header")


def _welcome(workshop: Workshop) -> str:
    line = f'<p dir="auto">{html.escape(workshop.welcome)}</p>' if workshop.welcome else ""
    return (
        f'<section class="da-held" aria-label="Workshop"><h2 dir="auto">{html.escape(workshop.title)}</h2>{line}'
        "</section>"
    )


def footer() -> gr.HTML:
    """Version, licence, and the lines of Python that make what is in view."""
    entry = list_models("local")[0]
    begins = first_of_form("field")
    first = GenerationParams(
        model=entry.id,
        prompt=begins.prompt,
        seed=begins.seed,
        num_inference_steps=entry.steps or 30,
        guidance_scale=entry.guidance or 5.0,
    )
    lines = html.escape(run_code(first, {}, {}))
    text = f"Diffusion Atlas {diffatlas.__version__}, MIT licence. "
    button = '<button type="button" class="da-plain da-python">Use it from Python</button>'
    example = f'<pre class="da-python-example" hidden>{lines}</pre>'
    return gr.HTML(
        f'<footer class="da-footer">{text}{button}{example}</footer>',
        js_on_load=None,
        apply_default_css=False,
    )
