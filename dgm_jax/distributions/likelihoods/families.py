"""Likelihoods p(x|z) = prod_d p(x_d | h_d), h the decoder's outputs; `likelihood` of a model names one of FAMILIES.

FAMILIES maps a name to a function of the options (`likelihood_args`) that returns a Family, the distribution of one
entry of x; a Likelihood has D entries.  Log-densities are in nats, x is flat, [B, D].

A likelihood of the user's own is such a function, or a Family, in a file or module: likelihood = "mine.py:my_family".
"""

import inspect
import re
from collections.abc import Sequence
from typing import Any

from dgm_jax.core import errors, options, references
from dgm_jax.distributions.likelihoods.continuous import (
  make_beta,
  make_continuous_bernoulli,
  make_gaussian,
  make_gaussian_bounded,
  make_gaussian_fixed,
  make_gaussian_mixture,
  make_gaussian_shared,
  make_gaussian_sigmoid,
  make_gaussian_softplus,
  make_student_t,
)
from dgm_jax.distributions.likelihoods.counts import make_negative_binomial, make_zero_inflated_negative_binomial
from dgm_jax.distributions.likelihoods.discrete import (
  make_bernoulli,
  make_categorical,
  make_discretised_logistic,
  make_logistic_levels,
  make_poisson,
)
from dgm_jax.distributions.likelihoods.family import Family
from dgm_jax.distributions.likelihoods.mixed import Mixed

FAMILIES = {
  "bernoulli": make_bernoulli,
  "continuous_bernoulli": make_continuous_bernoulli,
  "beta": make_beta,
  "gaussian": make_gaussian,
  "gaussian_sigmoid": make_gaussian_sigmoid,
  "gaussian_shared": make_gaussian_shared,
  "gaussian_fixed": make_gaussian_fixed,
  "gaussian_bounded": make_gaussian_bounded,
  "gaussian_mixture": make_gaussian_mixture,
  "gaussian_softplus": make_gaussian_softplus,
  "student_t": make_student_t,
  "poisson": make_poisson,
  "negative_binomial": make_negative_binomial,
  "zero_inflated_negative_binomial": make_zero_inflated_negative_binomial,
  "categorical": make_categorical,
  "discretised_logistic": make_discretised_logistic,
  "logistic_levels": make_logistic_levels,
}


def make_mixed(columns: Sequence[str]) -> Mixed:
  """Each column with its own family, e.g. ("gaussian", "categorical(3)", "bernoulli"); numbers are its options.

  A class is stored as its index, 0.0 .. C - 1.  Raises UserError for an invalid column.
  """
  errors.require(len(columns) > 0, "columns of likelihood 'mixed' must name a likelihood for each column of x")
  members = {}
  for d, text in enumerate(columns):
    members.setdefault(text.replace(" ", ""), []).append(d)
  return Mixed(tuple((_column(text), tuple(where)) for text, where in members.items()))


def _column(text: str) -> Family:
  """Parses the family of a column, "name" or "name(number, ...)"."""
  found = re.fullmatch(r"(\w+)(?:\(([-+.\de,]+)\))?", text)
  errors.require(
    found, f"column {text!r} of likelihood 'mixed'; it must be a name, or a name and numbers: 'categorical(3)'"
  )
  name, numbers = found.groups()
  errors.require(name in FAMILIES, f"column {text!r} of likelihood 'mixed'; it must be one of {', '.join(FAMILIES)}")
  number = lambda word: float(word) if re.search(r"[.e]", word) else int(word)
  values, names = numbers.split(",") if numbers else [], list(inspect.signature(FAMILIES[name]).parameters)
  errors.require(
    len(values) <= len(names),
    f"column {text!r} of likelihood 'mixed'; {name!r} takes {', '.join(names) or 'no options'}",
  )
  given = dict(zip(names, map(number, values), strict=False))
  family = options.call(f"column {text!r} of likelihood 'mixed'", FAMILIES[name], **given)
  errors.require(
    not family.shares_scale, f"column {text!r} of likelihood 'mixed' cannot share a scale; choose 'gaussian'"
  )
  return family


def _own(name: str, given: dict[str, Any]) -> Family | Mixed:
  """The family of a reference: a Family, or what a function of its options returns."""
  found = references.load(name, "make")
  if not isinstance(found, Family | Mixed):
    errors.require(callable(found), f"likelihood {name!r} must be a function that returns a Family; it is {found!r}")
    found = options.call(f"likelihood {name!r}", found, **given)
    given = {}
  errors.require(
    isinstance(found, Family | Mixed),
    f"likelihood {name!r} must return a dgm_jax.distributions.likelihoods.family.Family; it returns {found!r}",
  )
  errors.require(not given, f"likelihood {name!r} is a Family and takes no options, but {', '.join(given)} is given")
  return found


def make(name: str, **given: Any) -> Family | Mixed:
  """The family `name` with its options; "mixed" for a family per column, a reference for one of the user's own.

  Raises:
    UserError: no such likelihood or option, or an invalid value.
  """
  if references.is_own(name):
    return _own(name, given)
  if name == "mixed":
    return options.call("likelihood 'mixed'", make_mixed, **given)
  errors.require(name in FAMILIES, f"likelihood = {name!r}; it must be one of {', '.join(FAMILIES)}, mixed")
  return options.call(f"likelihood {name!r}", FAMILIES[name], **given)
