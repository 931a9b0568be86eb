"""A plugin of Nuitka's: everything is taken in as bytecode, but for packages that are asked for.

Compiled, they were slower and took more memory (contributing/packaging.md has the figures).
"""

import os

from nuitka.plugins.PluginBase import NuitkaPluginBase

#: The packages to compile, beside the program's first module, which always is.
VARIABLE = "BINARY_COMPILED"


class BytecodePlugin(NuitkaPluginBase):
    plugin_name = "bytecode"
    plugin_desc = "Take packages in as bytecode."

    @staticmethod
    def isAlwaysEnabled():
        return True

    def decideCompilation(self, module_name):
        compiled = os.environ[VARIABLE].split()
        return "compiled" if module_name.getTopLevelPackageName() in ("__main__", *compiled) else "bytecode"
