"""Numbers that need more than eval_step, for the end of a run.

Each file has evaluate(experiment, state, key, arrays, **options) -> {name: number}, and check(**options), which refuses
bad options before anything compiles.  config.evaluate.FILE holds the options; --config.evaluate.FILE.OPTION=... changes
them.
"""
