"""`rtseg models`: which models there are, what is known of each, getting weights, and building engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtseg.cli.options import Json, Providers, names_of

if TYPE_CHECKING:
    from rtseg.cards import Card

models = typer.Typer(
    help="List, show, verify, fetch and build models.", no_args_is_help=True, epilog="Example: rtseg models list"
)

Name = Annotated[str, typer.Argument(help="A model's name, a card, a folder or owner/name.", metavar="NAME")]
Names = Annotated[
    list[str] | None,
    typer.Argument(help="Names, cards, folders or owner/name; without any, all that are here.", metavar="NAME"),
]


@models.command("list", epilog="Example: rtseg models list --json")
def list_models(json: Json = False) -> None:
    """Every model, and where its weights are."""
    from rtseg.cli.console import print_json, stdout
    from rtseg.store import list_cards

    cards = list_cards()
    if json:
        print_json([_summary(card) for card in cards])
        return
    from rich import box
    from rich.table import Table

    table = Table("name", "family", "input", "licence", "weights", box=box.SIMPLE_HEAD)
    table.columns[0].no_wrap = True
    table.columns[-1].overflow = "fold"
    for card in cards:
        width, height = card.input.size
        file = _weights(card)
        found = str(Path(file).parent) if file else "not here: pull" if card.url else "not here"
        table.add_row(card.name, card.family, f"{width}x{height}", card.licence.partition(";")[0], found)
    stdout().print(table)


@models.command("show", epilog="Example: rtseg models show road")
def show(name: Name, json: Json = False) -> None:
    """All that a card says."""
    from rtseg.cli.console import print_json, stdout
    from rtseg.store import find_card

    card = find_card(name)
    values = {**card.model_dump(), "weights": _weights(card)}
    if json:
        print_json(values)
        return
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in values.items():
        table.add_row(key, _shown(value))
    stdout().print(table)


@models.command("verify", epilog="Example: rtseg models verify portrait")
def verify(names: Names = None, json: Json = False) -> None:
    """Compare weights with the hashes on their cards, and check that their graphs are harmless."""
    from rtseg.cli.console import print_json, stdout
    from rtseg.errors import ModelError
    from rtseg.store import find_card, list_cards
    from rtseg.store import verify as verify_card

    cards = [find_card(name) for name in names] if names else [card for card in list_cards() if _weights(card)]
    rows: list[dict[str, Any]] = []
    code = 0
    for card in cards:
        try:
            rows.append({"name": card.name, "ok": True, "detail": str(verify_card(card))})
        except ModelError as error:
            rows.append({"name": card.name, "ok": False, "detail": str(error)})
            code = error.exit_code
    if json:
        print_json(rows)
    else:
        for row in rows:
            mark = "[green]ok[/]" if row["ok"] else "[red]refused[/]"
            stdout().print(f"{mark} {row['name']}: ", end="")
            stdout().print(row["detail"], markup=False, soft_wrap=True)
    raise typer.Exit(code)


@models.command("pull", epilog="Example: rtseg models pull twinlitenet")
def pull(name: Name, json: Json = False) -> None:
    """Fetch weights into the cache folder; what arrived of an interrupted download is kept and resumed.

    A repository of the Hugging Face Hub ("owner/name") is looked up again: what it is now is used from then on.
    """
    from rtseg.cli.console import print_json, stderr, stdout
    from rtseg.download import pull as pull_card
    from rtseg.layouts import renew
    from rtseg.store import find_card, weights

    renewed = renew(name)
    card = find_card(name) if renewed is None else renewed.card
    if renewed is not None:
        path = weights(card)
    elif json or not stderr().is_terminal:
        path = pull_card(card)
    else:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=stderr(), transient=True) as bar:
            task = bar.add_task(card.name, total=None)
            path = pull_card(card, progress=lambda done, total: bar.update(task, completed=done, total=total))
    if json:
        print_json({"name": card.name, "path": path, "licence": card.licence})
    else:
        stdout().print(f"{path} (licence of these weights: {card.licence})", markup=False, soft_wrap=True)


@models.command("build", epilog="Example: rtseg models build portrait --half")
def build(
    name: Annotated[
        str | None, typer.Argument(help="A model's name, a card, a folder or owner/name.", metavar="NAME")
    ] = None,
    providers: Providers = "tensorrt",
    half: Annotated[bool, typer.Option("--half", help="In 16-bit floats: faster, and masks change a little.")] = False,
    size: Annotated[
        str | None, typer.Option(help="Of frames: build their whole graph too, usual effects.", metavar="WxH")
    ] = None,
    device: Annotated[int, typer.Option(help="Which GPU.", metavar="NUMBER", min=0)] = 0,
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove what was built for another GPU, driver or version.")
    ] = False,
    json: Json = False,
) -> None:
    """Have TensorRT build a model's engine now, which takes minutes, rather than when a run begins."""
    from rtseg.cli.builds import build_engines, clean_engines

    if name is None and not clean:
        raise typer.BadParameter("say which model, or --clean", param_hint="NAME")
    if clean:
        clean_engines(device=device, json=json and name is None)
    if name is not None:
        chosen = tuple(names_of(providers) or ())
        build_engines(name, providers=chosen, half=half, size=size, device=device, json=json)


def _summary(card: Card) -> dict[str, Any]:
    return {
        "name": card.name,
        "description": card.description,
        "family": card.family,
        "input": list(card.input.size),
        "names": list(card.names),
        "licence": card.licence,
        "weights": _weights(card),
        "pullable": card.url is not None,
    }


def _weights(card: Card) -> str | None:
    from rtseg.errors import ModelNotFound
    from rtseg.store import weights

    try:
        return str(weights(card))
    except ModelNotFound:
        return None


def _shown(value: Any) -> str:
    match value:
        case dict():
            return "\n".join(f"{key}: {_shown(item)}" for key, item in value.items()) or "-"
        case list() | tuple():
            between = "\n" if value and isinstance(value[0], dict) else ", "
            return between.join(map(_shown, value)) or "-"
        case None | "":
            return "-"
        case _:
            return str(value)
