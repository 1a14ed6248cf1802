"""Makes MKL choose its vector functions before two threads can ask for one at once.

MKL looks for the kernel of a function when it is first called. Where several threads make the first
call together, as PyTorch's do on a large tensor, one of them may be given the kernel of low
accuracy: its share of the sines is then off by 1.5e-4, in that process and that call alone.

Source: pytorch#188792, seen here in an exported positional encoding.
"""

import torch

FUNCTIONS = (torch.sin, torch.cos, torch.sqrt, torch.exp, torch.log, torch.tanh, torch.erf)
"""What MKL computes of all that this project asks of PyTorch."""


def settle() -> None:
    """Call each function once, on one number and so in one thread."""
    for dtype in (torch.float32, torch.float64):
        one = torch.ones(1, dtype=dtype)
        for function in FUNCTIONS:
            function(one)
