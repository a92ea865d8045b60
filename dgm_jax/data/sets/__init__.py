"""One file a data set, or a family of them: the file name is the name in config.data.name."""
