"""Where storages of other packages are found; see `dhcptwist.interfaces.IStorageFactory`.

Folders ``dhcptwist/plugins`` of any distribution belong to this package, so only this one
has an ``__init__.py``.
"""

from twisted.plugin import pluginPackagePaths


__path__.extend(pluginPackagePaths(__name__))
