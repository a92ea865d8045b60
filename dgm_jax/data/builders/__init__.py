"""TFDS builders that need no TensorFlow; checksums.tsv registers their files."""
