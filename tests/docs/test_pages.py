"""The built pages: links lead somewhere, nothing comes from elsewhere, each loss has its page with all its parts."""

import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from lossfast._loss import REGISTRY

from .site import HTML, pages

PAGES = pages()


def target(page, link):
    """The file of a link and the anchor in it."""
    parts = urlsplit(link)
    file = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
    return file, unquote(parts.fragment)


def is_local(link):
    return not urlsplit(link).scheme and not link.startswith("//")


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    page, wrong = PAGES[name], []
    for link in filter(is_local, page.links):
        file, anchor = target(page, link)
        known = PAGES.get(str(file.relative_to(HTML))) if file.is_relative_to(HTML) else None
        if not file.is_file() or (anchor and known is not None and anchor not in known.anchors):
            wrong.append(link)
    assert wrong == []


@pytest.mark.parametrize("name", PAGES)
def test_links_to_elsewhere_are_safe_and_well_formed(name):
    for link in PAGES[name].links:
        if not is_local(link):
            parts = urlsplit(link)
            assert parts.scheme in ("https", "mailto"), link
            assert parts.netloc.count(".") >= 1, link
            assert "doi.org" not in link or re.fullmatch(r"https://doi\.org/10\.\d{4,}/\S+", link), link


@pytest.mark.parametrize("name", PAGES)
def test_pages_load_nothing_from_elsewhere(name):
    page = PAGES[name]
    assert [link for link in page.loaded if not is_local(link) and not link.startswith("data:")] == []
    assert [link for link in page.loaded if is_local(link) and not target(page, link)[0].is_file()] == []
    assert not page.mathematics or any(link.partition("?")[0].endswith("/tex-svg.js") for link in page.loaded)


@pytest.mark.parametrize("name", PAGES)
def test_pictures_can_be_heard(name):
    assert [picture for picture in PAGES[name].pictures if not picture[1]] == []


@pytest.mark.parametrize("name", REGISTRY)
def test_every_loss_has_its_page(name):
    cls, page = REGISTRY[name], PAGES[f"api/{name}.html"]
    text = "".join(page.text)
    assert page.mathematics >= 1
    drawn = [title for kind, title in page.pictures if kind == "svg"]
    expected = ["value", "gradient", "Hessian"][: 3 if cls.curved else 2]
    assert [title.split()[0] for title in drawn] == expected
    parts = ("At NaN and infinity", "Declaration", "Methods", "As a function", "Accuracy:")
    assert [part for part in (*parts, f"lossfast.functional.{cls.function}") if part not in text] == []
    assert all(f"lossfast.{name}.{method}" in page.anchors for method in ("__call__", "value_and_grad", "reference"))


def test_the_table_of_special_values_is_what_the_loss_gives():
    """One row by hand: PyTorch's gradient is 0 there."""
    text = re.sub(r"\s+", " ", "".join(PAGES["api/L1Loss.html"].text))
    assert re.search(r"input value gradient Hessian NaN NaN NaN NaN −∞ ∞ −1 0 ∞ ∞ 1 0", text)


def test_every_example_is_in_the_gallery_with_what_it_prints():
    for script in (Path(__file__).parents[2] / "examples").glob("*.py"):
        page = PAGES[f"gallery/{script.stem}.html"]
        assert "Out:" in "".join(page.text) or "sphx-glr-script-out" in page.path.read_text(encoding="utf-8")
        saves = ".savefig(" in script.read_text(encoding="utf-8")
        assert any("sphx_glr" in link for link in page.loaded) == saves, script.name


def test_search_knows_every_loss():
    text = (HTML / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text[text.index("{") : text.rindex("}") + 1])
    objects = {entry[-1] for entries in index["objects"].values() for entry in entries}
    assert set(REGISTRY) - objects == set()
    assert {f"api/{name}" for name in REGISTRY} <= set(index["docnames"])


def test_everything_is_reached_from_the_first_page():
    seen, waiting = set(), ["index.html"]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in PAGES:
            continue
        seen.add(name)
        for link in filter(is_local, PAGES[name].links):
            file, _ = target(PAGES[name], link)
            if file.is_relative_to(HTML):
                waiting.append(str(file.relative_to(HTML)))
    assert set(PAGES) - seen <= {"search.html"}
