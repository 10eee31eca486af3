"""The studio in a real browser: a clip is dropped, two captioners are compared, predictions are looked through."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import BROWSER, MISSING, Page, browser
from media_factory import clip

pytest.importorskip("starlette", reason="starlette, of the extra [studio], is not installed")
pytest.importorskip("uvicorn", reason="uvicorn, of the extra [studio], is not installed")

from studio_server import TOKEN, Studio

pytestmark = [pytest.mark.skipif(BROWSER is None, reason=MISSING), pytest.mark.timeout(180)]
READY = "!document.getElementById('result').hidden || document.querySelector('#status.failed')"


@pytest.fixture(scope="module")
def page(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as own:
        own.show_as(1280)
        own.open(f"{studio.address}/?token={TOKEN}")
        own.wait("document.querySelectorAll('#models input').length === 2")
        yield own
        assert own.problems == []


def status(page: Page) -> str:
    return str(page.run("document.getElementById('status').textContent"))


def search(page: Page, words: str) -> None:
    page.run(f"""{{
      const form = document.getElementById("controls");
      form.elements.needle.value = "{words}";
      form.dispatchEvent(new Event("input", {{ bubbles: true }}));
    }}""")


def test_a_clip_is_shown_with_both_captions_and_its_name_is_text(page: Page, tmp_path: Path) -> None:
    path = tmp_path / '<img src=x onerror="document.title=1">.mp4'
    clip(path, 10, sound=440.0, size=(64, 64))
    page.choose_file("#file", path)
    page.wait(READY)
    assert status(page) == "" and page.run("document.getElementById('name').textContent") == path.name
    assert page.run("document.title") == "SPECTRUM studio"
    assert page.run("Array.from(document.querySelectorAll('.model > h4'), (title) => title.textContent)") == [
        "captioner", "baseline"]
    assert page.run("document.querySelectorAll('#strip img').length") == 8
    # Frames that are not in view are not loaded.
    page.wait("Array.from(document.querySelectorAll('#strip img')).some((image) => image.naturalWidth > 0)")
    assert page.run("document.querySelectorAll('.course').length") == 2
    # A word of a caption lights up the frames, which both captioners share.
    assert page.run("document.querySelectorAll('#cards .model:last-child .caption .look').length") >= 1
    assert page.run("document.querySelectorAll('#strip .lit').length") == 0
    page.run("document.querySelector('#cards .model:last-child .caption .look').click()")
    assert page.run("Array.from(document.querySelectorAll('#strip .lit figure'), "
                    "(frame) => Number(frame.style.getPropertyValue('--look'))).some((look) => look === 1)")
    page.run("document.querySelector('#models input').click()")     # the baseline alone
    page.choose_file("#file", path)
    page.wait("document.querySelectorAll('.model').length === 1")
    page.run("document.querySelector('#models input').click()")


def test_a_dropped_clip_and_what_is_no_video(page: Page, real_data: Path) -> None:
    page.run("""
      const data = new DataTransfer();
      data.items.add(new File(["no video"], "notes.txt"));
      document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
    """)
    page.wait("document.querySelector('#status.failed')")
    assert status(page).startswith("notes.txt: ")
    page.choose_file("#file", real_data / "clips" / "single_face.mp4")
    page.wait("document.getElementById('name').textContent === 'single_face.mp4'")
    page.wait("!document.getElementById('result').hidden")
    page.choose_file("#file", real_data / "odd" / "decord_corrupted.mp4")
    page.wait("document.getElementById('result').hidden && document.querySelector('#status.failed')"
              " || document.getElementById('name').textContent === 'decord_corrupted.mp4'")
    page.problems[:] = [problem for problem in page.problems if "422" not in problem]   # the two sentences


def test_predictions_are_searched_and_opened(page: Page) -> None:
    page.wait("!document.getElementById('predictions').hidden")
    assert page.run("document.querySelectorAll('#list button').length") == 2
    page.run("document.querySelector('#list button').click()")
    page.wait("document.querySelector('#detail article')")
    assert page.run("document.querySelector('#detail h3').textContent") == page.run(
        "document.querySelector('#list [aria-current]').dataset.video")
    assert page.run("document.querySelectorAll('#detail img').length") == 8
    search(page, "no such words")
    assert page.run("document.getElementById('controls').elements.count.value") == "0 of 2"
    assert page.run("document.getElementById('nothing').checkVisibility()") is True


def test_on_a_phone_the_card_stands_below_its_video(page: Page) -> None:
    search(page, "")
    page.show_as(390)
    page.run("document.querySelectorAll('#list button')[1].click()")
    page.wait("document.querySelectorAll('#list li')[1].querySelector('#detail article')")
    assert page.run("[innerWidth, document.documentElement.scrollWidth <= innerWidth]") == [390, True]
    assert page.run("getComputedStyle(document.querySelector('#detail .look')).display") == "inline-block"
    search(page, "no such words")
    assert page.run("document.querySelectorAll('#detail').length") == 1      # not lost with the list
    page.show_as(1280)


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, True)])
def test_the_page_is_no_wider_than_the_window(page: Page, width: int, dark: bool) -> None:
    page.show_as(width, dark)
    assert page.run("[innerWidth, document.documentElement.scrollWidth <= innerWidth]") == [width, True]
