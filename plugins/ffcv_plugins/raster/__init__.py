"""Images as rows of RGB bytes: what plugins that work on images share. This is no plugin.

* ``rows`` and ``colors`` are kernels for one row, ``normalization`` their constants.
* ``crops`` chooses parts of images, ``resizing`` resizes them.
* ``epilogue`` is what a decoder does to a row before it leaves the cache, and how operations are
  fused into that. It is public: plugins of others import from it.
"""
