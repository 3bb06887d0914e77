"""From a scan to a video and numbers, as the command line does it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg import registry
from rtseg.build import build
from rtseg.config import DicomSource, ImageSource, MeasureAnalyzer, NiftiSource, VideoSource
from rtseg.datasets import read_mask
from rtseg.errors import ConfigError, DependencyMissing
from rtseg.ops.arrays import as_u8
from rtseg.options import configure
from rtseg.pipeline import Pipeline

pytest.importorskip("pydicom", reason="needs rtseg[medical]")
pytest.importorskip("nibabel", reason="needs rtseg[medical]")

from scans import PATIENT, nuclei, write_dicom, write_nifti, write_series

import rtseg


def test_inputs_are_known_by_their_names_and_by_how_they_begin(tmp_path: Path) -> None:
    one = np.zeros((4, 4), np.uint8)
    write_series(tmp_path / "series", one[None])
    (tmp_path / "bare").mkdir()
    write_dicom(tmp_path / "bare" / "IM0001", one)
    (tmp_path / "disc" / "PATIENT" / "SERIES").mkdir(parents=True)
    write_dicom(tmp_path / "disc" / "PATIENT" / "SERIES" / "IM0001", one)
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), one)
    write_dicom(tmp_path / "photos" / "IM0001", one)
    for name, kind in {
        "scan.nii": NiftiSource,
        "SCAN.NII.GZ": NiftiSource,
        "a.dcm": DicomSource,
        "a.IMA": DicomSource,
        "series": DicomSource,
        "bare": DicomSource,
        "bare/IM0001": DicomSource,
        "disc": DicomSource,
        "photos": ImageSource,
        "call": VideoSource,
        "call.gz": VideoSource,
    }.items():
        assert type(configure(tmp_path / name, "out.mp4").source) is kind, name


@pytest.mark.parametrize(("kind", "module"), [("dicom", "pydicom"), ("nifti", "nibabel")])
def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch, kind: str, module: str) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == module or name.startswith("rtseg.sources.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DependencyMissing, match=r"pip install 'rtseg\[medical\]'"):
        registry.load("source", kind)


@pytest.mark.parametrize(("text", "window"), [("lung", "lung"), ("40,400", (40, 400)), ("-600, 1500", (-600, 1500))])
def test_a_window_is_a_preset_or_two_numbers(text: str, window: Any) -> None:
    source = configure("scan.nii", "out.mp4", window=text).source
    assert isinstance(source, NiftiSource)
    assert source.window == window


@pytest.mark.parametrize("text", ["liver", "40", "40,0", "a,b", "1,2,3"])
def test_other_windows_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"use lung, bone, soft, or a centre and a width"):
        configure("scan.nii", "out.mp4", window=text)
    with pytest.raises(ConfigError, match="is for DICOM and NIfTI"):
        configure("call.mp4", "out.mp4", window=text)


def test_measuring_keeps_the_options_of_a_file() -> None:
    assert configure("scan.nii", "o.mp4", measure=True).analyzers == (MeasureAnalyzer(),)
    file = rtseg.parse_config({"analyzers": [{"type": "measure", "smallest": 9}]})
    assert configure("scan.nii", "o.mp4", config=file, measure=True).analyzers == (MeasureAnalyzer(smallest=9),)
    assert configure("scan.nii", "o.mp4", config=file, measure=False).analyzers == ()


def test_slices_are_pictures_that_no_time_joins(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scan.nii", np.zeros((8, 8, 2), np.uint8))
    job = build(configure(path, tmp_path / "o.mp4", model="road", providers=("cpu",)))
    job.close()
    assert isinstance(job.pipeline, Pipeline)
    assert job.pipeline.filters == ()


def test_the_input_is_never_replaced(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.zeros((8, 8), np.uint8))
    with pytest.raises(ConfigError, match="would replace the input"):
        build(configure(path, records=path, model="nuclei"))


@pytest.mark.parametrize("kind", ["dicom", "nifti"])
@pytest.mark.slow
def test_nuclei_are_counted_and_shown_through_the_slices(tmp_path: Path, shared: Path, kind: str) -> None:
    volume = nuclei(shared)
    spacing = 0.0005  # half a micrometre
    if kind == "dicom":
        path = write_series(tmp_path / "scan", volume, PixelSpacing=[spacing] * 2, WindowCenter=48, WindowWidth=96)
    else:
        turned = volume.transpose(2, 1, 0)[::-1, ::-1]
        path = write_nifti(tmp_path / "scan.nii.gz", turned, spacing=(0.5, 0.5, 2.0), unit="micron")
    out, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    stats = rtseg.run(
        path, out, model="nuclei", records=lines, masks=tmp_path / "masks", measure=True, codec="h264:qp=0"
    )
    assert (stats.status, stats.frames_out) == ("done", 4)
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [record["index"] for record in records] == [0, 1, 2, 3]
    for number, record in enumerate(records):
        count, *areas = record["observations"]
        assert count["kind"] == "count"
        found = count["values"]
        assert len(areas) == found["count"] == len(record["segments"])
        assert 15 <= found["count"] <= 35
        assert found["area_mm2"] == pytest.approx(found["area_px"] * spacing**2, rel=1e-5)
        assert sum(area["values"]["area_px"] for area in areas) == pytest.approx(found["area_px"], rel=1e-4)
        inside = read_mask(tmp_path / "masks" / f"{number:06d}.png") > 0
        assert inside.mean() == pytest.approx(found["coverage"], abs=0.01)
    pictures = decoded(out)
    assert len(pictures) == 4
    blue = pictures[1][..., 2].astype(int) - pictures[1][..., 0]  # the overlay's colour is a light blue
    inside = read_mask(tmp_path / "masks" / "000001.png") > 0
    assert blue[60:][inside[60:]].mean() > 20  # below the legend
    assert abs(blue[60:][~inside[60:]].mean()) < 4
    assert not any(PATIENT.encode() in file.read_bytes() for file in (out, lines))


def decoded(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [as_u8(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
