"""Questions put to vision-language models: their probabilities against whole texts read one at a time."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from diffatlas.bench.judgements import by_pack, judge_all
from diffatlas.bench.scorers.vlm import DOES_IT_SHOW, ONE_WORD, open_questions, open_vqascore
from diffatlas.bench.tasks import Pack, Question, Task
from diffatlas.errors import CapabilityError, InvalidParams, ModelLoadError
from tests.bench.scorers.small_models import FAMILIES, save_small

IMAGE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
OTHER = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)
QUESTIONS = (
    Question(id="car", text="Is there a car?"),
    Question(id="street", text="Is the street that leads past the house on the left empty?", expected="no"),
    Question(id="dogs", text="How many dogs are there?", expected="two"),
    Question(id="cats", text="How many cats?", expected="1"),
    Question(id="red", text="Which colour has the car {}?", expected="red"),
)
WAYS = {
    "yes": ["yes", "Yes", " yes", " Yes"],
    "no": ["no", "No", " no", " No"],
    "two": ["two", "Two", " two", " Two", "2", " 2"],
    "1": ["1", " 1", "one", "One", " one", " One"],
    "red": ["red", "Red", " red", " Red"],
}


def task(*questions, **more):
    return Task(id="a", prompt="a red car", tag="-", kind="questions", questions=questions, **more)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("vlm")
    return {family: save_small(family, root / family) for family in FAMILIES}


@pytest.fixture(scope="module")
def scorers(folders):
    return {family: open_questions(str(folder), at_once=3) for family, folder in folders.items()}


def softmax(logits):
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()


def next_shares(asked, image, text, after):
    """Probabilities of the next token of one whole text on its own: nothing padded, kept back or shared."""
    import torch
    from PIL import Image

    picture = Image.fromarray(image)
    if asked.chats:
        content = [{"type": "image"}, {"type": "text", "text": text}]
        prompt = asked.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        inputs = dict(
            asked.processor(images=[picture], text=[prompt], return_tensors="pt", add_special_tokens=False)
        )
    else:
        inputs = dict(asked.processor(images=[picture], text=[f"<image>{text}"], return_tensors="pt"))
        inputs.pop("labels", None)
    length = inputs["input_ids"].shape
    for key, value in inputs.items():
        if value.shape == length:
            suffix = key == "attention_mask" or (key == "token_type_ids" and not asked.chats)
            more = list(after) if key == "input_ids" else [int(suffix)] * len(after)
            inputs[key] = torch.cat([value, torch.tensor([more], dtype=value.dtype)], dim=1)
    with torch.no_grad():
        logits = asked.model(**inputs).logits[0, -1]
    return softmax(logits.numpy().astype(np.float64))


def by_hand(asked, image, text, ways):
    """The probability of an answer: each way of writing it token by token; more digits make another number."""
    digits = asked.tokenizer.convert_tokens_to_ids(list("0123456789"))
    total = 0.0
    for way in ways:
        tokens = asked.tokenizer.encode(way, add_special_tokens=False)
        share = 1.0
        for k, token in enumerate(tokens):
            share *= next_shares(asked, image, text, tokens[:k])[token]
        if way[-1].isdigit():
            share *= 1 - next_shares(asked, image, text, tokens)[digits].sum()
        total += share
    return total


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_is_as_probable_as_its_whole_texts_read_one_at_a_time(scorers, family):
    scorer = scorers[family]
    (judgement,) = scorer.judge([IMAGE], [task(*QUESTIONS)])
    for question, told in zip(QUESTIONS, judgement.evidence["answers"], strict=True):
        text = scorer.template.replace("{}", question.text, 1)
        expected = by_hand(scorer.asked, IMAGE, text, WAYS[question.expected])
        assert told["probability"] == pytest.approx(expected, rel=2e-4)
        assert ("opposite" in told) == (question.expected in ("yes", "no"))
    told = judgement.evidence["answers"][1]
    text = scorer.template.replace("{}", QUESTIONS[1].text, 1)
    assert told["opposite"] == pytest.approx(by_hand(scorer.asked, IMAGE, text, WAYS["yes"]), rel=2e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_questions_asked_together_are_answered_as_one_by_one(scorers, family):
    scorer = scorers[family]
    alone = replace(scorer, asked=replace(scorer.asked, at_once=1))
    together = replace(scorer, asked=replace(scorer.asked, at_once=64))
    # The picture is encoded once for all of them, and in each row for itself.
    assert scorer.asked.once
    each = replace(scorer, asked=replace(scorer.asked, once=False))
    found = [one.judge([IMAGE, OTHER], [task(*QUESTIONS)] * 2) for one in (alone, together, each)]
    values = [[[told["probability"] for told in one.evidence["answers"]] for one in side] for side in found]
    np.testing.assert_allclose(values[0], values[1], rtol=2e-4)
    np.testing.assert_allclose(values[0], values[2], rtol=2e-4)
    # The picture is looked at.
    assert np.abs(np.log(values[0][0]) - np.log(values[0][1])).max() > 0.01


def answering(scorer, image, answers):
    """Make a model answer what is wanted, by the last of its layers: texts by the answers' tokens."""
    import torch

    asked = scorer.asked
    held = []
    hook = asked.model.lm_head.register_forward_pre_hook(lambda _, given: held.append(given[0][0, -1]))
    for text in answers:
        asked.next_tokens(image, [(scorer.template.replace("{}", text, 1), ())])
    hook.remove()
    seen = torch.stack(held).double()
    weight = torch.zeros_like(asked.model.lm_head.weight)
    for token in set(answers.values()):
        wanted = torch.tensor(
            [30.0 if one == token else 0.0 for one in answers.values()], dtype=torch.float64
        )
        row = torch.linalg.lstsq(seen, wanted[:, None]).solution[:, 0]
        weight[asked.tokenizer.convert_tokens_to_ids(token)] = row.float()
    asked.model.lm_head.weight = torch.nn.Parameter(weight)


CHAIN = (
    Question(id="car", text="Is there a car?"),
    Question(id="red", text="Is the car red?", parents=("car",)),
    Question(id="beside", text="Is the red car beside a dog?", parents=("red",)),
    Question(id="street", text="Is there a bicycle?", expected="no"),
)


@pytest.fixture
def taught(folders):
    """A model that says that there is no car, and yes to what depends on that."""
    scorer = open_questions(str(folders["qwen3_vl"]))
    yes = {question.text: "yes" for question in CHAIN}
    answering(scorer, IMAGE, {**yes, CHAIN[0].text: "no", CHAIN[3].text: "No"})
    return scorer


def test_verdicts_and_means_follow_the_answers_and_what_a_pack_says_of_parents(taught):
    whole = task(*CHAIN)
    (cascading,) = taught.judge([IMAGE], [whole])
    pack = Pack(name="p", title="P", tasks=(whole,), dependencies="direct")
    (direct,) = by_pack(taught, pack).judge([IMAGE], [whole])
    right = [told["probability"] for told in cascading.evidence["answers"]]
    np.testing.assert_allclose(right, [0, 1, 1, 1], atol=1e-3)
    assert [told["counted"] for told in cascading.evidence["answers"]][1:3] == [0, 0]
    assert [told["counted"] > 0.9 for told in direct.evidence["answers"]] == [False, False, True, True]
    assert cascading.verdict == direct.verdict == "fail"
    assert cascading.score == pytest.approx(1 / 4, abs=1e-3)
    assert direct.score == pytest.approx(2 / 4, abs=1e-3)
    assert cascading.evidence["means"]["geometric"] == 0
    assert cascading.reasons == (
        "Is there a car? expected yes, which is 0.00 probable",
        "Is the car red? does not count: what it depends on was answered wrongly",
        "Is the red car beside a dog? does not count: what it depends on was answered wrongly",
    )
    assert by_pack(taught, pack).card.settings == {"mean": "arithmetic", "dependencies": "direct"}


def test_all_answers_right_is_a_pass_also_where_no_is_right(taught):
    free = [replace(one, parents=()) for one in CHAIN[1:]]
    (judgement,) = taught.judge([IMAGE], [task(*free)])
    assert judgement.verdict == "pass"
    assert judgement.reasons == ()
    means = judgement.evidence["means"]
    assert judgement.score == means["arithmetic"]
    assert means["geometric"] == pytest.approx(1, abs=1e-3)
    assert replace(taught, mean="geometric").judge([IMAGE], [task(*free)])[0].score == means["geometric"]


def test_the_whole_prompt_is_asked_by_the_mean_over_the_tokens_of_yes(tmp_path):
    # The word is three tokens here.
    folder = save_small("paligemma", tmp_path / "m", whole=("no",))
    scorer = open_vqascore(str(folder))
    free = Task(id="a", prompt='a "{}" car {}', tag="-", kind="free")
    (judgement,) = scorer.judge([IMAGE], [free])
    text = 'Does this figure show "a "{}" car {}"? Please answer Yes or No.'
    means = []
    for way in ("Yes", " Yes"):
        tokens = scorer.asked.tokenizer.encode(way, add_special_tokens=False)
        each = [next_shares(scorer.asked, IMAGE, text, tokens[:k])[token] for k, token in enumerate(tokens)]
        means.append(np.prod(each) ** (1 / len(each)))
    assert judgement.score == pytest.approx(max(means), rel=2e-4)
    assert judgement.verdict == "fail"
    assert replace(scorer, threshold=judgement.score * 0.9).judge([IMAGE], [free])[0].verdict == "pass"
    assert scorer.card.template == DOES_IT_SHOW
    assert scorer.card.settings == {"threshold": 0.5}


def test_a_card_says_what_asked_and_how(scorers, folders):
    card = scorers["qwen3_vl"].card
    assert (card.name, card.model, card.dtype, card.template) == (
        f"questions:{folders['qwen3_vl']}",
        str(folders["qwen3_vl"]),
        "fp32",
        ONE_WORD,
    )
    assert card.revision.startswith("sha256:")
    assert scorers["paligemma"].card.template == "answer en {}"


def test_half_the_digits_change_little(folders, scorers):
    half = open_questions(str(folders["smolvlm"]), dtype="bf16")
    whole = task(*QUESTIONS)
    told = [one.judge([IMAGE], [whole])[0] for one in (scorers["smolvlm"], half)]
    assert half.card.dtype == "bf16"
    values = [[one["probability"] for one in side.evidence["answers"]] for side in told]
    np.testing.assert_allclose(values[0], values[1], atol=0.02)


def test_what_cannot_be_asked_is_neither_right_nor_wrong(scorers):
    scorer = scorers["qwen3_vl"]
    free = Task(id="b", prompt="a car", tag="-", kind="free")
    trick = task(Question(id="q", text="Is <|image_pad|> there?"))
    judged = judge_all(scorer, [IMAGE] * 3, [task(QUESTIONS[0]), free, trick], [0, 0, 0])
    assert [one.judgement.verdict for one in judged] == ["fail", "cannot judge", "cannot judge"]
    assert "has no questions" in judged[1].judgement.reasons[0]
    assert "own meaning for '<|image_pad|>'" in judged[2].judgement.reasons[0]


def with_words(folder, to, *words):
    """A copy of a model whose tokenizer knows these words alone, and no letters."""
    shutil.copytree(folder, to)
    held = json.loads((to / "tokenizer.json").read_text())
    vocabulary = {mark["content"]: mark["id"] for mark in held["added_tokens"]}
    vocabulary |= {word: k for k, word in enumerate(("<unk>", *words))}
    held["model"] = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"}
    held["pre_tokenizer"], held["decoder"] = {"type": "Whitespace"}, None
    (to / "tokenizer.json").write_text(json.dumps(held))
    return str(to)


def test_a_tokenizer_that_lacks_the_words_is_said_in_a_sentence(folders, tmp_path):
    with pytest.raises(CapabilityError, match="no spelling of 'no' that it can tell from others"):
        open_questions(with_words(folders["qwen3_vl"], tmp_path / "a", "yes"))
    scorer = open_questions(with_words(folders["qwen3_vl"], tmp_path / "b", "yes", "No", "7"))
    asked = [task(Question(id="q", text="Is it?", expected=one)) for one in ("No", "seven", "eight")]
    assert [scorer.cannot(one) is None for one in asked] == [True, True, False]
    assert "has no spelling of 'eight'" in scorer.cannot(asked[2])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            {"model": "nobody/nothing-like-it"},
            ModelLoadError,
            "is not on this machine and could not be fetched",
        ),
        ({"dtype": "int8"}, InvalidParams, "dtype is 'int8'"),
        ({"device": "abacus"}, InvalidParams, "'abacus' cannot be used here"),
        ({"template": "Is it?"}, InvalidParams, "must hold {} once"),
        ({"template": "{} {}"}, InvalidParams, "must hold {} once"),
        ({"mean": "harmonic"}, InvalidParams, "'arithmetic' or 'geometric'"),
    ],
)
def test_what_cannot_be_opened_is_said_in_a_sentence(folders, change, error, words):
    with pytest.raises(error, match=words):
        open_questions(**{"model": str(folders["paligemma"]), **change})


def test_a_threshold_is_a_probability(folders):
    with pytest.raises(InvalidParams, match="threshold is 1"):
        open_vqascore(str(folders["paligemma"]), threshold=1.5)


def test_a_model_that_sees_no_pictures_is_said_in_a_sentence(folders, tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=16)).save_pretrained(tmp_path / "a")
    with pytest.raises(CapabilityError, match="is a gpt2, which does not answer questions about pictures"):
        open_questions(str(tmp_path / "a"))
    shutil.copytree(folders["paligemma"], tmp_path / "b")
    (tmp_path / "b" / "model.safetensors").rename(tmp_path / "b" / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="has no weights as safetensors"):
        open_questions(str(tmp_path / "b"))


def test_a_checkpoint_of_the_older_form_is_the_same_model(folders, scorers, tmp_path):
    """Its chat template in a file of its own, no settings of a processor."""
    folder = tmp_path / "old"
    shutil.copytree(folders["qwen2_5_vl"], folder)
    (folder / "processor_config.json").unlink()
    template = scorers["qwen2_5_vl"].asked.tokenizer.chat_template
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    old, new = open_questions(str(folder)), scorers["qwen2_5_vl"]
    assert old.asked.chats
    told = [one.judge([IMAGE], [task(QUESTIONS[0])])[0].score for one in (old, new)]
    assert told[0] == pytest.approx(told[1], rel=1e-5)


def test_a_picture_that_cannot_be_encoded_apart_is_encoded_in_each_row(folders, scorers, monkeypatch):
    from diffatlas.bench.scorers import vision_language

    def unlike(seen, rows):
        return replace(seen, pooler_output=seen.pooler_output.repeat(rows, 1, 1) * 0)

    monkeypatch.setattr(vision_language, "_repeated", unlike)
    scorer = open_questions(str(folders["paligemma"]))
    assert not scorer.asked.once
    monkeypatch.undo()
    told = [one.judge([IMAGE], [task(QUESTIONS[0])])[0].score for one in (scorer, scorers["paligemma"])]
    assert told[0] == pytest.approx(told[1], rel=2e-4)


def test_a_model_that_answers_by_its_neighbours_is_refused(folders, monkeypatch):
    """Left padding that is not masked changes answers: opening a model must find that out."""
    from transformers import PaliGemmaForConditionalGeneration

    forward = PaliGemmaForConditionalGeneration.forward

    def careless(self, *rest, attention_mask=None, **more):
        return forward(self, *rest, attention_mask=None, **more)

    careless.__signature__ = __import__("inspect").signature(forward)
    monkeypatch.setattr(PaliGemmaForConditionalGeneration, "forward", careless)
    with pytest.raises(CapabilityError, match="when another is asked beside it"):
        open_questions(str(folders["paligemma"]))
