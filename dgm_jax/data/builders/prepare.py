"""Preparing and reading a TFDS builder, with errors that name the file and the ways out."""

import pathlib
import threading

import numpy as np
import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums, download_manager

from dgm_jax import errors


def _check_manual_files(name: str, url_infos: dict, manual_dir: pathlib.Path) -> None:
  """Says which file is missing from or damaged in the user's folder, before anything is written."""
  errors.require(manual_dir.is_dir(), f"data.manual_dir {str(manual_dir)!r} is not a folder.")
  for info in url_infos.values():
    path = manual_dir / info.filename
    wanted = ", ".join(sorted(i.filename for i in url_infos.values()))
    errors.require(path.is_file(), f"data.manual_dir {manual_dir} lacks {info.filename!r}; {name} needs: {wanted}.")
    found = checksums.compute_url_info(path)
    errors.require(
      found == info,
      f"{path} is not the published file: expected sha256 {info.checksum} ({int(info.size)} bytes), "
      f"found {found.checksum} ({int(found.size)} bytes).",
    )


def _check_network(url: str, seconds: float = 10.0) -> None:
  """Raises a RequestException soon where there is no network; TFDS would try again for minutes."""
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


def prepare(builder_cls: type, data_dir: pathlib.Path, manual_dir: str | None = None) -> dict:
  """{split: random-access source} of a builder, downloaded and prepared under `data_dir` if it is not yet.

  Raises:
    UserError: no network and no manual_dir, a file that is missing or damaged, a data_dir that cannot be written.
  """
  try:
    builder = builder_cls(data_dir=data_dir, file_format="array_record")
    name = builder.name.removeprefix("dgm_")
    if not builder.is_prepared():
      if manual_dir:
        _check_manual_files(name, builder.url_infos, pathlib.Path(manual_dir).expanduser())
      elif not (data_dir / "downloads").is_dir():
        _check_network(next(iter(builder.url_infos)))
      builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
          manual_dir=manual_dir and pathlib.Path(manual_dir).expanduser(), try_download_gcs=False
        ),
        file_format="array_record",
      )
    return builder.as_data_source()
  except requests.exceptions.RequestException as e:
    raise errors.UserError(
      f"{name} cannot be downloaded ({type(e).__name__}). Three ways out: --config.data.manual_dir=FOLDER with the "
      f"raw files ({', '.join(sorted(i.filename for i in builder.url_infos.values()))}); "
      "--config.data.data_dir=FOLDER where it was prepared before; or the embedded digits, "
      "--config=CONFIG.py:data=mnist5k."
    ) from e
  except download_manager.NonMatchingChecksumError as e:
    raise errors.UserError(f"A downloaded file of {name} is damaged: {' '.join(str(e).split())}") from e
  except OSError as e:  # after RequestException, which is one
    raise errors.UserError(f"data.data_dir {str(data_dir)!r} cannot be written: {e}.") from e


def arrays(source, **features: str) -> dict[str, np.ndarray]:
  """Stacks the features of a TFDS data source: arrays(s, x="image") is {"x": [N, ...]}; integers become int32."""
  examples = source.__getitems__(range(len(source)))
  stacked = {k: np.stack([e[feature] for e in examples]) for k, feature in features.items()}
  return {k: v.astype(np.int32) if v.dtype == np.int64 else v for k, v in stacked.items()}
