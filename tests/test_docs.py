"""What the documentation shows must work: Python blocks run, commands compose, links lead somewhere."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

import ramac
from ramac.cli import COMMANDS, doctor, settings
from ramac.experiment import calibrate
from ramac.experiment.compose import compose
from ramac.experiment.presets import known_preset, presets
from ramac.registry import GROUPS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LABELS = [str(page.relative_to(ROOT)) for page in PAGES]
REFUSALS = re.findall(r"^(ramac .*)\n(ramac: .*)$", (ROOT / "docs/errors.md").read_text(), re.M)


def blocks(page: Path, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.S | re.M)
    return [text for name, text in found if name == language]


def anchors(page: Path) -> list[str]:
    """As GitHub makes them from the headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", PAGES, ids=LABELS)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    """A block whose first line is `# NAME.py` is the module NAME of the blocks after it."""
    monkeypatch.chdir(tmp_path)
    for registry in GROUPS.values():  # entries that a block registers end with it
        monkeypatch.setattr(registry, "entries", {name: registry[name] for name in registry})
        monkeypatch.setattr(registry, "suffix", dict(registry.suffix))
    monkeypatch.syspath_prepend(tmp_path)
    for block in blocks(page, "python"):
        if file := re.match(r"# (\w+)\.py\n", block):  # a module that later blocks import
            Path(f"{file[1]}.py").write_text(block, encoding="utf-8")
            monkeypatch.setitem(sys.modules, file[1], None)  # so that the module is forgotten after the test
            del sys.modules[file[1]]
            continue
        for run in re.findall(r'ramac\.load\("(runs/[^"]+)"\)', block):  # of a command above it, here a shorter run
            ramac.train("trainer.steps=1", "evaluation.episodes=2", "threads=1", run_dir=run, quiet=True)
        exec(re.sub(r"steps=\d{4,}", "steps=4", block), {})  # which take minutes


@pytest.mark.parametrize("page", PAGES, ids=LABELS)
def test_commands_compose(page):
    for line in "\n".join(blocks(page, "")).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["ramac"] or words[1:2] in ([], ["list"], ["--help"]):
            continue
        if "sweep" in " ".join(words):
            for word in words:
                if word.startswith("sweep="):
                    known_preset("sweep", word.partition("=")[2])
            words = [word for word in words if not word.startswith("sweep=")]
        if words[1] in COMMANDS and words[1] not in ("data", "doctor"):
            continue  # held against their own parsers: tests of each
        if words[1:2] == ["data"]:
            assert words[2] in ("list", "show", "build", "check", "convert")
            for name in words[3:] if words[2] == "build" else ():
                assert "=" in name or name in GROUPS["task"]
            continue
        if words[1:2] == ["doctor"]:
            if words[2].startswith("task="):
                settings(words[2:], "doctor", doctor.POLICY)
                GROUPS["task"].parse(words[2].partition("=")[2])
            elif "=" in words[2]:
                calibrate.refuse_others(words[2:])
                compose([*calibrate.SETTINGS, *words[2:]])
            else:
                settings(words[3:], "doctor", ("episodes",))
            continue
        if "-m" in words:
            for group, value in (word.split("=", 1) for word in words[2:]):
                if group == "recipe":
                    assert set(value.split(",")) <= set(presets("recipe"))
                if group in GROUPS:
                    for spec in re.split(r"[\[\](),]+", value.removeprefix("choice")):
                        assert not spec or GROUPS[group].parse(spec)
            continue
        compose([word.replace("FOLDER", "folder") for word in words[1:] if word != "--explain"])


@pytest.mark.parametrize("page", PAGES, ids=LABELS)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page.read_text()):
        place = page.parent / target if target else page
        assert target.startswith("http") or place.exists(), target
        assert not anchor or place.suffix != ".md" or anchor in anchors(place), f"{target}#{anchor}"


@pytest.mark.parametrize(("typed", "seen"), REFUSALS, ids=[typed for typed, _ in REFUSALS])
def test_bad_input_is_refused_in_these_words(typed, seen, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", shlex.split(typed))
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("ramac", run_name="__main__")
    assert stopped.value.code == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert re.fullmatch(re.escape(seen).replace(re.escape("..."), ".*"), line), line
    assert not list(tmp_path.iterdir())


def test_lines_of_prose_fit_a_screen():
    for page in (page for page in PAGES if "study/" not in str(page)):
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M)
        long = [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")]
        assert not long, f"{page}: {long}"


def test_the_map_of_the_code_is_true():
    page = (ROOT / "docs/architecture.md").read_text()
    for file, name in re.findall(r"^\| [^|]+ \| `([^`]+)` \| `([\w.]+)` \|$", page, re.M):
        text = (ROOT / file).read_text()
        for part in name.split("."):
            assert re.search(rf"^ *(def|class) {part}\b|^{part}(:.*)? = ", text, re.M), f"{file}: {name}"


def test_the_guide_names_every_entry():
    text = (ROOT / "docs/how-do-i.md").read_text()
    assert all(f"`{name}`" in text for name in presets("recipe"))
    for group in ("actor", "critic", "risk", "loss", "task", "hazard"):
        for name in GROUPS[group]:
            assert f"`{name}`" in text, f"{group}={name}"
