"""Data sets through TFDS without TensorFlow: array_record files of plain arrays, made from a DataSet's `read`."""

import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator

import numpy as np
import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import download_manager, util

from dgm_jax.core import errors, files
from dgm_jax.core.progress import progress_bar
from dgm_jax.data.published import cache, first_use
from dgm_jax.data.published.raw_files import _one_line, alternatives, check_blob, check_network, take_from_folder, urls
from dgm_jax.data.published.spec import TEXT, DataSet

_ROWS = 4096  # records read back at once


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """The base class of the builders of all data sets."""

  VERSION = tfds.core.Version("1.0.0")
  spec: DataSet
  found: dict[str, pathlib.Path]  # files in a folder of the user
  root: pathlib.Path  # the folder of all data sets

  def _info(self) -> tfds.core.DatasetInfo:
    feature = lambda shape, dtype: (
      tfds.features.Text() if dtype == TEXT else tfds.features.Tensor(shape=shape, dtype=np.dtype(dtype))
    )
    return self.dataset_info_from_configs(
      description=self.spec.description,
      features=tfds.features.FeaturesDict({k: feature(*v) for k, v in self.spec.features.items()}),
      disable_shuffling=True,  # keeps the published order, on which splits rely
      homepage=self.spec.homepage,
      license=self.spec.license,
      citation=self.spec.citation,
      metadata=tfds.core.MetadataDict(),
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    files = self.found or {k: pathlib.Path(p) for k, p in dl_manager.download(urls(self.spec)).items()}
    for key, path in files.items():
      check_blob(self.spec.files[key], path)
    self.first_used = first_use.check(self.spec, files, self.root)
    if self.spec.about:
      self.info.metadata.update(self.spec.about(files))  # TFDS keeps it with the records
    parts = self.spec.read(files)
    return {part: self._generate_examples(parts[part], part) for part in self.spec.sizes}

  def _generate_examples(self, examples, part: str) -> Iterator[tuple[int, dict]]:
    if isinstance(examples, dict):
      names = list(examples)
      examples = (dict(zip(names, row, strict=True)) for row in zip(*examples.values(), strict=True))
    dtypes = {k: dtype for k, (_, dtype) in self.spec.features.items()}
    count = 0
    for count, example in enumerate(examples, 1):
      yield count - 1, {k: v if dtypes[k] == TEXT else np.asarray(v, dtypes[k]) for k, v in example.items()}
    expected = self.spec.sizes[part]
    names = ", ".join(f.name for f in self.spec.files.values())
    errors.require(
      count == expected,
      f"{self.spec.name}: {count} {part} examples were read, {expected} are published; the files: {names}.",
    )


def _builder_class(spec: DataSet) -> type[_Builder]:
  name = "dgm_" + spec.name.replace("/", "_")
  fields = {"name": name, "spec": spec, "__module__": __name__}
  return type(name.title().replace("_", ""), (_Builder,), fields, skip_registration=True)


def _builder(spec: DataSet, data_dir: pathlib.Path) -> _Builder:
  """The builder of a data set, which reads what TFDS wrote about it.

  Raises:
    UserError: that is damaged.
  """
  made = _builder_class(spec)
  try:
    return made(data_dir=data_dir, file_format="array_record")
  except OSError:
    raise
  except Exception as e:  # of JSON, of protobuf, or a key that is missing
    folder = data_dir / made.name
    raise errors.UserError(
      f"What TFDS wrote about {spec.name} is damaged; remove the folder {folder} and prepare it again ({_one_line(e)})."
    ) from e


def _download_and_prepare(
  spec: DataSet, data_dir: pathlib.Path, manual_dir: str | None, scratch: pathlib.Path
) -> tuple[dict, dict]:
  """({part: random-access source}, about), downloaded and prepared under `data_dir` if necessary."""
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()  # it would fill a log file
  builder = _builder(spec, data_dir)
  if not builder.is_prepared():
    for left in pathlib.Path(builder.data_dir).parent.glob("*incomplete*"):  # left by a process that was killed
      shutil.rmtree(left, ignore_errors=True)
    builder.found, builder.root = {}, data_dir
    with tempfile.TemporaryDirectory(dir=scratch) as unpacked:
      if manual_dir:
        folder = pathlib.Path(manual_dir).expanduser()
        builder.found = take_from_folder(spec, folder, pathlib.Path(unpacked))
      else:
        errors.require(all(urls(spec).values()), f"{spec.name} cannot be downloaded. {alternatives(spec)}")
        if not (data_dir / "downloads" / builder.name).is_dir():
          check_network(next(iter(urls(spec).values())))
      builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False), file_format="array_record"
      )
    files.sync_tree(pathlib.Path(builder.data_dir))
    first_use.keep(spec, data_dir, builder.first_used)
  return builder.as_data_source(), dict(builder.info.metadata or {})


def prepare(spec: DataSet, data_dir: pathlib.Path, manual_dir: str | None, scratch: pathlib.Path) -> tuple[dict, dict]:
  """({part: random-access source}, about) of a data set, downloaded and prepared under `data_dir` if necessary.

  Args:
    spec, data_dir, manual_dir: see prepare.prepared.
    scratch: a folder for unpacked files.

  Raises:
    UserError: no network and no manual_dir, a missing or damaged file, or a data_dir that cannot be written.
  """
  try:
    return _download_and_prepare(spec, data_dir, manual_dir, scratch)
  except requests.exceptions.RequestException as e:
    raise errors.UserError(f"{spec.name} cannot be downloaded ({type(e).__name__}). {alternatives(spec)}") from e
  except download_manager.NonMatchingChecksumError as e:
    raise errors.UserError(f"A downloaded file of {spec.name} is damaged: {_one_line(e)}.") from e
  except util.DownloadError as e:
    raise errors.UserError(f"{spec.name} cannot be downloaded: {_one_line(e)}. {alternatives(spec)}") from e
  except RuntimeError as e:  # raised by array_record
    if "write() failed" not in str(e):
      raise
    raise errors.UserError(f"{spec.name} cannot be written; nothing was kept: {_one_line(e)}.") from e
  except OSError as e:  # after RequestException, which is a subclass
    where = e.filename or f"data.data_dir {str(data_dir)!r}"
    raise errors.UserError(f"{spec.name} cannot be prepared: {where}: {e.strerror or e}.") from e


def _rows(spec: DataSet, source, data_dir: pathlib.Path, indices: range) -> list[dict]:
  try:
    return source.__getitems__(indices)
  except (RuntimeError, ValueError) as e:  # raised by array_record, and by protobuf
    folder = data_dir / _builder_class(spec).name
    raise errors.UserError(
      f"The records of {spec.name} are damaged; remove the folder {folder} and prepare it again ({_one_line(e)})."
    ) from e


def write_arrays(spec: DataSet, data_dir: pathlib.Path, manual_dir: str | None, folder: pathlib.Path) -> None:
  """Writes folder/part/feature.npy of every part, in bounded memory (except for text features)."""
  sources, about = prepare(spec, data_dir, manual_dir, folder)
  cache.save_about(folder, about)
  for part, source in sources.items():
    n = len(source)
    text = {k: [] for k, (_, dtype) in spec.features.items() if dtype == TEXT}
    arrays = {
      k: cache.create(folder / part / f"{k}.npy", np.dtype(dtype), (n, *shape))
      for k, (shape, dtype) in spec.features.items()
      if dtype != TEXT
    }
    with progress_bar(n, description=f"Unpacking {spec.name} {part}", unit="example") as bar:
      for start in range(0, n, _ROWS):
        rows = _rows(spec, source, data_dir, range(start, min(start + _ROWS, n)))
        for name, array in arrays.items():
          array[start : start + len(rows)] = np.stack([row[name] for row in rows])
        for name, strings in text.items():
          strings += [row[name] for row in rows]
        bar.update(len(rows))
    cache.save(folder, {part: {name: np.array(strings, np.bytes_) for name, strings in text.items()}})
    for array in arrays.values():
      array.flush()
