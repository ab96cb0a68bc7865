"""The built pages in a browser: nothing overflows or overlaps, mathematics is drawn, search finds a loss."""

import functools
import http.server
import os
import shutil
import threading

import pytest
from playwright.sync_api import sync_playwright

from lossfast._loss import REGISTRY

from .site import HTML, pages

NAMES = sorted(pages())
#: A screen and a telephone.
WIDTHS = (1280, 390)
#: What is wider than the page or than its own place, and cannot be scrolled to; a sidebar waits outside.
OVERFLOW = """() => {
    const width = document.documentElement.clientWidth, wide = [];
    const scrolls = e => e && !e.matches(".bd-article-container")  // which is the page to a reader
        && (["auto", "scroll"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
    for (const e of document.querySelectorAll("html, .bd-article-container"))
        if (e.scrollWidth > e.clientWidth) wide.push("the page: " + e.scrollWidth);
    for (const e of document.querySelectorAll("article *, .prev-next-footer *, .bd-header *")) {
        const place = e.getBoundingClientRect(), name = e.tagName + " " + (e.textContent || "").trim().slice(0, 30);
        if (place.width < 1 || e.closest("svg svg, svg *, mjx-assistive-mml") || scrolls(e)) continue;
        if (place.right > width + 1 || place.left < -1) wide.push(name);
        else if (/^(H[1-4]|P|DT|DD|LI|TD|A)$/.test(e.tagName) && getComputedStyle(e).display !== "inline"
            && e.scrollWidth > e.clientWidth + 1) wide.push("inside of " + name);
    }
    return wide.slice(0, 5);
}"""
#: Blocks of the text that cover one another; what floats or is empty is left out.
OVERLAPS = """() => {
    const article = document.querySelector("article"), found = [];
    if (!article) return found;
    const blocks = [...article.querySelectorAll("h1, h2, h3, p, pre, table, svg, img, dt, mjx-container[display=true]")]
        .filter(e => !e.parentElement.closest("svg, table, mjx-container, p, .sphx-glr-thumbcontainer"))
        .map(e => [e, e.getBoundingClientRect()]).filter(([e, r]) => r.width > 1 && r.height > 1);
    blocks.forEach(([a, r], k) => blocks.slice(k + 1, k + 6).forEach(([b, q]) => {
        if (a.contains(b) || b.contains(a)) return;
        const across = Math.min(r.right, q.right) - Math.max(r.left, q.left);
        const down = Math.min(r.bottom, q.bottom) - Math.max(r.top, q.top);
        if (across > 2 && down > 2) found.push(a.tagName + " over " + b.tagName + ": " + b.textContent.slice(0, 40));
    }));
    return found.slice(0, 5);
}"""
#: Formulas that are not drawn, or drawn as an error, or with letters below 9 pixels.
MATHEMATICS = """() => {
    const wrong = [];
    for (const place of document.querySelectorAll(".math")) {
        const drawn = place.querySelector("mjx-container svg");
        if (!drawn || drawn.getBoundingClientRect().height < 4) wrong.push("not drawn: " + place.textContent);
        else if (place.querySelector("[data-mml-node=merror], mjx-merror")) wrong.push("error: " + place.textContent);
        else if (parseFloat(getComputedStyle(drawn).fontSize) < 9) wrong.push("small: " + place.textContent);
    }
    return wrong.slice(0, 5);
}"""
#: The contrast of the text with what is behind it, by the formula of the Web Content Accessibility Guidelines.
CONTRAST = """() => {
    const numbers = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
        .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
    const behind = element => {
        for (; element; element = element.parentElement) {
            const colour = numbers(getComputedStyle(element).backgroundColor);
            if (colour.length < 4 || colour[3] > 0.9) return colour;
        }
        return [255, 255, 255];
    };
    const ink = e => getComputedStyle(e)[e.matches("svg *") ? "fill" : "color"];
    return [...document.querySelectorAll("article p, article td, article mjx-container, .lf-panels g[id^=text] > g")]
        .map(e => [light(numbers(ink(e))), light(behind(e))].sort((a, b) => b - a))
        .map(([a, b]) => (a + 0.05) / (b + 0.05)).reduce((least, c) => Math.min(least, c), 21);
}"""


@pytest.fixture(scope="module")
def site():
    """The address of the pages."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=HTML))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield started
        started.close()


@pytest.fixture
def view(browser, site, request):
    """Open a page in a theme and a width; requests beyond the site, and errors of its scripts, fail the test."""
    width, theme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page = context.new_page()
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith((site, "data:", "blob:")) or wrong.append(asked.url))
    page.on("response", lambda answer: answer.status >= 400 and wrong.append(f"{answer.status} {answer.url}"))

    def opened(name):
        page.goto(f"{site}/{name}", wait_until="load")
        page.evaluate("() => window.MathJax?.startup?.promise?.then(() => null)")
        assert page.evaluate("() => document.documentElement.dataset.theme") == theme
        return page

    yield opened
    context.close()
    assert wrong == []


def views(*settings):
    return pytest.mark.parametrize("view", settings, indirect=True, ids=lambda given: f"{given[0]}-{given[1]}")


@views(*((width, "light") for width in WIDTHS))
def test_nothing_overflows_or_overlaps_and_mathematics_is_drawn(view):
    wrong = {}
    for name in NAMES:
        page = view(name)
        for script in (OVERFLOW, OVERLAPS, MATHEMATICS):
            found = page.evaluate(script)
            if found:
                wrong.setdefault(name, []).extend(found)
    assert not wrong, "\n".join(f"{name}: {', '.join(found)}" for name, found in wrong.items())


@views((1280, "light"), (390, "dark"))
def test_text_and_pictures_are_legible(view):
    """4.5 is what the guidelines ask for; the themes differ in their colours, and pages do not."""
    for name in ("index.html", "choosing.html", "api/HuberLoss.html", "benchmarks.html"):
        assert view(name).evaluate(CONTRAST) >= 4.5, name


@views((390, "light"), (1280, "dark"))
def test_search_finds_a_loss(view):
    for asked, expected in (("huber", "HuberLoss"), ("CTCLoss", "CTCLoss"), ("biweight", "TukeyBiweightLoss")):
        assert expected in REGISTRY
        page = view(f"search.html?q={asked}")
        page.wait_for_selector(f"ul.search a[href*='api/{expected}.html']", timeout=20_000)


@views((1280, "light"))
def test_search_by_hand(view):
    page = view("index.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("focal")
    page.keyboard.press("Enter")
    page.wait_for_selector("ul.search a[href*='api/SigmoidFocalLoss.html']", timeout=20_000)
    page.click("ul.search a[href*='api/SigmoidFocalLoss.html']")
    page.wait_for_selector("article h1")
    assert page.inner_text("article h1").startswith("SigmoidFocalLoss")
