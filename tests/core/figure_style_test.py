"""The common look of figures: styles that can be told apart in grey and by colour-blind people, units, log axes."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from dgm_jax.core import errors
from dgm_jax.core import figure_style as style

pytestmark = pytest.mark.smoke

# Viénot, Brettel & Mollon (1999): linear RGB as people without one kind of cone see it
_DEUTERANOPE = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
_PROTANOPE = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])


def lab(colour, seen_by=None):
  """CIE L*a*b* of a colour, under D65."""
  linear = np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)])
  linear = linear if seen_by is None else (seen_by @ linear).clip(0, 1)
  xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
  f = [t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz / np.array([0.9505, 1.0, 1.089])]
  return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_splits_differ_in_lightness_and_in_line_style():
  for a, b in itertools.combinations(style.SPLITS.values(), 2):
    assert abs(lab(a.colour)[0] - lab(b.colour)[0]) > 15
    assert a.line != b.line and a.marker != b.marker


@pytest.mark.parametrize("seen_by", [None, _DEUTERANOPE, _PROTANOPE], ids=["normal", "deuteranope", "protanope"])
def test_methods_are_told_apart_by_everybody_and_in_grey(seen_by):
  looks = list(style.methods(map(str, range(8))).values())
  for a, b in itertools.combinations(looks, 2):
    if a.line == b.line or a.marker == b.marker:  # then the colours must do
      assert np.linalg.norm(lab(a.colour, seen_by) - lab(b.colour, seen_by)) > 15
    assert (a.line, a.marker) != (b.line, b.marker)


def test_a_method_keeps_its_style_and_no_two_share_one():
  looks = style.methods(["vae", "iwae", "vae", *map(str, range(20))])
  assert looks["vae"] == style.methods(["vae"])["vae"]
  assert len(set(looks.values())) == len(looks) == 22


def test_units_follow_from_names():
  assert style.label("valid/log_px") == "valid/log_px (nats)"
  assert style.label("test/exact_elbo") == "test/exact_elbo (nats)"
  assert style.unit("train/loss", ["train/loss", "train/elbo"]) == "nats"
  assert style.unit("train/loss", ["train/loss", "train/squares"]) == ""
  assert style.label("model.args.latent_dim") == "model.args.latent_dim"
  assert [style.is_rate(n) for n in ("optim.lr", "train/lr", "batch_size")] == [True, True, False]


def test_formats_are_validated():
  assert style.parse_formats("pdf, svg,pdf") == ("pdf", "svg")
  with pytest.raises(errors.UserError, match=r"format of --format 'pfd'.*Did you mean 'pdf'"):
    style.parse_formats("pfd")
  with pytest.raises(errors.UserError, match=r"figure_formats names no format"):
    style.check_formats((), "figure_formats")
