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
from collections.abc import Callable, Sequence
from typing import Any

from dgm_jax.applications.sentences import arguments, inputs, page
from dgm_jax.applications.sentences.sentence_vae import SentenceVAE, perplexity
from dgm_jax.core import compilation_cache, errors, full_disk, paths

_TABLES = ("encode", "score")


def _add_own(add: Callable[..., Any], command: str) -> None:
  """Adds the options that commands for sentences have and those for molecules have not."""
  if command == "sample":
    add("--top_k", type=int, help="only the k most probable words of each step (0: all)")
    add("--top_p", type=float, help="only the most probable words that add up to p (1)")
  if command == "complete":
    add("--share", type=float, default=0.2, help="the share of the last words that is hidden (0.2); 0: none")


KIND = arguments.Kind(
  things="sentences",
  commands={
    "sample": "draw sentences, or decode codes",
    "reconstruct": "encode sentences and decode them again",
    "interpolate": "the sentences between two sentences",
    "encode": "the codes of sentences, to .csv",
    "score": "log p of sentences with its error, to .csv",
    "complete": "find the last words of sentences",
  },
  draw="sample",
  draw_suffixes=(".html",),
  tables=_TABLES,
  in_file="a text file in UTF-8 with a sentence in each line",
  file="LINES.txt",
  of_draws={"top_k": 0, "top_p": 1.0},
  least={},
  add_own=_add_own,
)


def _parsed(argv: Sequence[str] | None) -> arguments.Given:
  given = arguments.parse(KIND, __doc__, argv)
  if given.args.what == "complete":
    share = given.args.share
    errors.require(0 <= share < 1, f"--share={share}; it must be at least 0 and less than 1.")
  return given


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
  args, lines, name, out = _parsed(argv)
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
