"""The folder of a training run: configuration, log, state to resume from, weights."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from safetensors.torch import save_file
from torch import Tensor

from mobilesam.errors import InputError
from mobilesam.files import write_whole, written_whole

CONFIG, LOG, STATE = "config.json", "log.jsonl", "state.pt"
WEIGHTS, CURVES = "weights.safetensors", "curves.png"
_SHOWN = ("loss", "iou_point", "iou_box")
_ENTRIES = {"step", "model", "average", "optimizers"}  # of a state


class RunFolder:
    """One run. Running the same configuration in the same folder again continues it.

    Args:
        path: the folder; made when the run begins.
        config: of the run.
        may_become: told the stored configuration and the step reached, says whether the run may go
            on with ``config`` although it differs; by default it may not.

    Raises:
        InputError: the folder holds a run of another configuration.
    """

    def __init__(
        self,
        path: Path,
        config: BaseModel,
        may_become: Callable[[str, int], bool] = lambda stored, step: False,
    ) -> None:
        self.path = path
        text = config.model_dump_json(indent=2) + "\n"
        file = path / CONFIG
        stored = file.read_text(encoding="utf-8") if file.is_file() else None
        if stored not in (None, text):
            state = self.load_state()
            if not may_become(stored, state["step"] if state else 0):
                raise InputError(
                    f"'{path}' holds a run of another configuration: give another folder, or that "
                    "run's configuration to continue it"
                )
        self._text = text

    def begin(self) -> None:
        """Make the folder and keep the configuration in it, once all that a run needs is there."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / CONFIG, self._text)

    def load_state(self) -> dict[str, Any] | None:
        """The last saved state, or None at the beginning.

        Raises:
            InputError: the state is damaged.
        """
        file = self.path / STATE
        if not file.is_file():
            return None
        try:
            state: Any = torch.load(file, weights_only=True, map_location="cpu")
        except Exception:  # torch reports damage in many ways, and code in a pickle as another
            state = None
        if not isinstance(state, dict) or not _ENTRIES <= state.keys():
            raise InputError(
                f"'{file}' is damaged or not a training state: delete it, and the run starts anew"
            )
        return state

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state, in one move."""
        with written_whole(self.path / STATE) as temporary, temporary.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())

    def rewind_log(self, step: int) -> None:
        """Drop what was logged from ``step`` on: it will be done, and logged, again."""
        kept = [row for row in self.read_log() if row["step"] < step]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        write_whole(self.path / LOG, text)

    def log(self, row: Mapping[str, float | int | str]) -> None:
        """Append a line of JSON; it has a ``step``."""
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(row)) + "\n")

    def read_log(self) -> list[dict[str, Any]]:
        """Every line of the log. A last line that was cut short is left out."""
        file = self.path / LOG
        if not file.is_file():
            return []
        rows = []
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return rows

    def save_weights(self, state_dict: Mapping[str, Tensor], about: Mapping[str, str]) -> Path:
        """Write weights as fp16 safetensors, with what is to be known about them as metadata."""
        target = self.path / WEIGHTS
        with written_whole(target) as temporary:
            save_file(half_precision(state_dict), temporary, dict(about))
        return target


def in_words(row: Mapping[str, float | int]) -> str:
    """The numbers of a logged step that are shown while a run goes on."""
    shown = [f"{row['image_size']} px"] if "image_size" in row else []
    shown += [f"{key} {row[key]:.3f}" for key in _SHOWN if key in row]
    return "  ".join(shown)


def half_precision(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point entries as float16, others as they are, all contiguous on the CPU."""
    return {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in state_dict.items()
    }
