"""What a device is, and how fast it multiplies; prints JSON.

python scripts/accelerator_device.py device
python scripts/accelerator_device.py peak --quick
"""

import argparse
import json
import os
import sys
import time
from importlib import metadata

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "distrax", "tfp-nightly", "orbax-checkpoint", "numpy")
_PRODUCTS = {  # dtype, precision
  "float32 highest": ("float32", "highest"),
  "float32 default": ("float32", "default"),
  "bfloat16": ("bfloat16", "default"),
}


def device() -> dict:
  """Platform, devices, memory, and versions of the packages."""
  import jax

  versions = {"python": sys.version.split()[0]}
  for package in _PACKAGES:
    try:
      versions[package] = metadata.version(package)
    except metadata.PackageNotFoundError:
      versions[package] = None
  first = jax.devices()[0]
  return {
    "platform": first.platform,
    "kind": first.device_kind,
    "devices": [str(d) for d in jax.devices()],
    "platform_version": first.client.platform_version,
    "memory_bytes": (first.memory_stats() or {}).get("bytes_limit"),
    "cpus": os.cpu_count(),
    "versions": versions,
  }


def peak(quick: bool) -> dict:
  """{"float32 highest 4096": TFLOP/s of a product of two square matrices, ...}."""
  import jax
  import jax.numpy as jnp

  found = {}
  for n in (256, 512) if quick else (4096, 8192):
    for name, (dtype, precision) in _PRODUCTS.items():
      a = jax.random.normal(jax.random.key(0), (n, n)).astype(dtype)
      product = jax.jit(lambda a, precision=precision: jnp.matmul(a, a, precision=precision)).lower(a).compile()
      seconds = []
      for _ in range(4):  # the first is a warm-up; ten products at once, so that the device does not wait for the host
        start = time.perf_counter()
        jax.block_until_ready([product(a) for _ in range(10)])
        seconds.append((time.perf_counter() - start) / 10)
      found[f"{name} {n}"] = 2 * n**3 / min(seconds[1:]) / 1e12
  return found


def main() -> None:
  """Prints the measurement that the command names."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("what", choices=["device", "peak"])
  parser.add_argument("--quick", action="store_true", help="small matrices")
  args = parser.parse_args()
  print(json.dumps(device() if args.what == "device" else peak(args.quick)))


if __name__ == "__main__":
  main()
