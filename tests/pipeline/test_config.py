"""The configuration: layers, validation, and errors that name the mistake."""

from pathlib import Path

import pytest

from models.errors import InputError
from models.features import GATE_ACCURACY
from pipeline.config import PRESETS, Config, load


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid_and_survives_yaml(preset: str, tmp_path: Path) -> None:
    config = load(preset)
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml())
    assert load(file=file) == config


def test_paper_preset_holds_the_papers_values() -> None:
    config = load("paper")
    assert config.gate.accuracy == GATE_ACCURACY == 0.80065
    assert (config.svm.c, config.svm.epsilon, config.svm.training.epochs) == (0.1, 1e-4, 100)
    assert config.mlp.hidden == (512, 512)
    assert config.mlp.training.learning_rate == 1e-4
    assert config.mlp.training.epochs == 500
    assert config.coronet.training.learning_rate == 0.1
    assert config.coronet.training.epochs == 200
    assert config.coronet.augmentation.rotation_degrees == 20
    assert config.coronet.dense_units == 1024


def test_layers_override_in_order(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("coronet: {training: {epochs: 7, learning_rate: 1e-4}}\n")
    config = load("paper", file, ["coronet.training.epochs=9", "models=[coronet, svm]"])
    assert config.coronet.training.epochs == 9
    assert config.coronet.training.learning_rate == 1e-4
    assert config.coronet.dropout == load("paper").coronet.dropout
    assert config.models == ("svm", "coronet")


def test_a_file_that_says_nothing_leaves_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("# nothing yet\n")
    assert load(file=tmp_path / "own.yaml") == load()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("coronet.trainin.epochs=3", "did you mean 'coronet.training'"),
        ("seeed=3", "did you mean 'seed'"),
        ("coronet.epochs=3", "did you mean 'coronet.training.epochs'"),
        ("coronet.epocs=3", "did you mean 'coronet.training.epochs'"),
        ("svm.preprocessing.clip=3", "did you mean 'svm.preprocessing.clip_limit'"),
        ("training.epochs=3", "'svm.training' or 'mlp.training' or 'coronet.training'"),
        ("coronet.accuracy=0.9", "did you mean 'gate.accuracy'"),
        ("qqq=3", "known: artifacts, beam, coronet"),
        ("metadata.x=3", "known: backend, database, host, port, user"),
        ("coronet.training.epochs=0", "coronet.training.epochs"),
        ("coronet.training.epochs=many", "coronet.training.epochs"),
        ("preprocessing.method=E", "preprocessing.method"),
        ("preprocessing.tile_grid=[8]", "preprocessing.tile_grid"),
        ("preprocessing.tile_grid=[8, 257]", "preprocessing.tile_grid.1"),
        ("models=[cnn]", "models.0"),
        ("models=[]", "at least one of svm, mlp, coronet"),
        ("gate.accuracy=1.5", "gate.accuracy"),
        ("coronet.training.epochs", "takes key=value"),
        ("=3", "takes key=value"),
        ("mlp.hidden=[8,", "not a YAML value"),
        ("mlp.activations=[relu, relu, relu]", "2 hidden layers"),
        ("beam.options=[workers]", "starts with --"),
        ("name=Not A Name", "name"),
        ("seed=-1", "seed: .*greater than or equal to 0"),
        ("beam.workers=-1", "beam.workers: .*greater than or equal to 0"),
        ("kubeflow.retries=-1", "kubeflow.retries: .*greater than or equal to 0"),
        ("kubeflow.trainer_gpus=-1", "kubeflow.trainer_gpus: .*greater than or equal to 0"),
        ("seed=2147483648", "seed: .*less than 2147483648"),
        ("coronet.training.learning_rate=.inf", "coronet.training.learning_rate: .*finite"),
        ("gate.max_edge_drop=.nan", "gate.max_edge_drop: .*finite"),
        ("data.splits={train: .nan, eval: 16, test: 20}", "data.splits.train: .*finite"),
    ],
)
def test_a_mistake_is_named(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        load(overrides=[override])


def test_unknown_preset_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose from sample, paper, best"):
        load("papers")
    with pytest.raises(InputError, match="cannot read the configuration"):
        load(file=tmp_path / "missing.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with pytest.raises(InputError, match="is not YAML"):
        load(file=broken)
    broken.write_text("- a list\n")
    with pytest.raises(InputError, match="found a list"):
        load(file=broken)
    broken.write_text("!!python/object/apply:os.system ['true']\n")
    with pytest.raises(InputError, match="is not YAML"):
        load(file=broken)


def test_classifier_inherits_the_common_preprocessing() -> None:
    config = load(overrides=["preprocessing.method=D", "mlp.preprocessing={method: B}"])
    assert config.classifier("svm").preprocessing == config.preprocessing
    assert config.classifier("mlp").preprocessing is not None
    assert config.classifier("mlp").preprocessing != config.preprocessing


def test_default_is_hashable_by_value() -> None:
    assert Config().preprocessing == load().preprocessing
    assert hash(Config().preprocessing) == hash(load().preprocessing)
