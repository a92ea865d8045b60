"""What a search minimises: the error of an expression, and minus the penalised logP of a molecule."""

import ast
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import errors, grammar_parser, grammars
from dgm_jax.evaluate.molecular import properties

DIVISIONS = ("true", "python2")
_FUNCTIONS = {"sin": np.sin, "exp": np.exp}
_X = np.linspace(-10, 10, 1000)
_TRUTH = 1 / 3 + _X + np.sin(_X * _X)
WORST = 1000.0  # the greatest squared error that counts


class Target(NamedTuple):
  """A function of strings to minimise.

  Attributes:
    score: string -> number; `worst` for one without a value.
    valid: whether a string counts as decoded.
    worst: the greatest value.
  """

  score: Callable[[str], float]
  valid: Callable[[str], bool]
  worst: float


def _divide(a: Any, b: Any, division: str) -> Any:
  whole = division == "python2" and isinstance(a, int) and isinstance(b, int)
  return a // b if whole else a / b


def value(text: str, x: np.ndarray = _X, division: str = "true") -> Any:
  """The value of an expression of x, whole numbers, + * / sin and exp; nothing else is computed.

  Args:
    text: the expression.
    x: where.
    division: "true"; or "python2", where that of two whole numbers is rounded down, as in the published search.

  Raises:
    ValueError, ZeroDivisionError, OverflowError, SyntaxError: it has none.
  """

  def of(node: ast.AST) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
      return node.value
    if isinstance(node, ast.Name) and node.id == "x":
      return x
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult | ast.Div):
      a, b = of(node.left), of(node.right)
      if isinstance(node.op, ast.Div):
        return _divide(a, b, division)
      return a + b if isinstance(node.op, ast.Add) else a * b
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
      function = _FUNCTIONS.get(getattr(node.func, "id", ""))
      if function is not None:
        return function(of(node.args[0]))
    raise ValueError(f"not an expression: {text[:60]!r}")

  with np.errstate(all="ignore"):
    return of(ast.parse(text, mode="eval").body)


def equation_score(text: str, division: str = "true") -> float:
  """log(1 + mean over 1,000 points of [-10, 10] of min((f(x) - 1/3 - x - sin(x x))^2, 1000)); the worst without f."""
  errors.choose("division", division, DIVISIONS)
  worst = math.log1p(WORST)
  try:
    with np.errstate(all="ignore"):
      found = float(np.log(1 + np.mean(np.minimum((np.asarray(value(text, division=division)) - _TRUTH) ** 2, WORST))))
  except (ValueError, ArithmeticError, SyntaxError, RecursionError, MemoryError):
    return worst
  return found if math.isfinite(found) else worst


def equations(division: str = "true") -> Target:
  """Of expressions; valid are those of the grammar."""
  grammar = grammars.parse(grammars.EQUATIONS)

  def valid(text: str) -> bool:
    try:
      grammar_parser.derive(text, grammar)
    except errors.UserError:
      return False
    return True

  return Target(lambda text: equation_score(text, division), valid, math.log1p(WORST))


def penalised_log_p(training: Sequence[str], quantile: float = 1.0) -> Target:
  """-(logP - SA - large rings), each standardised by the moments of the training molecules (Kusner et al., 2017).

  Args:
    training: SMILES, at least two.
    quantile: the value of an invalid string is this quantile of the training molecules' values: 1, the greatest.
  """
  mols = [m for m in properties.molecules(training) if m is not None]
  errors.require(len(mols) >= 2, "The moments of logP, SA and rings need two molecules or more.")
  terms = properties.penalised_log_p_terms(mols)
  mean, deviation = terms.mean(0), np.maximum(terms.std(0), 1e-12)
  of = lambda rows: -((rows - mean) / deviation).sum(1)
  worst = float(np.quantile(of(terms), quantile))

  def score(smiles: str) -> float:
    mol = properties.molecule(smiles)
    return worst if mol is None else float(of(properties.penalised_log_p_terms([mol]))[0])

  return Target(score, lambda smiles: properties.molecule(smiles) is not None, worst)
