"""The documentation as a site: it builds strictly, its links lead somewhere, and every entry has a page."""

import os
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from ramac.registry import SLOTS

ROOT = Path(__file__).parents[1]


class Page(HTMLParser):
    """Links, anchors and loaded files of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loaded: list[str] = []
        self.feed(file.read_text())

    def handle_starttag(self, tag, attrs):
        values = {key: value or "" for key, value in attrs}
        self.links += [values[key] for key in ("href", "src") if key in values]
        self.anchors |= {values[key] for key in ("id", "name") if key in values}
        if tag != "a":
            self.loaded += [
                values[key] for key in ("href", "src") if key in values and values.get("rel") != "canonical"
            ]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {file.resolve(): Page(file) for file in site.rglob("*.html")}


def test_links_lead_to_files_and_anchors(pages):
    dead = []
    for file, page in pages.items():
        for link in page.links:
            path, _, anchor = link.partition("#")
            if path.startswith(("http:", "https:", "mailto:", "data:", "javascript:")) or file.name == "404.html":
                continue
            target = (file.parent / unquote(path.partition("?")[0])).resolve() if path else file
            known = pages[target].anchors if target in pages else {anchor}
            if not target.exists() or (anchor and unquote(anchor) not in known):
                dead.append(f"{file.name}: {link}")
    assert not dead, dead


def test_every_entry_has_a_page_that_shows_its_arguments(site):
    for group, registry in SLOTS.items():
        for name in registry:
            if not registry[name].__module__.startswith("ramac."):
                continue  # registered by another test
            text = unescape((site / f"entries/{group}/{name}.html").read_text())
            for key in registry.parameters(name):
                assert f"<td><code>{key}</code></td>" in text, f"{group}={name}: {key}"


def test_nothing_is_loaded_from_a_network_and_search_works_from_a_folder(site, pages):
    for file, page in pages.items():
        loaded = [link for link in page.loaded if link.startswith(("http:", "https:", "//"))]
        assert not loaded, f"{file.name}: {loaded}"
    assert "entries/actor/flow.html" in (site / "search/search_index.js").read_text()  # a script: file:// reads no JSON


def test_no_page_names_a_path_of_the_machine(site):
    for file in site.rglob("*.html"):
        assert str(ROOT) not in file.read_text(), file.name
