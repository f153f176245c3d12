"""The wheel: what it holds, what it says of itself, and that its page on an index needs no other file."""

import re
import tomllib
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    builder = pytest.importorskip("hatchling.builders.wheel")
    pytest.importorskip("hatch_fancy_pypi_readme")
    folder = tmp_path_factory.mktemp("dist")
    (built,) = builder.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return ZipFile(built)


@pytest.fixture(scope="module")
def metadata(wheel: ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def test_top_level_names_are_ours(wheel):
    """`hydra_plugins` is a namespace package that Hydra demands: an __init__.py would hide the plug-ins of others."""
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in names} == {"ramac", "hydra_plugins"}
    assert "hydra_plugins/__init__.py" not in names


def test_every_module_and_configuration_is_inside(wheel):
    names = set(wheel.namelist())
    for source in (path for path in (ROOT / "ramac").rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        assert str(source.relative_to(ROOT)) in names
    for config in (ROOT / "configs").rglob("*.yaml"):
        assert f"ramac/{config.relative_to(ROOT)}" in names


def test_metadata_is_complete(metadata):
    assert metadata["Name"] == "ramac"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Author"] in (ROOT / "CITATION.cff").read_text()
    assert f"version: {metadata['Version']}" in (ROOT / "CITATION.cff").read_text()
    for address in metadata.get_all("Project-URL"):
        assert address.partition(", ")[2] in (ROOT / "CITATION.cff").read_text()
    assert metadata["Keywords"]
    versions = [name for name in metadata.get_all("Classifier") if re.search(r"Python :: 3\.\d+$", name)]
    assert metadata["Requires-Python"] == f">={versions[0].rpartition(' ')[2]}"


def test_a_plain_install_brings_no_second_torch(metadata):
    """torchdyn requires a torchvision, and that another torch."""
    plain = [need for need in metadata.get_all("Requires-Dist") if "extra ==" not in need]
    assert [need for need in plain if need.startswith("torch")] == ["torch>=2.9", "torchrl>=0.14"]
    assert "torchdyn" in metadata.get_all("Provides-Extra")


def test_its_page_needs_no_other_file(metadata):
    text = metadata.get_payload()
    assert text.startswith("# ramac")
    targets = re.findall(r"\]\(([^)]*)\)", text)
    assert all(target.startswith("https://") for target in targets), targets
    assert "*Left:" not in text
    assert "## Results" in text
