"""Results as a JUnit report, the format that CI systems read."""

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from sidecar.rehearsal.trial.result import Result

# XML 1.0 §2.2: characters that a document may not contain, not even escaped.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


def render(results: Sequence[Result]) -> bytes:
    """The report, in UTF-8."""
    failed = sum(1 for result in results if not result.is_good)
    seconds = sum(result.seconds for result in results)
    suite = Element(
        "testsuite",
        name="sidecar test",
        tests=str(len(results)),
        failures=str(failed),
        errors="0",
        time=f"{seconds:.3f}",
    )
    for result in results:
        file, _, line = result.place.rpartition(":")
        attributes = {"name": result.name, "classname": file, "file": file, "line": line}
        case = SubElement(suite, "testcase", {key: _clean(value) for key, value in attributes.items()})
        case.set("time", f"{result.seconds:.3f}")
        if not result.is_good:
            text = "\n".join(result.lines())
            SubElement(case, "failure", message=_clean(result.summary())).text = _clean(text)
    root = Element("testsuites")
    root.append(suite)
    indent(root)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("�", text)
