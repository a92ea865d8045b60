"""Trains the small classifiers whose hidden units measure samples, and writes them into the package.

  python scripts/feature_nets.py --raw=FOLDER [--work=FOLDER] [NAME ...]

FOLDER of --raw has the published files in mnist/, fashion_mnist/ and cifar10_subset/ (the sheets of cifar10/small).
Each takes a few minutes on one core.  Written are dgm_jax/evaluate/sample_features/NAME.npz, the weights in float16,
and nets.json with the accuracy of the rounded net on the test set and the digests of the file and of the data.
"""

import argparse
import hashlib
import json
import pathlib
import sys
import tempfile

import jax
import numpy as np

import dgm_jax
from dgm_jax.core import files
from dgm_jax.evaluate.sample_features import small_nets

_COMMON = {
  "model.args.net_args.channels": (16, 32, 64),
  "model.args.hidden": (64,),
  "model.args.dropout": 0.1,
  "optim.lr": 2e-3,
  "optim.schedule": "cosine",
  "optim.end_scale": 0.01,
  "optim.weight_decay": 1e-4,
}
_SETS = {  # name: (data, folder of the raw files, transforms, epochs)
  "mnist": ("mnist", "mnist", ("scale",), 4),
  "fashion_mnist": ("fashion_mnist", "fashion_mnist", ("flip", "scale"), 5),
  "cifar10_small": ("cifar10/small", "cifar10_subset", ("flip", "scale"), 40),
}


def _flat(tree: dict, prefix: str = "") -> dict:
  found = {}
  for name, value in tree.items():
    found |= _flat(value, f"{prefix}{name}/") if isinstance(value, dict) else {f"{prefix}{name}": value}
  return found


def train(name: str, raw: str, work: pathlib.Path) -> dict:
  """Trains one net, writes its weights, and returns what nets.json says of it."""
  data, folder, transforms, epochs = _SETS[name]
  overrides = _COMMON | {"data.transforms": transforms, "num_epochs": epochs}
  config = f"classifier_mnist:net=conv,method=map,data={data}"
  run = dgm_jax.train(config, workdir=work / name, **overrides, **{"data.manual_dir": f"{raw}/{folder}"})
  args = run.experiment.model
  net = {k: args.net_args[k] for k in ("channels", "kernel_size", "stride", "activation")}
  path = small_nets.FOLDER / f"{name}.npz"
  params = {k: np.asarray(a, np.float16) for k, a in _flat(jax.device_get(run.state.params["net"])).items()}
  files.save_arrays(path, **params)
  test = run.experiment.splits.test
  about = {
    "data": data,
    "image_shape": list(test["x"].shape[1:]),
    "hidden": list(args.hidden),
    "num_classes": 10,
    "net": {k: list(v) if isinstance(v, tuple) else v for k, v in net.items()},
    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    "data_digest": run.results["data_digest"],
    "command": f"python scripts/feature_nets.py --raw=FOLDER {name}",
    "config": config,
    "overrides": {k: list(v) if isinstance(v, tuple) else v for k, v in overrides.items()},
  }
  rounded = small_nets.classifier(name, about, small_nets.nest({k: a.astype(np.float32) for k, a in params.items()}))
  embed = jax.jit(lambda x: rounded.embed(x / 255.0)["probs"].argmax(-1))
  found = np.concatenate([embed(part) for part in np.array_split(np.asarray(test["x"]), 20)])
  return about | {"test_accuracy": float((found == np.asarray(test["y"])).mean())}


def main() -> int:
  """Trains the nets that the command line names."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(_SETS)}; all if none is given")
  parser.add_argument("--raw", required=True, help="folder with the published files")
  parser.add_argument("--work", help="folder for the runs; a temporary one if not given")
  given = parser.parse_args()
  work = pathlib.Path(given.work or tempfile.mkdtemp(prefix="feature_nets_"))
  path = small_nets.FOLDER / "nets.json"
  for name in given.names or _SETS:
    known = json.loads(path.read_text()) if path.exists() else {}
    files.write_json(path, dict(sorted((known | {name: train(name, given.raw, work)}).items())))
    print(name, json.loads(path.read_text())[name]["test_accuracy"])
  return 0


if __name__ == "__main__":
  sys.exit(main())
