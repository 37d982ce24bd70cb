"""Markers of runtime parameters: filled in with their own type, inside any depth of JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeflow.entrypoint import complete, shared_output_file
from kubeflow.parameters import fill, marker, names_in


def test_text_keeps_what_is_around_the_marker() -> None:
    filled = fill(f"{marker('output_root')}/push", {"output_root": "gs://b/x"})
    assert filled == "gs://b/x/push"


def test_numbers_stay_numbers_inside_json_inside_json() -> None:
    inner = json.dumps({"training": {"epochs": marker("epochs")}})
    document = json.dumps({"settings": inner, "list": [marker("threshold", -1e-6)], "n": 3})
    filled = json.loads(fill(document, {"epochs": 7.0, "threshold": 0.75}))
    epochs = json.loads(filled["settings"])["training"]["epochs"]
    assert epochs == 7
    assert isinstance(epochs, int)
    assert filled["list"][0] == pytest.approx(0.75 - 1e-6, abs=1e-12)
    assert filled["n"] == 3


@given(st.text())
def test_any_value_survives_the_quoting(value: str) -> None:
    inner = json.dumps({"path": marker("name")})
    filled = json.loads(fill(json.dumps({"inner": inner}), {"name": value}))
    assert json.loads(filled["inner"]) == {"path": value}


@given(st.text().filter(lambda text: "@{" not in text))
def test_text_without_a_marker_is_left_alone(text: str) -> None:
    assert fill(text, {}) == text
    assert names_in(text) == set()


def test_a_marker_of_an_unknown_parameter_is_an_error() -> None:
    with pytest.raises(KeyError, match="epochs"):
        fill(json.dumps({"a": marker("epochs")}), {"threshold": 1})


def test_the_entry_point_gives_types_and_takes_the_runtime_parameters_away() -> None:
    invocation = {
        "inputs": {
            "parameterValues": {
                "settings": json.dumps({"epochs": marker("epochs")}),
                "seed": 3.0,
                "runtime-epochs": 4.0,
            },
            "artifacts": {"model": {"artifacts": [{"name": "5", "uri": "gs://b/model"}]}},
        },
        "outputs": {"outputFile": "/tmp/output.json"},
    }
    schema = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
    completed = complete(invocation, {"artifacts": {"model": {"artifactType": schema}}})
    assert completed["outputs"] == invocation["outputs"]
    assert completed["inputs"]["parameterValues"] == {"settings": '{"epochs": 4}', "seed": 3.0}
    (model,) = completed["inputs"]["artifacts"]["model"]["artifacts"]
    assert model == {"name": "5", "uri": "gs://b/model", "type": schema}


def test_the_entry_point_keeps_a_type_that_the_driver_gave() -> None:
    given_type = {"schemaTitle": "tfx.Model"}
    artifact = {"uri": "gs://b/model", "type": given_type}
    invocation = {"inputs": {"artifacts": {"model": {"artifacts": [artifact]}}}, "outputs": {}}
    spec = {"artifacts": {"model": {"artifactType": {"schemaTitle": "system.Model"}}}}
    (model,) = complete(invocation, spec)["inputs"]["artifacts"]["model"]["artifacts"]
    assert model["type"] == given_type


def test_tfx_writes_beside_the_artifacts_not_on_the_containers_disk() -> None:
    outputs = {
        "outputFile": "/tmp/kfp_outputs/output_metadata.json",
        "artifacts": {"model": {"artifacts": [{"uri": "gs://b/run/trainer-svm/7/model"}]}},
    }
    assert shared_output_file(outputs) == "gs://b/run/trainer-svm/7/executor/output.json"
    assert shared_output_file({"outputFile": "/tmp/x"}) is None
