"""`rtseg train` and `rtseg export`: a recipe to weights, weights to ONNX with a card."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from rtseg.cli.options import Json

RecipeFile = Annotated[Path, typer.Argument(help="A recipe, a TOML file.", metavar="RECIPE.toml")]
Folder = Annotated[
    Path | None, typer.Option("-o", "--output", help="Folder of the run; default runs/NAME, or runs/NAME-STEPS.")
]


def train(
    recipe: RecipeFile,
    output: Folder = None,
    resume: Annotated[bool, typer.Option(help="Go on from the folder's last checkpoint.")] = True,
    steps: Annotated[int | None, typer.Option(min=1, help="Another number of steps, for a first try.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for what teachers say; default in the run's.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make samples.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 2,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, gpu, ...: as lightning calls them.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="How many of them.")] = 1,
    precision: Annotated[str, typer.Option(help="32-true, bf16-mixed or 16-mixed.")] = "32-true",
    preview: Annotated[bool, typer.Option(help="Draw the first samples to samples.png and leave.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress bar.")] = False,
) -> None:
    """Train a model by a recipe, then export it with its card.

    Stop it whenever you like: the same command goes on from the last checkpoint.
    """
    from rtseg.cli.console import stderr

    with _needs("train"):
        from rtseg.train.run import open_recipe, preview_samples, train_and_export

    plan = open_recipe(recipe, steps=steps, seed=seed)
    folder = output or Path("runs") / (plan.name if steps is None else f"{plan.name}-{steps}")
    if preview:
        stderr().print(f"{preview_samples(plan, folder, cache=cache)}", markup=False)
        return
    done = train_and_export(
        plan,
        folder,
        resume=resume,
        cache=cache,
        workers=workers,
        threads=threads,
        accelerator=accelerator,
        devices=devices,
        precision=precision,
        progress=not quiet and stderr().is_terminal,
    )
    stderr().print(f"{done.path}: largest difference from torch {done.difference:.1e}", markup=False, soft_wrap=True)


def export(
    recipe: RecipeFile,
    run: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/NAME.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder for NAME.onnx and NAME.toml.")] = None,
    planes: Annotated[bool, typer.Option("--planes", help="Take Y, U and V; the conversion is folded in.")] = False,
    json: Json = False,
) -> None:
    """Write the weights of a run as ONNX with a card, compared with torch."""
    from rtseg.cli.console import print_json, stdout

    with _needs("train"):
        from rtseg.train.run import export_run, open_recipe

    plan = open_recipe(recipe)
    folder = run or Path("runs") / plan.name
    done = export_run(plan, folder, output or folder, planes=planes)
    if json:
        print_json({"name": done.card.name, "path": done.path, "difference": done.difference})
    else:
        stdout().print(
            f"{done.path}: largest difference from torch {done.difference:.1e}", markup=False, soft_wrap=True
        )


@contextlib.contextmanager
def _needs(extra: str) -> Iterator[None]:
    """Says which extra has what an import lacks."""
    try:
        yield
    except ImportError as error:
        from rtseg.registry import explain_import

        raise explain_import(error, extra=extra) from error
