"""Pages of the API: which modules each shows. Their text is that of the docstrings."""

TITLES = {
    "ramac": ("ramac", ["ramac.api", "ramac.agent", "ramac.registry", "ramac.spec", "ramac.errors"]),
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
PAGES = {
    f"api/{name}.md": f"# {title}\n\n" + "\n".join(f"::: {module}\n" for module in modules)
    for name, (title, modules) in TITLES.items()
}
