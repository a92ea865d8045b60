"""Numbers that need more than eval_step, for the end of a run.

Each file has evaluate(experiment, state, key, arrays, **options) -> {name: number}, and check(**options), which refuses
bad options before anything compiles.  config.evaluate.FILE holds the options; --config.evaluate.FILE.OPTION=... changes
them.  "values" among the results holds {name: array}: [N], a value for each example, or [L] under "units/...", one for
each latent unit, or [N, ...] under "predictive/...".  NEEDS names the methods without which a model cannot have
it.  "figures" holds {name: function that draws it to a path}.  README.md says what the numbers mean.
"""
