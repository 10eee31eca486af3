"""The page in a real browser: cards, filters, the click on a cell, hostile text, and many videos."""

import dataclasses
import json
import re
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
from browser import BROWSER, FLAGS, MISSING
from test_report import ATTACK, full, read_cards

from pipeline.report import gallery
from pipeline.report.attention import LEVELS, pack_attention
from pipeline.report.comparison import compare_runs
from pipeline.report.page import ReportData, render

pytestmark = [pytest.mark.skipif(BROWSER is None, reason=MISSING), pytest.mark.timeout(180)]

# What a test does on the page comes first; then the answer is put where the dump of the page shows it.
DRIVER = """<script>
const answers = [];
// The browser's clock is a virtual one that runs on while nothing is timed: only timers hold it.
const wait = () => new Promise((resolve) => setTimeout(resolve, 20));
const form = document.getElementById("controls");
const choose = (name, value) => {
  form.elements[name].value = value;
  form.dispatchEvent(new Event("input", { bubbles: true }));
};
const seen = () => Array.from(document.querySelectorAll("article.video"), (card) => card.dataset.video);
const count = () => form.elements.count.value;
const all = () => {
  while (!document.getElementById("more").hidden) document.getElementById("more").click();
  return seen();
};
const say = (value) => answers.push(value);
addEventListener("load", async () => {
  try { %s } catch (error) { answers.push(String(error)); }
  const answer = document.createElement("pre");
  answer.id = "answer";
  answer.textContent = JSON.stringify(answers);
  parent.document.body.append(answer);
});
</script>"""


def open_page(html: str, folder: Path, *arguments: str) -> str:
    assert BROWSER is not None
    target = folder / "index.html"
    target.write_text(html, encoding="utf-8")
    flags = [*FLAGS, "--virtual-time-budget=1000000", f"--user-data-dir={folder / 'profile'}"]
    return subprocess.run([BROWSER, *flags, *arguments, target.as_uri()], check=True, timeout=120,
                          capture_output=True, text=True).stdout


def drive(data: ReportData, folder: Path, actions: str, width: int = 1280) -> list[Any]:
    """What `actions` said on the page in a frame of `width` pixels, for a browser's window has a least width. The
    page's own policy stands but for the driver, which it lets run, too."""
    html = re.sub(r"script-src '[^']*'", "script-src 'unsafe-inline'", render(data), count=1)
    framed = escape(html.replace("</body>", DRIVER % actions + "</body>"))
    frame = f'<iframe style="width: {width}px; height: 900px; border: 0" srcdoc="{framed}"></iframe>'
    dump = open_page(f'<!doctype html><body style="margin: 0">{frame}', folder, "--window-size=1400,1000", "--dump-dom")
    answer = re.search(r'<pre id="answer">(.*?)</pre>', dump, re.DOTALL)
    assert answer is not None, "the driver did not end"
    return json.loads(unescape(answer[1]))   # type: ignore[no-any-return]


def test_filters_and_orders(tmp_path: Path) -> None:
    data = full(150)
    cards = read_cards(render(data))
    worst = [card["id"] for card in sorted(cards, key=lambda card: (card["cider"], card["id"]))]
    first, every, best, wrong, joy, split, candidate, nothing, shown, again = drive(data, tmp_path, """
      say([seen().length < 150, seen().slice(0, 24), count()]);
      say(all());
      choose("order", "best"); say(seen()[0]);
      choose("outcome", "wrong"); say((all()).sort());
      choose("outcome", ""); choose("emotion", "joy"); say((all()).sort());
      choose("emotion", ""); choose("split", "test"); say(count());
      choose("needle", "  GOALKEEPER Ashamed "); say((all()).sort());
      choose("needle", "no such words"); say([count(), seen().length]);
      say(document.getElementById("nothing").checkVisibility());
      document.querySelector("#nothing button").click();
      say([count(), document.getElementById("nothing").checkVisibility()]);
    """)
    assert first == [True, worst[:24], "150 of 150"]
    assert every == worst                                       # the worst first, every one made
    assert best == worst[-1]
    assert wrong == [card["id"] for card in cards if card["outcome"] == "wrong"] and wrong
    assert joy == [card["id"] for card in cards if "joy" in card["meant"] + card["said"]] and joy
    assert split == "150 of 150"
    texts = {row["video_id"]: [row["caption"], row["baseline"], *data.references[row["video_id"]],
                               *(entry["text"] for entry in row["candidates"])] for row in data.predictions}
    assert candidate == [video for video, own in texts.items() if any("goalkeeper ashamed" in text for text in own)]
    assert nothing == ["0 of 150", 0] and shown is True
    assert again == ["150 of 150", False]


def test_a_click_on_a_cell_shows_its_videos(tmp_path: Path) -> None:
    data = full(150)
    cards = read_cards(render(data))
    confusions = gallery.count_confusions(cards)
    assert confusions is not None
    cells = drive(data, tmp_path, """
      choose("needle", "no such words");
      for (const cell of document.querySelectorAll("button.cell")) {
        cell.click();
        say([cell.dataset.row, cell.dataset.column, Number(count().split(" ")[0]),
             document.getElementById("chosen").textContent]);
      }
      document.querySelector("#chosen button").click();
      say(count());
    """)
    expected = [(row, cell.category, round(cell.share * videos))
                for row, videos, own in confusions.rows for cell in own if cell.share]
    assert [tuple(cell[:3]) for cell in cells[:-1]] == expected and len(expected) > 20
    assert f"References with “{expected[0][0]}”, captions that say “{expected[0][1]}”" in cells[0][3]
    assert cells[-1] == "150 of 150"


def test_a_word_shows_where_the_decoder_looked(tmp_path: Path) -> None:
    """Of `full`: word n looks most at frame n % 4, and the strip has frames near these times."""
    first, clicked, arrow, escaped, again, named, spoken, (shaded, unshaded) = drive(full(3), tmp_path, """
      const card = document.querySelector("article.video");
      const words = Array.from(card.querySelectorAll(".caption .look"));
      const strip = card.querySelector(".strip");
      const state = () => [strip.classList.contains("lit"), Array.from(strip.querySelectorAll("figure"),
        (frame) => Number(frame.style.getPropertyValue("--look"))).indexOf(1),
        words.findIndex((word) => word.getAttribute("aria-pressed") === "true")];
      const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      say([state()[0], words.filter((word) => word.tabIndex === 0).length, words.length]);
      words[1].click(); say(state());
      words[1].focus(); press("ArrowRight");
      say([words.indexOf(document.activeElement), words.findIndex((word) => word.tabIndex === 0)]);
      press("Escape"); say(state()[0]);
      words[2].click(); const before = state(); words[2].click(); say([before, state()[0]]);
      say(Array.from(card.querySelectorAll(".lane i"), (cell) => cell.title).some((title) => title.startsWith("“")));
      words[2].click(); say(card.querySelector(".looked").textContent);
      const shades = () => Array.from(card.querySelectorAll(".bars .seen"),
        (item) => Number(item.style.getPropertyValue("--look")));
      const shaded = shades(); words[2].click(); say([shaded, shades()]);
    """)
    caption = min(full(3).predictions, key=lambda row: row["scores"]["CIDEr (coco)"])["caption"].split()
    assert first == [False, 1, len(caption)]
    assert clicked == [True, 1, 1] and arrow == [2, 2] and escaped is False
    assert again == [[True, 2, 2], False] and named is True
    assert len(shaded) == 7 and max(shaded) < 1 and len(set(shaded)) > 1 and unshaded == []     # the attributes
    assert re.fullmatch(rf"For “{caption[2]}” it looked most at frames \(\d+ %\), above all at 2\.9 s\.", spoken)


def test_words_are_told_by_their_own_weights() -> None:
    row = full(3).predictions[0]
    packed = pack_attention(row, range(7))
    assert packed is not None
    parts = row["attention"]["parts"]
    assert [name for name, _, _ in packed["parts"]] == [*parts]
    for (name, seconds, words), shares in zip(packed["parts"], zip(*packed["shares"], strict=True), strict=True):
        assert seconds == pytest.approx(parts[name]["seconds"], abs=0.05)
        for text, weights, share in zip(words, parts[name]["weights"], shares, strict=True):
            found = [LEVELS.index(letter) * packed["top"] / 63 for letter in text]
            assert found == pytest.approx(weights, abs=packed["top"] / 120) and share == round(100 * sum(weights))
    turned = pack_attention(row, [6, 5, 4, 3, 2, 1, 0])
    assert turned is not None and turned["parts"][2][2] == [text[::-1] for text in packed["parts"][2][2]]
    assert pack_attention({**row, "caption": "another one"}, range(7)) is None


@pytest.mark.parametrize("width", [390, 1280])
def test_every_frame_is_seen_without_scrolling(tmp_path: Path, width: int) -> None:
    data = full(3)
    frames = {video: [(0.5 + n, own[n % 4][1]) for n in range(8)] for video, own in data.frames.items()}
    shown, = drive(dataclasses.replace(data, frames=frames), tmp_path, """
      const strip = document.querySelector(".strip").getBoundingClientRect();
      const figures = Array.from(document.querySelectorAll(".video:first-child .strip figure"));
      say(figures.map((figure) => figure.getBoundingClientRect())
        .filter((own) => own.width > 60 && own.left >= strip.left && own.right <= strip.right + 1).length);
    """, width)
    assert shown == 8


def test_two_runs_are_told_apart_video_by_video(tmp_path: Path) -> None:
    data = full(60)
    theirs = [{**row, "caption": f"other {row['caption']}", "scores": {
        **row["scores"], "CIDEr (coco)": row["scores"]["CIDEr (coco)"] - (number % 3 - 1) * 0.25}}
        for number, row in enumerate(data.predictions)]
    other = compare_runs(Path("other/predictions.jsonl"), data.predictions, theirs, 0)
    compared = dataclasses.replace(data, other=other)
    better = [row["video_id"] for number, row in enumerate(data.predictions) if number % 3 == 2]
    text, found, counts, orders, caption = drive(compared, tmp_path, """
      say(document.getElementById("compared").textContent.replace(/\\s+/g, " "));
      choose("change", "better"); say(all().sort());
      say(["worse", "same", ""].map((value) => { choose("change", value); return count(); }));
      say(["lost", "gained"].map((value) => {
        choose("order", value); return document.querySelector(".video .change").textContent; }));
      choose("needle", "other"); say([count(), document.querySelector(".other p").textContent.startsWith("other ")]);
    """)
    assert "This run beside other/predictions.jsonl" in text and "CIDEr (coco) +0.0" in text and "tie" in text
    assert "20 : 20 better : worse; 20 the same" in text
    assert found == better and counts == ["20 of 60", "20 of 60", "60 of 60"]
    assert orders == ["this run is worse by 25 CIDEr", "this run is better by 25 CIDEr"]
    assert caption == ["60 of 60", True]


def test_hostile_text_is_text_on_the_cards(tmp_path: Path) -> None:
    attack = ATTACK + '</script><img src=x onerror="document.title=1">" onmouseover="alert(1)'
    row = {"video_id": attack, "caption": attack + " happily", "baseline": attack, "score": -1.0,
           "beams": [{"caption": attack, "score": -1.0}], "emotions": [{"category": attack, "probability": 0.5}],
           "attributes": [{"word": attack, "probability": 0.5, "emotional": True}],
           "candidates": [{"text": attack, "score": 0.1}]}
    data = dataclasses.replace(full(3), predictions=[row], references={attack: [attack]}, splits={attack: attack},
                               frames={}, clips={})
    caption, elements, title, times = drive(data, tmp_path, """
      say(document.querySelector(".caption").textContent);
      say([document.querySelectorAll("#videos img, #videos script, #videos [onmouseover]").length,
           document.images.length]);
      say(document.title);
      choose("split", form.elements.split.options[1].value);
      say([count(), document.getElementById("videos").textContent.split("onerror=").length - 1]);
    """)
    assert caption == attack + " happily" and elements == [0, 0]
    assert title == "harbour-clips: captions and their emotions"
    assert times[0] == "1 of 1" and times[1] >= 8


def test_many_videos_are_made_into_cards_as_they_come_into_view(tmp_path: Path) -> None:
    data = dataclasses.replace(full(1000), frames={})
    early, later, found = drive(data, tmp_path, """
      const early = seen().length;
      say(early);
      document.getElementById("more").scrollIntoView({ behavior: "instant" });
      for (let tries = 0; tries < 20000 && seen().length === early; tries++) await wait();
      say(seen().length);
      choose("needle", "vid0999"); say([count(), seen()]);
    """)
    assert 24 <= early < later < 1000
    assert found == ["1 of 1,000", ["vid0999"]]


def test_the_pages_own_policy_lets_its_script_run(tmp_path: Path) -> None:
    dump = open_page(render(full()), tmp_path, "--dump-dom")
    assert dump.count('<article class="video"') >= 24 and "60 of 60" in dump


@pytest.mark.parametrize("width", [390, 1280])
def test_no_axis_is_cut_and_the_page_is_no_wider_than_the_window(tmp_path: Path, width: int) -> None:
    own, page, cut, broken = drive(full(), tmp_path, """
      say(innerWidth);
      say(document.documentElement.scrollWidth <= innerWidth);
      say(Array.from(document.querySelectorAll(".axis, .axis .dot, .plot"))
        .filter((axis) => axis.getBoundingClientRect().right > innerWidth).length);
      for (const details of document.querySelectorAll("details")) details.open = true;
      document.querySelector(".making dd").append(", h5py 3.16.0, open_clip_torch 3.3.0, av 18.1.0");
      const lines = (cell) => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        return new Set(Array.from(range.getClientRects(), (line) => line.top)).size;
      };
      say(Array.from(document.querySelectorAll(".making dt, .stages thead th"))     // no word is cut in two
        .filter((cell) => lines(cell) > cell.textContent.split(/[ -]/).length).map((cell) => cell.textContent));
    """, width)
    assert (own, page, cut, broken) == (width, True, 0, [])
