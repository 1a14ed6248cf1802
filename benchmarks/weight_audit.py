"""The share of the parameters that the audit finds in exported files, as a Markdown table.

    python -m benchmarks.weight_audit exports

Every bundle in the folders is audited. docs/parity.md says what was found.
"""

import sys
import time

from mobilesam.bundle.contract import COMPONENTS
from mobilesam.model.sam import MobileSAM
from parity.bundles import open_bundles
from parity.origin import Origin
from parity.weight_audit.audit import audit
from parity.weight_audit.run import read_file


def main(folders: list[str]) -> None:
    """Print the table for the bundles in some folders."""
    models: dict[Origin, MobileSAM] = {}
    print("| bundle | encoder | decoder | error / allowed | CPU s |")
    print("|---|---|---|---|---|")
    for bundle in open_bundles(folders):
        origin = Origin.of(bundle, None)
        if origin not in models:
            models[origin] = origin.load()
        started = time.process_time()
        runtime = bundle.runtimes[0]
        found = [audit(models[origin], c, read_file(bundle, runtime, c)) for c in COMPONENTS]
        seconds = time.process_time() - started
        shares = " | ".join(f"{100 * each.found / each.total:.2f} %" for each in found)
        excess = max(each.excess for each in found)
        print(f"| {bundle.name} | {shares} | {excess:.3f} | {seconds:.1f} |", flush=True)
        for each in found:
            for sentence in [*each.missing, *(finding.sentence for finding in each.wrong)]:
                print(f"{bundle.name}: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
