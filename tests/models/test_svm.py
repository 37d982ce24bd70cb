"""The SVM against the paper's equations, worked out by hand, and against scikit-learn."""

import keras
import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

from models.data import Split
from models.settings import AugmentationSettings, SvmSettings, TrainingSettings
from models.svm import OneAgainstAllHinge, build_svm, decaying_step
from models.svm_steps import RowByRow, step_by_step
from models.training import Job, compiled_network, fit

C, EPSILON, EPOCHS = 0.1, 0.01, 5


def _by_the_equations(
    images: np.ndarray, labels: np.ndarray, epsilon: float, kernel: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One epoch of the paper's loop, as printed but for what `models.svm` resolves.

    Args: images [N, D], labels [N], kernel [D, classes], bias [classes]; all float64.
    """
    w, b = kernel.copy(), bias.copy()
    for x, label in zip(images, labels, strict=True):
        for focus in range(w.shape[1]):
            y = 1.0 if label == focus else -1.0
            if 1 - y * (w[:, focus] @ x + b[focus]) > 0:
                w[:, focus] -= epsilon * (w[:, focus] / EPOCHS - C * y * x)  # 3.1
                b[focus] += epsilon * C * y  # 3.2, resolved
            else:
                w[:, focus] -= epsilon * w[:, focus] / EPOCHS  # 3.3
    return w, b


def test_one_update_by_hand() -> None:
    # x = (1, 0.5), label 0. Column 0: margin 1 - (0.4 + 0.1) = 0.5 > 0, eq. 3.1 and 3.2:
    #   w = (0.2, 0.4) - 0.01 ((0.2, 0.4) / 5 - 0.1 (1, 0.5)) = (0.2006, 0.3997)
    #   b = 0.1 + 0.01 * 0.1 = 0.101
    # Column 1: y = -1, score -3, margin 1 - 3 < 0, eq. 3.3: w = (-2, -2)(1 - 0.002), b stays.
    network = build_svm((1, 2), classes=2, epochs=EPOCHS)
    network.set_weights([np.array([[0.2, -2.0], [0.4, -2.0]]), np.array([0.1, 0.0])])
    network.compile(keras.optimizers.SGD(EPSILON), OneAgainstAllHinge(C))
    network.train_on_batch(np.array([[[[1.0], [0.5]]]]), np.array([[1.0, 0.0]]))
    kernel, bias = network.get_weights()
    np.testing.assert_allclose(kernel, [[0.2006, -1.996], [0.3997, -1.996]], rtol=1e-6)
    np.testing.assert_allclose(bias, [0.101, 0.0], rtol=1e-6, atol=1e-9)


def test_a_point_exactly_on_its_margin_only_shrinks() -> None:
    network = build_svm((1, 1), classes=1, epochs=EPOCHS)
    network.set_weights([np.array([[1.0]]), np.array([0.0])])
    network.compile(keras.optimizers.SGD(EPSILON), OneAgainstAllHinge(C))
    network.train_on_batch(np.array([[[[1.0]]]]), np.array([[1.0]]))
    kernel, bias = network.get_weights()
    assert kernel[0, 0] == pytest.approx(1 - EPSILON / EPOCHS)
    assert bias[0] == 0


def test_an_epoch_of_single_images_follows_the_equations() -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.random((40, 3, 4, 1)), rng.integers(0, 4, 40)
    network = build_svm((3, 4), epochs=EPOCHS)
    network.set_weights([rng.normal(0, 0.3, (12, 4)), rng.normal(0, 0.3, 4)])
    kernel, bias = (weights.astype(float) for weights in network.get_weights())
    network.compile(keras.optimizers.SGD(EPSILON), OneAgainstAllHinge(C))
    network.fit(images, np.eye(4)[labels], batch_size=1, epochs=1, shuffle=False, verbose=0)
    expected = _by_the_equations(images.reshape(40, 12), labels, EPSILON, kernel, bias)
    for found, by_hand in zip(network.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-6)


def test_steps_in_one_call_follow_the_equations() -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.random((40, 3, 4, 1)), rng.integers(0, 4, 40)
    kernel, bias = rng.normal(0, 0.3, (12, 4)), rng.normal(0, 0.3, 4)
    arrays = (kernel, bias, images, np.eye(4)[labels], np.ones(40), np.array(EPSILON))
    found = step_by_step(*(array.astype(np.float32) for array in arrays), c=C, epochs=EPOCHS)
    expected = _by_the_equations(images.reshape(40, 12), labels, EPSILON, kernel, bias)
    for ours, by_hand in zip(found[:2], expected, strict=True):
        np.testing.assert_allclose(ours, by_hand, rtol=1e-4, atol=1e-6)


def test_a_point_on_its_margin_only_shrinks_in_one_call_too() -> None:
    one = np.ones((1, 1), np.float32)
    arrays = (one, np.zeros(1, np.float32), one, one, one[0], np.array(0.5))
    found = step_by_step(*arrays, c=C, epochs=EPOCHS)
    np.testing.assert_allclose([found[0].item(), found[1].item()], [0.9, 0.0])


def test_rows_in_one_call_are_keras_steps_of_one_image() -> None:
    """Weights, loss, accuracy and the rate's decay, with images of unequal weight."""
    rng = np.random.default_rng(4)
    images = rng.random((30, 3, 4, 1), np.float32)
    labels = np.eye(4, dtype=np.float32)[rng.integers(0, 4, 30)]
    weights = rng.uniform(0.2, 3, 30).astype(np.float32)
    start = [rng.normal(0, 0.3, (12, 4)), rng.normal(0, 0.3, 4)]

    def after_two_epochs(network: keras.Model, batch_size: int) -> tuple[list, dict]:
        network.set_weights(start)
        network.compile(
            keras.optimizers.SGD(decaying_step(EPSILON, 30 // batch_size)),
            OneAgainstAllHinge(C),
            metrics=["accuracy"],
        )
        history = network.fit(
            images,
            labels,
            sample_weight=weights,
            batch_size=batch_size,
            epochs=2,
            shuffle=False,
            verbose=0,
        )
        return network.get_weights(), history.history

    expected, expected_history = after_two_epochs(build_svm((3, 4), epochs=EPOCHS), 1)
    rows = RowByRow(build_svm((3, 4), epochs=EPOCHS), EPOCHS)
    found, history = after_two_epochs(rows, 10)
    for ours, keras_own in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-4, atol=1e-6)
    assert history.keys() == expected_history.keys()
    for name, values in history.items():
        np.testing.assert_allclose(values, expected_history[name], rtol=1e-5)


def test_epsilon_is_divided_by_the_number_of_the_epoch() -> None:
    rate = decaying_step(0.6, steps_per_epoch=10)
    found = [float(rate(step)) for step in (0, 9, 10, 19, 20)]
    np.testing.assert_allclose(found, [0.6, 0.6, 0.3, 0.3, 0.2], rtol=1e-6)


def test_training_starts_at_zero_with_the_equations_rate_and_penalty() -> None:
    settings = SvmSettings(c=C, epsilon=EPSILON, training=TrainingSettings(epochs=EPOCHS))
    network = compiled_network(settings, (3, 4), steps_per_epoch=10)
    assert all(not weights.any() for weights in network.get_weights())
    assert float(network.optimizer.learning_rate) == pytest.approx(EPSILON)
    assert network.get_layer("margins").kernel_regularizer.l2 == pytest.approx(1 / (2 * EPOCHS))


def test_a_converged_solution_is_as_accurate_as_scikit_learns(tmp_path) -> None:
    rng = np.random.default_rng(1)
    prototypes = rng.integers(60, 196, (4, 8, 8, 1))

    def draw(count: int) -> Split:
        labels = rng.integers(0, 4, count)
        noisy = prototypes[labels] + rng.normal(0, 110, (count, 8, 8, 1))
        return Split(np.clip(noisy, 0, 255).astype(np.uint8), labels)

    training, held_out = draw(300), draw(400)
    epochs, c = 25, 1.0
    settings = SvmSettings(
        c=c,
        epsilon=0.01,
        training=TrainingSettings(epochs=epochs, save_best="last"),
        augmentation=AugmentationSettings(enabled=False),
    )
    fitted = fit(Job("svm", settings, 3, str(tmp_path)), training, held_out)
    kernel, bias = fitted.weights
    flat = held_out.images.reshape(len(held_out), -1) / 255
    ours = np.mean(np.argmax(flat @ kernel + bias, axis=1) == held_out.labels)
    # J / C is scikit-learn's objective with alpha = 1 / (C epochs) for |w|^2 / 2.
    oracle = SGDClassifier(loss="hinge", alpha=1 / (c * epochs), max_iter=300, random_state=0)
    oracle.fit(training.images.reshape(len(training), -1) / 255, training.labels)
    theirs = oracle.score(flat, held_out.labels)
    assert theirs > 0.6  # the problem can be learned, and not without mistakes
    assert ours > theirs - 0.05
