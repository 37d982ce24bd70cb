"""What TFX's Tuner calls: KerasTuner over each classifier's own search space.

The SVM's is the paper's grid over C and epsilon (the table of section III.A.4), the MLP's
the width of its hidden layers; CORONet's (learning rate, dropout, augmentation strength,
and the dense layer's 256 or 1024 units of section III.C.3) is searched by Hyperband, which
gives many short trials and lets the better ones train longer.
"""

import os
from typing import Any

import keras_tuner
from pydantic import ValidationError
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.v1.components import TunerFnResult

from models.backends import SETTINGS, train
from models.data import Split, load_split
from models.errors import DivergedError
from models.features import EVAL_SPLIT, TRAIN_SPLIT
from models.hyperparameters import AUGMENTATION_STRENGTH, with_hyperparameters
from models.settings import ClassifierSettings, CoronetSettings, MlpSettings, SvmSettings
from models.training import Job

OBJECTIVE = "val_accuracy"
PAPER_C = (0.1, 0.01, 0.001)
PAPER_EPSILON = (0.001, 0.0001, 0.00001)
MLP_UNITS = (128, 256, 512, 1024)
CORONET_DENSE_UNITS = (256, 1024)
AUGMENTATION_STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
_MOST_TRIALS = 1000


class ClassifierTuner(keras_tuner.Tuner):
    """Trains a classifier a trial, in the loop that the Trainer uses too."""

    def __init__(self, name: str, settings: ClassifierSettings, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._name = name
        self._settings = settings
        self._training_seed = seed

    def run_trial(
        self,
        trial: keras_tuner.engine.trial.Trial,
        training_split: Split,
        evaluation_split: Split,
    ) -> dict[str, float]:
        """Returns the validation accuracy of the epoch whose weights were kept.

        That of settings that diverge is 0, the worst there is: a failed trial would leave
        Hyperband too few to choose from, and three in a row would end the search.
        """
        settings = with_hyperparameters(self._settings, trial.hyperparameters.values, trial=True)
        folder = os.path.join(self.project_dir, f"trial_{trial.trial_id}", "run")
        job = Job(self._name, settings, self._training_seed, run_folder=folder)
        try:
            _, fitted = train(job, training_split, evaluation_split)
        except DivergedError as error:
            print(error, flush=True)
            return {OBJECTIVE: 0.0}
        return {OBJECTIVE: fitted.history[OBJECTIVE][fitted.best_epoch - 1]}


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Sets up the search, for `tfx.components.Tuner`.

    Args:
        fn_args: of TFX; `custom_config` as for `models.trainer.run_fn`.
    """
    config = fn_args.custom_config
    name: str = config["model"]
    settings = SETTINGS[name].model_validate_json(config["settings"])
    tuner = ClassifierTuner(
        name,
        settings,
        config["seed"],
        oracle=_oracle(settings, config["seed"]),
        directory=fn_args.working_dir,
        project_name=f"tune-{name}",
    )
    return TunerFnResult(
        tuner=tuner,
        fit_kwargs={
            "training_split": load_split(fn_args.train_files, TRAIN_SPLIT),
            "evaluation_split": load_split(fn_args.eval_files, EVAL_SPLIT),
        },
    )


def search_space(settings: ClassifierSettings) -> keras_tuner.HyperParameters:
    """Returns what is tuned, by the dotted names of `settings`."""
    space = keras_tuner.HyperParameters()
    if isinstance(settings, SvmSettings):
        space.Choice("c", list(PAPER_C))
        space.Choice("epsilon", list(PAPER_EPSILON))
    elif isinstance(settings, MlpSettings):
        layers = len(settings.hidden)
        # Without hidden layers there is one choice.
        widths = dict.fromkeys(str([units] * layers) for units in MLP_UNITS)
        space.Choice("hidden", list(widths))
    elif isinstance(settings, CoronetSettings):
        rate = settings.training.learning_rate
        space.Float("training.learning_rate", rate / 10, rate * 10, sampling="log")
        space.Float("dropout", 0.2, 0.7, step=0.1)
        space.Choice("dense_units", list(CORONET_DENSE_UNITS))
        if settings.augmentation.enabled:
            strengths = [one for one in AUGMENTATION_STRENGTHS if _augments(settings, one)]
            space.Choice(AUGMENTATION_STRENGTH, strengths)
    else:
        raise TypeError(f"settings of no classifier: {type(settings).__name__}")
    return space


def _augments(settings: CoronetSettings, strength: float) -> bool:
    """Whether `strength` leaves every range of the augmentation within its bounds."""
    try:
        with_hyperparameters(settings, {AUGMENTATION_STRENGTH: strength})
    except ValidationError:
        return False
    return True


def _oracle(settings: ClassifierSettings, seed: int) -> keras_tuner.Oracle:
    objective = keras_tuner.Objective(OBJECTIVE, direction="max")
    space = search_space(settings)
    if isinstance(settings, CoronetSettings):
        oracle = keras_tuner.oracles.HyperbandOracle(
            objective, max_epochs=settings.training.epochs, seed=seed, hyperparameters=space
        )
        # Hyperband ends by itself and sets no limit; but TFX asks the oracle for its
        # `max_trials` best trials, and None is no number.
        oracle.max_trials = _MOST_TRIALS
        return oracle
    return keras_tuner.oracles.GridSearchOracle(
        objective, max_trials=_MOST_TRIALS, seed=seed, hyperparameters=space
    )
