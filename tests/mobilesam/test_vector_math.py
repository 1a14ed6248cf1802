"""Vector functions are settled by one thread before several can ask for them."""

import subprocess
import sys

SCRIPT = """
import torch

calls = []


def watched(name, function):
    def call(tensor):
        calls.append((name, tensor.numel(), str(tensor.dtype)))
        return function(tensor)

    return call


names = ("sin", "cos", "sqrt", "exp")
for name in names:
    setattr(torch, name, watched(name, getattr(torch, name)))

import mobilesam.model.sam

assert {(name, 1, f"torch.float{bits}") for name in names for bits in (32, 64)} == {*calls}, calls
"""


def test_whoever_computes_with_a_model_has_called_each_function_once() -> None:
    # In a process of its own: here the functions were called long ago.
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=120)
