"""Several reports as one."""

from collections.abc import Sequence

from parity.report import Report


def joined(reports: Sequence[Report], command: str = "") -> Report:
    """One report with the bundles of all, in their order.

    Facts of the run, such as the weights and the thresholds, are the first report's; images,
    warnings and facts about machines are those of all.

    Args:
        reports: at least one.
        command: the command line that makes the joined report again.
    """
    whole = reports[0].model_copy(deep=True)
    whole.command = command
    for field in ("images", "unusable_images", "warnings", "prompt_types"):
        every: list[object] = []
        for report in reports:
            every += [item for item in getattr(report, field) if item not in every]
        setattr(whole, field, every)
    for report in reports[1:]:
        whole.machine = {**report.machine, **whole.machine}
        whole.gallery = {**report.gallery, **whole.gallery}
        whole.bundles += report.bundles
    return whole
