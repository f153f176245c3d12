"""An actor of your own: one decorator, no configuration file, no change to the library.

    python examples/my_actor.py actor=mine task=bandit          as a script
    RAMAC_PLUGINS=my_actor ramac actor=mine4 task=bandit        as a module on the Python path

A package brings it in with the entry point group `ramac`, the value being the module's name.
"""

import torch
from torch import Tensor

import ramac
from ramac.actors import Actor
from ramac.nets import mlp
from ramac.registry import actors
from ramac.spec import Spec


@actors.register("mine", suffix="heads")
class Mine(Actor):
    """K candidate actions per state, one drawn at random; bc pulls the nearest to the logged action.

    Paper: Guzman-Rivera et al. 2012, Multiple Choice Learning.
    """

    def __init__(self, spec: Spec, *, heads: int = 8, hidden: tuple[int, ...] = (256, 256)) -> None:
        super().__init__(spec)
        self.heads = heads
        self.net = mlp(spec.obs_dim, hidden, heads * spec.act_dim)

    def candidates(self, observation: Tensor) -> Tensor:
        """observation [B, O] -> candidates [B, heads, A]."""
        return self.net(observation).tanh().unflatten(-1, (self.heads, -1))

    def sample(self, observation: Tensor) -> Tensor:
        choice = torch.randint(self.heads, observation.shape[:1], device=observation.device)
        return self.candidates(observation)[torch.arange(choice.shape[0], device=choice.device), choice]

    def clone(self, observation: Tensor, action: Tensor) -> Tensor:
        return (self.candidates(observation) - action.unsqueeze(1)).square().mean(-1).amin(-1)


if __name__ == "__main__":
    ramac.main()
