"""The page in a real browser."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

import trimseek
from tests.api.serving import Keys, Service, serving
from tests.conftest import ROOT, ingest, write_jsonl
from trimseek.settings import load_settings

PAGE = ROOT / "api" / "page"
AXE = "axe-core@4.10.3"
HIT = ".hit"
DOCUMENTS = [
    {"_id": "cat", "title": "Cat", "text": "The kitten 😀 sleeps on a warm sofa.", "kind": "pet"},
    {"_id": "dog", "title": "Dog", "text": "A puppy barks at the postman.", "kind": "pet"},
    {"_id": "car", "title": "<b>Car</b>", "text": "An engine with <script>alert(1)</script>.",
     "kind": "machine"},
    {"_id": "violin", "title": "Violin", "text": "A concerto for violin and orchestra.",
     "kind": "music"},
]  # fmt: skip


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        assert not os.environ.get("CI"), "the page is tested in Chromium, which is not here"
        pytest.skip("Chromium is not here")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("page")
    corpus = write_jsonl(folder / "c.jsonl", DOCUMENTS)
    ingest(corpus, folder / "pets", "minilm-int8", facets=["kind"])
    ingest(corpus, folder / "twin", "minilm-int8", facets=["kind"])
    with serving(folder / "pets", folder / "twin") as running:
        yield running


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    opened = browser.new_page()
    mistakes: list[str] = []
    opened.on("pageerror", lambda error: mistakes.append(str(error)))
    opened.on("console", lambda line: mistakes.append(line.text) if line.type == "error" else None)
    opened.goto(service.url)
    expect(opened.locator("#admin")).to_contain_text("documents 4")
    yield opened
    opened.close()
    assert mistakes == []


def ask(page: Page, query: str) -> None:
    page.fill("#query", query)
    expect(page.locator("#status")).to_contain_text(" ms")
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")


def test_results_while_typing_and_marks(page: Page) -> None:
    page.locator("#query").press_sequentially("sleeping kitten", delay=20)
    expect(page.locator(HIT).first).to_contain_text("Cat")
    expect(page.locator(f"{HIT} >> nth=0 >> mark").first).to_have_text("kitten")
    expect(page.locator("#status")).to_contain_text("4 hits in")
    expect(page).to_have_url(re.compile(r"q=sleeping\+kitten"))  # hits of "sleeping k" came first


def test_text_is_never_html(page: Page) -> None:
    ask(page, "engine of a car")
    expect(page.locator(f"{HIT} h3").first).to_have_text("<b>Car</b>")
    assert page.locator("#results script").count() == 0


def test_facets_filters_and_the_url(page: Page, service: Service) -> None:
    ask(page, "animals")
    page.click("#facets button:has-text('pet')")
    expect(page.locator(HIT)).to_have_count(2)
    expect(page.locator("#chips")).to_contain_text("kind = pet")
    shared = page.url
    page.click("#chips button")
    expect(page.locator(HIT)).to_have_count(4)
    page.go_back()
    expect(page.locator(HIT)).to_have_count(2)
    page.goto(service.url)
    page.goto(shared)
    expect(page.locator(HIT)).to_have_count(2)
    expect(page.locator("#query")).to_have_value("animals")


def test_modes_and_more_like_this(page: Page) -> None:
    ask(page, "violin")
    page.click("text=Words")
    expect(page.locator(HIT)).to_have_count(1)
    page.click("text=Both")
    expect(page.locator(".score").first).to_contain_text("words #1")
    page.click(f"{HIT} >> nth=0 >> text=More like this")
    expect(page.locator("#status")).to_contain_text("3 documents like")
    expect(page.locator(HIT)).to_have_count(3)
    page.click("#chips button")
    expect(page.locator(HIT).first).to_contain_text("Violin")


def test_full_against_compressed(page: Page) -> None:
    ask(page, "a sleepy animal")
    page.check("#compare")
    expect(page.locator(".sides section")).to_have_count(2)
    expect(page.locator(".sides select").first).to_have_value("minilm-float32")
    page.select_option(".sides section:last-child select", "minilm-swift")
    expect(page.locator("#status")).to_contain_text("minilm-swift encodes")
    expect(page.locator(".links path")).to_have_count(4)
    expect(page.locator(".sides .ms").first).to_contain_text(" ms")
    assert "compare=1" in page.url


def test_keys_of_the_keyboard(page: Page) -> None:
    ask(page, "animal")
    page.click("h1")
    page.keyboard.press("/")
    expect(page.locator("#query")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator(HIT).nth(1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.locator(HIT).nth(0)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#document")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#document")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("#query")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#query")).to_have_value("")
    expect(page.locator("#results")).to_contain_text("4 documents are waiting")


@pytest.fixture(scope="module")
def library(
    tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path, tiny_cross_encoder: Path
) -> Iterator[Service]:
    """25 documents, without declared facets, with links; a cross-encoder."""
    folder = tmp_path_factory.mktemp("library")
    rows = [
        {
            "id": f"b{i}",
            "title": f"Book {i}",
            "text": f"The library lends book {i} to everybody.",
            "shelf": f"s{i % 3}",
            "url": f"https://example.org/b{i}",
            "script": "javascript:alert(1)",
        }
        for i in range(25)
    ]
    trimseek.create_index(folder / "library", rows, encoder=tiny_encoder).close()
    with serving(folder / "library", reranker=str(tiny_cross_encoder)) as running:
        yield running


@pytest.fixture
def books(browser: Browser, library: Service) -> Iterator[Page]:
    opened = browser.new_page()
    mistakes: list[str] = []
    opened.on("pageerror", lambda error: mistakes.append(str(error)))
    opened.goto(library.url)
    expect(opened.locator("#admin")).to_contain_text("documents 25")
    yield opened
    opened.close()
    assert mistakes == []


def test_pages(books: Page, library: Service) -> None:
    ask(books, "library")
    books.press("#query", "Enter")
    titles = []
    for number, count in ((1, 10), (2, 10), (3, 5)):
        expect(books.locator("#page")).to_have_text(f"Page {number}")
        expect(books.locator(HIT)).to_have_count(count)
        expect(books.locator("#results")).not_to_have_attribute("aria-busy", "true")
        titles += books.locator(f"{HIT} h3").all_text_contents()
        if number < 3:
            books.click("#next")
    assert len(set(titles)) == 25
    expect(books.locator("#next")).to_be_disabled()
    assert "page=3" in books.url
    books.go_back()
    expect(books.locator("#page")).to_have_text("Page 2")
    books.click("#previous")
    expect(books.locator("#previous")).to_be_disabled()
    books.click("#next")
    books.click("text=Words")
    expect(books.locator("#page")).to_have_text("Page 1")  # of another question
    books.goto(f"{library.url}/?q=library&page=3")
    expect(books.locator(HIT)).to_have_count(5)


def test_fields_are_facets_where_none_was_declared(books: Page) -> None:
    ask(books, "library")
    expect(books.locator("#facets h2")).to_have_text(["shelf"])
    books.click("#facets button:has-text('s1')")
    expect(books.locator(HIT)).to_have_count(8)
    expect(books.locator("#pages")).to_be_hidden()


def test_addresses_are_links_and_nothing_else_is(books: Page) -> None:
    ask(books, "book 7")
    books.press("#query", "Enter")
    expect(books.locator(f"{HIT} .tags a").first).to_have_attribute("rel", "noopener noreferrer")
    for link in books.locator(f"{HIT} a").all():
        assert str(link.get_attribute("href")).startswith("https://example.org/b")
    books.locator(f"{HIT} h3").first.click()
    expect(books.locator("#document")).to_be_visible()
    links = books.locator("#document-metadata a")
    expect(links).to_have_count(1)
    assert str(links.first.get_attribute("href")).startswith("https://example.org/b")


def test_what_was_meant(books: Page) -> None:
    ask(books, "libary")
    books.press("#query", "Enter")
    expect(books.locator("#meant")).to_have_text("Did you mean library?")
    books.click("#suggestion")
    expect(books.locator("#query")).to_have_value("library")
    expect(books.locator("#meant")).to_be_hidden()
    expect(books.locator(f"{HIT} mark").first).to_have_text("library")


def test_the_last_word_is_only_begun_while_typing(books: Page) -> None:
    books.click("text=Words")
    books.locator("#query").press_sequentially("libr", delay=20)
    expect(books.locator(f"{HIT} mark").first).to_have_text("library")
    books.press("#query", "Enter")
    expect(books.locator("#results")).to_contain_text("No document has these words")


def test_reranking(books: Page, page: Page) -> None:
    expect(page.locator("#reranking")).to_be_hidden()  # that service has no cross-encoder
    ask(books, "library book")
    books.check("#rerank")
    expect(books.locator("#status")).to_contain_text("rerank")
    assert "rerank=1" in books.url


def test_an_answer_that_is_late_is_dropped(page: Page) -> None:
    """The first question's answer comes after the second's."""

    def late(route: Any) -> None:
        if "kitten" in route.request.post_data:
            page.wait_for_timeout(400)
        route.continue_()

    page.route("**/search", late)
    page.fill("#query", "kitten")
    page.wait_for_timeout(120)
    page.fill("#query", "violin concerto")
    expect(page.locator(HIT).first).to_contain_text("Violin")
    page.wait_for_timeout(600)
    expect(page.locator(HIT).first).to_contain_text("Violin")


def refuse(status: int, route: Route) -> None:
    error = json.dumps({"error": {"type": "x", "message": "see the log"}})
    route.fulfill(status=status, content_type="application/json", body=error)


def test_a_failure_is_said(browser: Browser, service: Service) -> None:
    page = browser.new_page()
    page.goto(service.url)
    for status, words in ((429, "Too many questions"), (503, "see the log")):
        page.route("**/search", partial(refuse, status))
        page.fill("#query", f"cat {status}")
        expect(page.locator("#status")).to_contain_text(words)
    page.unroute("**/search")
    page.route("**/search", lambda route: route.abort())
    page.fill("#query", "cat")
    expect(page.locator("#status")).to_contain_text("does not answer")
    page.close()


def test_a_key_is_asked_for(browser: Browser, tmp_path: Path, keys: Keys) -> None:
    ingest(write_jsonl(tmp_path / "c.jsonl", DOCUMENTS), tmp_path / "pets", "minilm-int8")
    with serving(tmp_path / "pets", headers=keys.header("read"), keys=keys.setting) as service:
        page = browser.new_page()
        page.goto(service.url)
        expect(page.locator("#key")).to_be_visible()
        page.fill("#secret", keys.read)
        page.keyboard.press("Enter")
        expect(page.locator("#key")).to_be_hidden()
        ask(page, "kitten")
        expect(page.locator(HIT).first).to_contain_text("Cat")
        assert keys.read not in page.url
        page.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_reaches_beyond_the_window(browser: Browser, service: Service, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    for part in ("?q=cat", "?q=cta+doog", "?q=cat&compare=1", "?q=cat&mode=hybrid", "docs"):
        page.goto(f"{service.url}/{part}")
        page.wait_for_timeout(400)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, part
    page.close()


def axe() -> str:
    """axe-core's source, from npm, kept in the cache."""
    folder = load_settings().home / "axe"
    source = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not source.is_file():
        if shutil.which("npm") is None:
            assert not os.environ.get("CI"), "axe-core comes by npm, which is not here"
            pytest.skip("npm is not here")
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["npm", "install", "--silent", "--prefix", folder, AXE], check=True, timeout=120
        )
    return source.read_text("utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(browser: Browser, service: Service, scheme: Any) -> None:
    source = axe()
    context = browser.new_context(color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    views = {"": "#admin b", "?q=cat&mode=hybrid": HIT, "?q=cat&compare=1": ".sides", "docs": "h2"}
    for view, ready in views.items():
        page.goto(f"{service.url}/{view}")
        page.wait_for_selector(ready)
        page.evaluate(source)
        found = page.evaluate("axe.run()")
        broken = [
            (each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]
        ]
        assert broken == [], view
    context.close()


def test_the_page_is_small_and_alone() -> None:
    sizes = {path.name: path.stat().st_size for path in PAGE.iterdir()}
    assert sum(sizes.values()) <= 60_000
    for path in PAGE.iterdir():
        assert "http://" not in path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in path.read_text()
