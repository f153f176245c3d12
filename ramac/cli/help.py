"""ramac help: this page, made from files alone, so that it is there before torch could be imported."""

import os
import re
from pathlib import Path

import yaml

from ramac.cli import summaries
from ramac.experiment.presets import CONFIGS, PRESETS, presets
from ramac.registry import GROUPS, Registry, plugins
from ramac.text import say

DECLARED = re.compile(r'^@\w+\.register\(\s*"([^"]+)"', re.MULTILINE)
NOT_ENTRIES = re.compile(r"^  - (?:_self_|override ).*\n", re.MULTILINE)  # lines of the defaults that only Hydra reads


def declared(registry: Registry) -> set[str]:
    """Names of a group's built-in entries, by the decorators in the files of its package."""
    place = Path(__file__).parents[2].joinpath(*registry.package.split("."))
    files = list(place.glob("*.py")) or [place.with_suffix(".py")]
    return {name for file in files for name in DECLARED.findall(file.read_text(encoding="utf-8"))}


def entries() -> dict[str, list[str]]:
    """Every group with its entries. Plug-ins, and what a script has registered, are imported to be asked."""
    imported = plugins() or any(registry.entries for registry in GROUPS.values())
    found = {name: set(group) if imported else declared(group) for name, group in GROUPS.items()}
    found |= {group: set(presets(group)) for group in PRESETS}
    user = Path(os.environ.get("RAMAC_CONFIG_DIR") or os.devnull)
    return {group: sorted(names | {p.stem for p in (user / group).glob("*.yaml")}) for group, names in found.items()}


def page() -> str:
    """The header of configs/config.yaml, the commands, the entries, and the settings as that file has them."""
    settings, _, ours = (CONFIGS / "config.yaml").read_text(encoding="utf-8").partition("\nhydra:")
    header = yaml.safe_load("hydra:" + ours)["hydra"]["help"]["header"]
    commands = list(summaries().values())
    lines = [f"{group}: {', '.join(names)}" for group, names in sorted(entries().items())]
    return "\n".join([
        header,
        "== Commands (each with --help) ==\n", *commands,
        "\n== Entries (compose with group=entry; a number may follow: risk=cvar0.05, actor=flow20) ==\n", *lines,
        "\n== Defaults and settings (change with key=value) ==\n", NOT_ENTRIES.sub("", settings),
        "`ramac list GROUP` shows the arguments of entries, `ramac actor=ddpm --help` a whole configuration.",
    ])  # fmt: skip


def main(arguments: list[str]) -> int:
    """Print the page."""
    say(*page().splitlines())
    return 0
