"""How plugins extend ffcv.

A plugin is a module that an entry point of the group ``ffcv`` names. It implements hooks of
:mod:`ffcv.plugin.hookspecs`, marked with :data:`hookimpl`, which return a :class:`Contribution` for
each thing it provides::

    @hookimpl
    def ffcv_fields():
        return [Contribution("WaveField", Kind.FIELD, "my_plugin.wave:WaveField", "sound")]

A plugin that others can extend adds a :class:`Hook` of its own, whose function is marked with
:data:`hookspec`, by ``ffcv_hookspecs``. What others contribute by it is found by kind and name like
everything else. Image codecs come that way.

======================  =========================================================
:mod:`~.hookspecs`      the core's hooks
:mod:`~.records`        what hooks return
:mod:`~.registry`       look-up by name, by identity, by type id
:mod:`~.discovery`      finding and registering plugins
:mod:`~.calling`        calling their hooks
:mod:`~.namespaces`     modules that show what plugins provide, such as ``ffcv.fields``
======================  =========================================================
"""

from ffcv.plugin.hookspecs import hookimpl, hookspec
from ffcv.plugin.records import Contribution, Hook, Kind

__all__ = ["Contribution", "Hook", "Kind", "hookimpl", "hookspec"]
