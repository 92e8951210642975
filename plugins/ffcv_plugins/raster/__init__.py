"""Images as rows of RGB bytes: what plugins that work on images share. This is no plugin.

* ``rows`` and ``colors`` are kernels for one row, ``normalization`` their constants.
* ``crops`` chooses parts of images, ``resizing`` resizes them.
* ``finish`` is what happens to a row then: look-up table, filled rectangles, normalising, layout;
  ``folding`` is how an operation asks a decoder to do that in its place.
"""
