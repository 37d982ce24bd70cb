"""Search spaces, and a search over a small split."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError
from tfx.components.trainer.fn_args_utils import FnArgs

from models.features import IMAGE_XF, LABEL
from models.hyperparameters import AUGMENTATION_STRENGTH, EPOCHS, with_hyperparameters
from models.settings import (
    AugmentationSettings,
    ClassifierSettings,
    CoronetSettings,
    MlpSettings,
    PreprocessingSettings,
    SvmSettings,
    TrainingSettings,
)
from models.tuner import PAPER_C, PAPER_EPSILON, ClassifierTuner, search_space, tuner_fn


def test_values_go_to_the_settings_that_they_name() -> None:
    settings = CoronetSettings(training=TrainingSettings(epochs=9))
    values = {
        "training.learning_rate": 0.02,
        "dense_units": 256,
        AUGMENTATION_STRENGTH: 0.5,
        EPOCHS: 3,
        "tuner/bracket": 1,
    }
    tuned = with_hyperparameters(settings, values)
    assert tuned.training == settings.training.model_copy(update={"learning_rate": 0.02})
    assert (tuned.dense_units, tuned.dropout) == (256, settings.dropout)
    assert tuned.augmentation == AugmentationSettings(
        rotation_degrees=10, shift=0.15, shear=0.15, zoom=0.15
    )
    assert with_hyperparameters(settings, values, trial=True).training.epochs == 3


def test_lists_travel_as_text() -> None:
    assert with_hyperparameters(MlpSettings(), {"hidden": "[128, 128]"}).hidden == (128, 128)


@pytest.mark.parametrize("values", [{"epsilonn": 0.1}, {"c": -1.0}])
def test_what_the_settings_do_not_take_is_an_error(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        with_hyperparameters(SvmSettings(), values)


@pytest.mark.parametrize(
    "settings",
    [
        SvmSettings(),
        MlpSettings(),
        CoronetSettings(),
        # At the knobs' ends: half as strong again would pass them.
        *(
            CoronetSettings(augmentation=AugmentationSettings(**{knob: 0.9}))
            for knob in ("shift", "shear", "zoom")
        ),
        CoronetSettings(augmentation=AugmentationSettings(rotation_degrees=180)),
    ],
)
def test_every_value_of_a_search_space_makes_valid_settings(
    settings: SvmSettings | MlpSettings | CoronetSettings,
) -> None:
    space = search_space(settings)
    assert space.space
    for one in space.space:
        for value in (one.random_sample(seed) for seed in range(20)):
            with_hyperparameters(settings, {one.name: value})


def test_a_network_without_hidden_layers_is_tried_once() -> None:
    (hidden,) = search_space(MlpSettings(hidden=(), activations=())).space
    assert hidden.values == ["[]"]


@pytest.fixture
def transformed(tmp_path: Path) -> str:
    """Transformed examples of 12 images of 8 x 8 pixels, a brightness for each class."""
    random = np.random.default_rng(0)
    file = str(tmp_path / "examples.gz")
    with tf.io.TFRecordWriter(file, tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for number in range(12):
            label = number % 4
            pixels = random.integers(60 * label, 60 * label + 20, (8, 8, 1), np.uint8)
            example = tf.train.Example()
            example.features.feature[IMAGE_XF].bytes_list.value.append(
                tf.io.encode_png(pixels).numpy()
            )
            example.features.feature[LABEL].int64_list.value.append(label)
            writer.write(example.SerializeToString())
    return file


def _search_of_an_svm(folder: Path, examples: str) -> ClassifierTuner:
    """Runs the whole search, with one epoch a trial."""
    settings = SvmSettings(
        preprocessing=PreprocessingSettings(size=8),
        training=TrainingSettings(epochs=1, schedule="constant"),
    )
    found = tuner_fn(
        FnArgs(
            train_files=[examples],
            eval_files=[examples],
            working_dir=str(folder / "tuner"),
            custom_config={"model": "svm", "settings": settings.model_dump_json(), "seed": 1},
        )
    )
    found.tuner.search(**found.fit_kwargs)
    return found.tuner


def test_the_svm_is_searched_over_the_papers_grid(tmp_path: Path, transformed: str) -> None:
    tuner = _search_of_an_svm(tmp_path, transformed)
    trials = list(tuner.oracle.trials.values())
    tried = {(trial.hyperparameters["c"], trial.hyperparameters["epsilon"]) for trial in trials}
    assert tried == set(itertools.product(PAPER_C, PAPER_EPSILON))
    best = tuner.oracle.get_best_trials(1)[0]
    assert best.score == max(trial.score for trial in trials)
    assert tuner.get_best_hyperparameters()[0].values == best.hyperparameters.values


def test_settings_that_diverge_do_not_end_the_search(
    tmp_path: Path, transformed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three step sizes are absurd, and more than three trials in a row begin with them."""
    monkeypatch.setattr("models.tuner.PAPER_EPSILON", (1e38, 1e37, 1e-4))
    tuner = _search_of_an_svm(tmp_path, transformed)
    scores = [
        (trial.hyperparameters["epsilon"], trial.score) for trial in tuner.oracle.trials.values()
    ]
    assert len(scores) == 9
    assert any(score == 0 for epsilon, score in scores if epsilon > 1)
    assert tuner.get_best_hyperparameters()[0]["epsilon"] == 1e-4


@pytest.mark.parametrize(
    ("name", "settings"),
    [("svm", SvmSettings()), ("mlp", MlpSettings()), ("coronet", CoronetSettings())],
)
def test_tfx_can_ask_each_oracle_for_its_best_trials(
    name: str, settings: ClassifierSettings, tmp_path: Path, transformed: str
) -> None:
    found = tuner_fn(
        FnArgs(
            train_files=[transformed],
            eval_files=[transformed],
            working_dir=str(tmp_path / "tuner"),
            custom_config={"model": name, "settings": settings.model_dump_json(), "seed": 1},
        )
    )
    # As TFX's Tuner does when the search is over: Hyperband's own limit is None.
    oracle = found.tuner.oracle
    assert oracle.get_best_trials(oracle.max_trials) == []
