"""Compresses files of integers and texts, without loss, by a trained autoregressive model.

  python -m dgm_jax compress encode --workdir=RUN digits.npy                   writes digits.npy.dgmc
  python -m dgm_jax compress decode --workdir=RUN digits.npy.dgmc              writes digits.npy
  python -m dgm_jax compress encode --workdir=RUN play.txt --out=play.dgmc

A file is .npy, .npz (x), or .csv without a header, of integers 0 .. V - 1, or a text (.txt) for a run of text.  Its
compressed size is -log2 p of its content under the model.  It is decoded with the same run and checkpoint, on the same
machine and with the same versions.  See dgm_jax/applications/compression/README.md.

Exit status: 0 success, 2 a mistake in the command or a file that cannot be decoded, 4 stopped by Ctrl-C.
"""

import argparse
import pathlib
from collections.abc import Sequence

import numpy as np

from dgm_jax.applications.compression import inputs
from dgm_jax.applications.compression.compressor import Compressor
from dgm_jax.core import compilation_cache, errors, files, full_disk, paths
from dgm_jax.core.progress import progress_bar

SUFFIX = ".dgmc"


def _parser() -> argparse.ArgumentParser:
  made = argparse.ArgumentParser(
    prog="python -m dgm_jax compress",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  add = made.add_argument
  add("what", choices=("encode", "decode"), help="encode or decode")
  add("file", help="the file to encode or to decode")
  add("--workdir", required=True, help="folder of the run")
  add("--out", help=f"encode: FILE{SUFFIX} if not given; decode: FILE without {SUFFIX}")
  add("--checkpoint", default="latest", help="latest (default), best (by config.keep_best) or a step")
  add("--batch_size", type=int, default=512, help="examples coded at once (512); decoding takes that of the file")
  add("--overwrite", action="store_true", help="replace an existing output file")
  return made


def _out(args: argparse.Namespace, source: pathlib.Path) -> pathlib.Path:
  """The output file.  Raises UserError if it has no name, is the input, or exists and must not be replaced."""
  if args.out is not None:
    out = paths.named("--out", args.out)
  elif args.what == "encode":
    out = source.with_name(source.name + SUFFIX)
  else:
    errors.require(source.suffix == SUFFIX, f"{source} does not end in {SUFFIX}: name the output with --out.")
    out = source.with_suffix("")
  errors.require(out.absolute() != source.absolute(), f"--out {out} is the input; name another file.")
  errors.require(args.overwrite or not out.exists(), f"{out} exists; --overwrite replaces it.")
  errors.require(out.absolute().parent.is_dir(), f"--out {out}: its folder does not exist.")
  return out


def _encode(args: argparse.Namespace, source: pathlib.Path, out: pathlib.Path) -> str:
  made = Compressor.of_run(args.workdir, args.checkpoint, args.batch_size)
  if made.is_text and source.suffix not in inputs.TABLES:
    try:
      text = source.read_bytes().decode("utf-8")
    except UnicodeDecodeError as e:
      raise errors.UserError(f"{source} is not a text in UTF-8: {e}.") from e
    with progress_bar(0, description="encode", unit="row") as bar:
      found, unit = made.encode_text(text, progress=bar.update, what=str(source)), "tokens or lines"
  else:
    x = inputs.read_array(source)
    with progress_bar(len(x) if x.ndim else 0, description="encode", unit="example") as bar:
      found, unit = made.encode(x, progress=bar.update, what=str(source)), "examples"
  with full_disk.sentence(str(out), out.absolute().parent, lambda: "Nothing was kept."):
    files.write_with(out, lambda p: p.write_bytes(found.data))
  size = 8 * len(found.data)
  more = f" ({100 * (size / found.bits - 1):+.2f} %)" if found.bits > 0 else ""
  return (
    f"{out}: {found.count:,} {unit}, {len(found.data):,} bytes = {size:,} bits; -log2 p = {found.bits:,.0f} bits"
    f"{more}, {found.bits / max(1, found.count):.2f} for each."
  )


def _decode(args: argparse.Namespace, source: pathlib.Path, out: pathlib.Path) -> str:
  data = source.read_bytes()
  made = Compressor.of_run(args.workdir, args.checkpoint, args.batch_size)
  with progress_bar(0, description="decode", unit="row") as bar:
    found = made.decode(data, progress=bar.update, what=str(source))
  with full_disk.sentence(str(out), out.absolute().parent, lambda: "Nothing was kept."):
    if isinstance(found, np.ndarray):
      inputs.write_array(out, found)
    else:
      files.write_with(out, lambda p: p.write_bytes(found.encode("utf-8")))
  return f"{out}: {len(found):,} {'examples' if isinstance(found, np.ndarray) else 'characters'}."


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  args = _parser().parse_args(argv)
  errors.require_package("constriction")
  source = paths.named("the file", args.file)
  errors.require(source.is_file(), f"{source} does not exist, or is a folder.")
  out = _out(args, source)
  compilation_cache.use()
  print((_encode if args.what == "encode" else _decode)(args, source, out))
  return 0
