"""Random command lines: right and wrong keys, entries, values and signs."""

from hypothesis import strategies as st

SMALL = ("actor.hidden=[8]", "critic.hidden=[8]", "trainer.batch_size=4")
LAST = ("trainer.steps=2", "evaluation.episodes=1")  # follow the drawn words, so that a run is short

GROUPS = ("actor", "critic", "risk", "loss", "task", "hazard", "trainer", "evaluation", "recipe", "sweep")
KEYS = (
    *GROUPS, "actor.steps", "actor.solver", "actor.hidden", "actor.name", "actor.nope", "critic.quantiles",
    "critic.ensemble", "critic.hidden", "critic.kappa", "risk.alpha", "risk.name", "loss.td.gamma", "loss.td.weight",
    "loss.bc.weight", "loss.bc.decay", "loss.risk.weight", "loss.td.aggregation", "loss.td", "loss.nope",
    "task.gamma", "task.transitions", "task.steps", "task.data_seed", "task.name", "trainer.clip", "trainer.delay",
    "trainer.actor_lr", "trainer.schedule", "trainer.average_decay", "trainer.batch_size", "evaluation.alphas",
    "evaluation.every", "evaluation.seed", "evaluation.environments", "evaluation.keep", "data", "candidates",
    "temperature", "mode", "seed", "device", "run_dir", "grid_dir", "threads", "log_every", "save_every",
    "save_last", "deterministic", "actr", "new", "x.y",
    "actor@foo", "hydra.job.name", "", ".", "é", "risk.", ".alpha", "0", "actor.hidden.0", "_target_", "actor._target_",
)  # fmt: skip
ENTRIES = (
    "flow", "ddpm", "ddpm3", "gaussian", "mixture", "deterministic", "onestep", "vae", "perturbed", "edm", "shortcut",
    "iqn", "qr", "c51", "expectile", "mean", "flow-1", "flow0", "iqn1e9", "cvar0.5", "cvar1.5", "wang-0.75", "wang",
    "neutral", "spectral", "entropic", "[td,bc]", "[td,bc,risk]", "[td]", "[]", "[bc,bc]", "[td,bcc]", "[iql,awr]",
    "bandit", "gymnasium", "logs", "default", "none", "velocity", "bc", "iql", "fql", "oraac", "cql", "flwo", "../../x",
)  # fmt: skip
VALUES = (
    "", "null", "true", "false", "nan", "inf", "-inf", "0", "1", "2", "3", "-1", "0.5", "-0.0", "1e9", "1e400",
    "1e-300", "1000000000", "1000000000000", "99999999999999999999999999", "[]", "[8]", "[8,8]", "[-3]", "[nan]",
    "[1,x]", "{}",
    "{a:1}", "[[1]]", "[{a:1}]", "'", '"', "'quoted'", '"a b"', "a b", "(", "[", "]", "}", "a=b", "x", "'\t'", "'a\nb'",
    "${seed}", "${nope}", "${oc.env:HOME}", "${oc.env:NOPE}", "${actor.steps}", "${actor}", "${", "$", "???", "é",
    "日本", "\x00", "'\x1b[31m'", "auto", "cpu", "cuda:7", "meta", "1,2", "range(1,3)", "choice(a,b)", "glob(*)",
    "midpoint", "constant", "cosine", "here", "/proc/nope/x", "a" * 300, "nowhere.hdf5", "a/b-v0", "~", "!", "\\",
    "0x10", "1_000",
)  # fmt: skip
GOOD = {  # a case may hold several of these and still run
    "actor": ("flow2", "ddpm3", "gaussian", "mixture", "deterministic", "vae", "perturbed", "edm", "shortcut"),
    "critic": ("iqn", "qr", "c51", "expectile", "mean", "fqf", "ncqr", "hlgauss", "flow"),
    "risk": ("cvar0.5", "wang-0.75", "neutral", "spectral", "entropic", "var", "dual_power", "maxminvar"),
    "loss": ("[td,bc]", "[td,bc,risk]", "[td,bc,risk0.5]", "[bc]"),
    "recipe": ("bc", "iql", "cql", "td3bc", "oraac", "dql"),
    "task.transitions": ("1", "50", "300"), "task.gamma": ("0", "0.9"), "loss.bc.weight": ("0", "2", "1e3"),
    "actor.hidden": ("[]", "[4,4]"), "critic.hidden": ("[]", "[4,4]"), "trainer.delay": ("1", "2"), "seed": ("0", "7"),
    "evaluation.alphas": ("[]", "[1]", "[0.5,0.1]"), "evaluation.every": ("0", "1"), "evaluation.keep": ("true",),
    "evaluation.environments": ("1", "1000"), "mode": ("true", "false"), "device": ("cpu", "auto"), "log_every": ("1",),
    "trainer.schedule": ("constant", "cosine"), "run_dir": ("here", "'a b'", "日本", "a/b"), "candidates": ("1", "3"),
}  # fmt: skip
EXTRA = (
    ["task=hopper-mixed", "data=nowhere.hdf5"], ["task=hopper-mixed", "task.transitions=0"], ["sweep=actors"],
    ["task=hopper-mixed", "hazard=pose", "hazard.penalty=5"], ["--foo"], ["--explain", "actor=flwo"],
    ["--config-name=x"], ["list", "actr"], ["eval"], ["eval", "nowhere"], ["doctor", "nowhere"],
    ["estimate", "nowhere"], ["report", "nowhere"], ["data", "show"], ["data", "check", "nowhere"],
    ["grid", "status", "nowhere"], ["hydra/launcher=nope"], ["bc"],
    ["-m", "+new=1,2"], ["-m", "actor.name=nope,flow"], ["-m", "actor=flow,flwo"], ["-m", "seed=x,1"], ["-m", "~actor"],
    ["="], ["data", "nope"], ["eval", "x", "y=1"], ["doctor", "actor=flow"], ["estimate", "x", "seed=-1"],
    ["hydra.sweeper=null"],
)  # fmt: skip


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """One to three overrides: right and wrong keys, values and signs, some of them twice."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(EXTRA))
    words = []
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(KEYS) | st.sampled_from(sorted(GOOD)))
        fitting = st.sampled_from(ENTRIES if key in GROUPS else VALUES)
        text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)
        number = st.integers(-5, 5).map(str) | st.floats().map(str)
        value = draw(st.one_of(fitting, fitting, fitting, st.sampled_from(VALUES), number, text))
        if key in GOOD and draw(st.integers(0, 2)):
            words.append(f"{key}={draw(st.sampled_from(GOOD[key]))}")
            continue
        sign = draw(st.sampled_from(["", "", "", "", "", "+", "++", "~"]))
        words.append(f"{sign}{key}" if sign == "~" and draw(st.booleans()) else f"{sign}{key}={value}")
    words += words[:1] if draw(st.integers(0, 9)) == 0 else []
    return words
