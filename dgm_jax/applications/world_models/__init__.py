"""World models (Ha & Schmidhuber, 2018): V sees, M remembers and predicts, C acts, evolved outside or in a dream."""
