"""Raw files of published data sets: from the network or from a folder of the user, verified by checksums."""

import functools
import gzip
import hashlib
import pathlib
import shutil
import threading
import zlib

import requests
from tensorflow_datasets.core.download import checksums

from dgm_jax.core import errors
from dgm_jax.data.published.spec import DataSet, File


def urls(spec: DataSet) -> dict[str, str]:
  """{key: URL} of the files of a data set."""
  return {key: file.url for key, file in spec.files.items()}


@functools.cache
def registered() -> dict[str, checksums.UrlInfo]:
  """{url: size and sha256} of the files whose checksums are known."""
  return checksums.load_url_infos(pathlib.Path(__file__).with_name("checksums.tsv"))


def check_blob(file: File, path: pathlib.Path) -> None:
  """Raises UserError if the git blob id of a file is not the published one."""
  if not file.git_blob:
    return
  content = path.read_bytes()
  found = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
  errors.require(
    found == file.git_blob, f"{path} is not the published file: expected git blob id {file.git_blob}, found {found}."
  )


def take_from_folder(spec: DataSet, manual_dir: pathlib.Path, unpacked: pathlib.Path) -> dict[str, pathlib.Path]:
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
      raise errors.UserError(missing_file(spec, file, folder))
    check_sum(file, path)
    found[key] = path
  return found


def missing_file(spec: DataSet, file: File, folder: pathlib.Path) -> str:
  """The error message for a file that is missing in the user's folder."""
  wanted = ", ".join(sorted(f.name for f in spec.files.values()))
  pickles = [f.name for f in sorted(folder.glob("*.p*kl*"))]
  unused = f" It has {pickles[0]}, but pickles can run any code and are never loaded." if pickles else ""
  made = f" {file.name}: {file.made_by}." if file.made_by else f" {file.name} is published at {file.url}."
  return f"data.manual_dir {folder} lacks {file.name!r}; {spec.name} needs: {wanted}.{unused}{made}"


def check_sum(file: File, path: pathlib.Path) -> None:
  """Raises UserError if a file differs from its registered size and checksum, where there are any."""
  if (info := registered().get(file.url)) is None:
    return
  actual = checksums.compute_url_info(path)
  errors.require(
    (actual.size, actual.checksum) == (info.size, info.checksum),
    f"{path} is not the published file: expected sha256 {info.checksum} ({int(info.size)} bytes), found "
    f"{actual.checksum} ({int(actual.size)} bytes).",
  )


def check_network(url: str, seconds: float = 10.0) -> None:
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


def alternatives(spec: DataSet) -> str:
  """What to do if a data set cannot be downloaded, for error messages."""
  wanted = ", ".join(sorted(f.name for f in spec.files.values()))
  made = "".join(f" {f.name}: {f.made_by}." for f in spec.files.values() if f.made_by)
  return (
    f"Alternatives: --config.data.manual_dir=FOLDER with the raw files ({wanted});{made} "
    "--config.data.data_dir=FOLDER where it was prepared before; or digits that need no download, "
    "--config=CONFIG.py:data=mnist5k. (python -m dgm_jax prepare-data takes --manual_dir and --data_dir.)"
  )
