"""Likelihoods p(x|z) = prod_d p(x_d | h_d), h the decoder's outputs."""
