"""The Task Scheduler of Windows: the task, and `schtasks`.

`sc create` is for programs that speak with the service control manager; ours is a plain one, which
the Task Scheduler starts with the machine (or at log-on) and again when it ends.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from muxi.service import tool
from muxi.service.definition import DESCRIPTION, Condition, Definition

if TYPE_CHECKING:
    from pathlib import Path

TASK: Final = "MUXI Server"
MARK: Final = "<Source>muxi-server service install</Source>"

_TASK: Final = """\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    {mark}
    <Description>{description}</Description>
  </RegistrationInfo>
  <Triggers>
    {trigger}
  </Triggers>
  <Principals>
    <Principal id="Author">
      {principal}
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure>
      <Interval>PT1M</Interval>
      <Count>999</Count>
    </RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{command}</Command>
      <Arguments>{arguments}</Arguments>
      <WorkingDirectory>{directory}</WorkingDirectory>
    </Exec>
  </Actions>
</Task>
"""


class TaskScheduler:
    """Tasks of the user who asks, or without `user` the machine's."""

    name = "the Task Scheduler"

    def __init__(self, *, user: bool, data_dir: Path, run: tool.Run = tool.run) -> None:
        self._user = user
        self._run = run
        self.file = data_dir / "muxi-server-task.xml"

    def install(self, definition: Definition) -> list[str]:
        tool.write(self.file, task(definition, at_logon=self._user).encode("utf-16"), "")
        tool.must(self._run, "schtasks", "/Create", "/TN", TASK, "/XML", str(self.file), "/F")
        tool.must(self._run, "schtasks", "/Run", "/TN", TASK)
        return []

    def uninstall(self) -> bool:
        if self._run(("schtasks", "/Query", "/TN", TASK)).returncode:
            return False
        self._run(("schtasks", "/End", "/TN", TASK))
        tool.must(self._run, "schtasks", "/Delete", "/TN", TASK, "/F")
        tool.remove(self.file)
        return True

    def condition(self) -> Condition:
        shown = self._run(("schtasks", "/Query", "/TN", TASK, "/FO", "CSV", "/NH"))
        state = shown.stdout.strip().rpartition(",")[2].strip('"')
        installed = shown.returncode == 0
        return Condition(installed, state == "Running", installed, self.file, state)


def task(definition: Definition, *, at_logon: bool) -> str:
    """Write the task. Pure."""
    program, *words = definition.command
    trigger, principal = (
        ("<LogonTrigger><Enabled>true</Enabled></LogonTrigger>", "<LogonType>InteractiveToken</LogonType>")
        if at_logon
        else ("<BootTrigger><Enabled>true</Enabled></BootTrigger>", "<UserId>S-1-5-19</UserId>")
    )
    return _TASK.format(
        mark=MARK,
        description=escape(DESCRIPTION),
        trigger=trigger,
        principal=principal,
        command=escape(program),
        arguments=escape(subprocess.list2cmdline([*words, "start"])),
        directory=escape(str(definition.log_dir.parent)),
    )
