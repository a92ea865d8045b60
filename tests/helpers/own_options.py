"""Checks of programs whose commands have options of their own."""

import re

import pytest

from dgm_jax.core import errors


def check_help(main, name, options, capsys):
  """The help of a command shows these options, and no others."""
  with pytest.raises(SystemExit):
    main([name, "--help"])
  assert set(re.findall(r"^ +(?:-h, )?(--\w+)", capsys.readouterr().out, re.MULTILINE)) == options


def check_refusal(main, words, options):
  """The last option of the words is refused in one sentence, whose choices are these options."""
  option = words[-1 if "=" in words[-1] else -2].partition("=")[0]
  with pytest.raises(errors.UserError) as e:
    main([*words, "--workdir=run"])
  said = str(e.value)
  assert f"Unknown option of {words[0]} {option!r}" in said and "\n" not in said
  assert set(re.findall(r"--\w+", said.partition("Choices:")[2])) == options
