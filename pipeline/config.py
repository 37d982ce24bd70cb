"""The one configuration object: every knob of a run, validated before anything runs.

A configuration is a preset, then a YAML file, then `--set key=value` pairs, each layer
over the one before. It is stored with the run as `config.yaml`, which is itself a valid
`--config` file.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, PositiveInt, ValidationError, field_validator

from components.edge_exporter.settings import EdgeSettings
from components.evaluation.settings import GateSettings
from components.ingestion.settings import DataSettings
from models.errors import InputError
from models.features import MODEL_NAMES
from models.settings import (
    ClassifierSettings,
    CoronetSettings,
    MlpSettings,
    PreprocessingSettings,
    Settings,
    SvmSettings,
)

PRESETS = ("sample", "paper", "best")
_PRESET_FOLDER = Path(__file__).with_name("presets")


class BeamSettings(Settings):
    """Where Beam runs (ingestion, statistics, Transform, evaluation).

    Attributes:
        runner: the Beam runner; `direct` is one process, `multiprocess` the same on all cores;
            `auto` is the latter for data that repays the start of its processes.
        workers: processes or remote workers; 0 takes one a core.
        options: further Beam pipeline options, as `--name=value`.
    """

    runner: Literal["auto", "direct", "multiprocess", "flink", "spark", "dataflow"] = "auto"
    workers: int = Field(default=0, ge=0)
    options: tuple[str, ...] = ()

    @field_validator("options")
    @classmethod
    def _are_flags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for option in value:
            if not option.startswith("--"):
                raise ValueError(f"a Beam option starts with --; received {option!r}")
        return value


class MetadataSettings(Settings):
    """Where ML Metadata lives: a SQLite file in the output folder, or a MySQL server.

    The password is read from the environment variable `CORONET_METADATA_PASSWORD` when the
    store is opened, so that it is in no file and no log.
    """

    backend: Literal["sqlite", "mysql"] = "sqlite"
    host: str = "localhost"
    port: PositiveInt = 3306
    database: str = "coronet"
    user: str = "coronet"


class KubeflowSettings(Settings):
    """What only a cluster needs: the image of every node, and the Trainer's resources.

    Attributes:
        image: container image with tag, built from `kubeflow/Dockerfile`.
        cpu_limit, memory_limit: of every node, in Kubernetes's notation.
        trainer_gpus: accelerators of each Trainer; 0 trains on CPU.
        gpu_type: the accelerator's resource name.
        retries: times a failed node is tried again.
    """

    image: str = "coronet:0.1.0"
    cpu_limit: str = "2"
    memory_limit: str = "8G"
    trainer_gpus: int = Field(default=0, ge=0)
    gpu_type: str = "nvidia.com/gpu"
    retries: int = Field(default=2, ge=0)


class Config(Settings):
    """Everything that a run depends on.

    Attributes:
        name: the pipeline's name in ML Metadata; runs share a cache within a name.
        models: which of the three classifiers to train; the best that passes is pushed.
        tune: for which of them a Tuner searches hyperparameters before the training.
        seed: of weights, shuffling and augmentation.
        preprocessing: of every classifier that does not set its own.
        artifacts: where the nodes of a local run write, as an absolute path or a URL such as
            gs://bucket/folder; empty is the output folder. Beam workers on other machines
            need one that they reach too. Several output folders may share one. (On
            Kubeflow it is below the output root.)
    """

    name: str = Field(default="coronet", pattern=r"^[a-z][a-z0-9-]{0,62}$")
    models: tuple[Literal["svm", "mlp", "coronet"], ...] = MODEL_NAMES
    tune: tuple[Literal["svm", "mlp", "coronet"], ...] = ()
    seed: int = Field(default=2020, ge=0, lt=2**31)
    data: DataSettings = DataSettings()
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    svm: SvmSettings = SvmSettings()
    mlp: MlpSettings = MlpSettings()
    coronet: CoronetSettings = CoronetSettings()
    gate: GateSettings = GateSettings()
    edge: EdgeSettings = EdgeSettings()
    beam: BeamSettings = BeamSettings()
    metadata: MetadataSettings = MetadataSettings()
    kubeflow: KubeflowSettings = KubeflowSettings()
    artifacts: str = Field(default="", pattern=r"^(/|[a-z][a-z0-9+.-]*://|$)")

    @field_validator("models")
    @classmethod
    def _at_least_one_in_order(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError(f"name at least one of {', '.join(MODEL_NAMES)}")
        return tuple(name for name in MODEL_NAMES if name in value)

    def classifier(self, model: str) -> ClassifierSettings:
        """Returns the settings of `model`, its preprocessing filled in from the common one."""
        settings: ClassifierSettings = getattr(self, model)
        if settings.preprocessing is None:
            settings = settings.model_copy(update={"preprocessing": self.preprocessing})
        return settings

    def to_yaml(self) -> str:
        """Returns the configuration as YAML that `load` reads back unchanged."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def load(
    preset: str | None = None, file: Path | None = None, overrides: Iterable[str] = ()
) -> Config:
    """Builds the configuration from its three layers.

    Args:
        preset: one of `PRESETS`; None starts from the defaults: the paper's, with
            one preprocessing for all; `paper` has each classifier's own.
        file: a YAML file of the same structure.
        overrides: `key=value` pairs such as `coronet.training.epochs=5`; the value is YAML.

    Raises:
        InputError: an unknown preset or key (with the nearest known name), a value out of
            its range, or a file that is not YAML.
    """
    values: dict[str, Any] = {}
    if preset is not None:
        if preset not in PRESETS:
            raise InputError(f"no preset {preset!r}: choose from {', '.join(PRESETS)}")
        values = _read_yaml(_PRESET_FOLDER / f"{preset}.yaml")
    if file is not None:
        values = _merge(values, _read_yaml(file))
    for override in overrides:
        values = _merge(values, _parse_override(override))
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise InputError(_explain(error)) from error


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the configuration {file}: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{file} is not YAML: {error}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise InputError(f"{file} must hold `key: value` pairs, found a {type(loaded).__name__}")
    return loaded


def _parse_override(override: str) -> dict[str, Any]:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise InputError(
            f"--set takes key=value, as in coronet.training.epochs=5; received {override!r}"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {key}: {text!r} is not a YAML value: {error}") from error
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    return value


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def _explain(error: ValidationError) -> str:
    """One line a mistake: where it is, what is wrong, and the nearest known name."""
    lines = []
    for mistake in error.errors():
        place = ".".join(str(part) for part in mistake["loc"])
        if mistake["type"] == "extra_forbidden":
            lines.append(f"unknown key {place!r}: {_hint(mistake['loc'])}")
        else:
            reason = mistake["msg"].removeprefix("Value error, ")
            lines.append(f"{place}: {reason} (received {mistake['input']!r})")
    return "the configuration is not valid:\n  " + "\n  ".join(lines)


def _hint(unknown: tuple[int | str, ...]) -> str:
    """Where the key that was meant is: under that name anywhere, else below under one like it."""
    *place, last = map(str, unknown)
    section = _section(place)
    below = {".".join([*place, key]): key.rpartition(".")[2] for key in _keys(section)}
    anywhere = {key: key.rpartition(".")[2] for key in _keys(Config)}
    near = difflib.get_close_matches(last, sorted(set(below.values())), n=1, cutoff=0.55)
    for keys, name in ((below, last), (anywhere, last), (below, "".join(near))):
        if meant := [key for key, its_name in keys.items() if its_name == name]:
            return f"did you mean {' or '.join(map(repr, meant))}?"
    return f"known: {', '.join(sorted(section.model_fields))}"


def _section(place: Iterable[str]) -> type[BaseModel]:
    section: type[BaseModel] = Config
    for part in place:
        section = next(_sections(section, part))
    return section


def _sections(section: type[BaseModel], name: str) -> Iterator[type[BaseModel]]:
    """The section that the key `name` holds, if it holds one; it may be optional."""
    annotation = section.model_fields[name].annotation
    for item in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(item, type) and issubclass(item, BaseModel):
            yield item


def _keys(section: type[BaseModel]) -> Iterator[str]:
    """Every key of `section` and of what is in it, with dots."""
    for name in section.model_fields:
        yield name
        for inner in _sections(section, name):
            yield from (f"{name}.{key}" for key in _keys(inner))
