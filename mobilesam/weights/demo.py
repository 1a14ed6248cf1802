"""The weights that come with the package, for trying everything out without a download.

MobileSAM's architecture, trained from scratch by this toolkit; `README.md` beside the file
is their model card. They are not MobileSAM's own weights.
"""

from pathlib import Path

DEMO = "demo"
"""Their name, wherever weights are asked for."""

DEMO_FILE = Path(__file__).with_name("demo.safetensors")
"""float16 safetensors; the metadata has ``description`` and ``licence``."""

DEMO_NOTE = (
    "the demo weights were trained by this toolkit on 114 photos: enough to try "
    "everything with, far from MobileSAM's own"
)
"""What is said wherever they are used."""
