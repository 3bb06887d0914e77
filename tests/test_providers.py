from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rtseg.errors import ConfigError
from rtseg.inference.providers import PROVIDERS, REASONS, Wishes, provider_options

FULL = Wishes(half=True, device=1, cache=Path("kept"), stream=4096)


def test_each_option_has_a_reason_and_each_reason_an_option() -> None:
    used = {key for name in PROVIDERS for key in provider_options(name, FULL)}
    assert used == set(REASONS)


def test_cuda_is_set_against_its_known_traps() -> None:
    assert provider_options("cuda", Wishes()) == {
        "device_id": "0",
        "enable_cuda_graph": "1",
        "cudnn_conv_algo_search": "HEURISTIC",
        "do_copy_in_default_stream": "1",
        "tunable_op_enable": "0",
        "tunable_op_tuning_enable": "0",
        "arena_extend_strategy": "kSameAsRequested",
    }
    given = provider_options("cuda", Wishes(stream=4096, cuda_graph=False))
    assert (given["user_compute_stream"], given["has_user_compute_stream"]) == ("4096", "1")
    assert given["enable_cuda_graph"] == "0"


def test_tensorrt_keeps_what_it_builds_and_halves_only_when_asked() -> None:
    plain, full = provider_options("tensorrt", Wishes()), provider_options("tensorrt", FULL)
    assert (plain["trt_fp16_enable"], full["trt_fp16_enable"]) == ("0", "1")
    assert "trt_engine_cache_path" not in plain
    assert full["trt_engine_cache_path"] == full["trt_timing_cache_path"] == "kept"
    assert full["device_id"] == "1"


def test_the_cpu_is_left_as_it_is() -> None:
    assert provider_options("cpu", Wishes()) == {}


@pytest.mark.parametrize(
    ("wishes", "wanted", "said"),
    [
        ({"half": True}, ("cuda",), "half needs one of the providers tensorrt, not cuda"),
        ({"half": True}, ("auto",), "half needs one of the providers tensorrt, not auto"),
        ({"device": 1}, ("cpu",), "device 1 needs one of the providers cuda, tensorrt, dml, not cpu"),
        ({"stream": 1}, ("coreml", "cpu"), "stream needs one of the providers cuda, tensorrt, not coreml, cpu"),
        ({"device": -1}, ("cuda",), "device must be 0 or more, not -1"),
    ],
)
def test_what_no_wanted_provider_can_do_is_refused(wishes: dict[str, Any], wanted: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Wishes(**wishes).check(wanted)


def test_auto_may_take_another_device() -> None:
    Wishes(device=1).check(("auto",))
