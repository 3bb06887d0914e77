from __future__ import annotations

import io
import logging
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from rtseg.errors import ConfigError, DependencyMissing, SourceNotFound, SourceTooLarge, SourceUnreadable
from rtseg.types import Colour, Size, Source

pytest.importorskip("pydicom", reason="needs rtseg[medical]")

import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_voi_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)
from scans import PATIENT, group, write_dicom, write_series

from rtseg.sources.dicom import DicomSlices


def pixels(shape: tuple[int, ...] = (6, 8), *, low: int = 0, high: int = 256, kind: Any = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(3).integers(low, high, shape).astype(kind)


def shown(source: DicomSlices) -> list[NDArray[np.uint8]]:
    return [frame.planes[0] for frame in source]


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_window_is_that_of_the_standard(tmp_path: Path, function: str) -> None:
    """pydicom is the other implementation; a level of difference comes from rounding."""
    path = write_dicom(
        tmp_path / "a.dcm",
        pixels(low=-1000, high=2000, kind=np.int16),
        RescaleSlope=2,
        RescaleIntercept=-24,
        WindowCenter=[40, 1],
        WindowWidth=[400, 2],
        VOILUTFunction=function,
    )
    data = pydicom.dcmread(path)
    windowed = apply_voi_lut(data.pixel_array * 2.0 - 24, data, index=0)
    low, high = 2.0 * -(2**15) - 24, 2.0 * (2**15 - 1) - 24  # pydicom's black and white: all that 16 bits can say
    (found,) = shown(DicomSlices(path))
    np.testing.assert_allclose(found, (windowed - low) / (high - low) * 255, atol=0.51)
    assert len(np.unique(found)) > 4


@pytest.mark.parametrize(
    ("window", "black", "white"), [("lung", -1350, 149), ("bone", -500, 1299), ((40, 400), -160, 239)]
)
def test_presets_and_numbers_go_before_the_header(tmp_path: Path, window: Any, black: int, white: int) -> None:
    values = np.array([[black - 50, black, white, white + 50, (black + white) // 2]], np.int16)
    path = write_dicom(tmp_path / "a.dcm", values, WindowCenter=1, WindowWidth=2)
    (found,) = shown(DicomSlices(path, window=window))
    assert found[0, :4].tolist() == [0, 0, 255, 255]
    assert 126 <= found[0, 4] <= 128


def test_monochrome_1_is_turned_light_side_up(tmp_path: Path) -> None:
    values = pixels()
    path = write_dicom(tmp_path / "a.dcm", values, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(shown(DicomSlices(path)), [255 - values])


def test_eight_bits_without_a_window_are_shown_as_they_are(tmp_path: Path) -> None:
    values = pixels(high=90)
    np.testing.assert_array_equal(shown(DicomSlices(write_dicom(tmp_path / "a.dcm", values))), [values])


def test_sixteen_bits_without_a_window_lie_between_their_percentiles(tmp_path: Path) -> None:
    values = (4000 + 100 * np.arange(48)).astype(np.uint16).reshape(6, 8)
    (found,) = shown(DicomSlices(write_dicom(tmp_path / "a.dcm", values)))
    low, high = np.percentile(values, (0.5, 99.5))
    np.testing.assert_array_equal(found, np.rint(np.clip((values - low) * 255 / (high - low), 0, 255)))


def test_a_series_is_sorted_along_the_body_whatever_files_are_called(tmp_path: Path) -> None:
    volume = np.stack([np.full((4, 6), 10 * place, np.uint8) for place in range(12)])
    source = DicomSlices(write_series(tmp_path / "scan", volume, PixelSpacing=[0.5, 0.25]), rate=4)
    assert isinstance(source, Source)
    frames = list(source)
    assert [int(frame.planes[0][0, 0]) for frame in frames] == [10 * place for place in range(12)]
    assert [frame.pts for frame in frames] == list(range(12))
    assert {frame.spacing for frame in frames} == {(0.25, 0.5)}  # the header has the height first
    assert (frames[0].time_base, frames[0].colour) == (Fraction(1, 4), Colour("bt601", full_range=True))
    assert (source.info.size, source.info.frames, source.info.seconds) == (Size(6, 4), 12, 3.0)
    assert source.info.sample_aspect_ratio == Fraction(1, 2)


def test_without_positions_numbers_decide(tmp_path: Path) -> None:
    for number, name in ((10, "a.dcm"), (9, "b.dcm"), (2, "c.dcm")):
        write_dicom(tmp_path / name, np.full((4, 4), number, np.uint8), InstanceNumber=number)
    assert [int(picture[0, 0]) for picture in shown(DicomSlices(tmp_path))] == [2, 9, 10]


def test_a_folder_may_have_folders_an_index_and_other_files(tmp_path: Path) -> None:
    write_dicom(tmp_path / "DICOMDIR", pixels())
    (tmp_path / "notes.txt").write_text("slices of a test")
    (tmp_path / "IMG").mkdir()
    write_dicom(tmp_path / "IMG" / "0001", pixels())
    assert len(DicomSlices(tmp_path)) == 1


def test_of_several_series_one_is_chosen(tmp_path: Path) -> None:
    write_series(tmp_path / "a", np.zeros((2, 4, 4), np.uint8))
    write_series(tmp_path / "b", np.ones((3, 4, 4), np.uint8), SeriesNumber=8, SeriesInstanceUID=generate_uid())
    with pytest.raises(ConfigError, match=r"holds the series 3 \(2 slices\), 8 \(3 slices\): choose one"):
        DicomSlices(tmp_path)
    assert len(DicomSlices(tmp_path, series=8)) == 3
    with pytest.raises(ConfigError, match="holds the series"):
        DicomSlices(tmp_path, series=1)


def test_one_window_serves_the_whole_series(tmp_path: Path) -> None:
    for place in range(3):
        write_dicom(
            tmp_path / f"{place}.dcm",
            np.full((4, 4), 500, np.uint16),
            InstanceNumber=place,
            WindowCenter=500 + 400 * (place - 1),
            WindowWidth=1001,
        )
    assert [int(picture[0, 0]) for picture in shown(DicomSlices(tmp_path))] == [128] * 3


def test_a_file_of_many_frames_has_values_of_its_own_for_each(tmp_path: Path) -> None:
    values = pixels((3, 4, 4), kind=np.uint16, high=1000)
    shared = group(
        PixelMeasuresSequence=[group(PixelSpacing=[0.1, 0.2])],
        FrameVOILUTSequence=[group(WindowCenter=500, WindowWidth=1001)],
    )
    own = [
        group(PixelValueTransformationSequence=[group(RescaleSlope=1, RescaleIntercept=100 * i, RescaleType="US")])
        for i in range(3)
    ]
    path = write_dicom(
        tmp_path / "a.dcm", values, SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=own
    )
    frames = list(DicomSlices(path))
    for i, frame in enumerate(frames):
        wanted = np.rint(np.clip((values[i].astype(int) + 100 * i + 0.5) * 0.255, 0, 255))
        np.testing.assert_allclose(frame.planes[0], wanted, atol=1)
        assert frame.spacing == (0.2, 0.1)


def test_colours_stay_colours(tmp_path: Path) -> None:
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[:, :3], rgb[:, 3:] = (250, 20, 20), (20, 20, 250)
    (frame,) = DicomSlices(write_dicom(tmp_path / "a.dcm", rgb, WindowCenter=5, WindowWidth=2))
    assert frame.chroma_size == (6, 4)
    np.testing.assert_allclose(frame.rgb, rgb, atol=2)


def test_palettes_become_colours(tmp_path: Path) -> None:
    table = np.arange(256, dtype=np.uint16) * 257
    values = pixels()
    path = write_dicom(
        tmp_path / "a.dcm",
        values,
        PhotometricInterpretation="PALETTE COLOR",
        **{f"{c}PaletteColorLookupTableDescriptor": [256, 0, 16] for c in ("Red", "Green", "Blue")},
        RedPaletteColorLookupTableData=table.tobytes(),
        GreenPaletteColorLookupTableData=table[::-1].tobytes(),
        BluePaletteColorLookupTableData=table.tobytes(),
    )
    (frame,) = DicomSlices(path)
    wanted = apply_color_lut(values, pydicom.dcmread(path)) >> 8
    np.testing.assert_allclose(frame.rgb, wanted, atol=2)


def test_compressed_pixels_are_decoded(tmp_path: Path) -> None:
    values = pixels((3, 6, 8), kind=np.uint16, high=3000)
    plain = shown(DicomSlices(write_dicom(tmp_path / "a.dcm", values)))
    packed = shown(DicomSlices(write_dicom(tmp_path / "b.dcm", values, syntax=RLELossless)))
    np.testing.assert_array_equal(packed, plain)


@pytest.mark.parametrize(
    ("syntax", "form", "bits"),
    [(JPEGBaseline8Bit, "JPEG", 8), (JPEG2000Lossless, "JPEG2000", 8), (JPEG2000Lossless, "JPEG2000", 16)],
)
def test_jpeg_needs_no_plugin(tmp_path: Path, syntax: Any, form: str, bits: int) -> None:
    values: NDArray[Any] = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint16 if bits == 16 else np.uint8) * (
        bits // 8
    )
    held = io.BytesIO()
    Image.fromarray(values).save(held, form)
    path = write_dicom(tmp_path / "a.dcm", values, WindowCenter=128, WindowWidth=256)
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = pydicom.encaps.encapsulate([held.getvalue()])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    data.save_as(path)
    (found,) = shown(DicomSlices(path))
    np.testing.assert_allclose(found, values, atol=3 if form == "JPEG" else 0)


def with_syntax(path: Path, syntax: str) -> Path:
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8" + bytes(62)])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    data.save_as(path)
    return path


def test_a_compression_that_needs_a_plugin_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = with_syntax(write_dicom(tmp_path / "a.dcm", pixels()), JPEGLSLossless)
    monkeypatch.setattr(type(pydicom.pixels.get_decoder(JPEGLSLossless)), "is_available", False)  # type: ignore[attr-defined]
    with pytest.raises(DependencyMissing, match=r"a\.dcm is compressed as JPEG-LS Lossless.*: pip install pyjpegls"):
        DicomSlices(path)
    with pytest.raises(DependencyMissing, match="pip install pyjpegls"):  # of a folder, too
        DicomSlices(tmp_path)


@pytest.mark.parametrize(
    ("syntax", "message"),
    [("1.2.840.10008.1.2.4.100", "MPEG2.*which nothing here decodes"), (DeflatedExplicitVRLittleEndian, "deflated")],
)
def test_what_cannot_be_decoded_safely_is_refused(tmp_path: Path, syntax: str, message: str) -> None:
    with pytest.raises(SourceUnreadable, match=message):
        DicomSlices(with_syntax(write_dicom(tmp_path / "a.dcm", pixels()), syntax))


def test_sizes_are_checked_before_pixels_are_read(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", pixels(), Rows=60_000, Columns=60_000)
    with pytest.raises(SourceTooLarge, match="60000x60000: allowed are 50000000 pixels a slice"):
        DicomSlices(path)
    with pytest.raises(SourceTooLarge, match="8x6: allowed are 47 pixels"):
        DicomSlices(write_dicom(tmp_path / "b.dcm", pixels()), max_pixels=47)
    path = write_dicom(tmp_path / "c.dcm", pixels(), NumberOfFrames=2_000_000_000)
    with pytest.raises(SourceUnreadable, match="2000000000 pictures of 8x6 do not fit in it"):
        DicomSlices(path)
    path = write_dicom(tmp_path / "d.dcm", pixels((2, 6, 8)), syntax=RLELossless, NumberOfFrames=2)
    data = path.read_bytes().replace(b"\x28\x00\x08\x00IS\x02\x002 ", b"\x28\x00\x08\x00IS\x02\x0099")
    path.write_bytes(data)
    source = DicomSlices(path)  # a compressed file may have them for all that its header tells
    assert len(list(source)) == 2
    assert source.counts == {"broken_images": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no DICOM file"),
        (b"\x89PNG" + bytes(300), "is no DICOM file"),
        (bytes(128) + b"DICM", "damaged|say how"),
    ],
)
def test_what_is_no_dicom_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(SourceUnreadable, match=message):
        DicomSlices(tmp_path / "a.dcm")


def test_other_objects_than_pictures_are_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", pixels())
    data = pydicom.dcmread(path)
    del data.Rows, data.PixelData
    data.save_as(path)
    with pytest.raises(SourceUnreadable, match="has no picture"):
        DicomSlices(path)
    with pytest.raises(SourceNotFound, match="does not exist"):
        DicomSlices(tmp_path / "none.dcm")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceUnreadable, match="has no DICOM file"):
        DicomSlices(tmp_path / "empty")


def test_a_broken_slice_does_not_stop_the_rest(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "scan", pixels((3, 6, 8)))
    (folder / "002.dcm").write_bytes((folder / "002.dcm").read_bytes()[:-20])
    source = DicomSlices(folder)
    assert len(list(source)) == 2
    assert source.counts == {"broken_images": 1}
    assert "002.dcm is damaged DICOM" in source.failures[folder / "002.dcm"]


def test_every_cut_of_a_file_is_an_error_of_ours(tmp_path: Path) -> None:
    whole = write_dicom(tmp_path / "a.dcm", pixels(), syntax=RLELossless).read_bytes()
    path = tmp_path / "cut.dcm"
    for end in range(0, len(whole) - 9, 7):  # the last 8 bytes only say that nothing follows
        path.write_bytes(whole[:end])
        with pytest.raises(SourceUnreadable):
            list(DicomSlices(path))


def test_slices_of_another_size_begin_an_epoch(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", pixels((4, 4)), InstanceNumber=1)
    write_dicom(tmp_path / "b.dcm", pixels((4, 6)), InstanceNumber=2)
    assert [(frame.size, frame.epoch) for frame in DicomSlices(tmp_path)] == [((4, 4), 0), ((6, 4), 1)]


def test_nothing_of_a_patient_is_handed_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_series(tmp_path / "scan", pixels((2, 6, 8)))
    path = write_dicom(tmp_path / "odd.dcm", pixels())
    data = bytearray(path.read_bytes())
    place = data.index(b"IS\x02\x003 ")
    data[place : place + 6] = b"IS\x02\x00Jo"  # a name where a number belongs
    path.write_bytes(bytes(data))
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        source = DicomSlices(folder)
        said = repr((source.info, list(source), source._slices))
        with pytest.raises(SourceUnreadable) as caught:
            DicomSlices(path)
    assert caught.value.__cause__ is None
    said += str(caught.value)
    assert not any(secret in said + caplog.text for secret in (PATIENT, "Doe", "4711", "1970", "Jo"))


def test_only_listed_values_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Dataset] = []
    original = pydicom.dcmread

    def spy(*args: Any, **more: Any) -> Any:
        read.append(original(*args, **more))
        return read[-1]

    monkeypatch.setattr(pydicom, "dcmread", spy)
    DicomSlices(write_dicom(tmp_path / "a.dcm", pixels()))
    assert "Rows" in read[0]
    assert not {"PatientName", "PatientID", "PatientBirthDate"} & {element.keyword for element in read[0]}


def test_a_closed_source_ends(tmp_path: Path) -> None:
    source = DicomSlices(write_series(tmp_path / "scan", pixels((3, 6, 8))))
    frames = iter(source)
    next(frames)
    source.close()
    assert list(frames) == []


@pytest.mark.parametrize("window", ["liver", (40, 0), (float("nan"), 5)])
def test_windows_that_are_none_are_refused(tmp_path: Path, window: Any) -> None:
    with pytest.raises(ConfigError, match="window"):
        DicomSlices(tmp_path, window=window)
