"""Several files as one dataset.

The data of shards lie in one range of addresses, one behind the other, as if they were in one
file: what is at byte ``b`` of a shard is at ``base + b`` of the dataset. Records and rows of the
region tables, which say where things lie, are moved along when samples first need them. So nothing
that reads a dataset, kernels included, knows how many files it has.

====================  ===========================================================
:mod:`~.naming`       from what a user gave to the paths of shards
:mod:`~.entry`        what is known of a shard that need not be open
:mod:`~.manifest`     the small file that says this of all shards of a folder
:mod:`~.layout`       where shards, their samples and regions lie
:mod:`~.moving`       records and rows of a file as those of the dataset
:mod:`~.on_demand`    tables whose rows are put there when they are needed
:mod:`~.pages`        checking pages when they are first read
:mod:`~.source`       maps and descriptors
:mod:`~.dataset`      the dataset, as an open file
:mod:`~.opening`      opening one file or several
====================  ===========================================================
"""
