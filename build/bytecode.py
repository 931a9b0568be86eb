"""A plugin of Nuitka's: only our own package is compiled, all others are taken in as bytecode.

Compiled, the libraries were slower and took 20 MB more (contributing/packaging.md has the figures).
"""

import os

from nuitka.plugins.PluginBase import NuitkaPluginBase

#: The packages to compile, besides the program's first module, which always is.
VARIABLE = "BINARY_COMPILED"


class BytecodePlugin(NuitkaPluginBase):
    plugin_name = "bytecode"
    plugin_desc = "Take other packages in as bytecode."

    @staticmethod
    def isAlwaysEnabled():
        return True

    def decideCompilation(self, module_name):
        compiled = os.environ[VARIABLE].split()
        return "compiled" if module_name.getTopLevelPackageName() in ("__main__", *compiled) else "bytecode"
