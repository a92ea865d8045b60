"""Data sets through TFDS without TensorFlow: array_record files of plain arrays, made from a DataSet's `read`."""

import functools
import gzip
import hashlib
import pathlib
import shutil
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator

import numpy as np
import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums, download_manager, util

from dgm_jax.core import errors
from dgm_jax.core.progress import progress_bar
from dgm_jax.data.published import cache
from dgm_jax.data.published.spec import TEXT, DataSet, File

_ROWS = 4096  # records read back at once


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """The base class of the builders of all data sets."""

  VERSION = tfds.core.Version("1.0.0")
  spec: DataSet
  found: dict[str, pathlib.Path]  # files in a folder of the user

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
    files = self.found or {k: pathlib.Path(p) for k, p in dl_manager.download(_urls(self.spec)).items()}
    for key, path in files.items():
      _check_blob(self.spec.files[key], path)
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


def _urls(spec: DataSet) -> dict[str, str]:
  return {key: file.url for key, file in spec.files.items()}


def _builder_class(spec: DataSet) -> type[_Builder]:
  name = "dgm_" + spec.name.replace("/", "_")
  fields = {"name": name, "spec": spec, "__module__": __name__}
  return type(name.title().replace("_", ""), (_Builder,), fields, skip_registration=True)


@functools.cache
def registered() -> dict[str, checksums.UrlInfo]:
  """{url: size and sha256} of the files whose checksums are known."""
  return checksums.load_url_infos(pathlib.Path(__file__).with_name("checksums.tsv"))


def _check_blob(file: File, path: pathlib.Path) -> None:
  """Raises UserError if the git blob id of a file is not the published one."""
  if not file.git_blob:
    return
  content = path.read_bytes()
  found = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
  errors.require(
    found == file.git_blob, f"{path} is not the published file: expected git blob id {file.git_blob}, found {found}."
  )


def _take_from_folder(spec: DataSet, manual_dir: pathlib.Path, unpacked: pathlib.Path) -> dict[str, pathlib.Path]:
  """The files of a data set in the user's folder, their checksums verified before anything is written.

  Args:
    spec: the data set.
    manual_dir: holds the files, directly or in a sub-folder with the set's name; each may be gzipped.
    unpacked: a folder that gzipped files are unpacked to.
  """
  errors.require(manual_dir.is_dir(), f"data.manual_dir {str(manual_dir)!r} is not a folder.")
  own = manual_dir / spec.name.partition("/")[0]
  folder = own if own.is_dir() else manual_dir
  found = {}
  for key, file in spec.files.items():
    path, packed = folder / file.name, folder / f"{file.name}.gz"
    if not path.is_file() and packed.is_file():
      path = unpacked / file.name
      try:
        with gzip.open(packed) as source, open(path, "wb") as target:
          shutil.copyfileobj(source, target)
      except (EOFError, gzip.BadGzipFile, zlib.error) as e:
        raise errors.UserError(f"{packed} is damaged: {e}.") from e
    if not path.is_file():
      raise errors.UserError(_missing_file(spec, file, folder))
    _check_sum(file, path)
    found[key] = path
  return found


def _missing_file(spec: DataSet, file: File, folder: pathlib.Path) -> str:
  """The error message for a file that is missing in the user's folder."""
  wanted = ", ".join(sorted(f.name for f in spec.files.values()))
  pickles = [f.name for f in sorted(folder.glob("*.p*kl*"))]
  unused = f" It has {pickles[0]}, but pickles can run any code and are never loaded." if pickles else ""
  made = f" {file.name}: {file.made_by}." if file.made_by else f" {file.name} is published at {file.url}."
  return f"data.manual_dir {folder} lacks {file.name!r}; {spec.name} needs: {wanted}.{unused}{made}"


def _check_sum(file: File, path: pathlib.Path) -> None:
  """Raises UserError if a file differs from its registered size and checksum, where there are any."""
  if (info := registered().get(file.url)) is None:
    return
  actual = checksums.compute_url_info(path)
  errors.require(
    (actual.size, actual.checksum) == (info.size, info.checksum),
    f"{path} is not the published file: expected sha256 {info.checksum} ({int(info.size)} bytes), found "
    f"{actual.checksum} ({int(actual.size)} bytes).",
  )


def _check_network(url: str, seconds: float = 10.0) -> None:
  """Raises a RequestException soon if there is no network; TFDS would retry for minutes."""
  failure = [requests.exceptions.Timeout(f"no answer within {seconds:.0f} s")]

  def ask():
    try:
      requests.head(url, timeout=seconds / 2)
      failure.clear()
    except requests.exceptions.RequestException as e:
      failure[:] = [e]

  thread = threading.Thread(target=ask, daemon=True)
  thread.start()
  thread.join(seconds)
  if failure:
    raise failure[0]


def _one_line(e: Exception) -> str:
  return " ".join(str(e).split()).rstrip(".")


def _alternatives(spec: DataSet) -> str:
  """What to do if a data set cannot be downloaded, for error messages."""
  wanted = ", ".join(sorted(f.name for f in spec.files.values()))
  made = "".join(f" {f.name}: {f.made_by}." for f in spec.files.values() if f.made_by)
  return (
    f"Alternatives: --config.data.manual_dir=FOLDER with the raw files ({wanted});{made} "
    "--config.data.data_dir=FOLDER where it was prepared before; or digits that need no download, "
    "--config=CONFIG.py:data=mnist5k. (scripts/prepare_data.py has --manual_dir and --data_dir.)"
  )


def _download_and_prepare(
  spec: DataSet, data_dir: pathlib.Path, manual_dir: str | None, scratch: pathlib.Path
) -> tuple[dict, dict]:
  """({part: random-access source}, about), downloaded and prepared under `data_dir` if necessary."""
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()  # it would fill a log file
  builder = _builder_class(spec)(data_dir=data_dir, file_format="array_record")
  if not builder.is_prepared():
    for left in pathlib.Path(builder.data_dir).parent.glob("*incomplete*"):  # left by a process that was killed
      shutil.rmtree(left, ignore_errors=True)
    builder.found = {}
    with tempfile.TemporaryDirectory(dir=scratch) as unpacked:
      if manual_dir:
        folder = pathlib.Path(manual_dir).expanduser()
        builder.found = _take_from_folder(spec, folder, pathlib.Path(unpacked))
      else:
        errors.require(all(_urls(spec).values()), f"{spec.name} cannot be downloaded. {_alternatives(spec)}")
        if not (data_dir / "downloads" / builder.name).is_dir():
          _check_network(next(iter(_urls(spec).values())))
      builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False), file_format="array_record"
      )
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
    raise errors.UserError(f"{spec.name} cannot be downloaded ({type(e).__name__}). {_alternatives(spec)}") from e
  except download_manager.NonMatchingChecksumError as e:
    raise errors.UserError(f"A downloaded file of {spec.name} is damaged: {_one_line(e)}.") from e
  except util.DownloadError as e:
    raise errors.UserError(f"{spec.name} cannot be downloaded: {_one_line(e)}. {_alternatives(spec)}") from e
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
