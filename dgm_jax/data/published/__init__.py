"""Published data sets through TFDS: downloads, checksums, cache."""
