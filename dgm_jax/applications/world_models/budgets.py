"""What `--budget=` means for each environment."""

from typing import NamedTuple

from dgm_jax.core import errors


class Budget(NamedTuple):
  """Settings of all stages.

  Attributes:
    rollouts: episodes of random play; least_steps: shorter ones are not trained on (100 in the paper's code).
    max_frames: frames for V, evenly spaced, 0 for all; v_steps, v_batch: its training.
    length: steps of M's sequences; m_steps, m_batch: its training; random_m: whether M is left untrained.
    controller: kind of C, see controllers.KINDS.
    dreams: whether C is evolved in M's dream, or in the environment.
    taus: temperatures of the dreams; C is evolved at each.
    population, episodes: candidates, and rollouts of each; generations; sigma, l2: of CMA-ES.
    check_every: generations after which the mean parameters are scored on `select` real episodes of their own seeds.
    score: real episodes of the final score, on seeds used for nothing else; baseline: of each kind of random play.
    lost: in training, an episode is cut after so many steps without reward; 0: never.
    limit: steps of an episode; 0: the environment's.
    what: in words, with hours on two cores where they are known.
  """

  rollouts: int
  v_steps: int
  m_steps: int
  population: int
  episodes: int
  generations: int
  what: str
  least_steps: int = 0
  max_frames: int = 0
  v_batch: int = 100
  length: int = 100
  m_batch: int = 100
  random_m: bool = False
  controller: str = "zh"
  dreams: bool = True
  taus: tuple[float, ...] = (1.0,)
  sigma: float = 0.1
  l2: float = 0.0
  check_every: int = 25
  select: int = 16
  score: int = 100
  baseline: int = 30
  lost: int = 0
  limit: int = 0


_CAR = {"controller": "zh", "dreams": False, "lost": 100}
_DOOM = {"controller": "zch", "least_steps": 100}
_TINY = {"length": 20, "m_batch": 10, "v_batch": 10, "check_every": 1, "select": 2, "score": 3, "baseline": 2}
BUDGETS = {
  "dodge": {
    "quick": Budget(
      200, 700, 500, 16, 16, 30, "200 episodes, minutes", max_frames=8000, length=50, m_batch=50, v_batch=50,
      check_every=10,
    ),
    "short": Budget(1000, 4000, 4000, 32, 16, 60, "1,000 episodes, about half an hour", length=50),
    "paper": Budget(10_000, 20_000, 20_000, 64, 16, 200, "10,000 episodes, hours", length=50),
    "test": Budget(6, 6, 6, 4, 2, 2, "seconds", limit=30, **_TINY),
  },
  "car": {
    "quick": Budget(
      20, 500, 0, 8, 1, 5, "20 episodes, V alone: a check, about half an hour", random_m=True, score=5, baseline=3,
      check_every=5, select=2, **_CAR,
    ),
    "short": Budget(
      200, 4000, 2000, 32, 4, 60, "200 episodes, 60 generations of 32 x 4 rollouts, about 7 hours", check_every=15,
      max_frames=100_000, select=8, **_CAR,
    ),
    "paper": Budget(
      10_000, 1_000_000, 4000, 64, 16, 1800, "the paper's: 47 days of the authors' 64 cores", length=999,
      **{**_CAR, "lost": 0},
    ),
    "test": Budget(2, 2, 2, 4, 1, 1, "a minute", limit=30, random_m=True, **_TINY, **_CAR),
  },
  "doom": {
    "quick": Budget(
      150, 1000, 400, 16, 16, 20, "150 episodes, 20 generations of 16 x 16 dreams, about an hour", taus=(1.15,),
      check_every=10, **_DOOM,
    ),
    "short": Budget(
      2000, 6000, 1500, 64, 16, 200, "2,000 episodes, 200 generations of 64 x 16 dreams at each of three tau, 8 hours",
      max_frames=200_000, taus=(1.0, 1.15, 1.3), **_DOOM,
    ),
    "paper": Budget(
      10_000, 300_000, 12_000, 64, 16, 1800, "the paper's: 2.3 days of the authors' 64 cores for each tau", length=500,
      taus=(0.1, 0.5, 1.0, 1.15, 1.3), **_DOOM,
    ),
    "test": Budget(4, 2, 2, 4, 2, 1, "a minute", limit=30, taus=(1.15,), controller="zch", **_TINY),
  },
  "other": {
    "quick": Budget(50, 1000, 500, 16, 4, 10, "50 episodes, 10 generations", check_every=5, dreams=False),
    "short": Budget(300, 6000, 3000, 32, 4, 60, "300 episodes, 60 generations, hours", dreams=False),
    "paper": Budget(10_000, 300_000, 12_000, 64, 16, 1800, "the paper's sizes, weeks", dreams=False),
    "test": Budget(3, 2, 2, 4, 1, 1, "a minute", limit=20, dreams=False, random_m=True, **_TINY),
  },
}  # fmt: skip
NAMES = ("quick", "short", "paper", "test")


def family(environment: str) -> str:
  """dodge, car or doom; "other" for any other environment."""
  return environment if environment in BUDGETS else "other"


def of(environment: str, name: str) -> Budget:
  """The budget `name` of an environment.  Raises UserError if there is none."""
  return BUDGETS[family(environment)][errors.choose("budget", name, NAMES)]
