"""Finds colours for grey photographs, by a run of the config `colouriser`.

  python -m dgm_jax colourise photo.jpg --workdir=runs/colour --out=coloured
  python -m dgm_jax colourise FOLDER --workdir=runs/colour --checkpoint=best --size=64 --out=coloured

Photographs of any size and format that Pillow reads, grey or with colours, which are removed first.  --out gets a PNG
of the same name for each, index.html with the pairs, and report.json: colourfulness, pixels that were clipped, change
under noise and, where a photograph had colours, the numbers against them.

Exit status: 0 success, 2 a mistake in the command, or a photograph that could not be read (the others are done), 4
stopped by Ctrl-C.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from dgm_jax.applications.colour import page, photographs
from dgm_jax.applications.colour.colouriser import Colouriser, described
from dgm_jax.core import compilation_cache, errors, files, full_disk, paths
from dgm_jax.core.progress import progress_bar


def _parser() -> argparse.ArgumentParser:
  made = argparse.ArgumentParser(
    prog="python -m dgm_jax colourise",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  add = made.add_argument
  add("photos", help="a photograph, or a folder of them with its sub-folders")
  add("--workdir", required=True, help="folder of the run")
  add("--out", required=True, help="folder of the results")
  add("--checkpoint", default="latest", help="latest (default), best (by config.keep_best) or a step")
  add("--size", type=int, help="side of a square with as many pixels as the model works at; its training images'")
  add("--samples", type=int, default=1, help="different answers for each photograph (1), by noise or dropout")
  add("--seed", type=int, default=0, help="of the noise (0)")
  add("--overwrite", action="store_true", help="write into a folder that has files; those of the same names go")
  return made


def _out(args: argparse.Namespace, source: pathlib.Path) -> pathlib.Path:
  """The output folder.  Raises UserError if it is the input's, within it, or has files that must not be replaced."""
  out = paths.folder("--out", args.out)
  given = source if source.is_dir() else source.parent
  here, there = out.resolve(), given.resolve()
  errors.require(here != there, f"--out {out} is the folder of the photographs; name another one.")
  inside = source.is_dir() and there in here.parents
  errors.require(not inside, f"--out {out} is within {source}, whose photographs are read; name a folder elsewhere.")
  has_files = out.is_dir() and any(out.iterdir())
  errors.require(args.overwrite or not has_files, f"{out} has files; --overwrite writes into it.")
  return out


def _done(
  made: Colouriser, args: argparse.Namespace, path: pathlib.Path, name: str, targets: list[pathlib.Path]
) -> Any:
  """Colours a photograph and writes its PNGs; returns its Entry of the page.  Raises UserError if it cannot be read."""
  from PIL import Image

  photo = photographs.read(path)
  found = made.colourise(photo, args.samples, args.seed)
  for target, rgb in zip(targets, found.rgb, strict=True):
    files.write_with(target, lambda p, rgb=rgb: Image.fromarray(rgb).save(p, "PNG"))
  about = described(found, made.against(photo, found.ab[0]))
  own = None if photo.rgb is None else page.reduced(photo.rgb)
  return page.Entry(name, page.reduced(photo.grey), own, (), about)


def _colour_all(made: Colouriser, args: argparse.Namespace, listed: dict, out: pathlib.Path) -> tuple[list, list]:
  """(Entries of the photographs that were done, (name, sentence) of the others)."""
  entries, failed = [], []
  names = list(listed.values())
  with progress_bar(len(listed), description="colourise", unit="photograph") as bar:
    for path, name, targets in zip(listed, names, photographs.outputs(names, args.samples), strict=True):
      try:
        entry = _done(made, args, path, name.as_posix(), [out / target for target in targets])
        entries.append(entry._replace(results=targets))
      except errors.DiskFullError:
        raise
      except errors.UserError as e:
        failed.append((name.as_posix(), str(e)))
      bar.update(1)
  return entries, failed


def _plural(noun: str, count: int) -> str:
  return noun if count == 1 else f"{noun}s"


def _report(made: Colouriser, args: argparse.Namespace, entries: list, failed: list) -> dict[str, Any]:
  done = [{"name": e.name, "files": [p.as_posix() for p in e.results], **e.about} for e in entries]
  about = {"workdir": str(args.workdir), "checkpoint": args.checkpoint, "size": made.size, "seed": args.seed}
  lost = [{"name": name, "error": sentence} for name, sentence in failed]
  return about | {"samples": args.samples, "photographs": done, "not_done": lost}


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  args = _parser().parse_args(argv)
  source = paths.named("The photographs", args.photos)
  listed, others = photographs.listed(source)
  out = _out(args, source)
  errors.require(0 <= args.seed < 2**32, f"--seed={args.seed}; it must be in 0 .. 2^32 - 1.")
  compilation_cache.use()
  made = Colouriser.of_run(args.workdir, args.checkpoint, args.size)
  made.check_samples(args.samples)
  if others:
    print(
      f"{source}: {others} {_plural('file', others)} of formats that Pillow does not decode left out.", file=sys.stderr
    )
  if args.size is not None and made.size != made.asked:
    print(f"--size={made.asked} is rounded to {made.size}, a multiple of what the model halves.", file=sys.stderr)
  with full_disk.sentence(str(out), out.absolute().parent, lambda: "The photographs that were done are kept."):
    entries, failed = _colour_all(made, args, listed, out)
    if entries:
      what = f"{len(entries)} {_plural('photograph', len(entries))} by {args.workdir}"
      about = f"{what}, each coloured at about {made.size**2:,} pixels."
      page.write(out / "index.html", entries, failed, about)
      files.write_json(out / "report.json", _report(made, args, entries, failed))
  for _, sentence in failed:
    print(f"error: {sentence}", file=sys.stderr)
  if entries:
    print(f"{out}: {len(entries)} of {len(listed)} photographs; index.html shows them, report.json has the numbers.")
  return 2 if failed else 0
