"""Training throughput of CORONet, against the same architecture in plain PyTorch.

    pip install torch        # and jax, if it is to be compared too; neither is in the lock
    python benchmarks/train_step.py [--size 200] [--batch 16] [--steps 6] [--rounds 2]

Every variant is a process of its own, so that no two thread pools meet; rounds take turns,
so that a busy machine is busy for all. Ours includes the input pipeline with augmentation;
PyTorch gets one batch that is already there. The best round of each counts.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from statistics import median

KERAS = {
    "keras tensorflow float32": ("tensorflow", "float32"),
    "keras tensorflow bfloat16": ("tensorflow", "mixed_bfloat16"),
    "keras torch float32": ("torch", "float32"),
    "keras torch bfloat16": ("torch", "mixed_bfloat16"),
    "keras jax float32": ("jax", "float32"),
}
PYTORCH = {
    "pytorch float32": (False, False),
    "pytorch float32 channels-last": (True, False),
    "pytorch bfloat16 channels-last": (True, True),
}
REFERENCE = "pytorch float32 channels-last"
WARM_UP = 2  # steps that trace, compile and allocate


def measure_keras(precision: str, size: int, batch: int, steps: int) -> dict[str, float]:
    """Trains with our network, optimizer and input pipeline, on the backend of the process."""
    import numpy as np

    from models.data import Split, training_batches
    from models.settings import AugmentationSettings, CoronetSettings, TrainingSettings
    from models.training import compiled_network

    rng = np.random.default_rng(0)
    count = batch * (steps + WARM_UP)
    images = rng.integers(0, 256, (count, size, size, 1)).astype(np.uint8)
    split = Split(images, rng.integers(0, 4, count))
    training = TrainingSettings(epochs=1, batch_size=batch, precision=precision)
    network = compiled_network(CoronetSettings(training=training), (size, size), steps)
    batches = iter(training_batches(split, training, AugmentationSettings(), seed=0))
    waits, durations = [], []
    for _ in range(steps + WARM_UP):
        begin = time.perf_counter()
        data = next(batches)
        ready = time.perf_counter()
        network.train_on_batch(*data)
        durations.append(time.perf_counter() - begin)
        waits.append(ready - begin)
    waited = sum(waits[WARM_UP:]) / sum(durations[WARM_UP:])
    return {"images_per_second": batch / median(durations[WARM_UP:]), "input_wait": waited}


def measure_pytorch(
    channels_last: bool, bfloat16: bool, size: int, batch: int, steps: int
) -> dict[str, float]:
    """Trains figure 14 in plain PyTorch on one batch."""
    import torch

    torch.manual_seed(0)
    network = build_pytorch(size)
    images, labels = torch.rand(batch, 1, size, size), torch.randint(0, 4, (batch,))
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    durations = []
    for _ in range(steps + WARM_UP):
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = network(images)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        durations.append(time.perf_counter() - begin)
    parameters = sum(tensor.numel() for tensor in network.parameters())
    return {
        "images_per_second": batch / median(durations[WARM_UP:]),
        "trainable_parameters": parameters,
    }


def build_pytorch(size: int):
    """Figure 14 as a PyTorch module: float32 [B, 1, size, size] to logits [B, 4]."""
    import torch
    from torch import nn

    def convolution(inputs: int, filters: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, filters, kernel, stride, padding=kernel // 2),
            nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01),
        )

    class Block(nn.Module):
        def __init__(self, inputs: int, filters: tuple[int, int, int], stride: int, conv: bool):
            super().__init__()
            self.narrow = nn.Sequential(
                convolution(inputs, filters[0], stride=stride),
                nn.LeakyReLU(0.3, inplace=True),
                convolution(filters[0], filters[1], kernel=3),
                nn.LeakyReLU(0.3, inplace=True),
                convolution(filters[1], filters[2]),
                nn.Identity() if conv else nn.LeakyReLU(0.3, inplace=True),
            )
            self.shortcut = convolution(inputs, filters[2], stride=stride) if conv else None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            shortcut = x if self.shortcut is None else self.shortcut(x)
            return nn.functional.leaky_relu(self.narrow(x) + shortcut, 0.3)

    layers: list[nn.Module] = [
        nn.ZeroPad2d(3),
        convolution(1, 32, kernel=9),
        nn.LeakyReLU(0.3, inplace=True),
        nn.MaxPool2d(3),
    ]
    channels = 32
    groups = ((32, 128, 1, 2), (64, 256, 2, 2), (128, 512, 2, 5), (256, 1024, 2, 2))
    for narrow, wide, stride, bottlenecks in groups:
        filters = (narrow, narrow, wide)
        layers.append(Block(channels, filters, stride, conv=True))
        layers += [Block(wide, filters, 1, conv=False) for _ in range(bottlenecks)]
        channels = wide
    layers += [nn.AvgPool2d(2), nn.Flatten()]
    features = nn.Sequential(*layers)
    with torch.no_grad():
        flat = features.eval()(torch.zeros(1, 1, size, size)).shape[1]
    return nn.Sequential(
        features,
        nn.Linear(flat, 1024),
        nn.LeakyReLU(0.3, inplace=True),
        nn.Dropout(0.5),
        nn.Linear(1024, 4),
    ).train()


def _measure_in_child(variant: str, arguments: argparse.Namespace) -> dict[str, float]:
    backend = KERAS[variant][0] if variant in KERAS else "torch"
    sizes = ["--size", str(arguments.size), "--batch", str(arguments.batch)]
    done = subprocess.run(
        [sys.executable, __file__, "--child", variant, *sizes, "--steps", str(arguments.steps)],
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _available(variant: str) -> bool:
    module = KERAS[variant][0] if variant in KERAS else "torch"
    return importlib.util.find_spec(module) is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="parts of the names of variants")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        common = (arguments.size, arguments.batch, arguments.steps)
        if arguments.child in KERAS:
            print(json.dumps(measure_keras(KERAS[arguments.child][1], *common)))
        else:
            print(json.dumps(measure_pytorch(*PYTORCH[arguments.child], *common)))
        return

    wanted = [name for name in (*KERAS, *PYTORCH) if _available(name)]
    if arguments.only:
        wanted = [name for name in wanted if any(part in name for part in arguments.only)]
    best: dict[str, dict[str, float]] = {}
    for round_number in range(arguments.rounds):
        for variant in wanted:
            measured = _measure_in_child(variant, arguments)
            print(f"round {round_number + 1}  {variant:<32} {measured}", flush=True)
            known = best.get(variant)
            if not known or measured["images_per_second"] > known["images_per_second"]:
                best[variant] = measured
    reference = best.get(REFERENCE, {}).get("images_per_second")
    print(f"\n{'variant':<32} images/s  of {REFERENCE}  waiting for input")
    for variant, measured in best.items():
        rate = measured["images_per_second"]
        ratio = f"{rate / reference:.2f}x" if reference else "-"
        wait = f"{measured['input_wait']:.1%}" if "input_wait" in measured else "-"
        print(f"{variant:<32} {rate:8.1f}  {ratio:>32}  {wait:>17}")


if __name__ == "__main__":
    main()
