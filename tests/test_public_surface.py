from __future__ import annotations

import inspect
import subprocess
import sys

import rtseg
from rtseg.options import configure

SURFACE = """
    Analyzer Blur Clear Colour Config ConfigError DependencyMissing Effect EngineError Filter Frame FrameError
    ImageSegment ImageSegmenter Instances Keep Layer ModelError Observation Output Panoptic Picture Pipeline Regions
    RtsegError Segmentation Segmenter Segments Semantic Sink SinkError Size Solid Source SourceError StageTimes Stats
    StreamInfo as_coco as_label_map astream load_pipeline masks_of parse_config read_config run segment
    stream
"""
PUBLIC = SURFACE.split()


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_public_names_are_these() -> None:
    """Change this list only together with the changelog: a name that goes breaks somebody's code."""
    assert rtseg.__all__ == PUBLIC


def test_every_public_name_is_there() -> None:
    for name in PUBLIC:
        assert getattr(rtseg, name) is not None
    assert set(PUBLIC) <= set(dir(rtseg))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(rtseg, "Frmae")
    assert rtseg.__version__.count(".") == 2


def test_public_names_do_not_hide_modules() -> None:
    """`import rtseg.pipeline` and `rtseg.pipeline` must be one thing, whatever was imported before."""
    names = run_python("import pkgutil, rtseg; print(*(m.name for m in pkgutil.iter_modules(rtseg.__path__)))").split()
    assert "pipeline" in names
    assert not set(PUBLIC) & set(names)


def test_importing_rtseg_imports_nothing_heavy() -> None:
    heavy = {"numpy", "cv2", "av", "onnx", "onnxruntime", "pydantic", "rich", "typer"}
    assert run_python(f"import sys, rtseg; print(*({heavy!r} & sys.modules.keys()))").split() == []


def test_keyword_arguments_are_those_of_the_command_line() -> None:
    wanted = inspect.signature(configure).parameters
    given = inspect.signature(rtseg.run).parameters
    assert set(given) - set(wanted) == {"stop", "progress"}
    assert set(wanted) <= set(given)
    assert {p.kind for name, p in given.items() if name not in ("input", "output")} == {inspect.Parameter.KEYWORD_ONLY}
    assert set(inspect.signature(rtseg.load_pipeline).parameters) <= set(wanted)
    for generator in (rtseg.stream, rtseg.astream):
        looped = set(inspect.signature(generator).parameters)
        assert set(wanted) - looped == {"output", "codec", "masks", "records"}
        assert looped - set(wanted) == {"policy"}
