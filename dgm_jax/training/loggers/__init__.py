"""Where the metrics, pictures and texts of a run go besides its own folder; config.loggers names the files here.

Each file has check(), which raises UserError if its package is not installed, and a class Logger(about) with

  resumed              whether it continues what an earlier process of the run wrote
  rewinds              whether it removes steps later than the one that the run continues from; if not, they are not
                       written again, since a resumed run repeats them exactly
  scalars(step, {name: number}), pictures(step, {name: path of a PNG}), texts(step, {name: text})
  finish(results)      at the end of the run; the config and the final results as hyper-parameters and their metrics
  close()
"""
