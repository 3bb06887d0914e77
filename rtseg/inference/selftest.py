"""Whether a device computes what the CPU computes, asked before its first frame.

Two different inputs go through one after the other, since replayed graphs have been seen to give the result before
once more (onnxruntime#20050); one input alone would never show it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import EngineError, InferenceFailed, OutOfMemory, ProviderUnavailable
from rtseg.segmenters import BoundEngine

__all__ = ["check_engine", "open_tested"]

log = logging.getLogger(__name__)

_FULL, _HALF = 0.05, 0.2
"""Allowed error as a share of how much the CPU's two results differ: the first has room for TF32, a stale one is 1."""
_FLOOR = 0.05  # of the results themselves: where they hardly differ, rounding is no fault
_BLOCK = 16
_SEEDS = 8


class _Captured(BoundEngine, Protocol):
    @property
    def cuda_graph(self) -> bool: ...


E = TypeVar("E", bound=_Captured)


def open_tested(
    open_engine: Callable[[bool], E], open_reference: Callable[[], E], *, graphs: bool, half: bool, auto: bool
) -> E:
    """An engine that passed `check_engine`, or runs on the CPU.

    open_engine: opens it, with CUDA graphs (true) or without; open_reference: the same on the CPU. With `graphs` an
    engine that fails is tried again without them, with a warning. If that fails too, `auto` takes the CPU, with a
    warning, and what was asked for by name raises ProviderUnavailable, or OutOfMemory where a smaller batch may fit.
    """
    reference: E | None = None
    failure: EngineError | None = None
    for captured in (True, False) if graphs else (False,):
        try:
            engine = open_engine(captured)
            if engine.providers[0] == "cpu":
                return engine
            reference = reference or open_reference()
            check_engine(engine, reference, half=half)
        except ProviderUnavailable:
            raise
        except EngineError as error:
            failure = error
            if captured:
                log.warning("the device failed its test and is tried again without CUDA graphs: %s", error)
        else:
            return engine
    if not auto:
        if isinstance(failure, OutOfMemory):
            raise failure
        raise ProviderUnavailable(
            f"the device failed its test: {failure}; update its driver, or ask for cpu"
        ) from failure
    log.warning("the device failed its test, so the network runs on the CPU: %s", failure)
    return reference or open_reference()


def check_engine(engine: BoundEngine, reference: BoundEngine, *, half: bool = False) -> None:
    """Compare a device with the CPU on two different inputs, one right after the other.

    half: the device computes in 16-bit floats, whose errors are larger. Raises EngineError for a device that gives
    something else, or the first result again.
    """
    allowed = _HALF if half else _FULL
    pair = _telling_pair(reference)
    if pair.telling <= allowed:
        log.warning(
            "the test of %s cannot tell a result from the one before: the network answers all alike",
            engine.providers[0],
        )
    for number, (inputs, expected) in enumerate(zip(pair.inputs, pair.expected, strict=True), start=1):
        found = engine(inputs)
        for name, right in expected.items():
            error = _rms(found[name] - right) / pair.scale(name)
            if not error <= allowed:
                raise InferenceFailed(
                    f"{engine.providers[0]} gave another {name!r} than the CPU for test input {number} of 2: "
                    f"off by {100 * error:.3g} % of what the inputs differ in, where {100 * allowed:g} % are allowed"
                )


def _telling_pair(reference: BoundEngine) -> _Pair:
    """The first pair of inputs whose results differ enough, or the best of some."""
    best = _Pair(reference, 0)
    for seed in range(1, _SEEDS):
        if best.telling >= 1:
            break
        best = max(best, _Pair(reference, seed), key=lambda pair: pair.telling)
    return best


class _Pair:
    """Two inputs and what the CPU makes of them."""

    def __init__(self, reference: BoundEngine, seed: int) -> None:
        chance = np.random.default_rng(seed)
        self.inputs = [{name: _blocks(array, chance) for name, array in reference.inputs.items()} for _ in range(2)]
        self.expected: list[Mapping[str, NDArray[Any]]] = [
            {name: array.astype(np.float64) for name, array in reference(inputs).items()} for inputs in self.inputs
        ]

    @property
    def telling(self) -> float:
        """How different the results are, at most 1: at 0 a stale result cannot be told."""
        first, second = self.expected
        return max(_rms(first[name] - second[name]) / self.scale(name) for name in first)

    def scale(self, name: str) -> float:
        first, second = (expected[name] for expected in self.expected)
        return max(_rms(first - second), _FLOOR * max(_rms(first), _rms(second)), 1e-6)


def _rms(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) if values.size else 0.0


def _blocks(like: NDArray[Any], chance: np.random.Generator) -> NDArray[Any]:
    """An array of that shape and type in which a network sees things: random squares, not noise."""
    *rest, height, width = like.shape if like.ndim > 1 else (1, like.size)
    coarse = chance.random((*rest, -(-height // _BLOCK), -(-width // _BLOCK)))
    fine = coarse.repeat(_BLOCK, axis=-2).repeat(_BLOCK, axis=-1)[..., :height, :width].reshape(like.shape)
    match like.dtype.kind:
        case "f":
            return (4 * fine - 2).astype(like.dtype)
        case "b":
            return fine > 0.5
        case _:
            return (fine * 255).astype(like.dtype) if like.dtype.itemsize == 1 else (fine * 2).astype(like.dtype)
