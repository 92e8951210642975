"""Kernels that work on one row of pixels, which images and transforms share."""
