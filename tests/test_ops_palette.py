"""Colours for names: readable notations, stable choices, and apart from each other."""

from __future__ import annotations

import itertools

import pytest

from rtseg.ops.palette import NAMED, palette_for, parse_rgb

CITY = [
    *(
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
    ),
    *("sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
]


@pytest.mark.parametrize(
    ("text", "rgb"),
    [
        ("#00b140", (0, 177, 64)),
        ("#00B140", (0, 177, 64)),
        ("#fff", (255, 255, 255)),
        ("#a1c", (170, 17, 204)),
        ("green", (0, 128, 0)),
        (" Orange ", (255, 165, 0)),
        ("grey", (128, 128, 128)),
    ],
)
def test_colours_are_read(text: str, rgb: tuple[int, int, int]) -> None:
    assert parse_rgb(text) == rgb


@pytest.mark.parametrize("text", ["", "#", "#12", "#1234", "#12345", "#1234567", "#ggg", "00b140", "greenish", "#-12"])
def test_what_is_no_colour_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no colour: write #rrggbb or one of .*green") as caught:
        parse_rgb(text)
    assert repr(text) in str(caught.value)


def test_every_named_colour_reads_as_itself() -> None:
    for name, rgb in NAMED.items():
        assert parse_rgb(name) == rgb


def test_each_name_gets_a_colour_of_its_own_in_order() -> None:
    colours = palette_for(CITY)
    assert list(colours) == CITY
    assert len(set(colours.values())) == len(CITY)
    assert all(0 <= channel <= 255 for rgb in colours.values() for channel in rgb)


def test_seven_names_are_far_apart() -> None:
    colours = palette_for(CITY[:7]).values()
    assert min(sum(abs(a - b) for a, b in zip(x, y, strict=True)) for x, y in itertools.combinations(colours, 2)) >= 80


def test_colours_do_not_depend_on_the_run() -> None:
    # Pinned: people learn these, and goldens show them. CRC-32 is the same everywhere, hash() is not.
    assert palette_for(["person", "car", "road"]) == {
        "person": (0, 114, 178),
        "car": (0, 158, 115),
        "road": (240, 228, 66),
    }


def test_longer_lists_keep_the_colours_of_their_beginning() -> None:
    short = palette_for(CITY[:5])
    assert {name: palette_for(CITY)[name] for name in CITY[:5]} == short


def test_given_colours_win_and_are_not_given_twice() -> None:
    free = palette_for(CITY)
    taken = free["road"]
    colours = palette_for(CITY, {"sky": "#56b4e9", "person": taken, "unknown": "red"})
    assert colours["sky"] == (86, 180, 233)
    assert colours["person"] == taken
    assert "unknown" not in colours
    assert len(set(colours.values())) == len(CITY)


def test_a_wrong_given_colour_is_refused() -> None:
    with pytest.raises(ValueError, match="'#12' is no colour"):
        palette_for(["road"], {"road": "#12"})


def test_more_names_than_colours_repeat() -> None:
    names = [f"class {i}" for i in range(60)]
    colours = palette_for(names)
    assert len(colours) == 60
    assert len(set(colours.values())) == 21


def test_no_names_no_colours() -> None:
    assert palette_for([]) == {}
