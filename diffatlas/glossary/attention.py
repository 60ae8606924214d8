"""The words about attention: what each word of a prompt looks at, and what is measured of that."""

from __future__ import annotations

from diffatlas.glossary.entry import Term

SECTIONS: tuple[tuple[str, tuple[Term, ...]], ...] = (
    (
        "Attention",
        (
            Term(
                "token",
                "Token",
                "A piece of the prompt as the text encoder reads it: a word, a part of one, or a mark for "
                "the beginning, the end or padding.",
            ),
            Term(
                "cross_attention",
                "Cross-attention",
                "With what weight each place of the image reads each token of the prompt. At a place the "
                "weights of all tokens sum to 1.",
                "softmax(Q Kᵀ / √d)",
                "Vaswani et al. 2017",
            ),
            Term(
                "self_attention",
                "Self-attention",
                "With what weight each place of the image reads each other place, averaged to the cells of a grid.",
                "softmax(Q Kᵀ / √d)",
                "Vaswani et al. 2017",
            ),
            Term(
                "word_map",
                "Word map",
                "How much each place reads a word: the mean of cross-attention over the word's tokens, the heads and "
                "the layers.",
            ),
            Term(
                "daam",
                "DAAM map",
                "A word map of the whole run as DAAM draws it: summed over the steps, enlarged bicubically, without "
                "the middle of the model.",
                source="Tang et al. 2022",
            ),
            Term(
                "activation",
                "Token activation",
                "The weight with which a token is read, averaged over all places of the image and the layers.",
            ),
            Term(
                "attention_entropy",
                "Attention entropy",
                "How many tokens a place reads at once: 0 if one only, ln n if n alike. Averaged over the places.",
                "−∑ p ln p",
                "Shannon 1948",
            ),
            Term(
                "self_attention_entropy",
                "Self-attention entropy",
                "How many cells of the grid a place reads at once, averaged over the places.",
                "−∑ p ln p",
            ),
            Term(
                "attention_kl",
                "Reallocation",
                "How far the attention of a step is from that of the step before: the KL divergence over the tokens, "
                "averaged over places and layers.",
                "∑ p ln(p / q)",
                "Kullback and Leibler 1951",
            ),
            Term(
                "spike",
                "Spike",
                "A step whose reallocation exceeds the median of all steps by more than three scaled median absolute "
                "deviations.",
            ),
            Term(
                "attention_js",
                "Divergence of two runs",
                "How differently a word is placed in two runs: the Jensen-Shannon divergence of its maps, 0 if alike, "
                "ln 2 if apart.",
                source="Lin 1991",
            ),
            Term(
                "box_share",
                "Share in the box",
                "How much of a word’s map lies inside the box of the object that it names, found in the finished "
                "image.",
            ),
            Term(
                "binding",
                "Binding",
                "Whether a colour word looks at its own object rather than the other: 1 only its own, 0 both "
                "alike, −1 only the other.",
                "(p − q) / (p + q)",
            ),
            Term(
                "head",
                "Head",
                "One of the parallel attentions of a layer, each with queries and keys of its own.",
            ),
            Term(
                "half",
                "Half",
                "Guidance runs the model twice a step: for the prompt, and for the negative or empty one.",
            ),
        ),
    ),
)
