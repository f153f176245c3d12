"""Pages of the API: which modules each shows. Their text is that of the docstrings."""

import ramac

TITLES = {
    "ramac": (
        "ramac",
        ["ramac.api", "ramac.agent", "ramac.checkpoint", "ramac.registry", "ramac.spec", "ramac.errors"],
    ),
    "parts": (
        "Parts",
        [
            "ramac.actors",
            "ramac.critics",
            "ramac.risk",
            "ramac.losses",
            "ramac.tasks",
            "ramac.hazards",
            "ramac.testing",
        ],
    ),
    "data": ("Data", ["ramac.data", "ramac.data.sources"]),
    "training": (
        "Training and evaluation",
        ["ramac.composite", "ramac.training.trainer", "ramac.evaluation.rollout", "ramac.statistics"],
    ),
}


def shown(module: str) -> str:
    """A module's documentation; of `ramac.api` only what `import ramac` offers, not what these functions share."""
    offered = [name for name in ramac.__all__ if name[0] != "_"]
    members = f"    options: {{members: [{', '.join(offered)}]}}\n" if module == "ramac.api" else ""
    return f"::: {module}\n{members}"


PAGES = {
    f"api/{name}.md": f"# {title}\n\n" + "\n".join(map(shown, modules)) for name, (title, modules) in TITLES.items()
}
