"""What every kind of training keeps between its steps, and takes up again when it is resumed."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mobilesam.training.config import RunConfig
from mobilesam.training.optimisation import Optimizers, averaged, channels_last, device_of_choice
from mobilesam.training.run_folder import RunFolder


class Learner:
    """A module in training: its averaged copy, its optimizers, and the step reached.

    The state saved after step n is everything that step n + 1 depends on, since every random draw
    depends on the number of its step alone.

    Args:
        module: to be trained; moved to the device of choice, its kernels laid out channels-last,
            which is how convolutions of bfloat16 are quickest.
        config: of the run.
        ema_decay: of the averaged copy.
        run: the folder of the run; a state saved there is taken up.

    Raises:
        InputError: the saved state is damaged.
    """

    def __init__(
        self, module: nn.Module, config: RunConfig, ema_decay: float, run: RunFolder
    ) -> None:
        self.device = device_of_choice()
        self.module = channels_last(module.to(self.device))
        self.average = averaged(self.module, ema_decay)
        self.step = 0
        self._config, self._run = config, run
        self._optimizers = Optimizers(self.module, config.optimizer, config.weight_decay)
        state = run.load_state()
        self.is_new = state is None
        if state is not None:
            self.module.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self._optimizers.load_state_dict(state["optimizers"])
            self.step = state["step"]

    def learn(self, loss: Tensor, rate: float) -> float:
        """Take a step down the gradient of a scalar loss; returns the norm before clipping."""
        loss.backward()
        norm = self._optimizers.step(rate, self._config.clip_grad_norm)
        self.average.update_parameters(self.module)
        return norm

    def done(self, row: Mapping[str, float | int]) -> None:
        """Log the step just taken, count it, and save if it is time to."""
        self._run.log(row)
        self.step += 1
        if self.step % self._config.save_every == 0:
            self.save()

    def set_ema_decay(self, ema_decay: float) -> None:
        """Average over more steps, or fewer, from now on."""
        self.average.multi_avg_fn = get_ema_multi_avg_fn(ema_decay)

    def restart_average(self, ema_decay: float) -> None:
        """Begin the averaged copy again from the module as it is now."""
        self.average = averaged(self.module, ema_decay)

    def save(self) -> None:
        """Keep the state in the folder of the run."""
        self._run.save_state(
            {
                "step": self.step,
                "model": self.module.state_dict(),
                "average": self.average.state_dict(),
                "optimizers": self._optimizers.state_dict(),
            }
        )

    def averaged_state(self) -> dict[str, Any]:
        """State dict of the averaged copy."""
        state: dict[str, Any] = self.average.module.state_dict()
        return state
