"""What docs/operations.md says of metrics and records is what there is."""

import re
from pathlib import Path

from sidecar.telemetry.access import AccessLine
from sidecar.telemetry.families import FAMILIES
from sidecar.telemetry.outcome import outcome_of
from tests.support.pki import Pki
from tests.support.records import denial, presenter, record

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def test_every_metric_has_its_row_with_kind_and_labels() -> None:
    rows = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", PAGE, re.MULTILINE)
    }
    assert rows == {one.name: (one.kind.value, one.labels) for one in FAMILIES.values()}


def test_every_member_of_an_audit_record_is_described(pki: Pki) -> None:
    request = record(
        denial(), presenter=presenter(pki.client), detail="x", upgraded=True, ended_by="client", trace_id="x"
    )
    members = set(re.findall(r'"(\w+)":', AccessLine().render(request, outcome_of(request)))) - {"event"}
    table = PAGE.partition("| members | |")[2].partition("\n\n")[0]
    assert members <= set(re.findall(r"`(\w+)`", table))
