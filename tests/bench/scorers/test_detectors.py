"""What detectors see, against their raw numbers worked out in NumPy; which boxes count; and the names of classes."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffatlas.bench.packs.coco import CLASSES
from diffatlas.bench.scorers.detectors.box import Box, boxes_in
from diffatlas.bench.scorers.detectors.kept import kept, shared
from diffatlas.bench.scorers.detectors.masks import edges, instances
from diffatlas.bench.scorers.detectors.names import noun_of
from diffatlas.bench.scorers.detectors.opened import open_detector

#: COCO's 80 classes in its order, and as Pascal VOC's and darknet's lists spell them where they do otherwise.
WORDS = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign parking_meter "
    "bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee "
    "skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard tennis_racket bottle wine_glass "
    "cup fork knife spoon bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair couch "
    "potted_plant bed dining_table toilet tv laptop mouse remote keyboard cell_phone microwave oven toaster sink "
    "refrigerator book clock vase scissors teddy_bear hair_drier toothbrush"
)
VOC = {
    "motorcycle": "motorbike",
    "airplane": "aeroplane",
    "couch": "sofa",
    "potted_plant": "pottedplant",
    "dining_table": "diningtable",
    "tv": "tvmonitor",
}
ASKED = ("dog", "teddy bear", "car")
CLOSED = ("mask2former", "eomt", "detr", "rt_detr_v2", "d_fine")
OPEN = ("owlv2", "grounding_dino")
SIZE = (40, 50)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, float)))


def softmax(x):
    e = np.exp(np.asarray(x, float) - np.max(x, -1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def raw(detector, monkeypatch, photos, threshold=0.0, asked=ASKED):
    """What a detector sees, and the raw numbers of its model."""
    kept, model = [], detector.loaded.model
    forward = type(model).forward
    monkeypatch.setattr(type(model), "forward", lambda *a, **k: kept.append(forward(*a, **k)) or kept[-1])
    found = detector.detect(photos, asked, threshold)
    (out,) = kept
    return found, {name: value.numpy() for name, value in out.items() if isinstance(value, torch.Tensor)}


def same(found, expected):
    """Hold boxes against (noun, score, corners), in any order."""
    key = lambda one: (one[0], -one[1], one[2])  # noqa: E731
    found = sorted([(one.noun, one.score, one.box) for one in found], key=key)
    expected = sorted(expected, key=key)
    assert [one[0] for one in found] == [one[0] for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one[1] == pytest.approx(other[1], abs=1e-5)
        assert one[2] == pytest.approx(other[2], abs=1e-3)


def corners(box, width, height):
    x, y, w, h = box
    told = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
    return tuple(np.clip(told, 0, [50, 40, 50, 40]))


def seen_at_all(boxes):
    return [one for one in boxes if one[2][2] > one[2][0] and one[2][3] > one[2][1]]


@pytest.mark.parametrize("name", ["detr", "rt_detr_v2", "d_fine"])
def test_boxes_of_known_classes_are_the_model_s(judge, photos, monkeypatch, name):
    detector = open_detector(str(judge(name)))
    threshold = 0.3
    found, out = raw(detector, monkeypatch, photos, threshold)
    nouns = ("person", "car", "dog", "computer mouse")
    for k in range(len(photos)):
        logits, boxes = out["logits"][k], out["pred_boxes"][k]
        if name == "detr":
            likely = softmax(logits)[:, :-1]
            pairs = [(q, int(likely[q].argmax())) for q in range(len(likely))]
        else:
            likely = sigmoid(logits)
            order = np.argsort(-likely.ravel(), kind="stable")[: len(likely)]
            pairs = [divmod(int(place), likely.shape[1]) for place in order]
        expected = [
            (nouns[c], likely[q, c], corners(boxes[q], 50, 40)) for q, c in pairs if likely[q, c] > threshold
        ]
        assert expected
        same(found[k], seen_at_all(expected))


def test_owlv2_s_boxes_are_of_the_class_they_are_likest_to_in_the_corner_of_a_square(
    judge, photos, monkeypatch
):
    from transformers import CLIPTokenizer, Owlv2ImageProcessor, Owlv2Processor

    folder = judge("owlv2")
    detector = open_detector(str(folder))
    found, out = raw(detector, monkeypatch, photos, 0.3)
    for k in range(len(photos)):
        likely = sigmoid(out["logits"][k])
        best = likely.argmax(1)
        expected = [
            (ASKED[c], likely[q, c], corners(out["pred_boxes"][k][q], 50, 50))
            for q, c in enumerate(best)
            if likely[q, c] > 0.3
        ]
        same(found[k], seen_at_all(expected))
    # So transformers asks it.
    processor = Owlv2Processor(
        Owlv2ImageProcessor.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    )
    inputs = processor(
        text=[[f"a photo of a {noun}" for noun in ASKED]],
        images=Image.fromarray(photos[0]),
        return_tensors="pt",
        max_length=48,
    )
    with torch.inference_mode():
        again = detector.loaded.model(**inputs)
    assert again.logits.numpy()[0] == pytest.approx(out["logits"][0], abs=1e-4)


def test_grounding_dino_s_classes_are_as_sure_as_their_tokens_on_average(judge, photos, monkeypatch):
    folder = judge("grounding_dino")
    detector = open_detector(str(folder))
    found, out = raw(detector, monkeypatch, photos, 0.1)
    # The numbers of a letter at the beginning of a word, and within it.
    asked = [101]
    places = []
    for noun in ASKED:
        start = len(asked)
        for word in noun.split():
            asked += [200 + ord(word[0]) - 97, *(300 + ord(letter) - 97 for letter in word[1:])]
        places.append(list(range(start, len(asked))))
        asked.append(1012)
    asked.append(102)
    assert out["input_ids"][0].tolist() == asked
    total = 0
    for k in range(len(photos)):
        likely = sigmoid(out["logits"][k])
        scores = np.stack([likely[:, place].mean(1) for place in places], 1)
        expected = [
            (ASKED[c], scores[q, c], corners(out["pred_boxes"][k][q], 50, 40))
            for q, c in enumerate(scores.argmax(1))
            if scores[q, c] > 0.1
        ]
        same(found[k], seen_at_all(expected))
        total += len(expected)
    assert total


def stretched(plane, height, width):
    """A plane at another size, bilinearly between the middles of its pixels."""
    old_height, old_width = plane.shape
    out = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            v = max((y + 0.5) * old_height / height - 0.5, 0)
            u = max((x + 0.5) * old_width / width - 0.5, 0)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, old_height - 1), min(left + 1, old_width - 1)
            dv, du = v - top, u - left
            upper = plane[top, left] * (1 - du) + plane[top, right] * du
            lower = plane[bottom, left] * (1 - du) + plane[bottom, right] * du
            out[y, x] = upper * (1 - dv) + lower * dv
    return out


def smooth(rng, count, height, width):
    """Planes that are above zero in patches."""
    return np.stack(
        [np.kron(rng.normal(0, 3, (2, 3)), np.ones((height // 2, width // 3))) for _ in range(count)]
    )


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5])
def test_instances_are_those_of_geneval_s_detector(threshold):
    rng = np.random.default_rng(7)
    logits, planes = rng.normal(0, 2, (12, 5)), smooth(rng, 12, 20, 24)
    asked = []

    def whole(chosen):
        asked.extend(chosen.tolist())
        return torch.tensor(planes)[chosen]

    found = instances(torch.tensor(logits), whole, threshold)
    likely = softmax(logits)[:, :-1]
    expected = []
    for q in range(12):
        inside = planes[q] > 0
        sure = sigmoid(planes[q])[inside].sum() / (inside.sum() + 1e-6)
        expected += [(c, likely[q, c] * sure, q) for c in range(4) if likely[q, c] * sure > threshold]
    expected.sort(key=lambda one: -likely[one[2], one[0]])
    assert expected
    assert [one[0] for one in found] == [one[0] for one in expected]
    assert [one[1] for one in found] == pytest.approx([one[1] for one in expected])
    for one, (_, _, q) in zip(found, expected, strict=True):
        assert np.array_equal(one[2], planes[q] > 0)
    # What cannot be sure enough is not drawn.
    assert set(asked) == {q for q in range(12) if likely[q].max() > threshold}


@pytest.mark.parametrize("name", ["mask2former", "eomt"])
def test_masks_cover_what_the_model_says_of_each_pixel(judge, photos, monkeypatch, name):
    detector = open_detector(str(judge(name)))
    found, out = raw(detector, monkeypatch, photos[:1], 0.3)
    assert found[0]
    planes = []
    for plane in out["masks_queries_logits"][0]:
        plane = stretched(plane, 64, 64)
        if name == "eomt":
            # The image is 64 wide and as high as it is then, above what fills the square.
            plane = plane[:51]
        planes.append(stretched(plane, *SIZE))
    likely = softmax(out["class_queries_logits"][0])[:, :-1]
    nouns = ("person", "car", "dog", "computer mouse")
    for one in found[0]:
        near = [
            abs(likely[q, nouns.index(one.noun)] * sigmoid(plane)[plane > 0].mean() - one.score)
            for q, plane in enumerate(planes)
            if (plane > 0).any()
        ]
        q = [q for q, plane in enumerate(planes) if (plane > 0).any()][int(np.argmin(near))]
        assert min(near) < 1e-4
        sure = np.abs(planes[q]) > 1e-4
        assert np.array_equal(one.mask[sure], (planes[q] > 0)[sure])
        assert one.box == edges(one.mask)


def test_a_mask_s_box_ends_after_its_last_pixel():
    mask = np.zeros((8, 9), bool)
    mask[2:5, 3] = mask[4, 3:7] = True
    assert edges(mask) == (3.0, 2.0, 7.0, 5.0)


@pytest.mark.parametrize("name", [*CLOSED, *OPEN])
def test_a_picture_is_seen_alone_as_among_others(judge, photos, name):
    detector = open_detector(str(judge(name)))
    together = detector.detect(photos, ASKED, 0.2)
    assert any(together)
    for photo, expected in zip(photos, together, strict=True):
        (alone,) = detector.detect([photo], ASKED, 0.2)
        same(alone, [(one.noun, one.score, one.box) for one in expected])


@pytest.mark.parametrize("name", CLOSED)
def test_a_class_it_was_not_trained_on_cannot_be_looked_for(judge, name):
    detector = open_detector(str(judge(name)))
    assert detector.cannot(("dog", "computer mouse")) is None
    assert detector.cannot(("dog", "zebra")).endswith(
        "does not know 'zebra': it knows the 4 classes it was trained on."
    )


def test_names_that_are_too_long_or_nothing_cannot_be_looked_for(judge):
    owl, dino = open_detector(str(judge("owlv2"))), open_detector(str(judge("grounding_dino")))
    assert owl.cannot(ASKED) is None
    assert dino.cannot(ASKED) is None
    assert "reads 48 tokens, and 'aaaaa" in owl.cannot(("dog", "a" * 60))
    assert "reads 64 tokens" in dino.cannot(("dog", "a" * 70))
    assert "no tokens for '?'" in dino.cannot(("dog", "?"))


def test_all_80_classes_have_geneval_s_names():
    assert tuple(noun_of(name) for name in WORDS.split()) == CLASSES
    assert tuple(noun_of(VOC.get(name, name).title()) for name in WORDS.split()) == CLASSES
    assert noun_of("Potted-Plant") == "potted plant"
    assert (noun_of("N/A"), noun_of("LABEL_7")) == ("n/a", "label 7")


def test_boxes_are_cut_to_the_image_and_gone_where_they_leave_it():
    told = np.array([[-5, -5, 10, 10], [45, 30, 60, 60], [51, 0, 60, 10], [10, 10, 10, 30]])
    found = boxes_in(told, [0.9, 0.8, 0.7, 0.6], ["a", "b", "c", "d"], SIZE)
    assert [(one.noun, one.box) for one in found] == [("a", (0, 0, 10, 10)), ("b", (45, 30, 50, 40))]


def test_what_two_boxes_share_is_counted_in_pixels():
    rng = np.random.default_rng(3)
    for _ in range(200):
        a, b = (np.r_[corner, corner + rng.integers(0, 12, 2)] for corner in rng.integers(0, 12, (2, 2)))
        grids = np.zeros((2, 30, 30), bool)
        for grid, (left, top, right, bottom) in zip(grids, (a, b), strict=True):
            grid[top : bottom + 1, left : right + 1] = True
        both, any_ = (grids[0] & grids[1]).sum(), (grids[0] | grids[1]).sum()
        assert shared(a, b) == pytest.approx(both / any_)


def test_the_surest_count_to_sixteen_and_of_those_that_overlap_one():
    rng = np.random.default_rng(4)
    boxes = []
    for _ in range(60):
        left, top = rng.integers(0, 30, 2)
        box = tuple(map(float, (left, top, left + 10, top + 10)))
        # Many are equally sure: GenEval's program puts the last of these first.
        boxes.append(Box(box=box, score=float(rng.integers(1, 20)) / 20, noun="ab"[rng.integers(2)]))
    for threshold, overlap in ((0.3, 1.0), (0.3, 0.2), (0.9, 1.0), (0.96, 0.5)):
        found = kept(boxes, threshold, overlap)
        for noun in "ab":
            scores = np.array([one.score for one in boxes if one.noun == noun])
            own = [one for one in boxes if one.noun == noun]
            # Their program, step by step.
            ordering = np.argsort(scores, kind="stable")[::-1]
            ordering = ordering[scores[ordering] > threshold][:16].tolist()
            expected = []
            while ordering:
                first = ordering.pop(0)
                expected.append(own[first])
                ordering = [
                    k for k in ordering if overlap == 1 or shared(own[first].box, own[k].box) < overlap
                ]
            assert found.get(noun, []) == expected
