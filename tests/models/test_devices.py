"""The precision that fits the machine."""

from pathlib import Path

import pytest

from models import devices


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : fpu avx512f avx512_bf16 avx512vl", "mixed_bfloat16"),
        ("flags : fpu amx_bf16", "mixed_bfloat16"),
        ("Features : fp asimd bf16 i8mm", "mixed_bfloat16"),
        ("flags : fpu avx2 fma", "float32"),
        (None, "float32"),
    ],
)
def test_bfloat16_is_for_processors_that_have_it(
    flags: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpuinfo"
    if flags is not None:
        file.write_text(flags)
    monkeypatch.setattr(devices, "_PROCESSOR", file)
    monkeypatch.setattr(devices.tf.config, "list_physical_devices", lambda kind: [])
    assert devices.precision("auto") == expected
    assert devices.precision("mixed_float16") == "mixed_float16"


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [([(8, 0), (9, 0)], "mixed_bfloat16"), ([(8, 0), (7, 5)], "float32"), ([None], "float32")],
)
def test_with_gpus_it_is_for_gpus_that_have_it(
    capabilities: list, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices.tf.config, "list_physical_devices", lambda kind: capabilities)
    monkeypatch.setattr(
        devices.tf.config.experimental,
        "get_device_details",
        lambda gpu: {} if gpu is None else {"compute_capability": gpu},
    )
    assert devices.precision("auto") == expected
