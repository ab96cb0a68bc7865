"""The pages of a built documentation, as far as tests look at them."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

HTML = Path(__file__).parents[2] / "docs" / "_build" / "html"
#: Attributes that name something which a page loads; those of links are looked at by themselves.
LOADED = {"img": "src", "script": "src", "source": "src", "iframe": "src", "link": "href"}
#: Relations of `link` that load nothing.
NAMED = {"index", "search", "next", "prev", "canonical", "author", "copyright"}


class Page(HTMLParser):
    """What one page refers to, and what may be referred to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.pictures: list[tuple[str, str]] = []  # kind, what a screen reader says
        self.mathematics = 0
        self.text: list[str] = []
        self._silent = 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Collect."""
        given = {name: value or "" for name, value in attributes}
        self._silent += tag in ("script", "style", "svg")
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in LOADED and given.get(LOADED[tag]) and not NAMED & set(given.get("rel", "").split()):
            self.loaded.append(given[LOADED[tag]])
        drawn = tag == "svg" and given.get("role") == "img" and "aria-hidden" not in given
        if drawn or (tag == "img" and given.get("alt", "?")):  # an empty text is that of decoration
            self.pictures.append((tag, given.get("aria-label" if drawn else "alt", "")))
        self.mathematics += "math" in given.get("class", "").split()

    def handle_endtag(self, tag: str) -> None:
        """Leave what is no text."""
        self._silent -= tag in ("script", "style", "svg")

    def handle_data(self, data: str) -> None:
        """Keep what is read."""
        if not self._silent:
            self.text.append(data)


def pages() -> dict[str, Page]:
    """By their paths in the site."""
    found = {str(path.relative_to(HTML)): Page(path) for path in sorted(HTML.rglob("*.html"))}
    assert found, f"nothing is built in {HTML}: .ci/run docs"
    return {name: page for name, page in found.items() if not name.startswith("_static")}
