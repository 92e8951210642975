"""A JPEG decoder that decodes what is kept and nothing else (ITU-T T.81; JFIF).

===============  ===================================================================
``header``       segments of a stream, in Python; ``stream`` tells more about one
``state``        words that the kernels share; ``memory`` has a worker's buffers
``markers``      segments in front of the scan, with the tables that they define
``segments``     where to enter the scan: side index, restart markers, or its beginning
``parts``        which bytes a region needs, before they are there; ``grid`` which MCUs
``bits``         reading bits; ``huffman`` tables; ``entropy`` the coefficients of a block
``scan``         the rows and columns of a region, 16 blocks at a time
``idct``         the inverse transform; ``upsample`` chroma; ``color`` RGB
``decoder``      entry points: planes or RGB of a region
``row_index``    making a side index; ``density`` says how dense it is
``checking``     whether a stream can be decoded completely; ``scans`` those of other kinds, by
                 their headers, and their code with ``walk``
===============  ===================================================================
"""
