"""The demo page in a real browser, from a picture that is dropped to its maps."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import wherefore as wf
from fixtures_web import SVG, drawn, sent, served
from wherefore.scenes import scene

pytest.importorskip("fastapi", reason="needs the extra serve")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra dev")

from wherefore.web.app import create_app  # noqa: E402
from wherefore.web.settings import Settings  # noqa: E402

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
NAMES = ("scenes:vgg", "scenes:captioner", "scenes:vqa")
TOKEN = "a-token-of-enough-letters"
SECONDS = 20_000


@pytest.fixture(scope="module")
def models() -> dict[str, wf.Model]:
    return {name: wf.load(name) for name in NAMES}


@pytest.fixture(scope="module")
def url(models: dict[str, wf.Model]) -> Iterator[str]:
    with served(create_app(models)) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not os.path.exists(CHROMIUM):
        pytest.skip(f"needs a browser, and there is no {CHROMIUM}")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page; at the end nothing may have been asked of anybody else, and nothing may have gone wrong in it."""
    contexts, asked, wrong = [], [], []

    def open_(url: str, *, width: int = 1200, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce", **options)
        context.set_default_timeout(SECONDS)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append((url, request.url)))
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        return page

    open_.wrong = wrong  # type: ignore[attr-defined]
    yield open_
    for context in contexts:
        context.close()
    assert [address for own, address in asked if not address.startswith((own, "blob:", "data:"))] == []
    assert wrong == []


def done(page: Any, name: str | None = None) -> None:
    """Waits until the picture is explained and, where one is named, shown for a target."""
    page.wait_for_selector("#stage[aria-busy=false] img.map")
    if name:
        page.get_by_role("img", name=f"Where the evidence for {name} lies").wait_for()


def shown(page: Any) -> np.ndarray[Any, Any]:
    """What can be seen of the first picture, in pixels."""
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    image = Image.open(io.BytesIO(page.locator(".picture").first.screenshot())).convert("RGB")
    return np.asarray(image.resize((96, 96))).astype(float)


def targets(page: Any) -> list[str]:
    return page.locator("#targets .name").all_inner_texts()


def test_from_the_drop_to_the_map(opened: Any, url: str) -> None:
    page = opened(url)
    done(page)
    assert page.get_by_role("heading", level=1).inner_text() == "Where did the network look?"
    file = page.evaluate_handle(
        """async () => {
            const canvas = new OffscreenCanvas(64, 48);
            canvas.getContext("2d").fillRect(8, 8, 20, 20);
            const data = new DataTransfer();
            data.items.add(new File([await canvas.convertToBlob()], "dropped.png", { type: "image/png" }));
            return data;
        }"""
    )
    page.dispatch_event("body", "dragover", {"dataTransfer": file})
    assert page.get_by_text("Drop the picture").is_visible()
    with page.expect_response("**/v1/explain") as answer:
        page.dispatch_event("body", "drop", {"dataTransfer": file})
    assert answer.value.json()["images"][0]["size"] == [64, 48] and page.get_by_text("Drop the picture").is_hidden()
    done(page, answer.value.json()["images"][0]["targets"][0]["name"])
    assert page.get_by_role("img", name="Your picture dropped.png").is_visible()


def test_classes_are_clicked_and_typed(opened: Any, url: str, tmp_path: Path, models: dict[str, wf.Model]) -> None:
    (tmp_path / "seven.png").write_bytes(drawn(7))
    true = wf.explain(models["scenes:vgg"], scene(7).image, "top5")
    page = opened(url)
    done(page)
    page.get_by_label("Choose a picture").set_input_files(tmp_path / "seven.png")
    page.get_by_role("img", name="Your picture seven.png").wait_for()
    done(page, true.targets[0][0])
    assert targets(page) == true.targets[0]
    third = true.targets[0][2]
    page.locator("#targets button", has_text=third).press("Enter")
    done(page, third)
    assert page.locator("#targets [aria-pressed=true] .name").all_inner_texts() == [third]
    assert f"p {float(true.probabilities[0, 2]):.3f}, evidence up to" in page.locator("figcaption").inner_text()
    page.get_by_label("Another class").fill("flower")
    page.get_by_role("button", name="Show").click()
    done(page, "flower")
    assert targets(page) == ["flower", *[name for name in true.targets[0] if name != "flower"]]
    page.get_by_label("Method").select_option("guided-grad-cam")
    page.get_by_text("negative").wait_for()
    done(page)


def test_the_slider_moves_between_photograph_and_map(opened: Any, url: str) -> None:
    page = opened(url)
    done(page)
    about = scene(17).captions[1]  # bright, which its map is not
    page.get_by_role("button", name=about).click()
    page.locator(".pane").get_by_role("img", name=about).wait_for()
    done(page)
    plain = np.asarray(
        Image.open(io.BytesIO(page.request.get(f"{url}/page/examples/17.png").body())).convert("RGB").resize((96, 96))
    )
    slider = page.get_by_label("From photograph to map")

    def away(part: slice) -> float:
        return float(np.abs(shown(page) - plain)[:70, part].mean())  # above the grip

    middle = slice(30, 90)
    assert away(middle) > 15, "the map covers it"
    slider.press("Home")
    assert slider.input_value() == "0" and away(middle) < 6, "the photograph itself"
    box = page.locator(".picture").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    page.mouse.up()
    assert abs(int(slider.input_value()) - 50) <= 1
    assert away(slice(5, 44)) > 15 and away(slice(52, 91)) < 6, "half of it"
    page.locator("#targets button").nth(1).click()
    assert abs(int(slider.input_value()) - 50) <= 1, "it stays where it is"


def test_two_stand_side_by_side_and_are_saved(
    opened: Any, url: str, tmp_path: Path, models: dict[str, wf.Model]
) -> None:
    (tmp_path / "x.png").write_bytes(drawn(17))
    page = opened(url)
    page.get_by_label("Choose a picture").set_input_files(tmp_path / "x.png")
    page.get_by_role("img", name="Your picture x.png").wait_for()
    true = wf.explain(models["scenes:vgg"], scene(17).image, "top5")
    first, second, third = true.targets[0][:3]
    done(page, first)
    page.get_by_role("switch", name="Two side by side").check()
    panes = page.locator(".pane .name")
    assert panes.all_inner_texts() == [first, second]
    page.locator("#targets button", has_text=third).click()
    assert panes.all_inner_texts() == [first, third], "the second is the one that the list fills"
    page.locator(".pane button", has_text=first).click()
    page.locator("#targets button", has_text=second).click()
    assert panes.all_inner_texts() == [second, third]
    with page.expect_download() as download:
        page.get_by_role("button", name="Save picture").click()
    assert download.value.suggested_filename == f"x.{second}-{third}.png"
    saved = Image.open(download.value.path())
    assert saved.format == "PNG" and saved.size == (2 * 720 + 3 * 24, 720 + 84 + 24)
    left, right = (
        np.asarray(saved.convert("RGB").crop((24 + i * 744, 24, 744 + i * 744, 744))).astype(float) for i in (0, 1)
    )
    assert np.abs(left - right).mean() > 5, "two maps"
    with page.expect_download() as download:
        page.get_by_role("button", name="Save maps").click()
    found = json.loads(Path(download.value.path()).read_text())
    assert torch.equal(torch.tensor([each["map"] for each in found["images"][0]["targets"]]), true.maps[0])
    assert found["weights_sha256"] == models["scenes:vgg"].weights_sha256 and "overlay" not in json.dumps(found)


def test_captions_and_questions(opened: Any, url: str, tmp_path: Path, models: dict[str, wf.Model]) -> None:
    (tmp_path / "x.png").write_bytes(drawn(17))
    page = opened(url)
    page.get_by_label("Choose a picture").set_input_files(tmp_path / "x.png")
    page.get_by_role("img", name="Your picture x.png").wait_for()
    done(page)
    page.get_by_label("Network").select_option("scenes:captioner")
    says = wf.captions(models["scenes:captioner"], scene(17).image)[0]
    done(page, says)
    assert targets(page) == ["the whole caption", *says.split()]
    page.locator("#targets button", has_text=re.compile("^bird$")).click()
    done(page, "bird")
    page.get_by_label("Another caption").fill("a dog on a beach")
    page.get_by_role("button", name="Show").click()
    done(page, "a dog on a beach")
    page.get_by_label("Network").select_option("scenes:vqa")
    page.get_by_label("Question").fill("is there a bird?")
    page.get_by_role("button", name="Ask").click()
    best = wf.answers(models["scenes:vqa"], scene(17).image, "is there a bird?")[0]
    done(page, best[0].text)
    page.wait_for_function("document.querySelectorAll('#targets li').length === 5")
    assert targets(page) == [each.text for each in best]
    page.get_by_label("Another answer").fill("red")
    page.get_by_role("button", name="Show").click()
    done(page, "red")


def saved_maps(page: Any) -> dict[str, Any]:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save maps").click()
    found: dict[str, Any] = json.loads(Path(download.value.path()).read_text())
    return found


def test_maps_of_another_method_are_not_saved_as_of_this_one(
    opened: Any, url: str, tmp_path: Path, models: dict[str, wf.Model]
) -> None:
    (tmp_path / "x.png").write_bytes(drawn(17))
    page = opened(url)
    page.get_by_label("Choose a picture").set_input_files(tmp_path / "x.png")
    page.get_by_role("img", name="Your picture x.png").wait_for()
    done(page)
    page.get_by_label("Another class").fill("chair")
    page.evaluate(  # the class is asked for before the other method has answered
        """() => {
            const method = document.querySelector("#method");
            method.value = "occlusion";
            method.dispatchEvent(new Event("change"));
            document.querySelector("#other-form").requestSubmit();
        }"""
    )
    done(page, "chair")
    page.locator("#status", has_text="Layer").wait_for()
    found = saved_maps(page)
    true = wf.explain(models["scenes:vgg"], scene(17).image, "chair", method="occlusion")
    assert found["method"] == "occlusion"
    assert [each["name"] for each in found["images"][0]["targets"]] == ["chair"] == targets(page)
    np.testing.assert_allclose(found["images"][0]["targets"][0]["map"], true.maps[0, 0], atol=1e-5)


def test_answers_to_another_question_are_not_saved_as_to_this_one(opened: Any, url: str) -> None:
    page = opened(url)
    done(page)
    page.get_by_label("Network").select_option("scenes:vqa")
    done(page)
    with page.expect_response("**/v1/ask") as first:
        page.get_by_label("Question").fill("is there a bird?")
        page.get_by_role("button", name="Ask").click()
    done(page, first.value.json()["images"][0]["targets"][0]["name"])
    page.get_by_label("Question").fill("what colour is the dog?")
    for answer, all_ in (("red", ["red"]), ("blue", ["blue", "red"])):  # the second is to the same question
        page.get_by_label("Another answer").fill(answer)
        page.get_by_role("button", name="Show").click()
        done(page, answer)
        image = saved_maps(page)["images"][0]
        assert image["question"] == "what colour is the dog?"
        assert [each["name"] for each in image["targets"]] == all_ == targets(page)


def test_what_goes_wrong_is_said(opened: Any, url: str, tmp_path: Path) -> None:
    (tmp_path / "x.svg").write_bytes(SVG)
    (tmp_path / "x.png").write_bytes(sent(scene(1).image))
    page = opened(url)
    done(page)
    page.get_by_label("Choose a picture").set_input_files(tmp_path / "x.svg")
    page.get_by_role("alert").wait_for()
    assert (
        page.get_by_role("alert").inner_text()
        == "The file is no picture that is read here: send PNG, JPEG, WebP or GIF."
    )
    page.get_by_label("Choose a picture").set_input_files(tmp_path / "x.png")
    page.get_by_role("img", name="Your picture x.png").wait_for()
    done(page)
    assert page.get_by_role("alert").count() == 0
    page.get_by_label("Another class").fill("elefant")
    page.get_by_label("Another class").press("Enter")
    page.get_by_role("alert").wait_for()
    assert "did you mean elephant?" in page.get_by_role("alert").inner_text()
    assert len(opened.wrong) == 2 and all("status of 4" in text for text in opened.wrong), "the browser's own words"
    opened.wrong.clear()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1200, "dark")])
def test_it_fits_and_its_words_can_be_read(opened: Any, url: str, width: int, scheme: str) -> None:
    page = opened(url, width=width, color_scheme=scheme)
    done(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for ink in ("--ink", "--soft", "--accent"):
        for paper in ("--paper", "--raised"):
            assert contrast(colour(page, ink), colour(page, paper)) >= 4.5, f"{ink} on {paper}"
    nameless = """[...document.querySelectorAll("input, select, button, a")].filter((each) =>
        !each.labels?.length && !each.ariaLabel && !each.innerText.trim() && !each.querySelector("img[alt]")).length"""
    assert page.evaluate(nameless) == 0, "everything that can be used has a name"


def colour(page: Any, name: str) -> list[float]:
    value = page.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('{name}')").strip()
    return [int(value[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def contrast(one: list[float], other: list[float]) -> float:
    """By WCAG 2."""

    def light(colour: list[float]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([light(one), light(other)])
    return (high + 0.05) / (low + 0.05)


def test_the_token_is_asked_for(opened: Any, models: dict[str, wf.Model]) -> None:
    with served(create_app({"scenes:vgg": models["scenes:vgg"]}, Settings(token=TOKEN))) as url:
        page = opened(url)
        page.get_by_role("dialog").wait_for()
        page.get_by_role("textbox", name="Token").fill(TOKEN)
        page.get_by_role("button", name="Go on").click()
        done(page)
        assert page.get_by_role("dialog").count() == 0
        page.reload()
        done(page)
        assert page.get_by_role("dialog").count() == 0, "it is kept for this window"
        page.context.close()
    assert opened.wrong and all("401" in text for text in opened.wrong), "the browser's own words, before the token"
    opened.wrong.clear()
