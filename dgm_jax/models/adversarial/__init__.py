"""Models of two players: a generator, without a density, and a discriminator."""
