"""SBOM (CycloneDX 1.6, JSON) of what no Python environment describes: the chart, and the image.

`sbom.py chart VERSION` and `sbom.py image VERSION ROOT`, where ROOT is the image's file system; `sbom.py named VERSION
FILE` adds what a document of cyclonedx-py does not know. The same input gives the same bytes: sorted, the time is
SOURCE_DATE_EPOCH, and the serial number follows from the content.
"""

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from email.parser import Parser
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

Component = dict[str, object]


def main() -> None:
    """Print the document."""
    kind, version, *rest = sys.argv[1:]
    if kind == "named":
        print(
            json.dumps(
                _named(json.loads(Path(rest[0]).read_text("utf-8")), version), indent=2, ensure_ascii=False
            )
        )
        return
    subject = _component(
        "application" if kind == "chart" else "container",
        "bound-token-sidecar",
        version,
        f"pkg:{'helm' if kind == 'chart' else 'oci'}/bound-token-sidecar@{version}",
    )
    parts = _of_image(Path(rest[0])) if kind == "image" else [_image(version)]
    print(
        json.dumps(
            _document(subject, sorted(parts, key=lambda one: str(one["bom-ref"]))),
            indent=2,
            ensure_ascii=False,
        )
    )


def _named(document: dict[str, Any], version: str) -> dict[str, Any]:
    """With the version and identity of what the document is about."""
    subject = document["metadata"]["component"]
    subject["version"] = version
    subject["purl"] = f"pkg:pypi/{subject['name']}@{version}"
    return document


def _document(subject: Component, components: list[Component]) -> dict[str, object]:
    moment = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    serial = uuid5(NAMESPACE_URL, json.dumps([subject, components], sort_keys=True))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"timestamp": f"{moment:%Y-%m-%dT%H:%M:%SZ}", "component": subject},
        "components": components,
        "dependencies": [{"ref": subject["bom-ref"], "dependsOn": [one["bom-ref"] for one in components]}],
    }


def _component(kind: str, name: str, version: str, purl: str, license_text: str = "") -> Component:
    made: Component = {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if license_text:
        made["licenses"] = [{"license": {"name": license_text}}]
    return made


def _image(version: str) -> Component:
    """The one thing that a chart runs."""
    return _component("container", "bound-token-sidecar", version, f"pkg:oci/bound-token-sidecar@{version}")


def _of_image(root: Path) -> Iterator[Component]:
    """Debian's packages, and Python's."""
    status = (root / "var" / "lib" / "dpkg" / "status").read_text("utf-8")
    for paragraph in status.strip().split("\n\n"):
        fields = Parser().parsestr(paragraph)
        if "installed" in fields["Status"].split():
            purl = f"pkg:deb/debian/{quote(fields['Package'])}@{quote(fields['Version'])}?arch={fields['Architecture']}"
            yield _component("library", fields["Package"], fields["Version"], purl)
    for file in (root / "opt" / "sidecar").glob("lib/python3*/site-packages/*.dist-info/METADATA"):
        fields = Parser().parsestr(file.read_text("utf-8"))
        name = fields["Name"].lower().replace("_", "-")
        if name != "bound-token-sidecar":
            licensed = fields["License-Expression"] or fields["License"] or ""
            known = licensed if "\n" not in licensed else ""
            yield _component(
                "library", fields["Name"], fields["Version"], f"pkg:pypi/{name}@{fields['Version']}", known
            )


if __name__ == "__main__":
    main()
