"""Readers of files: arrays, tables, images, text."""
