"""Training steps of flows in PyTorch libraries, measured beside ours by `bench_flows.py --peer_python=PYTHON`.

  PYTHON scripts/bench_flow_torch_peers.py LIBRARY DIM BATCH_SIZE     LIBRARY: zuko or nflows

It needs torch and the library, and nothing of this package.  Input and output are those of bench_flow_peers.py: a line
with versions and flows, then {"cpu_ms", "ms"} of a step for each name of a flow.  All flows have 5 layers, networks of
64 x 2 and, if any, 8 bins; zuko's splines are on [-5, 5], which it fixes, the others on [-3, 3].
"""

import importlib.metadata
import json
import os
import sys
import time

import torch

LAYERS, HIDDEN, BINS, BOUND, STEPS = 5, 64, 8, 3.0, 50
FLOWS = ("affine coupling", "MAF", "spline coupling", "spline autoregressive")


def zuko(name, dim):
  """A module with log_prob(x), of the lazy distributions of zuko."""
  from zuko import flows
  from zuko.transforms import MonotonicRQSTransform

  options = {"transforms": LAYERS, "hidden_features": (HIDDEN, HIDDEN)}
  if "coupling" in name:
    spline = {"univariate": MonotonicRQSTransform, "shapes": [(BINS,), (BINS,), (BINS - 1,)]}
    made = flows.NICE(dim, **options, **(spline if "spline" in name else {}))
  else:
    made = flows.NSF(dim, bins=BINS, **options) if "spline" in name else flows.MAF(dim, **options)

  class Flow(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.made = made

    def log_prob(self, x):
      return self.made().log_prob(x)

  return Flow()


def nflows(name, dim):
  """A module with log_prob(x)."""
  from nflows import distributions, flows, transforms

  class Net(torch.nn.Sequential):
    def forward(self, x, context=None):
      return super().forward(x)

  spline = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND}
  hidden = lambda size: (torch.nn.Linear(size, HIDDEN), torch.nn.ReLU())
  net = lambda inputs, outputs: Net(*hidden(inputs), *hidden(HIDDEN), torch.nn.Linear(HIDDEN, outputs))

  def layer(i):
    if "coupling" in name:
      mask = torch.arange(dim) % dim < dim // 2
      mask = (mask if i % 2 else ~mask).int()
      if "spline" in name:
        return transforms.PiecewiseRationalQuadraticCouplingTransform(mask, net, **spline)
      return transforms.AffineCouplingTransform(mask, net)
    masked = {"hidden_features": HIDDEN, "num_blocks": 1, "use_residual_blocks": False}  # one layer and one block
    if "spline" in name:
      return transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(dim, **masked, **spline)
    return transforms.MaskedAffineAutoregressiveTransform(dim, **masked)

  parts = []
  for i in range(LAYERS):
    parts += [layer(i)] + ([transforms.ReversePermutation(dim)] if "coupling" not in name else [])
  return flows.Flow(transforms.CompositeTransform(parts), distributions.StandardNormal([dim]))


LIBRARIES = {"zuko": zuko, "nflows": nflows}


def make(library, name, dim, batch_size):
  """A function of STEPS training steps."""
  torch.manual_seed(0)
  module, data = LIBRARIES[library](name, dim), torch.randn(STEPS, batch_size, dim)
  optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)

  def run():
    for x in data:
      optimiser.zero_grad(set_to_none=True)
      (-module.log_prob(x).mean()).backward()
      optimiser.step()

  return run


def main():
  """Answers names of flows with times."""
  library, dim, batch_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
  torch.set_num_threads(len(os.sched_getaffinity(0)))
  runs = {}
  for name in FLOWS:
    try:
      runs[name] = make(library, name, dim, batch_size)
      runs[name]()
    except Exception as e:  # of the library, on this version of torch: the others are measured all the same
      runs.pop(name, None)
      print(f"{library}: {name} does not run: {type(e).__name__}: {str(e).splitlines()[0][:100]}", file=sys.stderr)
  versions = {package: importlib.metadata.version(package) for package in (library, "torch")}
  print(json.dumps({"versions": versions, "flows": list(runs)}), flush=True)
  for line in sys.stdin:
    start = time.process_time(), time.perf_counter()
    runs[line.strip()]()
    ends = time.process_time(), time.perf_counter()
    cpu, wall = (1e3 * (b - a) / STEPS for a, b in zip(start, ends, strict=True))
    print(json.dumps({"cpu_ms": cpu, "ms": wall}), flush=True)


if __name__ == "__main__":
  main()
