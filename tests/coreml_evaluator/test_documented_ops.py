"""The page's list of ops, and its counts, are those of the code and of these tests."""

import re
from pathlib import Path

from tests.coreml_evaluator.oracles import markdown


def test_page_lists_the_ops_and_their_oracles(repository: Path) -> None:
    page = (repository / "docs/coreml-evaluator.md").read_text("utf-8")
    between = re.search(r"<!-- ops -->\n(.*?)<!-- /ops -->", page, re.DOTALL)
    assert between, "the markers <!-- ops --> and <!-- /ops --> are gone"
    assert between[1].strip() == markdown().strip()
