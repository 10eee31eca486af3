"""The report: what it shows, that it shows hostile text as text, and that it opens in a browser."""

import base64
import dataclasses
import hashlib
import io
import json
import random
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image, ImageDraw

from pipeline.emotion.taxonomy import Taxonomy
from pipeline.report import charts, gallery, page, plots
from pipeline.report.facts import StoreFacts
from pipeline.report.page import ReportData, render

ATTACK = "<script>alert(1)</script>"
EMOTIONS = {
    "happily": ("joy",), "joyful": ("joy",), "laughing": ("joy",), "sad": ("sadness",),
    "angrily": ("anger",), "furious": ("rage",), "scared": ("fear",), "afraid": ("fear",),
    "surprised": ("surprise",), "calm": ("serenity",), "peacefully": ("serenity",), "lovingly": ("love",),
    "disgusted": ("disgust",), "bored": ("boredom",), "hopeful": ("anticipation", "optimism"),
    "worried": ("apprehension", "fear"), "proud": ("pride",), "ashamed": ("remorse",),
}
TAXONOMY = Taxonomy("test", {
    category: tuple(word for word, categories in EMOTIONS.items() if category in categories)
    for category in sorted({name for categories in EMOTIONS.values() for name in categories})})
PEOPLE = ["an old man", "a young woman", "two kids", "a fisherman", "the bride", "a goalkeeper", "a chef"]
ACTIONS = ["opens a letter", "rides a horse along the beach", "waits for the last train", "tastes the soup",
           "waves at the crowd", "walks home in heavy rain", "looks out of the window of a small kitchen"]


def picture(seed: int) -> bytes:
    draw_random = random.Random(seed)
    top = tuple(draw_random.randrange(40, 220) for _ in range(3))
    image = Image.new("RGB", (120, 120), top)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 75, 120, 120), fill=tuple(value // 2 for value in top))
    x, y = draw_random.randrange(20, 80), draw_random.randrange(30, 60)
    draw.ellipse((x, y, x + 28, y + 28), fill=(240, 220, 190))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=55)
    return buffer.getvalue()


def scores(level: float) -> dict[str, float]:
    shares = {"Bleu_1": 0.8, "Bleu_2": 0.62, "Bleu_3": 0.47, "Bleu_4": 0.35,
              "METEOR": 0.28, "ROUGE_L": 0.55, "CIDEr": 0.62}
    return {name: share * level for name, share in shares.items()}


def scored(level: float, emotion: tuple[float, ...]) -> dict[str, Any]:
    names = ("acc_sw", "acc_c", "bfs", "cfs", "balanced_accuracy")
    return {"coco": scores(level), "evc": scores(0.93 * level),
            "emotion": dict(zip(names, emotion, strict=True))}


def attention_of(caption: str, draw: random.Random) -> dict[str, Any]:
    """Of 4 frames, which the first words look at in turn, 3 windows of sound and 7 attributes."""
    words, parts = caption.split(), {"appearance": 4, "audio": 3, "attributes": 7}
    rows = [[draw.random() ** 3 for _ in range(14)] for _ in words]
    for number, row in enumerate(rows):
        row[number % 4] += 4
    shares = [[weight / sum(row) for weight in row] for row in rows]
    found, first = {}, 0
    for name, count in parts.items():
        seconds = [] if name == "attributes" else [0.1 + 1.4 * n * 4 / count for n in range(count)]
        found[name] = {"seconds": seconds, "weights": [[round(w, 3) for w in own[first:first + count]]
                                                       for own in shares]}
        first += count
    return {"words": words, "parts": found}


def full(videos: int = 60) -> ReportData:
    draw = random.Random(5)
    words = list(EMOTIONS)
    predictions: list[dict[str, Any]] = []
    references: dict[str, list[str]] = {}
    table: Counter[tuple[str, str]] = Counter()
    for number in range(videos):
        person, action, feeling = draw.choice(PEOPLE), draw.choice(ACTIONS), draw.choice(words)
        other = feeling if number % 3 else draw.choice(words)
        caption = f"{person} {other} {action}" if number % 5 else f"{person} {action}"
        video = f"vid{number:04d}"
        references[video] = [f"{who} {feeling} {action}" for who in (person, "someone", "a person", "he")]
        predictions.append({
            "video_id": video, "caption": caption, "score": -0.3 - draw.random(),
            "baseline": f"someone {action}", "prior": {"joy": 0.25, "sadness": 0.125},
            "scores": {"CIDEr (coco)": round(2 * draw.random(), 4), "right_emotions": 1, "wrong_emotions": 0},
            "beams": [{"caption": caption, "score": -0.4}, {"caption": f"{person} {action}", "score": -0.9}],
            "emotions": [{"category": EMOTIONS[word][0], "probability": draw.random() ** 3}
                         for word in ("happily", "sad", "angrily", "calm", "scared", "proud")],
            "attributes": [{"word": word, "probability": draw.random(), "emotional": word in EMOTIONS}
                           for word in ["man", "beach", "kitchen", "rain", "horse", feeling, "wave"]],
            "candidates": [{"text": f"{draw.choice(PEOPLE)} {draw.choice(words)} {action}",
                            "score": 0.5 - k / 50} for k in range(20)],
        })
        predictions[-1]["attention"] = attention_of(caption, draw)
        predicted = gallery.predict_categories(caption, TAXONOMY)
        reference = gallery.collect_reference_categories(references[video], TAXONOMY)
        table.update((category, "videos") for category in reference)
        table.update((category, "predicted") for category in predicted)
        table.update((category, "hits") for category in predicted & reference)
    return ReportData(
        dataset="harbour-clips",
        metrics={
            **scored(0.9, (0.712, 0.698, 0.512, 0.589, 0.431)),
            "baseline": scored(0.76, (0.583, 0.561, 0.43, 0.49, 0.262)),
            "reference_lines": {
                "constant_word": {**scored(0.11, (0.751, 0.75, 0.19, 0.2, 0.029)), "word": "happily"},
                "nearest_caption": scored(0.71, (0.55, 0.54, 0.4, 0.45, 0.35)),
                "human": scored(1.4, (0.8, 0.79, 0.72, 0.85, 0.61)),
            },
            "ahead_of": {"baseline": {"cfs": {"difference": 0.099, "low": -0.011, "high": 0.2, "tie": True}},
                         "nearest_caption": {"cider": {"difference": 0.118, "low": 0.05, "high": 0.19, "tie": False}}},
            "retrieval": {"text_to_video": {"r1": 0.24, "r5": 0.61, "r10": 0.783, "median_rank": 4.0},
                          "candidates": {"train": {"videos": 1000, "equal_to_reference": 0.034, "nearest_cider": 0.61,
                                                   "consensus_cider": None}},
                          "references_in_corpus": {"train": 1234}},
            "videos": videos,
            "protocols": {"coco": {"tokenizer": "PTB", "references": "full"},
                          "evc": {"tokenizer": "none", "references": "cut at 15 words"}},
            "emotion_table": [{"category": category, **{key: table[category, key]
                                                        for key in ("videos", "hits", "predicted")}}
                              for category in sorted({name for name, _ in table})],
            "diversity": {"distinct_captions": 48, "distinct_words": 61, "words": 7.25,
                          "novel_captions": 1 / 3},
            "warnings": ["METEOR: no Java runtime"],
            "untrained": False,
        },
        predictions=predictions,
        references=references,
        splits=dict.fromkeys(references, "test"),
        taxonomy=TAXONOMY,
        frames={video: [(frame + 0.5, picture(4 * int(video[3:]) + frame)) for frame in range(4)]
                for video in references},
        clips={video: f"./../../data/harbour-clips/{video}.mp4" for video in references},
        history=[{"epoch": n, "loss": 9 / n + 2.5, "caption_loss": 6 / n + 2, "attribute_loss": 3 / n + 0.5,
                  "validation_cider": 0.7 - 0.5 / n - 0.001 * max(0, n - 20) ** 1.5,
                  "validation_cfs": 0.6 - 0.4 / n - 0.001 * max(0, n - 20) ** 1.5,
                  "learning_rate": 5e-4 / n, "seconds": 1.3} for n in range(1, 31)],
        facts={"train split": "400 videos, 2,400 captions", "captioner: epoch kept": "17"},
        stores=[StoreFacts("own-clip", "appearance", 58, 464, 512, "float16", {"vid0058": "it has no picture"},
                           {"vid0003": 0.625}),
                StoreFacts("logmel", "audio", 59, 472, 64, "float16", {}, {})],
        prior_scores={"candidates + audio": {
            "videos": 12, "hit1": 0.25, "hit3": 0.5, "mean_ap": None, "log_loss": 0.0766}},
        versions={"torch": "2.8.0", "numpy": "2.3.1"},
        params={"dataset": "harbour-clips", "seed": 3, "retrieval": {"used": 20},
                "encoders": {"appearance": {"model": "ViT-B-32", "weights": "openai", "num_frames": 28}},
                "captioner": {"modalities": ("appearance", "audio", "text"), "vtai": True, "cfb": True,
                              "aeb": True, "hidden_size": 64, "num_layers": 1}},
        encoder={"model": "ViT-B-32", "weights": "openai"},
        recipe={"model": "ViT-B-32", "weights": "openai", "sha256": "40d365", "size": (224, 224)},
        trained={"captioner": {"modalities": ("appearance", "audio", "text"), "vtai": True, "cfb": True,
                               "aeb": True, "hidden_size": 512, "num_layers": 1}},
        stale=["captioner.hidden_size was 512, is 64 now"],
    )


def bare() -> ReportData:
    """One's own clips, captioned without training or scores: as little as there can be."""
    return ReportData(
        dataset="own", metrics={}, references={}, splits={"clip": "predict"}, taxonomy=Taxonomy("none", {}),
        predictions=[{"video_id": "clip", "caption": "", "score": None, "beams": [], "emotions": [],
                      "attributes": [], "candidates": []}],
    )


def unscored() -> ReportData:
    """A scored run of which no score could be had, and no video has an emotion."""
    nothing = scored(0.0, (0.0,) * 5)
    none = {group: dict.fromkeys(values) for group, values in nothing.items()}
    return ReportData(
        dataset="none",
        metrics={**none, "baseline": None,
                 "retrieval": {"text_to_video": dict.fromkeys(("r1", "r5", "r10", "median_rank"))},
                 "reference_lines": {"constant_word": {**none, "word": "happily"}, "nearest_caption": none,
                                     "human": none},
                 "videos": 1, "protocols": {}, "diversity": {}, "untrained": True,
                 "emotion_table": [{"category": "joy", "videos": 0, "hits": 0, "predicted": 0}]},
        predictions=[{"video_id": "a", "caption": "a dog runs", "score": -1.0, "beams": [], "emotions": [],
                      "attributes": [], "candidates": []}],
        references={"a": ["the dog runs"]}, splits={"a": "test"}, taxonomy=TAXONOMY,
        history=[{"epoch": 1, "loss": 3.0, "caption_loss": 3.0, "attribute_loss": None,
                  "validation_cider": None, "validation_cfs": None, "learning_rate": 1e-3, "seconds": 1.0}],
    )


class Document(HTMLParser):
    """Checks that tags balance; keeps elements with their attributes, and the text."""

    VOID = frozenset({"meta", "link", "img", "br", "input", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"line {self.getpos()[0]}: </{tag}> in {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data

    def of(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements
                if name == tag and kind in (attrs.get("class") or "").split() + [""]]


@pytest.fixture(scope="module")
def html() -> str:
    return render(full())


@pytest.mark.parametrize("data", [full(), full(3), bare(), unscored()],
                         ids=["full", "few", "bare", "unscored"])
def test_any_data_render_to_balanced_self_contained_html(data: ReportData) -> None:
    html = render(data)
    document = Document(html)
    assert data.dataset in document.text
    for _, attrs in document.elements:
        for name in ("src", "href", "xlink:href", "srcset", "action", "poster"):
            assert (attrs.get(name) or "#").startswith("#")
    assert not document.of("link")
    assert not re.search(r"@import|url\((?!#)", html)
    identities = Counter(attrs["id"] for _, attrs in document.elements if "id" in attrs)
    assert set(identities.values()) == {1}


def test_same_input_same_page(html: str) -> None:
    assert render(full()) == html


def test_headline_numbers_and_table(html: str) -> None:
    text = Document(html).text
    assert "55.8" in text                       # CIDEr of the model: 0.62 · 0.9
    assert "24.0 / 61.0" in text
    assert "nearest 44.0 constant 6.8 human 86.8" in text
    assert "reaches Acc sw 75.1, above the model's 71.2" in text
    assert "in balanced accuracy it gets 2.9 and the model 43.1" in text
    assert "60 videos captioned (60 of test), 60 scored" in text
    assert page.describe_model({**full().params, **full().trained}) == (
        "A Transformer of 1 layer and width 512 that reads 28 frames a video through ViT-B-32, sound and "
        "20 retrieved captions, with VTAI, CFB and AEB.")
    assert page.describe_model({**full().params, **full().trained}) in text   # as it was trained
    assert "has changed since the captioner was trained: captioner.hidden_size was 512, is 64 now." in text
    assert "versionstorch 2.8.0, numpy 2.3.1" in text
    assert "different captions48" in text and "captions that are no training caption33.3%" in text
    assert "Baseline – +9.9 −1.1 to +20.0 tie" in cells(html)
    assert "Nearest caption +11.8 +5.0 to +19.0 – " in cells(html)
    assert "METEOR: no Java runtime" in text
    assert "untrained" not in text


def test_none_scores_are_dashes_and_untrained_weights_a_banner() -> None:
    document = Document(render(unscored()))
    assert "The picture encoder has untrained weights: captions mean nothing." in document.text
    assert len(document.of("p", "banner")) == 1
    assert "– / –" in document.text
    assert "None" not in document.text
    assert "Too few emotions stand in the references" in document.text


def test_a_run_without_references_says_so() -> None:
    text = Document(render(bare())).text
    for text_of_page in ("1 video captioned (1 of predict)", "Nothing was scored", "no references to compare with",
                 "No training curve"):
        assert text_of_page in text


def test_a_run_without_videos_says_so() -> None:
    assert "No video was captioned" in Document(render(dataclasses.replace(bare(), predictions=[]))).text


def test_hostile_text_shows_as_text() -> None:
    attribute = '" onmouseover="alert(1)'
    base = full(30)
    video = ATTACK + attribute
    row = {"video_id": video, "caption": f"a man {ATTACK} happily{attribute}", "score": -1.0,
           "beams": [{"caption": ATTACK, "score": -1.0}],
           "emotions": [{"category": ATTACK, "probability": 0.5}],
           "attributes": [{"word": ATTACK, "probability": 0.5, "emotional": True}],
           "candidates": [{"text": ATTACK, "score": 0.1}]}
    table = [{"category": f"{ATTACK}$x$", "videos": 2, "hits": 1, "predicted": 1}]
    data = dataclasses.replace(
        base, dataset=ATTACK, predictions=[row], references={video: [ATTACK + " happily"]},
        splits={video: ATTACK}, params={**base.params, "note": ATTACK},
        encoder={"note": ATTACK}, recipe={"note": ATTACK}, frames={}, clips={video: ATTACK}, stale=[ATTACK],
        trained={**base.trained, "note": ATTACK},
        facts={ATTACK: ATTACK}, prior_scores={ATTACK: {"hit1": 0.5}}, versions={ATTACK: ATTACK},
        stores=[StoreFacts(ATTACK, ATTACK, 1, 1, 1, "float16", {ATTACK: ATTACK}, {ATTACK: 0.5})],
        metrics={**base.metrics, "emotion_table": table,
                 "protocols": {ATTACK: ATTACK}, "warnings": [ATTACK],
                 "reference_lines": {"constant_word": {**scored(0.1, (0.1,) * 5), "word": ATTACK}}})
    html = render(data)
    document = Document(html)
    assert [attrs.get("type") for attrs in document.of("script")] == ["application/json", None]    # the report's own
    assert not any(name.startswith("on") for _, attrs in document.elements for name in attrs)
    (card,) = read_cards(html)
    assert card["id"] == video and card["clip"] == ATTACK
    assert "".join(piece if isinstance(piece, str) else piece[0] for piece in card["caption"]) == row["caption"]
    assert f"{ATTACK}$x$" in document.text
    assert document.text.count(ATTACK) > 15


def test_policy_allows_the_reports_own_script_alone(html: str) -> None:
    policy = next(attrs["content"] for attrs in Document(html).of("meta") if "http-equiv" in attrs) or ""
    script = html[html.rindex("<script>") + len("<script>"):html.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy


def read_cards(html: str) -> list[dict[str, Any]]:
    """The block of JSON that the page's script makes cards of."""
    start = '<script type="application/json" id="cards">'
    block = html[html.index(start) + len(start):]
    block = block[:block.index("</script>")]
    assert "<" not in block         # so nothing in it can end the element, or begin another
    return json.loads(block)["cards"]        # type: ignore[no-any-return]


def test_every_video_is_on_the_page_with_all_that_is_known_of_it(html: str) -> None:
    data = full()
    cards = read_cards(html)
    assert [card["id"] for card in cards] == [row["video_id"] for row in data.predictions]
    assert {"right", "wrong", "missed"} <= {card["outcome"] for card in cards}
    row, card = data.predictions[7], cards[7]
    assert base64.b64decode(card["frames"][1][1]) == picture(4 * 7 + 1) and card["frames"][1][0] == 1.5
    assert card["cider"] == row["scores"]["CIDEr (coco)"] and card["split"] == "test"
    assert card["baseline"] == [row["baseline"]] and card["clip"].endswith("/vid0007.mp4")
    assert len(card["candidates"]) == 20 and len(card["references"]) == 4 and len(card["beams"]) == 2


def test_three_thousand_videos_are_less_than_thirty_megabytes() -> None:
    """Of 20 references and candidates, 60 hypotheses, two small frames, and attention to 28 frames, 27 windows of
    sound, the candidates and 28 attributes."""
    data = full(100)
    draw = random.Random(1)
    for row in data.predictions:
        row["beams"] = row["beams"] * 30
        parts = row["attention"]["parts"]
        for name, times in (("appearance", 7), ("audio", 9), ("attributes", 4)):
            seconds, weights = parts[name]["seconds"], parts[name]["weights"]
            parts[name] = {"seconds": seconds * times, "weights": [word * times for word in weights]}
        parts["text"] = {"seconds": [], "weights": [[0.01] * 20 for _ in row["attention"]["words"]]}
    frames = {video: [(second, draw.randbytes(1000)) for second in (0.5, 1.5)] for video in data.references}
    references = {video: own * 5 for video, own in data.references.items()}
    html = render(dataclasses.replace(data, frames=frames, references=references))
    assert len(html.encode()) * 30 < 30e6
    cards = read_cards(html)
    assert len(cards[0]["beams"]) == gallery.BEAMS and cards[0]["hypotheses"] == 60


def test_plots_are_well_formed_and_without_a_date() -> None:
    data = full()
    drawings = [plots.draw_losses(data.history), plots.draw_validation(data.history)]
    for svg in drawings:
        tree = ElementTree.fromstring(svg.replace("xlink:href", "href"))
        assert tree.get("role") == "img" and tree.get("aria-label")
        assert "metadata" not in svg and "http" not in svg
    assert plots.find_best(data.history) == (20, pytest.approx(58.0))


def test_charts_without_data_are_empty() -> None:
    assert plots.draw_losses([]) == plots.draw_validation([]) == "" and plots.find_best([]) is None
    assert charts.build_dots({}) is None and charts.build_dots({"coco": {"CIDEr": None}}) is None
    assert charts.build_emotion_bars([]) == [] and gallery.count_confusions([]) is None


def test_all_lines_stand_on_one_axis_from_zero() -> None:
    dots = charts.build_dots(full().metrics)
    assert dots is not None
    assert dots.ticks == ((0, 0.0), (20, 20.0), (40, 40.0), (60, 60.0), (80, 80.0), (100, 100.0))
    cider = dots.measures[0]
    assert {dot.name: dot.left for dot in cider.dots} == pytest.approx(
        {"Model": 55.8, "Baseline": 47.12, "Constant word": 6.82, "Nearest caption": 44.02, "Human": 86.8})
    assert cider.dots[-1].name == "Model" and (cider.low, cider.high) == pytest.approx((6.82, 86.8))
    beyond = charts.build_dots({"coco": {"CIDEr": 1.2}})
    assert beyond is not None and beyond.ticks[-1] == (150, 100.0) and beyond.measures[0].dots[0].left == 80.0


def test_facts_and_failures_are_named_and_no_times_are_shown(html: str) -> None:
    text = re.sub(r"\s+", " ", Document(html).text)
    assert "own-clip appearance 58 464 512 float16 1 1" in re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", cells(html))
    assert "vid0058 own-clip it has no picture" in cells(html) and "vid0003decoded in part: 62.5 %" in text
    assert "train split400 videos, 2,400 captions" in text and "captioner: epoch kept17" in text
    assert "candidates + audio 12 0.250 0.500 – – 0.077" in cells(html)
    assert "train 1,000 3.4 61.0 – 1,234" in cells(html)
    assert "seconds" not in text


def cells(html: str) -> str:
    """The texts of the tables, with a space between two cells."""
    return re.sub(r"\s+", " ", Document(re.sub(r"</t[dh]>", r" \g<0>", html)).text)


def test_model_sentence_names_what_is_off() -> None:
    captioner = {"modalities": ["appearance"], "vtai": False, "cfb": False, "aeb": False,
                 "hidden_size": 64, "num_layers": 2}
    description = page.describe_model({**full().params, "captioner": captioner})
    assert description == ("A Transformer of 2 layers and width 64 that reads 28 frames a video through ViT-B-32, "
                    "without attributes or theme.")
