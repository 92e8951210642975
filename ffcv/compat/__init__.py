"""FFCV 1.x: its module paths, its names, and words about those that are gone."""
