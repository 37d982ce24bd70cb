"""Settings of the classifiers: what a part of a section leaves out, and what is refused."""

import pytest
from pydantic import ValidationError

from models.settings import CoronetSettings, MlpSettings, SvmSettings


@pytest.mark.parametrize("kind", [SvmSettings, MlpSettings, CoronetSettings])
def test_one_knob_of_a_section_leaves_the_classifiers_others(kind: type) -> None:
    default = kind()
    changed = kind.model_validate({"training": {"class_weights": True}})
    expected = default.training.model_copy(update={"class_weights": True})
    assert changed == default.model_copy(update={"training": expected})
    flipped = kind.model_validate({"augmentation": {"flip": False}})
    assert flipped.augmentation == default.augmentation.model_copy(update={"flip": False})


@pytest.mark.parametrize("section", ["training", "augmentation"])
def test_an_unknown_knob_is_still_refused(section: str) -> None:
    with pytest.raises(ValidationError, match="nonsense"):
        MlpSettings.model_validate({section: {"nonsense": 1}})


@pytest.mark.parametrize("knob", ["label_smoothing", "mixup_alpha", "ema_momentum"])
def test_knobs_that_the_svm_has_not_are_refused(knob: str) -> None:
    with pytest.raises(ValidationError, match=f"{knob} has no meaning"):
        SvmSettings.model_validate({"training": {knob: 0.5}})
