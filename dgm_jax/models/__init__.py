"""Models: one density per file, WHAT is learned; class Model, no training code."""
