"""Writes README's table of results from experiments/results/*.json; --check only compares the two.

  python scripts/update_readme.py
  python scripts/update_readme.py --check

The numbers come from the result files; the descriptions come from this script and, for reproduced papers, from
experiments/papers/PAPER/paper.py.  Exit status: 0 the table is up to date, 1 --check found a different table.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from dgm_jax.experiments.harness import paper  # noqa: E402

_BEGIN, _END = "<!-- results: scripts/update_readme.py writes what follows -->", "<!-- end of results -->"
_COLUMNS = ("system", "data", "published", "ours", "protocol", "command")
_BURDA = "[Burda et al., 2016](https://arxiv.org/abs/1509.00519)"


def _signed(value: float) -> str:
  return f"{value:+.2f}".replace("-", "−")


def _nll(results: dict[str, Any]) -> str:
  return f"{results['test/nll']:.2f} ± {results['test/log_px_stderr']:.2f}"


def _elbo(results: dict[str, Any]) -> str:
  return _signed(results["test/elbo"])


def _command(found: dict[str, Any]) -> str:
  return f"`{found['starts'][-1]['command']}`"


def quick_start(found: dict[str, Any]) -> dict[str, str]:
  """The row of iwae_mnist5k_quick.json."""
  sizes = found["results"]["split_sizes"]
  return {
    "system": f"IWAE k = {found['config']['objective']['num_samples']}, 1 layer",
    "data": f"{found['results']['data']} ({sizes['train']:,} train, {sizes['test']:,} test)",
    "published": "none",
    "ours": _nll(found["results"]),
    "protocol": f"{found['results']['step']:,} steps of batch {found['config']['batch_size']}, dynamic binarisation",
    "command": "`bash scripts/quickstart.sh`",
  }


def ten_epochs(found: dict[str, Any]) -> dict[str, str]:
  """The row of vae_mnist_10_epochs.json."""
  results, config = found["results"], found["config"]
  epochs = results["step"] * config["batch_size"] // results["split_sizes"]["train"]
  return {
    "system": "VAE k = 1, 1 layer",
    "data": "MNIST",
    "published": f"86.76 after 3,280 epochs ({_BURDA})",
    "ours": f"{_nll(results)} (ELBO {_elbo(results)})",
    "protocol": f"{epochs} epochs only: not comparable; constant rate, batch {config['batch_size']}, dynamic "
    "binarisation",
    "command": _command(found),
  }


def forty_epochs(found: dict[str, Any]) -> dict[str, str]:
  """The row of iwae_dreg_mnist_40_epochs.json."""
  methods = {name: [run["results"] for run in m["runs"]] for name, m in found["methods"].items()}
  mean = lambda name: sum(r["test/nll"] for r in methods[name]) / len(methods[name])

  def paired(first: str, second: str) -> str:
    d = found["paired"][f"{second} minus {first}"]["log_px"]
    pairs = zip(methods[first], methods[second], strict=True)
    seeds = ", ".join(_signed(b["test/log_px"] - a["test/log_px"]) for a, b in pairs)
    return f"{_signed(d['difference'])} ± {d['stderr']:.2f} nats of log p(x) (seeds {seeds})"

  samples = methods["vae"][0]["test/likelihood_samples"]
  means = ", ".join(f"{mean(name):.2f}" for name in ("vae", "iwae", "dreg"))
  differences = f"paired, IWAE − VAE {paired('vae', 'iwae')}, DReG − IWAE {paired('iwae', 'dreg')}"
  return {
    "system": "VAE, IWAE, DReG, k = 5, 1 layer",
    "data": "MNIST",
    "published": f"VAE 86.47, IWAE 85.54 after 3,280 epochs ({_BURDA})",
    "ours": f"{means}, three seeds each; {differences}",
    "protocol": f"40 epochs and {samples} samples only: not comparable with the published; batch 100, rates of "
    "`quick`, dynamic binarisation; ± over test images",
    "command": "`experiments/results/iwae_dreg_mnist_40_epochs.json` has the nine commands; "
    "`python -m dgm_jax compare`",
  }


def reproduced(found: dict[str, Any]) -> dict[str, str]:
  """The row of a reproduced table or figure."""
  row = paper.load(found["paper"]).summary(found["numbers"])
  what = found["what"] if found["full"] else f"{found['what']}: {found['warnings'][0].partition('. ')[2]}"
  command = " ".join(w for w in found["command"].split() if not w.startswith("--root="))
  item = found["item"].replace("=", " ")
  part = "" if found["finished"] == found["of"] else f", {found['finished']} of its {found['of']} runs"
  return {
    "system": row["system"],
    "data": row["data"],
    "published": f"{row['published']} ([{found['paper']}]({found['url']}), {item})",
    "ours": row["ours"],
    "protocol": f"budget {found['budget']}{part}: {what}",
    "command": f"`{command}`",
  }


_ROWS = {
  "iwae_mnist5k_quick.json": quick_start,
  "vae_mnist_10_epochs.json": ten_epochs,
  "iwae_dreg_mnist_40_epochs.json": forty_epochs,
}


def rows(folder: pathlib.Path) -> list[dict[str, str]]:
  """The rows: first those of _ROWS, then reproduced papers in the order of file names."""
  made = [make(json.loads((folder / name).read_text())) for name, make in _ROWS.items() if (folder / name).exists()]
  others = [json.loads(p.read_text()) for p in sorted(folder.glob("*.json")) if p.name not in _ROWS]
  return made + [reproduced(found) for found in others if "paper" in found]


def table(folder: pathlib.Path) -> str:
  """The table in Markdown."""
  line = lambda cells: f"| {' | '.join(text.replace('|', '&#124;') for text in cells)} |"
  body = [line(row[c] for c in _COLUMNS) for row in rows(folder)]
  return "\n".join([line(_COLUMNS), "|" + "---|" * len(_COLUMNS), *body])


def updated(text: str, folder: pathlib.Path) -> str:
  """The README's text with the table replaced by the one made from the results."""
  before, _, rest = text.partition(_BEGIN)
  _, _, after = rest.partition(_END)
  if not (rest and after):
    raise SystemExit(f"error: README.md has no place for the table, between {_BEGIN!r} and {_END!r}.")
  return f"{before}{_BEGIN}\n\n{table(folder)}\n\n{_END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
  """Writes or checks the table; returns the exit status."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--check", action="store_true", help="change nothing; exit status 1 if something would change")
  parser.add_argument("--readme", type=pathlib.Path, default=ROOT / "README.md")
  parser.add_argument("--results", type=pathlib.Path, default=ROOT / "experiments" / "results")
  args = parser.parse_args(argv)
  old = args.readme.read_text()
  new = updated(old, args.results)
  if old == new:
    return 0
  if not args.check:
    args.readme.write_text(new)
    return 0
  there, made = set(old.splitlines()), set(new.splitlines())
  lines = [f"  there: {x}" for x in old.splitlines() if x not in made] + [
    f"  results: {x}" for x in new.splitlines() if x not in there
  ]
  print(
    f"error: {args.readme} is not what experiments/results/ holds; python scripts/update_readme.py writes it.\n"
    + "\n".join(lines),
    file=sys.stderr,
  )
  return 1


if __name__ == "__main__":
  sys.exit(main())
