"""Vision-language models as scorers: by questions and their answers (Soft-TIFA), and by the whole prompt (VQAScore)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from diffatlas.bench.answered import Dependencies, Mean, judge_answers
from diffatlas.bench.judgements import Card, Judgement
from diffatlas.bench.scorers.answers import (
    OPPOSITES,
    Spelling,
    digit_tokens,
    per_token,
    probability,
    spellings,
    to_read,
    tokenized,
)
from diffatlas.bench.scorers.vision_language import VisionLanguage, load_vision_language
from diffatlas.bench.tasks import Pack, Question, Task
from diffatlas.errors import CapabilityError, InvalidParams

#: Where a template takes the question, or the prompt.
PLACE = "{}"
ONE_WORD = "{} Answer in one word."
#: Templates of models that were trained on one of their own.
TEMPLATES = {"paligemma": "answer en {}"}
DOES_IT_SHOW = 'Does this figure show "{}"? Please answer Yes or No.'


@dataclass(frozen=True)
class QuestionsScorer:
    """Asks a model each question of a task, and counts the probability of the answer that is right.

    Soft-TIFA (Kamath et al. 2025, GenEval 2, arXiv 2512.16853) with both of its means. An image passes where each
    question counts one half at least.
    """

    asked: VisionLanguage
    template: str
    mean: Mean = "arithmetic"
    #: What a question counts whose parent was answered wrongly: see `diffatlas.bench.tasks.Pack`.
    dependencies: Dependencies = "cascading"
    _digits: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    @property
    def card(self) -> Card:
        """What decides the judgements."""
        about = "How probable the right answers to a task's questions are, by Soft-TIFA."
        settings = {"mean": self.mean, "dependencies": self.dependencies}
        return _card("questions", about, self.asked, self.template, **settings)

    def by_pack(self, pack: Pack) -> QuestionsScorer:
        """Return the scorer that treats dependencies as a pack says."""
        return replace(self, dependencies=pack.dependencies)

    def cannot(self, task: Task) -> str | None:
        """Why it cannot judge a task: it has no questions, or an answer that the tokenizer has no spelling of."""
        if task.kind != "questions":
            return f"A task of kind {task.kind!r} has no questions."
        for question in task.questions:
            if reason := _unaskable(self.asked, question.text):
                return reason
            if not self._spellings(question.expected):
                return f"The tokenizer of {self.asked.loaded.name} has no spelling of {question.expected!r}."
        return None

    def judge(self, images: Sequence[np.ndarray], tasks: Sequence[Task]) -> list[Judgement]:
        """Return a judgement of each image (H, W, 3) uint8 by its task. Raises as `VisionLanguage.next_tokens`."""
        return [self._one(image, task) for image, task in zip(images, tasks, strict=True)]

    def _spellings(self, answer: str) -> tuple[Spelling, ...]:
        return tokenized(self.asked.tokenizer, spellings(answer))

    def _one(self, image: np.ndarray, task: Task) -> Judgement:
        right, opposite = self._answers(image, task.questions)
        return judge_answers(task, right, self.mean, self.dependencies, opposite)

    def _answers(
        self, image: np.ndarray, questions: Sequence[Question]
    ) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """How probable the right answer to each question is, and the opposite where there is one, by its id."""
        texts = {question.id: self.template.replace(PLACE, question.text, 1) for question in questions}
        right = {question.id: self._spellings(question.expected) for question in questions}
        opposite = {
            question.id: self._spellings(OPPOSITES[question.expected.lower()])
            for question in questions
            if question.expected.lower() in OPPOSITES
        }
        rows = dict.fromkeys(
            (texts[name], read) for name in texts for read in to_read([*right[name], *opposite.get(name, ())])
        )
        told: dict[str, dict[tuple[int, ...], np.ndarray]] = {}
        for (text, read), table in zip(rows, self.asked.next_tokens(image, [*rows]), strict=True):
            told.setdefault(text, {})[read] = table

        def shares(name: str, ways: Sequence[Spelling]) -> float:
            return probability(ways, told[texts[name]], self._digits)

        return (
            {name: shares(name, ways) for name, ways in right.items()},
            {name: {"opposite": shares(name, ways)} for name, ways in opposite.items()},
        )


@dataclass(frozen=True)
class VqaScorer:
    """Asks a model whether the image shows the whole prompt: VQAScore (Lin et al. 2024, arXiv 2404.01291).

    The score is the probability of "Yes", as the geometric mean over its tokens; an image passes from a threshold on.
    """

    asked: VisionLanguage
    template: str
    threshold: float = 0.5

    @property
    def card(self) -> Card:
        """What decides the judgements."""
        about = "How probable it is that the prompt is shown, by VQAScore, against a threshold."
        return _card("vqascore", about, self.asked, self.template, threshold=self.threshold)

    def cannot(self, task: Task) -> str | None:
        """Why it cannot judge a task: its questions say more than its prompt, or the prompt cannot be asked."""
        if task.kind == "questions":
            return "A task of questions is judged by their answers."
        return _unaskable(self.asked, task.prompt)

    def judge(self, images: Sequence[np.ndarray], tasks: Sequence[Task]) -> list[Judgement]:
        """Return a judgement of each image (H, W, 3) uint8 by its task. Raises as `VisionLanguage.next_tokens`."""
        return [self._one(image, task) for image, task in zip(images, tasks, strict=True)]

    def _one(self, image: np.ndarray, task: Task) -> Judgement:
        text = self.template.replace(PLACE, task.prompt, 1)
        # Templates of chats end at the answer or before a space: the model's own way is the likelier.
        ways = tokenized(self.asked.tokenizer, ("Yes", " Yes"))
        reads = to_read(ways)
        told = dict(zip(reads, self.asked.next_tokens(image, [(text, read) for read in reads]), strict=True))
        score = max(per_token(way, told) for way in ways)
        failed = (
            () if score >= self.threshold else (f"the answer to whether it is shown is Yes by {score:.2f}",)
        )
        return Judgement(
            "fail" if failed else "pass",
            failed,
            score=score,
            evidence={"yes": score, "threshold": self.threshold},
        )


def open_questions(
    model: str,
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    template: str | None = None,
    mean: Mean = "arithmetic",
    dependencies: Dependencies = "cascading",
    at_once: int = 8,
) -> QuestionsScorer:
    """Return the scorer that asks a model the questions of a task.

    model: a folder or a model of the Hub. template: a text with ``{}`` where the question goes; "{} Answer in one
    word." by default, and of PaliGemma its own. mean: which of Soft-TIFA's is the score. at_once: prompts that go
    through the model together.

    Raises as `load_vision_language`, `CapabilityError` where the tokenizer cannot tell yes from no, and `InvalidParams`
    for a template without a place and for another mean.
    """
    if mean not in ("arithmetic", "geometric"):
        raise InvalidParams(f"The mean is 'arithmetic' or 'geometric', and not {mean!r}.", field="mean")
    _check_template(template)
    asked = _open(model, device, dtype, revision, at_once)
    checkpoint = asked.loaded.checkpoint
    listed = checkpoint.entry.template if checkpoint.entry else None
    text = template or listed or TEMPLATES.get(checkpoint.kind, ONE_WORD)
    return QuestionsScorer(asked, text, mean, dependencies, digit_tokens(asked.tokenizer))


def open_vqascore(
    model: str,
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    template: str | None = None,
    threshold: float = 0.5,
    at_once: int = 8,
) -> VqaScorer:
    """Return the scorer that asks a model whether an image shows its prompt. Parameters and errors as `open_questions`.

    threshold: the probability from which an image passes, 0 to 1.
    """
    if not 0 <= threshold <= 1:
        raise InvalidParams(f"The threshold is {threshold}: give one from 0 to 1.", field="threshold")
    _check_template(template)
    return VqaScorer(_open(model, device, dtype, revision, at_once), template or DOES_IT_SHOW, threshold)


def _open(
    model: str, device: str | None, dtype: str | None, revision: str | None, at_once: int
) -> VisionLanguage:
    asked = load_vision_language(model, device, dtype, revision, at_once)
    for answer in OPPOSITES:
        if not tokenized(asked.tokenizer, spellings(answer)):
            raise CapabilityError(
                f"The tokenizer of {model} has no spelling of {answer!r} that it can tell from others: it cannot be "
                "asked questions, choose another model.",
                field="model",
            )
    return asked


def _check_template(template: str | None) -> None:
    if template is not None and template.count(PLACE) != 1:
        raise InvalidParams(
            f"The template {template!r} must hold {PLACE} once, where the question goes.", field="template"
        )


def _unaskable(asked: VisionLanguage, text: str) -> str | None:
    """Why a text cannot be put to a model: it holds what the model takes for a picture or the end of a turn."""
    marks = {*asked.tokenizer.all_special_tokens, getattr(asked.processor, "image_token", None)}
    held = sorted(mark for mark in marks if mark and mark in text)
    return f"{asked.loaded.name} has its own meaning for {held[0]!r}, which the text holds." if held else None


def _card(name: str, about: str, asked: VisionLanguage, template: str, **settings: Any) -> Card:
    checkpoint = asked.loaded.checkpoint
    return Card(
        f"{name}:{checkpoint.model}",
        about,
        checkpoint.model,
        checkpoint.revision,
        template,
        asked.loaded.dtype,
        settings,
    )
