import runpy
from pathlib import Path

import pytest

from diffatlas.glossary import TERMS, markdown, term

ROOT = Path(__file__).parents[1]
#: What the page asks for by name.
KEYS = """
prompt negative_prompt seed steps guidance size scheduler previews model timestep sigma sigma_after norm mean std min
max step_length cosine_to_start cosine_to_end cosine_to_previous distance_to_end guidance_norm guidance_angle x_t x0
cond uncond latents path_length chord straightness curvature dimensions_95 pca explained_variance umap common_basis
captured film layer lock parting dtw procrustes angle distance channel_change spatial_change histogram luma entropy
edge_density high_frequency centroid saturation device seconds study lane baseline drift collapse basin radius slerp
growth_slope silhouette jump agreement rank_correlation rand_index guidance_method token cross_attention self_attention
word_map daam activation attention_entropy self_attention_entropy attention_kl spike attention_js box_share binding head
half
""".split()  # noqa: SIM905


def test_every_word_of_the_page_is_explained():
    for key in KEYS:
        assert term(key).key == key
    with pytest.raises(KeyError):
        term("vibes")


def test_terms_are_short_and_of_one_kind():
    assert len({entry.key for entry in TERMS}) == len(TERMS)
    assert len({entry.name for entry in TERMS}) == len(TERMS)
    for entry in TERMS:
        assert 10 < len(entry.text) < 200, entry.key
        assert entry.text.endswith("."), entry.key
        assert "—" not in entry.text, entry.key


def test_what_a_run_measures_is_explained():
    from diffatlas.formats.report.parts import STATISTICS
    from diffatlas.measured import METRICS, TOTALS

    for key in (*METRICS, *TOTALS, *STATISTICS):
        assert term(key)


def test_the_docs_hold_the_same_glossary(capsys):
    assert (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8") == markdown()
    runpy.run_module("diffatlas.glossary", run_name="__main__")
    assert capsys.readouterr().out == markdown()
    for entry in TERMS:
        assert f"**{entry.name}**: {entry.text}" in markdown()
