"""Every registry entry as a Hydra option: a config source `ramac://` that answers from the registries."""

import os

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin

from ramac.errors import InputError
from ramac.registry import GROUPS


def split(config_path: str) -> tuple[str, str]:
    """`"risk/cvar0.1.yaml"` -> `("risk", "cvar0.1")`."""
    group, _, spec = config_path.removesuffix(".yaml").partition("/")
    return group, spec


class RegistrySource(ConfigSource):
    """Hydra calls the methods by keyword, so the argument names are part of the interface."""

    @staticmethod
    def scheme() -> str:
        return "ramac"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path.rstrip("/") in ("", *GROUPS)

    def is_config(self, config_path: str) -> bool:
        group, spec = split(config_path)
        try:
            return group in GROUPS and bool(GROUPS[group].parse(spec))
        except InputError:
            return False

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if not config_path:
            return sorted(GROUPS) if results_filter != ObjectType.CONFIG else []
        return list(GROUPS[config_path.rstrip("/")]) if results_filter != ObjectType.GROUP else []

    def load_config(self, config_path: str) -> ConfigResult:
        group, spec = split(config_path)
        registry = GROUPS[group]
        node = registry.config(spec)
        # a package per entry lets a list group hold several: loss=[td,bc,risk10], logger=[csv,tensorboard]
        package = f"{group}.{node.name}" if group in ("loss", "logger") else None
        if group == "loss" and "gamma" in node:
            node.gamma = "${gamma}"  # the discount is a setting of the run
        return ConfigResult(self.provider, self.full_path(), node, {"package": package})


class RamacSearchPath(SearchPathPlugin):
    """Presets of the user (`$RAMAC_CONFIG_DIR/actor/slow.yaml`) come before the registries."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if user := os.environ.get("RAMAC_CONFIG_DIR"):
            search_path.append("user", f"file://{os.path.abspath(user)}")
        search_path.append("ramac", "ramac://")


for plugin in (RegistrySource, RamacSearchPath):
    Plugins.instance().register(plugin)
