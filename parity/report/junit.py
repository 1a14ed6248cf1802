"""The report for a CI server: a test suite for each bundle and runtime, a case for each check."""

from xml.etree import ElementTree

from parity.report import figures
from parity.report.figures import printable
from parity.report.summary import Line, summarise
from parity.schema import Check, ReportData


def junit_xml(report: ReportData) -> bytes:
    """Write the report as JUnit XML in UTF-8; failures tell value, threshold and case."""
    root = ElementTree.Element("testsuites", name="parity")
    suites = [_suite(line, report) for line in summarise(report)]
    root.extend(suites)
    for key in ("tests", "failures"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in suites)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _suite(line: Line, report: ReportData) -> ElementTree.Element:
    bundle = line.bundle
    name = f"{line.name}.{bundle.runtime}"
    suite = ElementTree.Element(
        "testsuite", name=printable(name), timestamp=printable(report.created)
    )
    properties = ElementTree.SubElement(suite, "properties")
    for key in ("path", "target", "scheme", "engine", "weights"):
        value = printable(getattr(bundle, key))
        ElementTree.SubElement(properties, "property", name=key, value=value)
    for sentence in report.warnings:
        ElementTree.SubElement(properties, "property", name="warning", value=printable(sentence))
    failures = 0
    for check in bundle.checks:
        title = f"{check.stage}.{check.metric} {check.comparison} {figures.limit(check.threshold)}"
        case = ElementTree.SubElement(
            suite, "testcase", classname=printable(name), name=printable(title), time="0"
        )
        if not check.passed:
            failures += 1
            _fail(case, _message(check), check.metric)
    if bundle.verdict == "FAIL" and not failures:
        # Such as a file that was altered: nothing was measured, so no check could fail.
        case = ElementTree.SubElement(
            suite, "testcase", classname=printable(name), name="verdict", time="0"
        )
        failures = 1
        _fail(case, "; ".join(bundle.reasons), "verdict")
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(failures))
    suite.set("errors", "0")
    return suite


def _message(check: Check) -> str:
    asked = f"{check.comparison} {figures.limit(check.threshold)}"
    message = f"{figures.exact(check.value, check.threshold)}, asked {asked}"
    return f"{message}; worst: {check.where}" if check.where else message


def _fail(case: ElementTree.Element, message: str, kind: str) -> None:
    failure = ElementTree.SubElement(
        case, "failure", message=printable(message), type=printable(kind)
    )
    failure.text = printable(message)
