"""What `EdgeEvaluator` does: predict with LiteRT, measure with TFMA, bless or refuse."""

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_model_analysis as tfma
from absl import logging
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils
from tfx_bsl.tfxio import tf_example_record

import edge
from components.evaluation import results
from components.evaluation.eval_config import build_edge_eval_config
from components.evaluation.settings import GateSettings
from components.pusher.bundle import copy_tree
from models.features import IMAGE, PROBABILITIES, TEST_SPLIT


@beam.typehints.with_input_types(bytes)
@beam.typehints.with_output_types(bytes)
class PredictOnEdge(beam.DoFn):
    """Replaces the image of a serialized tf.Example by the edge build's probabilities."""

    def __init__(self, model_uri: str) -> None:
        """Keeps the place of the EdgeModel's payload; each worker loads it once."""
        self._model_uri = model_uri

    def setup(self) -> None:
        """Loads the model, from a local copy if it lives on a remote filesystem."""
        if os.path.isdir(self._model_uri):
            self._classifier = edge.Classifier(self._model_uri)
            return
        with tempfile.TemporaryDirectory() as folder:
            copy_tree(self._model_uri, folder)
            self._classifier = edge.Classifier(folder)

    def process(self, serialized: bytes) -> Iterator[bytes]:
        """Yields the example with `probabilities` (float32 [classes]) and without the image."""
        example = tf.train.Example.FromString(serialized)
        features = example.features.feature
        image = features[IMAGE].bytes_list.value[0]
        probabilities = self._classifier.predict(image).probabilities
        features[PROBABILITIES].float_list.value.extend(probabilities.values())
        del features[IMAGE]
        yield example.SerializeToString()


class Executor(base_beam_executor.BaseBeamExecutor):
    """Executor of `EdgeEvaluator`."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the evaluation and the blessing; see `EdgeEvaluator`.

        Raises:
            RuntimeError: an example that the float build was measured on has no prediction.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        gate = GateSettings.model_validate_json(exec_properties["settings_json"])
        edge_model = artifact_utils.get_single_instance(input_dict["edge_model"])
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        evaluation_uri = artifact_utils.get_single_uri(output_dict["evaluation"])
        float_build = results.load(artifact_utils.get_single_uri(input_dict["float_evaluation"]))

        with self._make_beam_pipeline() as pipeline:
            predicted = (
                [
                    pipeline
                    | f"Read[{index}]" >> beam.io.ReadFromTFRecord(io_utils.all_files_pattern(uri))
                    for index, uri in enumerate(
                        artifact_utils.get_split_uris(input_dict["examples"], TEST_SPLIT)
                    )
                ]
                | beam.Flatten()
                | "Predict" >> beam.ParDo(PredictOnEdge(edge_model.uri))
            )
            write_evaluation(
                predicted,
                build_edge_eval_config(gate, float_build.overall.accuracy),
                evaluation_uri,
            )

        edge_build = results.load(evaluation_uri)
        if edge_build.overall.images != float_build.overall.images:
            raise RuntimeError(
                f"the edge build was evaluated on {edge_build.overall.images} images, the float "
                f"build on {float_build.overall.images}: they must be the same test split"
            )
        _bless(blessing, edge_model, edge_build.passed)
        logging.info(
            "Edge build %s: %s", "blessed" if edge_build.passed else "refused", edge_build.failures
        )


def write_evaluation(
    examples: beam.PCollection, eval_config: tfma.EvalConfig, output_uri: str
) -> None:
    """Evaluates predictions that are a feature of serialized tf.Examples.

    Args:
        examples: serialized tf.Examples with label, slice features and probabilities.
        eval_config: from `build_edge_eval_config`.
        output_uri: where TFMA writes metrics and the validation.
    """
    config = tfma.utils.update_eval_config_with_defaults(
        eval_config, has_baseline=False, rubber_stamp=True
    )
    tfma.utils.verify_eval_config(config)
    source = tf_example_record.TFExampleBeamRecord(
        physical_format="inmemory",
        telemetry_descriptors=["EdgeEvaluator"],
        raw_record_column_name=tfma.ARROW_INPUT_COLUMN,
    )
    _ = (
        examples
        | "ToArrow" >> source.BeamSource()
        | "Evaluate"
        >> tfma.ExtractEvaluateAndWriteResults(eval_config=config, output_path=output_uri)
    )


def _bless(blessing: Artifact, model: Artifact, passed: bool) -> None:
    """Writes the verdict exactly as TFX's Evaluator does."""
    blessing.set_string_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri
    )
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    name = constants.BLESSED_FILE_NAME if passed else constants.NOT_BLESSED_FILE_NAME
    value = constants.BLESSED_VALUE if passed else constants.NOT_BLESSED_VALUE
    fileio.makedirs(blessing.uri)
    with fileio.open(os.path.join(blessing.uri, name), "w") as file:
        file.write("")
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)
