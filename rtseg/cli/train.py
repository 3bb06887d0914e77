"""`rtseg train` and `rtseg export`: a recipe to weights, weights to ONNX with a card."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from rtseg.cli.options import Json
from rtseg.errors import ConfigError

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


class _RecipeFirst(TyperGroup):
    """`rtseg export recipe.toml` is `rtseg export recipe recipe.toml`, as it was before there was another kind."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["recipe", *args]
        return super().parse_args(ctx, args)


export = typer.Typer(
    cls=_RecipeFirst,
    help="Networks as ONNX files with cards: of a recipe's run, or of a checkpoint of transformers.",
    no_args_is_help=True,
    epilog="Example: rtseg export recipe.toml --run runs/mine -o models/",
)


@export.command("recipe", epilog="Example: rtseg export recipe.toml --run runs/mine -o models/")
def export_recipe(
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


@export.command("hf", epilog="Example: rtseg export hf mask2former/ -o models/ --size 512x288")
def export_hf(
    folder: Annotated[Path, typer.Argument(help="With config.json, preprocessor_config.json, model.safetensors.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for NAME.onnx and NAME.toml.")],
    size: Annotated[
        str | None, typer.Option(help="WxH of the input; default as the checkpoint's, for 16:9.", metavar="WxH")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Keep weights in 16 bits: half the file.")] = False,
    task: Annotated[
        Literal["semantic", "instance", "panoptic"], typer.Option(help="What networks with queries make.")
    ] = "panoptic",
    fuse: Annotated[str, typer.Option(help="Classes whose segments are one, such as sky,road.")] = "",
    prompts: Annotated[str, typer.Option(help="What CLIPSeg looks for until it is told, such as cat,dog.")] = "",
    json: Json = False,
) -> None:
    """Write a checkpoint of transformers as ONNX with a card, compared with the original."""
    from rtseg.cli.console import print_json, stdout

    with _needs("export"):
        from rtseg.train.hf import export_checkpoint

    fused, texts = (tuple(x.strip() for x in listed.split(",") if x.strip()) for listed in (fuse, prompts))
    done = export_checkpoint(folder, output, size=_size(size), half=half, task=task, fuse=fused, prompts=texts)
    if json:
        values = {"name": done.card.name, "path": done.path, "difference": done.difference, "halved": done.halved}
        print_json({**values, "differences": dict(done.differences)})
        return
    stdout().print(f"{done.path}: largest difference from torch {done.difference:.1e}", markup=False, soft_wrap=True)
    if done.halved is not None:
        stdout().print(f"16 bits changed outputs by {done.halved:.1e} at most", markup=False, soft_wrap=True)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", text)
    if found is None:
        raise ConfigError(f"--size is {text!r}: give width and height in pixels, such as 512x288")
    return int(found[1]), int(found[2])


@contextlib.contextmanager
def _needs(extra: str) -> Iterator[None]:
    """Says which extra has what an import lacks."""
    try:
        yield
    except ImportError as error:
        from rtseg.registry import explain_import

        raise explain_import(error, extra=extra) from error
