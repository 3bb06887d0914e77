"""An engine that runs nothing: its outputs are a function of its input, so that tests know what a network "said"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.cards import Card
from rtseg.ops.arrays import F32


class EchoEngine:
    """`answer` gets the input tensor 1x3xHxW and gives the outputs by name."""

    providers = ("cpu",)

    def __init__(self, size: tuple[int, int], answer: Callable[[F32], Mapping[str, NDArray[Any]]]) -> None:
        self.inputs = {"x": np.zeros((1, 3, size[1], size[0]), np.float32)}
        self._answer = answer

    def run(self) -> Mapping[str, NDArray[Any]]:
        return self._answer(self.inputs["x"])

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        self.inputs["x"][:] = inputs["x"]
        return self.run()


def card(
    *,
    size: tuple[int, int] = (64, 36),
    family: str = "regions",
    names: tuple[str, ...] = ("person",),
    outputs: list[dict[str, Any]] | None = None,
    **format: Any,  # noqa: A002
) -> Card:
    """A card of an input "x" and, by default, one output "y" with the region "person"."""
    default = {"name": "y"} | ({"regions": {"person": 0}} if family == "regions" else {})
    return Card.model_validate(
        {
            "name": "echo",
            "description": "",
            "family": family,
            "file": "echo.onnx",
            "sha256": "0" * 64,
            "licence": "",
            "source": "",
            "input": {"name": "x", "size": size, **format},
            "outputs": outputs or [default],
            "names": names,
        }
    )
