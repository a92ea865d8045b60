"""The specification of a published data set: its files, sizes and sources."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from dgm_jax.core.batches import Arrays

TEXT = "text"  # the dtype of a feature that is a string: cached as fixed-width bytes, dtype S


class File(NamedTuple):
  """One published file.  Its size and sha256 are in checksums.tsv, if they are known.

  Attributes:
    url: where it is downloaded from; "" if the user must provide the file in a folder.
    name: its file name in that folder; the file may also be gzipped there, with .gz appended.
    git_blob: git's sha1 of its contents, for files without a known sha256.
    made_by: how to get or make the file, if `url` is "".
  """

  url: str
  name: str
  git_blob: str = ""
  made_by: str = ""


class DataSet(NamedTuple):
  """A published data set, with all that its TFDS builder needs.

  Attributes:
    name: as in config.data.name; "family/member" where a module holds several.
    description, homepage, license, citation: information for users; the citation is a short reference.
    files: {key: file}, with the keys that `read` uses.
    features: {name: (shape of one example, dtype)}; the dtype is numpy's, or TEXT.
    sizes: {part: number of examples}, in the order of the parts; checked when the files are read.
    read: {file: path} -> {part: arrays, or one dict of features after another}.
    version: increased when the prepared arrays change.
    about: {file: path} -> metadata that JSON can hold (names of genes, classes), kept with the arrays.
  """

  name: str
  description: str
  homepage: str
  license: str
  citation: str
  files: dict[str, File]
  features: dict[str, tuple[tuple[int, ...], str]]
  sizes: dict[str, int]
  read: Callable[[dict[str, Path]], dict[str, Arrays | Iterable[dict]]]
  version: str = "1.0.0"
  about: Callable[[dict[str, Path]], dict] | None = None

  @property
  def folder(self) -> str:
    """The name of its folder in the cache."""
    return f"{self.name.replace('/', '-')}-{self.version}"
