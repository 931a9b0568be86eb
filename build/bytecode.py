"""A plugin of Nuitka's: only our own package is compiled, all others are taken in as bytecode.

Compiled, the libraries were slower and took 20 MB more (contributing/packaging.md has the figures).
"""

from nuitka.plugins.PluginBase import NuitkaPluginBase

COMPILED = ("__main__",)


class BytecodePlugin(NuitkaPluginBase):
    plugin_name = "bytecode"
    plugin_desc = "Take other packages in as bytecode."

    @staticmethod
    def isAlwaysEnabled() -> bool:
        return True

    def decideCompilation(self, module_name):
        return "compiled" if module_name.getTopLevelPackageName() in COMPILED else "bytecode"
