"""scVI of a file of single cells: a latent space without batch effects, denoised expression, and a page to look at.

  python -m dgm_jax single-cell cells.h5ad --out=cells.scvi.h5ad --layer=counts --batch=donor --labels=cell_type
  python -m dgm_jax single-cell filtered_feature_bc_matrix.h5 --out=cells.scvi.h5ad --num_genes=2000

The file is an .h5ad, a .loom, a 10x .h5 or a 10x folder with matrix.mtx, of raw counts; it is never changed.  The
command chooses variable genes, trains, and writes

  cells.scvi.h5ad   the cells with obsm["X_scVI"], obs["library"], uns["dgm_jax_scvi"]; with --normalised also
                    obsm["X_normalized"], the expected frequency of each chosen gene
  cells.scvi.html   learning curves, t-SNE by type and batch, zeros and variances of data and model, collapse
  cells.scvi.run/   the run, which dgm_jax.load, dgm_jax.SCVI.load and `python -m dgm_jax evaluate` read

See dgm_jax/applications/single_cell/README.md.

Exit status: 0 success, 2 a mistake in the command or the file, 3 NaN or Inf in training, 4 stopped by SIGTERM or
Ctrl-C; the same command continues.
"""

import argparse
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from dgm_jax.applications.single_cell import output, page, runs
from dgm_jax.core import errors, full_disk, paths
from dgm_jax.data.files import cell_files
from dgm_jax.data.files.table_options import listed
from dgm_jax.data.sets import cells as cells_set

_SUFFIX = ".h5ad"


def _parser() -> argparse.ArgumentParser:
  made = argparse.ArgumentParser(
    prog="python -m dgm_jax single-cell", description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
  )  # fmt: skip
  add = made.add_argument
  add("file", help="the cells: " + cell_files.FORMATS)
  add("--out", required=True, help="the .h5ad to write")
  add("--layer", help="of the file with the counts; X if not given")
  add("--batch", help="the column with the batch of each cell")
  add("--labels", help="the column with known types, for the page and the scores; they are not trained on")
  add("--unlabelled", help="the label of cells without a type")
  add("--size_factor", help="a column with size factors, in place of the library")
  add("--categorical", help="further columns A,B of categories, which the decoder knows")
  add("--continuous", help="further columns A,B of standardised numbers, which the decoder knows")
  add("--num_genes", type=int, default=2_000, help="variable genes to use (2000); 0 for all")
  add("--likelihood", default="zinb", choices=tuple(runs.LIKELIHOODS), help="zinb (default), nb or poisson")
  add("--library", default="observed", choices=("observed", "latent"), help="observed (default) or latent")
  add("--latents", type=int, default=10, help="dimensions of z (10)")
  add("--hidden", type=int, default=128, help="width of the hidden layers (128)")
  add("--epochs", type=int, help="400, less for more than 20,000 cells, if not given")
  add("--num_samples", type=int, default=1, help="importance samples of training; 1: the ELBO")
  add("--seed", type=int, default=0, help="of parameters, batches and noise (0)")
  add("--normalised", action="store_true", help="also write the expected frequencies of the genes")
  add("--workdir", help="the run's folder; OUT without .h5ad, with .run, if not given")
  add("--overwrite", action="store_true", help="replace an existing output file")
  return made


def _outputs(args: argparse.Namespace, source: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path, pathlib.Path]:
  """(OUT, the page, the run's folder).  Raises UserError before anything is read."""
  out = paths.named("--out", args.out)
  errors.require(out.suffix == _SUFFIX, f"--out {out} must end in {_SUFFIX}.")
  same = out.resolve() == source.resolve() or (out.exists() and out.samefile(source))
  errors.require(not same, f"--out {out} is the input, which is never changed.")
  errors.require(out.absolute().parent.is_dir(), f"--out {out}: its folder does not exist.")
  about = out.with_suffix(".html")
  errors.require(args.overwrite or not out.exists(), f"{out} exists; --overwrite replaces it.")
  run = paths.folder("--workdir", args.workdir) if args.workdir else out.with_suffix(".run")
  return out, about, run


def _config(args: argparse.Namespace, source: pathlib.Path, num_cells: int) -> Any:
  columns = cells_set.Columns(
    args.batch or "", args.labels or "", args.unlabelled or "", args.size_factor or "", listed(args.categorical),
    listed(args.continuous),
  )  # fmt: skip
  settings = runs.schedule(num_cells, 0.1, 128, args.epochs, None)
  settings |= {"seed": args.seed, "lr": 1e-3, "num_samples": args.num_samples}
  data = runs.data_options(columns, args.layer or "") | {"path": str(source.absolute()), "num_genes": args.num_genes}
  errors.require(
    not (args.size_factor and args.library == "latent"),
    "--library=latent and --size_factor exclude each other: size factors replace the library.",
  )
  library = "size_factor" if args.size_factor else args.library
  model = {"latent_dim": args.latents, "hidden": args.hidden}
  return runs.make_config(args.likelihood, library, data, model, settings)


def _scores(results: dict[str, Any]) -> dict[str, Any]:
  wanted = ("log_px", "log_px_stderr", "elbo", "likelihood_samples", "likelihood_ess", "cells_ari", "cells_nmi")
  wanted += ("cells_asw", "batch_entropy", "batch_entropy_most", "batch_asw", "imputation_l1")
  return {name: results[f"test/{name}"] for name in wanted if f"test/{name}" in results}


def _run(args: argparse.Namespace, source: pathlib.Path) -> str:
  out, about, run = _outputs(args, source)
  with cell_files.opened(source, args.layer or "") as file:
    num_cells, left_out = len(file.cells), file.left_out
  errors.require(num_cells >= 20, f"{source} has {num_cells} cells; 20 or more are needed to train and to test.")
  config = _config(args, source, num_cells)
  results = runs.train(config, run, shlex.join(sys.orig_argv))
  _, found = runs.restored(run)
  mean, _ = found.posterior(found.arrays or {})
  z = mean[:, : args.latents]
  library = found.library(found.arrays or {})
  normalised = None
  if args.normalised:
    pandas = errors.import_package("pandas", "--normalised")
    values = found.frequencies(found.arrays or {}, None, True)
    normalised = pandas.DataFrame(values, columns=list(found.about["genes"]))
  used = ("layer", "batch", "labels", "num_genes", "likelihood", "latents", "hidden", "seed", "num_samples")
  settings = {name: getattr(args, name) for name in used} | {"library": config.model.args.library, "run": str(run)}
  settings |= {"cells": num_cells, "genes": len(found.about["genes"]), "steps": results["step"]}
  scores = _scores(results)
  with full_disk.sentence(str(out), out.absolute().parent, lambda: "The run is kept; the same command continues."):
    page.write(about, f"scVI of {source.name}", found, z, settings, scores, run)  # OUT, whose existence counts, is last
    output.write(out, source, z, library, normalised, {"settings": settings, "scores": scores})
  numbers = ", ".join(f"{k} = {v:.4g}" for k, v in scores.items() if isinstance(v, float))
  kept = f"{source}: {left_out:,} features that are no genes were left out.\n" if left_out else ""
  genes = len(found.about["genes"])
  return f"{kept}{out}: {num_cells:,} cells, {genes:,} genes; {numbers}.\n{about}: the page.\n{run}: the run."


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  args = _parser().parse_args(argv)
  for package in ("anndata", "h5py", "sklearn"):
    errors.require_package(package)
  source = paths.named("the file", args.file)
  errors.require(source.exists(), f"{source} does not exist; a file of cells is expected: {cell_files.FORMATS}.")
  try:
    print(_run(args, source))
  except errors.DivergenceError as e:
    print(f"error: {e}", file=sys.stderr)
    return 3
  return 0
