"""The documentation as a site: it builds strictly, its links lead somewhere, and every entry has a page."""

import csv
import os
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from filelock import FileLock

from ramac.arguments import meanings
from ramac.cli.list import ABOUT
from ramac.experiment.presets import about, presets
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


@pytest.fixture(scope="session")
def site(tmp_path_factory, worker_id):
    root = tmp_path_factory.getbasetemp()
    root = root if worker_id == "master" else root.parent  # of all workers: one of them builds
    with FileLock(root / "site.lock"):
        if not (root / "site").exists():
            build(root / "site")
    return root / "site"


def build(folder):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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


def built_in(group):
    """Names of a group without those that another test has registered."""
    return [name for name, entry in SLOTS[group].items() if entry.__module__.startswith("ramac.")]


def test_every_entry_has_a_page_that_explains_its_arguments(site):
    for group, registry in SLOTS.items():
        for name in built_in(group):
            text = unescape((site / f"entries/{group}/{name}.html").read_text())
            known = meanings(registry[name])
            for key in registry.parameters(name):
                assert f"<td><code>{key}</code></td>" in text, f"{group}={name}: {key}"
                assert known.get(key), f"{group}={name}: Args: explains {key} neither in the class nor in its bases"
            assert ">Args:" not in text, f"{group}={name}"


@pytest.mark.parametrize("group", ABOUT)
def test_every_preset_has_a_page_with_its_file(site, group):
    for name, path in presets(group).items():
        text = unescape((site / f"entries/{group}/{name}.html").read_text())
        assert f'<h1 id="{group}-{name}' in text, f"{group}={name}"
        assert all(text.count(f"<strong>{key}</strong>") == 1 for key in about(path)), f"{group}={name}"


def results(name):
    with open(ROOT / "docs/results" / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_pages_show_what_was_measured_of_every_entry(site):
    measured = {(row["group"], row["entry"]) for row in results("entries.csv")}
    groups = ("actor", "critic", "risk", "loss")
    assert measured == {(group, name) for group in groups for name in built_in(group)}
    for group, name in measured:
        text = (site / f"entries/{group}/{name}.html").read_text()
        assert '<h2 id="cost">' in text, f"{group}={name}"
        assert ('<h2 id="measured-bias">' in text) == (group in ("critic", "risk")), f"{group}={name}"
        assert ("one action takes" in text) == (group == "actor"), f"{group}={name}"
    assert {row["critic"] for row in results("critics.csv")} == set(built_in("critic"))
    assert {row["critic"] for row in results("readouts.csv")} == set(built_in("critic"))
    assert {row["entry"] for row in results("readouts.csv")} == set(built_in("risk"))


def test_nothing_is_loaded_from_a_network_and_search_works_from_a_folder(site, pages):
    for file, page in pages.items():
        loaded = [link for link in page.loaded if link.startswith(("http:", "https:", "//"))]
        assert not loaded, f"{file.name}: {loaded}"
    assert "entries/actor/flow.html" in (site / "search/search_index.js").read_text()  # a script: file:// reads no JSON


def test_no_page_names_a_path_of_the_machine(site):
    for file in site.rglob("*.html"):
        assert str(ROOT) not in file.read_text(), file.name
