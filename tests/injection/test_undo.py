"""What injection changed can be taken back, whatever people changed beside it in the meantime."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.injection import undo
from sidecar.injection.annotation import STATUS
from sidecar.injection.manifest import Mode, inject, uninject
from sidecar.injection.problem import CannotInject
from tests.injection.samples import container, deployment, http_port, pod, settings, sidecar_of

NEW = settings(image="registry.example/sidecar:2")


def probed(**more: Any) -> dict[str, Any]:
    port = {**http_port(), "hostPort": 80}
    return pod(container("api", port, livenessProbe={"httpGet": {"path": "/h", "port": "http"}}, **more))


@pytest.mark.parametrize(
    "manifest",
    [
        pod(),
        probed(),
        deployment(probed(lifecycle={"postStart": {"exec": {"command": ["true"]}}})),
        pod(volumes=None, imagePullSecrets=[{"name": "own"}], initContainers=[container("migrate")]),
        {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container("api", http_port())]}},
    ],
)
@pytest.mark.parametrize("kubernetes", ["1.25", "1.30", "1.33"])
def test_uninject_gives_back_what_was_there(manifest: dict[str, Any], kubernetes: str) -> None:
    chosen = settings(
        kubernetes=kubernetes,
        server_certificate={"secret": "s"},
        image_pull_secrets=["registry"],
        labels={"team": "x"},
    )
    made = inject(manifest, chosen).manifest
    assert made != manifest
    back = uninject(made)
    assert (back.manifest, back.notes) == (manifest, ())
    assert list(back.manifest["spec"]) == list(manifest["spec"])


def test_a_second_injection_brings_the_new_image_and_says_so() -> None:
    once = inject(probed(), settings()).manifest
    again = inject(once, NEW)
    assert again.manifest == inject(probed(), NEW).manifest
    assert again.notes[0] == "image registry.example/sidecar:1 becomes registry.example/sidecar:2"
    assert uninject(again.manifest).manifest == probed()


def test_a_second_injection_renews_settings_and_names_what_changed() -> None:
    once = inject(pod(), settings()).manifest
    again = inject(once, settings(port=9443, pre_stop_seconds=9))
    assert again.manifest == inject(pod(), settings(port=9443, pre_stop_seconds=9)).manifest
    assert again.notes[0] == "the sidecar's settings are updated: env, lifecycle, ports"


def test_what_people_changed_since_survives() -> None:
    made = inject(probed(), settings()).manifest
    made["spec"]["containers"].insert(0, container("agent"))
    made["spec"]["containers"][1]["image"] = "registry.example/api:2"
    made["metadata"]["annotations"]["mine"] = "yes"
    made["spec"]["volumes"].append({"name": "mine", "emptyDir": {}})
    back = uninject(made).manifest
    assert [one["name"] for one in back["spec"]["containers"]] == ["agent", "api"]
    assert back["spec"]["containers"][1]["image"] == "registry.example/api:2"
    assert back["metadata"]["annotations"] == {"mine": "yes"}
    assert back["spec"]["volumes"] == [{"name": "mine", "emptyDir": {}}]


def test_what_people_changed_in_our_place_stays_and_is_named() -> None:
    made = inject(probed(), settings()).manifest
    made["spec"]["containers"][0]["livenessProbe"]["httpGet"]["port"] = 7000
    result = uninject(made)
    assert result.manifest["spec"]["containers"][0]["livenessProbe"]["httpGet"]["port"] == 7000
    assert result.notes == (
        "spec.containers[api].livenessProbe.httpGet.port was changed since the injection and stays as it is",
    )


def test_a_container_that_is_gone_does_not_stand_in_the_way() -> None:
    made = inject(probed(), settings()).manifest
    made["spec"]["containers"] = [container("other")]
    result = uninject(made)
    assert all(note.startswith("spec.containers[api].") for note in result.notes)
    assert len(result.notes) == 5
    assert result.manifest["spec"]["containers"] == [container("other")]


def test_what_has_no_sidecar_comes_back_as_it_was() -> None:
    for manifest in (pod(), {"kind": "ConfigMap", "apiVersion": "v1"}):
        assert uninject(manifest).manifest is manifest


def test_a_sidecar_of_which_there_is_no_record_is_not_taken_out() -> None:
    by_hand = inject(pod(), settings()).manifest
    del by_hand["metadata"]["annotations"][STATUS]
    with pytest.raises(CannotInject, match="no record of an injection"):
        uninject(by_hand)


@pytest.mark.parametrize("steps", ["[1]", '[{"at": []}]', '[{"at": "spec"}]'])
def test_a_record_that_nobody_wrote_is_refused(steps: str) -> None:
    made = inject(pod(), settings()).manifest
    text = f'{{"container":"api","upstream_port":8080,"port":8443,"undo":{steps}}}'
    made["metadata"]["annotations"][STATUS] = text
    with pytest.raises(CannotInject, match="the record of the injection cannot be read"):
        uninject(made)


def injected_by_the_first_version() -> dict[str, Any]:
    made = inject(pod(), settings()).manifest
    made["metadata"]["annotations"][STATUS] = '{"container":"api","upstream_port":8080,"port":8443}'
    return made


def test_of_what_the_first_version_injected_the_image_follows() -> None:
    result = inject(injected_by_the_first_version(), NEW)
    assert sidecar_of(result.manifest["spec"])["image"] == "registry.example/sidecar:2"
    assert result.notes[0] == "image registry.example/sidecar:1 becomes registry.example/sidecar:2"
    assert "inject the original manifest" in result.notes[1]
    assert inject(result.manifest, NEW).manifest is result.manifest


def test_what_the_first_version_injected_is_neither_taken_out_nor_believed_in_an_enforcing_namespace() -> (
    None
):
    with pytest.raises(CannotInject, match="kept no record of what it replaced"):
        uninject(injected_by_the_first_version())
    with pytest.raises(CannotInject, match="inject the original manifest with this version"):
        inject(injected_by_the_first_version(), NEW, Mode.ENFORCED)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=12,
)
MAPPINGS = st.dictionaries(st.sampled_from(["metadata", "spec", "name"]), VALUES, max_size=3)


@given(old=MAPPINGS, new=MAPPINGS)
def test_the_record_turns_any_document_back(old: dict[str, Any], new: dict[str, Any]) -> None:
    made = copy.deepcopy(new)
    assert undo.taken_back(made, undo.record(old, new)) == []
    assert made == old
