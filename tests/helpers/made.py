"""Published data sets with small files that a test writes in the published format."""

from dgm_jax.data.published.spec import DataSet


def made(spec: DataSet, **sizes: int) -> DataSet:
  """`spec` with other sizes, and with URLs that no checksum is registered for."""
  files = {k: f._replace(url=f"https://example.org/{f.name}", git_blob="") for k, f in spec.files.items()}
  return spec._replace(sizes=sizes, files=files)
