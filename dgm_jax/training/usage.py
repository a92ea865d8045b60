"""The help of the commands train, evaluate, sample and debug, which are modes of dgm_jax.main."""

import textwrap

from absl import flags

# the modes of flags that are not of `train` alone
_OF_MODE = {"checkpoint": ("evaluate", "sample"), "out": ("evaluate", "sample"), "mode": ()}
_OF_MODE |= dict.fromkeys(("num_samples", "temperature", "top_k", "top_p", "complete", "prompt"), ("sample",))
_OF_ALL = ("config", "workdir")

_ABOUT = {
  "train": """Trains a run, or resumes it, and evaluates it; a finished run is not repeated.

  python -m dgm_jax train --config=configs/iwae_mnist.py:quick --workdir=runs/first
  python -m dgm_jax train --config=configs/iwae_mnist.py:k=5,layers=1 --workdir=runs/x --config.optim.lr=3e-4""",
  "evaluate": """Evaluates a checkpoint of a run on the test set, into results.json or, if unfinished, evaluation.json.

  python -m dgm_jax evaluate --workdir=runs/x
  python -m dgm_jax evaluate --workdir=runs/x --checkpoint=best""",
  "sample": """Draws samples from a checkpoint of a run, into samples.npz and figures/.

  python -m dgm_jax sample --workdir=runs/x --num_samples=100

Autoregressive models also draw from truncated probabilities, and the missing entries of examples given the others:

  python -m dgm_jax sample --workdir=runs/x --temperature=0.8 --top_k=40 --top_p=0.95
  python -m dgm_jax sample --workdir=runs/x --complete=halves.npz
  python -m dgm_jax sample --workdir=runs/x --prompt="ROMEO:" --num_samples=4""",
  "debug": """Replays a run that reached NaN or Inf, from its latest checkpoint, and names the operation and its line.

  python -m dgm_jax debug --workdir=runs/x""",
}


def usage(mode: str | None, module: str, about: str) -> str:
  """The help of a command: all flags of the module for None, else those of the mode.

  Args:
    mode: of the command, or None.
    module: which defines the flags.
    about: its docstring, whose end, from "Exit status" on, is part of the help of every mode.
  """
  names = [flag.name for flag in flags.FLAGS.get_flags_for_module(module)]
  if mode is not None:
    names = [name for name in names if name in _OF_ALL or mode in _OF_MODE.get(name, ("train",))]
    about = f"{_ABOUT[mode]}\n\n{about[about.index('Exit status') :]}"
  lines = [textwrap.fill(f"  --{n}: {flags.FLAGS[n].help}", 100, subsequent_indent="      ") for n in sorted(names)]
  return f"{about}\nFlags\n" + "\n".join(lines)
