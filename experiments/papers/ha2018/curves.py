"""Fitness by generation in the authors' logs (hardmaru/WorldModelsExperiments): means of the 64 candidates."""

# generation, mean reward of the population; the last number of each: the best on 1,024 rollouts
CAR = (
  (1, -55), (11, 281), (21, 616), (51, 754), (101, 792), (201, 827), (401, 845), (801, 882), (1800, 890),
)  # fmt: skip
CAR_BEST = 900.5
DOOM = (
  (1, 305), (11, 365), (21, 456), (51, 656), (101, 737), (201, 732), (401, 778), (801, 858), (1800, 897),
)  # fmt: skip
DOOM_BEST = 958.5  # in the dream, at tau 1.25 of their code
