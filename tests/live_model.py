"""A model whose every parameter and buffer is random: a freshly built one has dead branches."""

from functools import lru_cache

from mobilesam.model.build import build
from mobilesam.model.sam import MobileSAM
from tests.upstream.oracle import randomize

SIZE = 256


@lru_cache
def live_model(size: int = SIZE) -> MobileSAM:
    """One of the whole architecture, in eval mode; not to be changed."""
    model = build(image_size=size)
    randomize(model, seed=0)
    return model.requires_grad_(False)
