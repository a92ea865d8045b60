"""What is known of a published data set: its files, sizes and sources."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from dgm_jax.core.batches import Arrays

TEXT = "text"  # the dtype of a feature that is a string: cached as fixed-width bytes, dtype S


class File(NamedTuple):
  """One published file.  Its size and sha256 stand in checksums.tsv, where they are known.

  Attributes:
    url: where it is downloaded from; "" if it can only be put into a folder by hand.
    name: what it is called in such a folder; it may lie there gzipped, with .gz behind.
    git_blob: git's sha1 of its contents, for files that are known by that alone.
    made_by: where `url` is "": how one gets or makes the file.
  """

  url: str
  name: str
  git_blob: str = ""
  made_by: str = ""


class DataSet(NamedTuple):
  """A published data set, enough to make a TFDS builder of it.

  Attributes:
    name: as in config.data.name; "family/member" where a module holds several.
    description, homepage, license, citation: what a user must know; the citation is a short reference.
    files: by the names that `read` calls them.
    features: {name: (shape of one example, dtype)}; the dtype is numpy's, or TEXT.
    sizes: {part: number of examples}, in the order of the parts; every published number is checked.
    read: {file: path} -> {part: arrays, or one dict of features after another}.
    version: grows when the prepared arrays change.
    about: {file: path} -> what is no array (names of genes, classes), as JSON can hold it; kept with the arrays.
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
