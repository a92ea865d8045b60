"""Distances between samples and data: pure functions of features [N, F], in float64 on the host.

Each takes the features of samples first and of real examples second.  They compute with NumPy and LAPACK: sums of roots
of eigenvalues and counts of neighbours need float64, which accelerators do slowly or not at all, and blocks of bounded
size.
"""
