"""Checkpoints that the models' authors publish: the names they have here, and where they are.

Meta puts the first six digits of a file's MD5 into its name and says no more of what is in it. The
SHA-256 of its three files are those on which the projects agree that download and check them, such
as micro-sam, whose figure for MobileSAM's checkpoint is the one below too.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mobilesam.weights.download import URL_VARIABLE

OFFICIAL = "official"
"""MobileSAM's own weights."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A checkpoint file as its authors published it.

    Attributes:
        url: where they keep it.
        sha256: of the file, wherever it is downloaded from.
        megabytes: of the file, about.
        description: of the weights, for manifests and reports.
        licence: of the weights.
    """

    url: str
    sha256: str
    megabytes: int
    description: str
    licence: str = "Apache-2.0"

    @property
    def file_name(self) -> str:
        """The file's name, there and in the cache."""
        return self.url.rpartition("/")[2]

    def address(self, url: str | None = None) -> str:
        """Where to download it from: ``url``, else MOBILESAM_URL, else its authors' own.

        What ends with a slash is a folder, in which the file has its own name.
        """
        chosen = url or os.environ.get(URL_VARIABLE) or self.url
        return chosen + self.file_name if chosen.endswith("/") else chosen


_META = "https://dl.fbaipublicfiles.com/segment_anything/"

PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        OFFICIAL: Published(
            url="https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
            sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            megabytes=41,
            description="MobileSAM as published by its authors",
        ),
        "sam_vit_b": Published(
            url=f"{_META}sam_vit_b_01ec64.pth",
            sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            megabytes=375,
            description="SAM ViT-B as published by Meta AI",
        ),
        "sam_vit_l": Published(
            url=f"{_META}sam_vit_l_0b3195.pth",
            sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            megabytes=1250,
            description="SAM ViT-L as published by Meta AI",
        ),
        "sam_vit_h": Published(
            url=f"{_META}sam_vit_h_4b8939.pth",
            sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            megabytes=2565,
            description="SAM ViT-H as published by Meta AI",
        ),
    }
)
"""By the name that weights are asked for with."""
