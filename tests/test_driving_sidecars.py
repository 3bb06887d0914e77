"""Logs of position beside a video: read, brought to its time, and refused where they are damaged."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from random import Random

import numpy as np
import pytest
from fakes import plain_frame

from rtseg.driving.sidecars import EARTH, Gps, log_beside, read_log
from rtseg.driving.state import Fix, Scene
from rtseg.errors import SourceNotFound, SourceUnreadable
from rtseg.types import Regions

DEGREE = EARTH * math.pi / 180
"""Metres of a degree of latitude."""


def gpx(points: list[tuple[str, float, float, str]]) -> str:
    track = "".join(
        f'<trkpt lat="{lat}" lon="{lon}"><time>{time}</time>{more}</trkpt>' for time, lat, lon, more in points
    )
    return (
        f'<?xml version="1.0"?><gpx xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>{track}</trkseg></trk></gpx>'
    )


def sentence(body: str) -> str:
    return f"${body}*{reduce(lambda a, b: a ^ ord(b), body, 0):02X}"


def written(tmp_path: Path, text: str, name: str = "log.gpx") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


NORTH = gpx([(f"2026-05-01T12:00:0{s}Z", round(s * 10 / DEGREE, 9), 7.0, "") for s in range(4)])
"""Ten metres a second to the north."""


def test_a_track_begins_with_the_video_and_its_speed_is_that_of_its_positions(tmp_path: Path) -> None:
    log = read_log(written(tmp_path, NORTH))
    fix = log.at(1.5)
    assert fix is not None
    assert fix.latitude * DEGREE == pytest.approx(15.0, abs=1e-3)
    assert fix.longitude == 7.0
    assert fix.speed is not None
    assert fix.speed.value == pytest.approx(10.0, abs=1e-3)
    assert fix.utc == datetime(2026, 5, 1, 12, 0, 1, 500_000, tzinfo=UTC).timestamp()
    assert log.at(-0.1) is None
    assert log.at(3.0) is not None
    assert log.at(3.1) is None


def test_the_uncertainty_grows_between_two_points(tmp_path: Path) -> None:
    log = read_log(written(tmp_path, NORTH))
    on, between = log.at(1.0), log.at(1.5)
    assert on is not None
    assert between is not None
    assert on.sigma == 5.0
    assert between.sigma == pytest.approx(math.hypot(5.0, 3.0 * 0.25 / 2))
    assert on.speed is not None
    assert between.speed is not None
    assert between.speed.sigma > on.speed.sigma


def test_an_offset_moves_the_log_and_a_gap_says_nothing(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        gpx([(f"2026-05-01T12:00:{s:02}Z", 1.0, 2.0, "<speed>8</speed><hdop>2</hdop>") for s in (0, 1, 20, 21)]),
    )
    log = read_log(path, offset=10.0)
    assert log.at(0.5) is None
    fix = log.at(10.5)
    assert fix is not None
    assert fix.speed is not None
    assert fix.speed.value == 8.0
    assert fix.sigma == pytest.approx(math.hypot(10.0, 3.0 * 0.25 / 2))
    assert log.at(15.0) is None
    assert log.at(30.5) is not None


def test_the_short_way_is_taken_over_north_and_over_the_date_line(tmp_path: Path) -> None:
    points = [
        ("2026-05-01T12:00:00Z", 0.0, 179.9999, "<course>350</course>"),
        ("2026-05-01T12:00:01Z", 0.0, -179.9999, "<course>10</course>"),
    ]
    fix = read_log(written(tmp_path, gpx(points))).at(0.5)
    assert fix is not None
    assert abs(fix.longitude) == pytest.approx(180.0, abs=1e-9)
    assert fix.course is not None
    assert math.sin(fix.course) == pytest.approx(0.0, abs=1e-9)
    assert math.cos(fix.course) == pytest.approx(1.0)


NMEA = "\n".join(
    [
        "noise" + sentence("GPGGA,235959.00,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"),
        sentence("GPRMC,235959.00,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W"),
        sentence("GNRMC,000000.50,A,4807.100,S,01131.000,W,036.0,,240394,,"),
        sentence("GPRMC,000001.00,V,,,,,,,240394,,"),
        "$GPRMC,000001.50,A,4807.038,N,01131.000,E,022.4,084.4,240394,003.1,W*00",
        "",
    ]
)


def test_sentences_of_a_receiver_are_read_over_midnight(tmp_path: Path) -> None:
    log = read_log(written(tmp_path, NMEA, "log.nmea"))
    first, second = log.points
    assert (first.time, second.time) == (0.0, 1.5)
    assert first.latitude == pytest.approx(48 + 7.038 / 60)
    assert first.longitude == pytest.approx(11 + 31 / 60)
    assert (first.altitude, first.sigma) == (545.4, 5.0)
    assert first.speed == pytest.approx(22.4 * 1852 / 3600)
    assert first.course == pytest.approx(math.radians(84.4))
    assert first.utc == datetime(1994, 3, 23, 23, 59, 59, tzinfo=UTC).timestamp()
    assert second.latitude == pytest.approx(-(48 + 7.1 / 60))
    assert second.longitude == pytest.approx(-(11 + 31 / 60))
    assert (second.course, second.altitude) == (None, None)


@pytest.mark.parametrize(
    ("said", "place", "speed"),
    [
        ("[latitude: 46.5] [longitude: -7.25] [rel_alt: 1.2 abs_alt: 500.5]", (46.5, -7.25), None),
        ("2026-05-01 12:00:00 N:46.5 W:7.25 72 km/h", (46.5, -7.25), 20.0),
        ("F/2.8, GPS (-7.25, 46.5, 19), H.S 3.5m/s", (46.5, -7.25), 3.5),
        ("lat=46.5 lon=-7.25 speed 10 mph", (46.5, -7.25), 4.4704),
    ],
)
def test_subtitles_are_in_the_time_of_the_video(
    tmp_path: Path, said: str, place: tuple[float, float], speed: float | None
) -> None:
    text = f"1\n00:00:01,000 --> 00:00:02,000\n{said}\n\n2\n00:00:02,500 --> 00:00:03,000\n{said}\n"
    log = read_log(written(tmp_path, text, "log.srt"))
    assert [point.time for point in log.points] == [1.0, 2.5]
    assert (log.points[0].latitude, log.points[0].longitude) == place
    assert log.points[0].speed == pytest.approx(speed if speed is not None else 0.0)
    assert log.at(0.5) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither GPX nor NMEA nor SRT"),
        ("hello", "neither GPX nor NMEA nor SRT"),
        (NORTH[:-20], "no whole XML"),
        ("<kml></kml>", "XML of <kml>"),
        (gpx([("yesterday", 1.0, 2.0, "")]), "time 'yesterday' is none"),
        (gpx([("2026-05-01T12:00:00Z", 91.0, 2.0, "")]), "91, 2 is no place"),
        (gpx([("2026-05-01T12:00:00Z", 1.0, 2.0, "<speed>nan</speed>")]), "speed 'nan' is no number"),
        (gpx([]), "has no position"),
        (NORTH.replace("time", "clock"), "4 track points have no time"),
        ("<gpx>" * 70, "more than 64 deep"),
        ("$GPRMC,1,A,1,N,1,E,1,1,1,1,W*00\n", "damaged"),
        ("1\n00:00:01,000 --> 00:00:02,000\nhello\n", "has no position"),
    ],
)
def test_a_damaged_log_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceUnreadable, match=message) as raised:
        read_log(written(tmp_path, text))
    assert "\n" not in str(raised.value)


SRT = "1\n00:00:01,000 --> 00:00:02,000\nlat: 46.5 lon: -7.25 72 km/h\n\n"


@pytest.mark.parametrize("text", [NORTH, NMEA, SRT])
def test_no_damage_is_anything_but_a_log_or_a_clear_error(tmp_path: Path, text: str) -> None:
    random = Random(7)
    path = tmp_path / "log"
    refused: list[str] = []
    for _ in range(400):
        data = bytearray(text.encode())
        for _ in range(random.randint(1, 6)):
            place = random.randrange(len(data))
            data[place : place + random.randint(0, 3)] = random.randbytes(random.randint(0, 3))
        path.write_bytes(data)
        try:
            read_log(path).at(0.5)
        except SourceUnreadable as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert not [message for message in refused if "\n" in message or len(message) > 300]


def test_no_entity_is_expanded_and_no_file_read(tmp_path: Path) -> None:
    secret = written(tmp_path, "secret", "secret.txt")
    for inner in ('<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">', f'<!ENTITY b SYSTEM "{secret.as_uri()}">'):
        text = f'<?xml version="1.0"?><!DOCTYPE gpx [{inner}]><gpx><trk><name>&b;</name></trk></gpx>'
        with pytest.raises(SourceUnreadable, match="no document type and no entities"):
            read_log(written(tmp_path, text))


def test_a_missing_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="does not exist"):
        read_log(tmp_path / "none.gpx")


def test_a_log_lies_beside_its_video(tmp_path: Path) -> None:
    video = tmp_path / "drive.mp4"
    assert log_beside(video) is None
    written(tmp_path, "", "drive.srt")
    assert log_beside(video) == tmp_path / "drive.srt"
    written(tmp_path, "", "drive.GPX")
    assert log_beside(video) == tmp_path / "drive.GPX"


def test_a_frame_gets_its_fix(tmp_path: Path) -> None:
    gps = Gps(written(tmp_path, NORTH))
    masks = Regions(np.zeros((1, 2, 2), np.uint8), ("road",), 0, plain_frame().size)
    frame = plain_frame(45)  # at 1.5 s
    fix = Scene.read(gps(frame, masks)).fix
    assert fix == gps.log.at(1.5)
    assert isinstance(fix, Fix)
    assert gps(plain_frame(300), masks) == ()
