"""The model card of a release: README.md with Hugging Face's front matter."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mobilesam.apps.layout import Listed
from mobilesam.bundle.manifest import WeightsRecord
from mobilesam.weights.demo import DEMO, DEMO_NOTE
from parity.report import Report

PLATFORMS = {"android": "Android", "ios": "iOS and macOS", "web": "the browser", "python": "Python"}

_ATTRIBUTION = """\
The architecture is that of MobileSAM (Zhang et al., *Faster Segment Anything*, 2023, Apache-2.0),
which takes its prompt encoder and mask decoder from the Segment Anything Model (Kirillov et al.,
Meta AI, 2023, Apache-2.0), and its image encoder from TinyViT (Wu et al., Microsoft, 2022, MIT).
The files were made by mobilesam-export {version}."""

_CHECK = """\
    sha256sum -c SHA256SUMS
{commands}
"""


def card(
    bundles: Sequence[Listed], report: Report, golden: Mapping[str, str], *, with_page: bool
) -> str:
    """The card's text. Every figure is the report's or a manifest's.

    Args:
        bundles: with the folder of each, relative to the card.
        report: of these bundles, whose paths are those folders.
        golden: folder of the golden masks of each bundle, by its name.
        with_page: whether the release has the page of ``mobilesam web``.
    """
    names = ", ".join(each.name for each in bundles)
    weights = list({each.bundle.manifest.weights.sha256: each for each in bundles}.values())
    parts = [
        front_matter(bundles),
        f"# MobileSAM: {names}",
        "One click in a photo, or a box around something, gives its mask. Each bundle is a folder "
        "with an image encoder, which runs once a photo, a mask decoder, which runs once a prompt, "
        "and a manifest that describes every tensor.",
        _bundle_table(bundles, report),
        _measured(report),
        "## Use it\n\n" + _links(with_page),
        "## Check it\n\n" + _commands(bundles, golden),
        "`inspect` verifies the digests and draws the golden masks (a photo, prompts and "
        "PyTorch's masks: [golden](golden)) with the bundle's files; `parity` judges the bundles "
        "again, as [report/report.md](report/report.md) has it.",
        "## Weights",
    ]
    parts += [_weights(each.bundle.manifest.weights) for each in weights]
    tools = bundles[0].bundle.manifest.tools
    parts += [
        "## Attribution",
        _ATTRIBUTION.format(version=tools.get("mobilesam-export", report.tool_version)),
    ]
    return "\n\n".join(parts) + "\n"


def front_matter(bundles: Sequence[Listed]) -> str:
    """YAML for Hugging Face; values are quoted as JSON, which YAML reads."""
    licences = {_licence_of(each) for each in bundles}
    targets = dict.fromkeys(each.bundle.manifest.target for each in bundles)
    lines = ["---"]
    if licences == {"apache-2.0"}:
        lines.append('license: "apache-2.0"')
    else:
        lines += ['license: "other"', f"license_name: {json.dumps(', '.join(sorted(licences)))}"]
    lines += ['library_name: "mobilesam-export"', 'pipeline_tag: "mask-generation"', "tags:"]
    tags = ["mobilesam", "segment-anything", "image-segmentation", *targets]
    return "\n".join([*lines, *(f"  - {json.dumps(tag)}" for tag in tags), "---"])


def _licence_of(each: Listed) -> str:
    return each.bundle.manifest.weights.licence.strip().lower()


def _bundle_table(bundles: Sequence[Listed], report: Report) -> str:
    rows = [
        "| bundle | image size | runs on | verdict | MB | mean mask IoU with PyTorch | encoder |",
        "|---|---|---|---|---|---|---|",
    ]
    for judged, line in zip(report.bundles, report.tradeoffs, strict=True):
        (each,) = (each for each in bundles if each.folder == judged.path)
        iou = "–" if line.mask_iou is None else f"{line.mask_iou:.4f}"
        size = "–" if line.size_mb is None else f"{line.size_mb:.2f}"
        seconds = "–" if line.encoder_s is None else f"{line.encoder_s * 1000:.0f} ms"
        rows.append(
            f"| [{each.name}]({each.folder}/manifest.json) | {judged.image_size} | {judged.engine} "
            f"| {judged.verdict} | {size} | {iou} | {seconds} |"
        )
    failed = [judged for judged in report.bundles if judged.verdict == "FAIL"]
    said = [f"{judged.path} on {judged.runtime} FAILED: {judged.reasons[0]}" for judged in failed]
    return "\n".join(rows) + "".join(f"\n\n**{sentence}**" for sentence in said)


def _measured(report: Report) -> str:
    machine, times = report.machine, ""
    if any(line.encoder_s is not None for line in report.tradeoffs):
        times = (
            f" Times are medians on {machine.get('processor', 'an unnamed processor')} with "
            f"{machine.get('cores', '?')} cores, not on a phone."
        )
    return (
        f"Judged on {report.created[:10]} by mobilesam-export {report.tool_version} on "
        f"{len(report.images)} images, with limits for each scheme: "
        f"[report/report.html](report/report.html).{times}"
    )


def _links(with_page: bool) -> str:
    lines = [f"- [{title}]({name}.md)" for name, title in PLATFORMS.items()]
    if with_page:
        lines.append(
            "- [web/](web/index.html): a page that runs the files in the browser; serve this "
            "folder and open `/web/`"
        )
    return "\n".join(lines)


def _commands(bundles: Sequence[Listed], golden: Mapping[str, str]) -> str:
    inspected = [
        f"    mobilesam inspect {each.folder} --golden {golden[each.name]}" for each in bundles
    ]
    return _CHECK.format(commands="\n".join([*inspected, "    mobilesam parity bundles"])).rstrip()


def _weights(weights: WeightsRecord) -> str:
    source = weights.source
    if not source.startswith(("http://", "https://")) and ("/" in source or "\\" in source):
        source = Path(source.replace("\\", "/")).name  # a path means nothing elsewhere
    lines = [
        f"- name: {weights.name}; {weights.description}",
        f"- source: {source}" + (f", entry `{weights.key}`" if weights.key else ""),
        f"- SHA-256 of the tensors: `{weights.sha256}`",
        f"- licence: {weights.licence}",
    ]
    if weights.name == DEMO:
        lines.append(
            f"- {DEMO_NOTE}: [their card](weights/README.md), [photos](weights/ATTRIBUTION.md)"
        )
    return "\n".join(lines)
