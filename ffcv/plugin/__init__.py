"""How plugins extend ffcv.

A plugin is a module that an entry point of the group ``ffcv`` names. It implements hooks of
:mod:`ffcv.plugin.hookspecs`, marked with :data:`hookimpl`, which return a :class:`Contribution` for
each thing it provides::

    @hookimpl
    def ffcv_fields():
        return [Contribution("WaveField", Kind.FIELD, "my_plugin.wave:WaveField", "sound")]

======================  =========================================================
:mod:`~.hookspecs`      the hooks
:mod:`~.records`        what hooks return
:mod:`~.registry`       look-up by name, by identity, by type id
:mod:`~.discovery`      finding and registering plugins
:mod:`~.face`           modules that show what plugins provide, such as ``ffcv.fields``
======================  =========================================================
"""

from ffcv.plugin.hookspecs import hookimpl
from ffcv.plugin.records import Contribution, Kind

__all__ = ["Contribution", "Kind", "hookimpl"]
