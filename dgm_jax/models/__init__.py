"""Models: one density per file, as class Model; no training code."""
