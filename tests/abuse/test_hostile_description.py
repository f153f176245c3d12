"""Descriptions of agents (agent.json) that somebody else wrote: each is refused before it costs memory."""

import resource

import pytest

import ramac
from ramac.errors import InputError
from trials.hostile import describe, put

DESCRIPTIONS = {
    "a path as an entry": (put("actor", "name", "../../x"), r"no actor '\.\./\.\./x'; choose from"),
    "no name": (lambda c: c["actor"].pop("name"), "actor has no name of an entry"),
    "a list as a name": (put("critic", "name", ["qr"]), "critic has no name of an entry"),
    "a class to call": (put("actor", "_target_", "os.system"), "'actor._target_' is not a setting"),
    "an environment variable": (put("actor", "solver", "${oc.env:HOME}"), "is an interpolation"),
    "an unknown argument": (put("actor", "stepz", 3), "no argument 'stepz'; did you mean 'steps'"),
    "an unknown part": (put("actr", {}), "unknown 'actr'; did you mean 'actor'"),
    "a missing part": (lambda c: c.pop("risk"), "agent.json has no risk"),
    "a wrong type": (put("actor", "steps", "many"), "Value 'many' .*could not be converted to Integer"),
    "a wrong choice": (put("actor", "solver", "heun"), "expected one of .midpoint, euler, rk4"),
    "a huge layer": (put("actor", "hidden", [1_000_000_000]), "hidden must be at most 16384"),
    "many large layers": (
        put("actor", "hidden", [16_000] * 1000),
        "a layer of 16000 x .* weights; agent.safetensors has",
    ),
    "a huge ensemble": (put("critic", "ensemble", 1_000_000_000), "ensemble must be at most"),
    "layers of another size": (
        put("actor", "hidden", [8, 8]),
        "actor.velocity.net.*not F32|does not belong to this agent",
    ),
    "years of steps": (put("actor", "steps", 1_000_000_000), "steps must be at most 1000"),
    "candidates without end": (put("candidates", 10**12), "candidates must be at most 16384"),
    "a number beyond all": (put("actor", "steps", 10**400), "steps"),
    "a huge observation": (put("spec", "obs_dim", 1_000_000_000), "obs_mean must be 1000000000 numbers"),
    "half a size": (put("spec", "act_dim", 2.5), "act_dim must be a whole number from 1, got 2.5"),
    "an unbounded box": (put("spec", "low", [-1e39, -1]), "low must be finite numbers, got -1e[+]39"),
    "an empty box": (put("spec", "low", [1, 1]), "low must be below high"),
    "no width of observations": (put("spec", "obs_std", [0.0]), "must be positive"),
    "nan": (put("spec", "return_mean", float("nan")), "return_std must be finite numbers, got nan"),
    "words for numbers": (put("spec", "obs_mean", ["0"]), "obs_mean must be finite numbers, got '0'"),
    "a statistic is missing": (lambda c: c["spec"].pop("obs_std"), "spec has no 'obs_std'"),
    "a statistic too many": (put("spec", "obs_dtd", 1), "spec has an unknown 'obs_dtd'"),
    "true for a number": (put("candidates", True), "candidates must be a whole number"),
    "an invalid temperature": (put("temperature", "hot"), "temperature must be finite"),
    "versions": (put("versions", ["0.1"]), "versions must be a version per package"),
}


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_a_hostile_description_is_refused(run, kind):
    change, message = DESCRIPTIONS[kind]
    describe(run, change)
    with pytest.raises(InputError, match=message):
        ramac.load(run)


def test_a_huge_description_costs_no_memory(run):
    describe(run, put("actor", "hidden", [16_000, 16_000, 16_000]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"16000 x 16000 weights; agent.safetensors has"):
        ramac.load(run)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024, "KiB; such a layer has 1 GiB"
