"""Sentences by a trained VAE (a run of the config sentence_vae_text).

  python -m dgm_jax sentences sample --workdir=RUN --num=10 --temperature=0.8
  python -m dgm_jax sentences reconstruct --workdir=RUN "let there be light ."
  python -m dgm_jax sentences interpolate --workdir=RUN "let there be light ." "and it was so ."
  python -m dgm_jax sentences complete --workdir=RUN "in the beginning god created the heaven and the earth ."
  python -m dgm_jax sentences encode --workdir=RUN --file=lines.txt --out=codes.csv
  python -m dgm_jax sentences sample --workdir=RUN --codes=codes.csv
  python -m dgm_jax sentences score --workdir=RUN --file=lines.txt --out=scores.csv

Sentences are given one by one, or as the lines of a file.  --out names a page (.html), or for encode and score a table
(.csv).  See dgm_jax/applications/sentences/README.md.

Exit status: 0 success, 2 a mistake in the command or in a sentence, 4 stopped by Ctrl-C.
"""

import argparse
import pathlib
from collections.abc import Sequence

from dgm_jax.applications.sentences import inputs, page
from dgm_jax.applications.sentences import paths as latent_paths
from dgm_jax.applications.sentences.sentence_vae import SentenceVAE, perplexity
from dgm_jax.core import compilation_cache, errors, full_disk, paths

WHAT = {
  "sample": "draw sentences, or decode codes",
  "reconstruct": "encode sentences and decode them again",
  "interpolate": "the sentences between two sentences",
  "encode": "the codes of sentences, to .csv",
  "score": "log p of sentences with its error, to .csv",
  "complete": "find the last words of sentences",
}
_TABLES = ("encode", "score")
_BEAM = 5


_OF_CODES = ("beam",)  # options of sample that need --codes
_OF_DRAWS = {"num": 10, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 0}  # and those that exclude it


def _common() -> argparse.ArgumentParser:
  """The options of all commands."""
  # a parser for each command: with one for all, sentences would have to stand before the options
  common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  add = common.add_argument
  add("sentences", nargs="*", help="sentences, each as one argument; two for interpolate, none for sample")
  add("--workdir", required=True, help="folder of the run")
  add("--file", help="a text file in UTF-8 with a sentence in each line, instead of sentences; not for sample")
  add("--out", help="a page (.html) to write; encode and score: the table (.csv), which they need")
  add("--checkpoint", default="latest", help="latest (default), best (by config.keep_best) or a step")
  add("--overwrite", action="store_true", help="replace an existing output file")
  return common


def _add_own(made: argparse.ArgumentParser, what: str) -> None:
  """Adds the options of one command."""
  add = made.add_argument
  if what == "sample":
    add("--codes", help="a .csv of codes that encode wrote, whose sentences are decoded instead")
    add("--num", type=int, help="number of sentences (10)")
    add("--temperature", type=float, help="logits are divided by it (1); 0: the likeliest words")
    add("--top_k", type=int, help="only the k most probable words of each step (0: all)")
    add("--top_p", type=float, help="only the most probable words that add up to p (1)")
    add("--seed", type=int, help="of the draws (0)")
  if what == "reconstruct":
    add("--draws", type=int, default=3, help="further reconstructions from draws of z (3)")
  if what == "interpolate":
    add("--steps", type=int, default=7, help="sentences of the path with its ends (7)")
    add("--kind", default="linear", help="linear (default) or spherical")
  if what == "complete":
    add("--share", type=float, default=0.2, help="the share of the last words that is hidden (0.2); 0: none")
  if what == "score":
    add("--num_samples", type=int, default=100, help="importance samples of each sentence (100)")
  if what in ("reconstruct", "score"):
    add("--seed", type=int, default=0, help="of draws (0)")
  if what not in _TABLES:
    of = "with --codes: " if what == "sample" else ""
    default = None if what == "sample" else _BEAM
    add("--beam", type=int, default=default, help=f"{of}beginnings that the search keeps ({_BEAM}); 1: greedy")


def _parser() -> argparse.ArgumentParser:
  common = _common()
  made = argparse.ArgumentParser(
    prog="python -m dgm_jax sentences",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  commands = made.add_subparsers(dest="what", required=True, metavar="COMMAND")
  for name, what in WHAT.items():
    _add_own(commands.add_parser(name, help=what, parents=[common], allow_abbrev=False), name)
  return made


def _settle(args: argparse.Namespace) -> None:
  """Fills in the options of sample, some of which are for codes and the others for draws."""
  if args.what != "sample":
    return
  unused = _OF_DRAWS if args.codes else _OF_CODES
  given = [name for name in unused if getattr(args, name) is not None]
  use = "is for draws, not for the sentences of --codes" if args.codes else "is for the sentences of --codes, not draws"
  errors.require(not given, f"--{given[0] if given else ''} {use}.")
  for name, value in (_OF_DRAWS | {"beam": _BEAM}).items():
    if getattr(args, name) is None:
      setattr(args, name, value)


def _check(args: argparse.Namespace) -> tuple[list[str], str, pathlib.Path | None]:
  """(the sentences, what a line is called in messages, the output file), before the run is loaded."""
  what = args.what
  errors.require(not (args.file and args.sentences), "Give sentences or --file, not both.")
  _settle(args)
  least = {"beam": 1, "num": 1, "draws": 0, "num_samples": 2, "steps": 2}
  for option in least.keys() & vars(args).keys():
    value = getattr(args, option)
    errors.require(value >= least[option], f"--{option}={value}; it must be {least[option]} or more.")
  if what == "complete":
    errors.require(0 <= args.share < 1, f"--share={args.share}; it must be at least 0 and less than 1.")
  if what == "interpolate":
    errors.choose("value of --kind", args.kind, latent_paths.KINDS)
  out = None if args.out is None else paths.named("--out", args.out)
  suffix = ".csv" if what in _TABLES else ".html"
  errors.require(out is not None or what not in _TABLES, f"{what} writes a table: name it with --out=TABLE.csv.")
  if out is not None:
    errors.require(out.suffix == suffix, f"--out {out}: {what} writes {suffix}; give it that ending.")
    errors.require(args.overwrite or not out.exists(), f"{out} exists; --overwrite replaces it.")
    errors.require(out.absolute().parent.is_dir(), f"--out {out}: its folder does not exist.")
  if what == "sample":
    errors.require(not args.sentences and not args.file, "sample takes no sentences; --num says how many it draws.")
    return [], "", out
  lines = inputs.read(paths.named("--file", args.file)) if args.file else args.sentences
  errors.require(bool(lines), f"{what} needs sentences: give them as arguments, or --file=LINES.txt.")
  errors.require(what != "interpolate" or len(lines) == 2, f"interpolate takes two sentences; there are {len(lines)}.")
  name = f"{args.file}, line" if args.file else "sentence"
  for i, line in enumerate(lines, 1):
    errors.require(bool(line.strip()), f"{name} {i} is empty.")
  return list(lines), name, out


def _sample(vae: SentenceVAE, args: argparse.Namespace, lines: list[str], name: str) -> list[page.Part]:
  if args.codes:
    z = inputs.read_codes(paths.named("--codes", args.codes), vae.latent_dim, vae.fingerprint)
    texts, heading = vae.decode(z, beam=args.beam), f"Sentences of the codes in {args.codes}"
  else:
    texts = vae.sample(args.num, temperature=args.temperature, top_k=args.top_k, top_p=args.top_p, seed=args.seed)
    heading = "Draws from the prior"
  return [page.Part(heading, [(str(i), text) for i, text in enumerate(texts, 1)])]


def _reconstruct(vae: SentenceVAE, args: argparse.Namespace, lines: list[str], name: str) -> list[page.Part]:
  found = vae.reconstruct(lines, beam=args.beam, draws=args.draws, seed=args.seed, what=name)
  rows = lambda texts: [("mean", texts[0]), *((f"draw {i}", text) for i, text in enumerate(texts[1:], 1))]
  return [page.Part(line, rows(texts)) for line, texts in zip(lines, found, strict=True)]


def _interpolate(vae: SentenceVAE, args: argparse.Namespace, lines: list[str], name: str) -> list[page.Part]:
  texts = vae.interpolate(*lines, steps=args.steps, kind=args.kind, beam=args.beam, what=name)
  rows = [("first", lines[0]), *((f"{i / (args.steps - 1):.2f}", text) for i, text in enumerate(texts))]
  return [page.Part(f"A {args.kind} path", [*rows, ("second", lines[1])])]


def _complete(vae: SentenceVAE, args: argparse.Namespace, lines: list[str], name: str) -> list[page.Part]:
  found = vae.complete(lines, share=args.share, beam=args.beam, what=name)
  return [
    page.Part(line, [("known", c.known), ("completed", c.text), ("log p(x|z)", f"{c.log_px_z:.2f}")])
    for line, c in zip(lines, found, strict=True)
  ]


def _encode(vae: SentenceVAE, args: argparse.Namespace, lines: list[str], name: str, out: pathlib.Path) -> str:
  codes, numbers = vae.encode(lines, what=name), range(1, vae.latent_dim + 1)
  header = ["line", *(f"z{i}" for i in numbers), *(f"sd{i}" for i in numbers), "model", "sentence"]
  shown = lambda row: [f"{v:.7g}" for v in row]
  rows = [
    [i, *shown(mean), *shown(sd), vae.fingerprint, line]
    for i, (line, mean, sd) in enumerate(zip(lines, *codes, strict=True), 1)
  ]
  inputs.write_csv(out, header, rows)
  return f"{out}: the codes of {len(lines):,} sentences, {vae.latent_dim} dimensions."


def _score(vae: SentenceVAE, args: argparse.Namespace, lines: list[str], name: str, out: pathlib.Path) -> str:
  found = vae.score(lines, num_samples=args.num_samples, seed=args.seed, what=name)
  header = ["line", "log_px", "stderr", "tokens", "num_samples", "sentence"]
  each = zip(lines, found.log_px.tolist(), found.stderr.tolist(), found.length.tolist(), strict=True)
  rows = [[i, f"{v:.6f}", f"{e:.6f}", n, args.num_samples, line] for i, (line, v, e, n) in enumerate(each, 1)]
  inputs.write_csv(out, header, rows)
  mean = float(found.log_px.mean())
  return f"{out}: {len(lines):,} sentences, log p(x) {mean:.3f} nats on average, perplexity {perplexity(found):.2f}."


_PAGES = {"sample": _sample, "reconstruct": _reconstruct, "interpolate": _interpolate, "complete": _complete}


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  args = _parser().parse_args(argv)
  lines, name, out = _check(args)
  compilation_cache.use()
  vae = SentenceVAE.of_run(args.workdir, args.checkpoint)
  folder = pathlib.Path() if out is None else out.absolute().parent
  with full_disk.sentence(str(out or "the page"), folder, lambda: "Nothing was kept."):
    if args.what in _TABLES:
      assert out is not None
      print({"encode": _encode, "score": _score}[args.what](vae, args, lines, name, out))
      return 0
    parts = _PAGES[args.what](vae, args, lines, name)
    print(page.as_text(parts))
    if out is not None:
      page.write(out, f"Sentences: {args.what}", f"Run {args.workdir}, checkpoint {args.checkpoint}.", parts)
      print(f"\nPage: {out}")
  return 0
