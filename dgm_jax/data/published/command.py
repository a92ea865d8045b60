"""Downloads, checks and prepares data sets, or lists and verifies them.

  python -m dgm_jax prepare-data --list                     all data sets: sizes, licences, which are prepared
  python -m dgm_jax prepare-data mnist uci/concrete         from the network
  python -m dgm_jax prepare-data 'uci/*' --manual_dir=raw   from files in raw/ or raw/uci/
  python -m dgm_jax prepare-data mnist --verify             prepare if necessary, then compare the arrays' checksums

A data set that is already prepared is not prepared again; finished downloads are not repeated after an interruption.
If two processes want the same data set, one prepares it while the other waits.  Exit status: 0 success, 1 a checksum
differs, 2 a mistake in the command or files that cannot be obtained, 4 interrupted.
"""

import argparse
import fnmatch
import pathlib
import sys
import time

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.core.batches import size
from dgm_jax.data import sources
from dgm_jax.data.published import cache, fingerprints
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet

_FROM_PACKAGE = {"mnist5k": "mnist5k-1.0.0"}  # not published as separate files


def _choose(patterns: list[str], names: list[str]) -> list[str]:
  """The data sets that names, families and patterns such as uci/* stand for."""
  chosen = []
  for pattern in patterns:
    found = [n for n in names if fnmatch.fnmatch(n, pattern) or n.partition("/")[0] == pattern]
    chosen += found or [errors.choose("data set", pattern, names)]
  return list(dict.fromkeys(chosen))


def _megabytes(num_bytes: float) -> str:
  return f"{num_bytes / 1e6:,.1f} MB"


def _download_size(spec: DataSet) -> str:
  from dgm_jax.data.published import raw_files  # imports TFDS

  infos = [raw_files.registered().get(f.url) for f in spec.files.values()]
  return _megabytes(sum(int(i.size) for i in infos)) if all(infos) else "?"


def _list(specs: dict[str, DataSet], root: pathlib.Path) -> None:
  rows = [("data set", "records", "download", "prepared", "licence")]
  for spec in specs.values():
    there = (root / "dgm_arrays" / spec.folder).is_dir()
    sizes = " + ".join(f"{n:,}" for n in spec.sizes.values())
    rows.append((spec.name, sizes, _download_size(spec), "yes" if there else "no", spec.license.partition(",")[0]))
  there = (root / "dgm_arrays" / _FROM_PACKAGE["mnist5k"]).is_dir()
  rows.append(("mnist5k", "4,000 + 500 + 500", "none", "yes" if there else "no", "CC BY-SA 3.0"))
  widths = [max(len(r[i]) for r in rows) for i in range(5)]
  print("\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows))
  print(f"\nPrepared data sets lie in {root}.  Details of one: prepare-data --list NAME")


def _describe(spec: DataSet) -> None:
  sizes = ", ".join(f"{part} {n:,}" for part, n in spec.sizes.items())
  features = ", ".join(f"{k} {dtype} {list(shape)}" for k, (shape, dtype) in spec.features.items())
  print(f"{spec.name}: {spec.description}\n  records   {sizes}\n  features  {features}")
  print(f"  licence   {spec.license}\n  cite      {spec.citation}\n  home      {spec.homepage}")
  for file in spec.files.values():
    print(f"  file      {file.name}  {file.url or file.made_by}")
  print()


def _prepare(name: str, spec: DataSet | None, args: argparse.Namespace) -> dict:
  start = time.monotonic()
  if spec:
    parts = prepared(spec, args.data_dir, args.manual_dir)
    print(f"{name}: licence {spec.license}; cite {spec.citation}")
  else:
    parts = data.load(name, data_dir=args.data_dir).parts()
  num_bytes = sum(map(sources.num_bytes, parts.values()))
  sizes = ", ".join(f"{part} {size(arrays):,}" for part, arrays in parts.items())
  print(f"{name}: {sizes}; {_megabytes(num_bytes)}, in {time.monotonic() - start:.1f} s", flush=True)
  return parts


def _verify(name: str, folder: str, parts: dict) -> bool:
  """Prints a line for every array; False if one differs from what is registered."""
  known, found, same = fingerprints.registered().get(folder, {}), fingerprints.of(parts), True
  for (part, array), f in found.items():
    expected = known.get((part, array))
    verdict = "not registered" if expected is None else "as registered" if f == expected else "DIFFERS"
    same &= verdict != "DIFFERS"
    print(f"  {name} {part}/{array}  {f.dtype} {f.shape}  sha256 {f.sha256}  {verdict}")
    if verdict == "DIFFERS":
      print(f"  {name} {part}/{array}  registered: {expected.dtype} {expected.shape}  sha256 {expected.sha256}")
  for part, array in known.keys() - found.keys():
    same = False
    print(f"  {name} {part}/{array}  MISSING")
  return same


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m dgm_jax prepare-data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("names", nargs="*", metavar="NAME", help="data sets, families (uci) or patterns ('uci/*')")
  parser.add_argument("--data_dir", help="where they are kept; default $TFDS_DATA_DIR or ~/tensorflow_datasets")
  parser.add_argument("--manual_dir", help="a folder with the published files, or with a folder NAME that has them")
  parser.add_argument("--list", action="store_true", help="list all; with NAME describe these")
  parser.add_argument("--verify", action="store_true", help="compare the prepared arrays with registered checksums")
  parser.add_argument("--fingerprints", action="store_true", help="print the lines to register in fingerprints.tsv")
  args = parser.parse_args(argv)
  specs = data.published()
  names = _choose(args.names, sorted([*specs, *_FROM_PACKAGE]))
  if args.list:
    if names:
      for name in names:
        errors.require(name in specs, f"{name} comes with an installed package; there are no files to list.")
        _describe(specs[name])
    else:
      _list(specs, cache.data_dir(args.data_dir))
    return 0
  if not names:
    parser.error("name a data set, or --list them")
  same, failed = True, []
  for name in names:
    spec = specs.get(name)
    folder = spec.folder if spec else _FROM_PACKAGE[name]
    try:
      parts = _prepare(name, spec, args)
    except errors.UserError as e:  # the other data sets may still succeed
      print(f"error: {e}", file=sys.stderr, flush=True)
      failed.append(name)
      continue
    if args.verify:
      same &= _verify(name, folder, parts)
    if args.fingerprints:
      print("\n".join(fingerprints.lines(folder, parts)))
  if failed and len(names) > 1:
    print(f"error: not prepared: {', '.join(failed)}.", file=sys.stderr)
  return 2 if failed else 0 if same else 1
