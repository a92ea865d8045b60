"""Features of images and of other data, by which samples are compared with data; each has a name that results state."""
