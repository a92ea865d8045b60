"""Molecules and expressions by a trained VAE (runs of molecule_vae, selfies_vae_moses, grammar_vae_equations).

  python -m dgm_jax molecules generate --workdir=RUN --num=1000 --out=drawn.smi
  python -m dgm_jax molecules reconstruct --workdir=RUN "CC(=O)Oc1ccccc1C(=O)O"
  python -m dgm_jax molecules interpolate --workdir=RUN "CCO" "c1ccccc1" --out=path.html
  python -m dgm_jax molecules encode --workdir=RUN --file=mine.smi --out=codes.csv
  python -m dgm_jax molecules generate --workdir=RUN --codes=codes.csv
  python -m dgm_jax molecules score --workdir=RUN --file=mine.smi --out=scores.csv
  python -m dgm_jax molecules optimise --workdir=RUN --file=mine.smi --out=best.csv

SMILES are given one by one, or as the lines of a file, of which what follows the first white space is a name and not
read; expressions of a run of equations likewise, as whole lines.  --out names a list of valid molecules (.smi), a
table (.csv) or a page with pictures (.html).  See dgm_jax/applications/molecules/README.md.

Exit status: 0 success, 2 a mistake in the command or in a molecule, 4 stopped by Ctrl-C.
"""

import argparse
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from dgm_jax.applications.molecules import page, search, targets
from dgm_jax.applications.molecules.molecule_vae import MoleculeVAE
from dgm_jax.applications.sentences import arguments, inputs
from dgm_jax.applications.sentences import page as texts
from dgm_jax.core import compilation_cache, errors, files, full_disk, paths

_TABLES = ("encode", "score", "optimise")


def _add_own(add: Callable[..., Any], command: str) -> None:
  """Adds the options of the command that sentences have not."""
  if command == "optimise":
    add("--rounds", type=int, default=5, help="rounds (5)")
    add("--batch", type=int, default=50, help="points of a round (50)")
    add("--attempts", type=int, help="decodings of a point (500, of expressions 25)")
    add("--inducing", type=int, default=500, help="inducing points of the Gaussian process (500)")
    add("--method", default="ei", help="ei, expected improvement (default), or random")
    add("--seed", type=int, default=0, help="of the search (0)")


KIND = arguments.Kind(
  things="molecules",
  commands={
    "generate": "draw molecules, or decode codes",
    "reconstruct": "encode molecules and decode them again",
    "interpolate": "the molecules between two molecules",
    "encode": "the codes of molecules, to .csv",
    "score": "log p of molecules with its error, to .csv",
    "optimise": "search the latent space for molecules of a high penalised logP, to .csv",
  },
  draw="generate",
  draw_suffixes=(".smi", ".csv", ".html"),
  tables=_TABLES,
  in_file="a file with a SMILES in each line",
  file="MOLECULES.smi",
  of_draws={},
  least={"rounds": 1, "batch": 1, "attempts": 1, "inducing": 1},
  add_own=_add_own,
)


def _parsed(argv: Sequence[str] | None) -> arguments.Given:
  given = arguments.parse(KIND, __doc__, argv)
  if given.args.what == "optimise":
    errors.choose("value of --method", given.args.method, search.METHODS)
  return given


def _generate(vae: MoleculeVAE, args: argparse.Namespace, lines: list[str], name: str) -> list[texts.Part]:
  if args.codes:
    z = inputs.read_codes(paths.named("--codes", args.codes), vae.latent_dim, vae.fingerprint)
    found, heading = vae.decode(z, beam=args.beam), f"Molecules of the codes in {args.codes}"
  else:
    found = vae.generate(args.num, temperature=args.temperature, seed=args.seed).text
    heading = "Draws from the prior"
  return [texts.Part(heading, [(str(i), text) for i, text in enumerate(found, 1)])]


def _reconstruct(vae: MoleculeVAE, args: argparse.Namespace, lines: list[str], name: str) -> list[texts.Part]:
  found = vae.reconstruct(lines, beam=args.beam, draws=args.draws, seed=args.seed, what=name)
  rows = lambda line, some: [
    ("given", line), ("mean", some[0]), *((f"draw {i}", text) for i, text in enumerate(some[1:], 1))
  ]  # fmt: skip
  return [texts.Part(line, rows(line, some)) for line, some in zip(lines, found, strict=True)]


def _interpolate(vae: MoleculeVAE, args: argparse.Namespace, lines: list[str], name: str) -> list[texts.Part]:
  found = vae.interpolate(*lines, steps=args.steps, kind=args.kind, beam=args.beam, what=name)
  rows = [("first", lines[0]), *((f"{i / (args.steps - 1):.2f}", text) for i, text in enumerate(found))]
  return [texts.Part(f"A {args.kind} path", [*rows, ("second", lines[1])])]


def _encode(vae: MoleculeVAE, args: argparse.Namespace, lines: list[str], name: str, out: pathlib.Path) -> str:
  codes, numbers = vae.encode(lines, what=name), range(1, vae.latent_dim + 1)
  header = ["line", *(f"z{i}" for i in numbers), *(f"sd{i}" for i in numbers), "model", "molecule"]
  shown = lambda row: [f"{v:.7g}" for v in row]
  rows = [
    [i, *shown(mean), *shown(sd), vae.fingerprint, line]
    for i, (line, mean, sd) in enumerate(zip(lines, *codes, strict=True), 1)
  ]
  inputs.write_csv(out, header, rows)
  return f"{out}: the codes of {len(lines):,} molecules, {vae.latent_dim} dimensions."


def _score(vae: MoleculeVAE, args: argparse.Namespace, lines: list[str], name: str, out: pathlib.Path) -> str:
  found = vae.score(lines, num_samples=args.num_samples, seed=args.seed, what=name)
  each = zip(lines, found.log_px.tolist(), found.stderr.tolist(), found.length.tolist(), strict=True)
  rows = [[i, f"{v:.6f}", f"{e:.6f}", n, args.num_samples, line] for i, (line, v, e, n) in enumerate(each, 1)]
  inputs.write_csv(out, ["line", "log_px", "stderr", "tokens", "num_samples", "molecule"], rows)
  return f"{out}: {len(lines):,} molecules, log p(x) {float(found.log_px.mean()):.3f} nats on average."


def _optimise(vae: MoleculeVAE, args: argparse.Namespace, lines: list[str], name: str, out: pathlib.Path) -> str:
  vae.encode(lines, what=name)  # mistakes in lines first
  attempts = args.attempts or (500 if vae.is_chemical else 25)
  options = search.Options(args.rounds, args.batch, attempts, args.inducing, method=args.method, seed=args.seed)
  found = vae.optimise(lines, options=options)
  ordered = sorted(found, key=lambda f: f.score)
  rows = [[f.round + 1, f"{f.score:.6f}", _true(vae, f), f.text or ""] for f in ordered]
  inputs.write_csv(out, ["round", "score", "true_division", "molecule"], rows)
  of = search.summary(found)
  return f"{out}: {len(found)} points, {of['valid']:.0%} valid, best score {of['best']:.4f}: {ordered[0].text}."


def _true(vae: MoleculeVAE, found: search.Found) -> str:
  """The score of an expression with the division of numbers, beside that of the published search."""
  return "" if vae.is_chemical or found.text is None else f"{targets.equation_score(found.text):.6f}"


_PAGES = {"generate": _generate, "reconstruct": _reconstruct, "interpolate": _interpolate}
_WRITE = {"encode": _encode, "score": _score, "optimise": _optimise}


def _write(vae: MoleculeVAE, args: argparse.Namespace, parts: Sequence[texts.Part], out: pathlib.Path) -> str:
  """Writes what was found; returns a line about it."""
  if out.suffix == ".html":
    draw: Any = page.picture if vae.is_chemical else lambda text: ""
    page.write(out, f"Molecules: {args.what}", f"Run {args.workdir}, checkpoint {args.checkpoint}.", parts, draw)
    return f"Page: {out}"
  found = [text for part in parts for _, text in part.rows]
  valid = [vae.valid(text) for text in found]
  if out.suffix == ".smi":
    files.write_text(out, "".join(f"{text}\n" for text, ok in zip(found, valid, strict=True) if ok))
    return f"{out}: the {sum(valid):,} valid ones of {len(found):,}."
  inputs.write_csv(out, ["number", "valid", "molecule"],
                   [[i, int(ok), text] for i, (text, ok) in enumerate(zip(found, valid, strict=True), 1)])  # fmt: skip
  return f"{out}: {len(found):,}, of which {sum(valid):,} are valid."


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  args, lines, name, out = _parsed(argv)
  compilation_cache.use()
  vae = MoleculeVAE.of_run(args.workdir, args.checkpoint)
  if vae.is_chemical:
    errors.require_package("rdkit")
    if args.what != KIND.draw and args.file:
      lines = [line.split()[0] for line in lines]  # a name may follow
  folder = pathlib.Path() if out is None else out.absolute().parent
  with full_disk.sentence(str(out or "the page"), folder, lambda: "Nothing was kept."):
    if args.what in _TABLES:
      assert out is not None
      print(_WRITE[args.what](vae, args, lines, name, out))
      return 0
    parts = _PAGES[args.what](vae, args, lines, name)
    print(texts.as_text(parts))
    if out is not None:
      print(f"\n{_write(vae, args, parts, out)}")
  return 0
