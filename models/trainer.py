"""What TFX's Trainer calls."""

import os
from typing import Any

import keras
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from models.backends import SETTINGS, train
from models.calibration import fit_temperature
from models.callbacks import write_json
from models.classifier import as_classifier
from models.data import Split, evaluation_batches, load_split
from models.devices import share_gpus
from models.features import (
    CLASSES,
    CLASSIFIER_FILE,
    DESCRIPTION_FILE,
    EVAL_SPLIT,
    HISTORY_FILE,
    TRAIN_SPLIT,
)
from models.hyperparameters import with_hyperparameters
from models.preprocessing import resolve
from models.pretrained import load_pretrained
from models.settings import CoronetSettings, SvmSettings
from models.signatures import ServingModel, export
from models.training import Job


def run_fn(fn_args: FnArgs) -> None:
    """Trains a classifier and writes it, for `tfx.components.Trainer`.

    The `model` artifact gets the SavedModel, `classifier.keras` (the Keras model alone, for
    the edge build) and, last, `model.json` (what it is). The `model_run` artifact gets
    `history.json` and TensorBoard's event files.

    Args:
        fn_args: of TFX. In `custom_config`, `model`: svm, mlp or coronet; `settings`: JSON
            of that classifier's settings, preprocessing included; `seed`: int;
            `pretrained_digest`: of the file that those settings may name. Values in
            `hyperparameters`, which a Tuner found, go over the settings.

    Raises:
        InputError: an empty split, or settings that cannot be trained.
    """
    config = fn_args.custom_config
    name: str = config["model"]
    settings = SETTINGS[name].model_validate_json(config["settings"])
    tuned = fn_args.hyperparameters["values"] if fn_args.hyperparameters else {}
    settings = with_hyperparameters(settings, tuned)
    if settings.preprocessing is None:
        raise ValueError("the Trainer's settings must say how the images were preprocessed")
    share_gpus()
    training_split = load_split(fn_args.train_files, TRAIN_SPLIT)
    evaluation_split = load_split(fn_args.eval_files, EVAL_SPLIT)
    checkpoints = _checkpoint_folder(fn_args.model_run_dir, name)
    job = Job(name, settings, config["seed"], fn_args.model_run_dir, checkpoints)
    if isinstance(settings, CoronetSettings) and settings.pretrained:
        network, fitted = load_pretrained(settings, training_split.size)
        # The artifact has a history, of no epoch: whoever reads it need not know why.
        tf.io.gfile.makedirs(fn_args.model_run_dir)
        write_json(os.path.join(fn_args.model_run_dir, HISTORY_FILE), fitted.history)
    else:
        network, fitted = train(job, training_split, evaluation_split)

    temperature = None
    if isinstance(settings, SvmSettings):
        temperature = _temperature(network, evaluation_split)
    classifier = as_classifier(network, temperature)
    preprocessing = resolve(settings.preprocessing, training_split.size)
    flip_at_test = settings.training.flip_at_test
    export(ServingModel(classifier, preprocessing, flip_at_test), fn_args.serving_model_dir)
    model_folder = os.path.dirname(fn_args.serving_model_dir)
    classifier.save(os.path.join(model_folder, CLASSIFIER_FILE))
    description: dict[str, Any] = {
        "name": name,
        "classes": list(CLASSES),
        "preprocessing": preprocessing.to_dict(),
        "flip_at_test": flip_at_test,
        "temperature": temperature,
        "parameters": classifier.count_params(),
        "training_images": len(training_split),
        "training_images_per_class": dict(zip(CLASSES, training_split.class_counts, strict=True)),
        "evaluation_images": len(evaluation_split),
        "best_epoch": fitted.best_epoch,
        "batch_norm_recalibrated": fitted.recalibrated,
        "epochs": len(fitted.history.get("epoch", [])),
        "images_per_second": round(fitted.images_per_second, 2),
        "backend": settings.training.backend,
        "pretrained": config.get("pretrained_digest", ""),
        "tuned": tuned,
        "seed": config["seed"],
    }
    write_json(os.path.join(model_folder, DESCRIPTION_FILE), description)
    if tf.io.gfile.exists(checkpoints):
        tf.io.gfile.rmtree(checkpoints)


def _temperature(network: keras.Model, split: Split) -> float:
    """Calibrates raw scores on images that were not trained on."""
    scores = network.predict(evaluation_batches(split), verbose=0)
    return fit_temperature(scores, split.labels)


def _checkpoint_folder(model_run_folder: str, name: str) -> str:
    """A folder that stays the same when TFX runs the node again after a crash.

    `model_run_folder` is `<root>/<node>/model_run/<execution>`, another one each time. On
    Kubeflow it is `<root>/<task>/model_run`: what is two above belongs to all Trainers, which
    run at the same time; hence the name of the model.
    """
    node = os.path.dirname(os.path.dirname(model_run_folder.rstrip("/")))
    return os.path.join(node, f"checkpoint-{name}")
