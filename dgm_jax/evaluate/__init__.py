"""Evaluations of a trained model that need more than eval_step, computed at the end of a run.

Each file has evaluate(experiment, state, key, arrays, **options) -> {name: number}, and check(**options), which raises
UserError for invalid options before anything compiles.  config.evaluate.FILE holds the options, which
--config.evaluate.FILE.OPTION=... changes.  NEEDS lists the methods that a model must provide.  Among the results
"values" holds {name: array}: [N], one value per example; [L] under "units/...", one per latent unit; or [N, ...] under
"predictive/...".  "figures" holds {name: function that draws the figure to a path}.  RUNS lists options that may name
the folder of a run, which training loads and hands down, see training/classifiers.py.  README.md explains the numbers.
"""
