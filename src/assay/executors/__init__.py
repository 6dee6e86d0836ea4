"""Where work is done: in this process, in a pool of processes, or on a Ray cluster; one setting, the same results.

An executor maps an importable function over tasks and returns the results in the tasks' order. It knows nothing of
runs. Tasks cross process and machine borders, so they hold paths, hashes and settings, never tables: a task above
:data:`LARGEST_TASK` bytes is refused, in every executor, so that the fault shows where it is made.
"""

from assay.executors.base import LARGEST_TASK, Executor, Serial, Watch, task_size
from assay.executors.setting import EXECUTORS, Setting, opened, parse

__all__ = ["EXECUTORS", "LARGEST_TASK", "Executor", "Serial", "Setting", "Watch", "opened", "parse", "task_size"]
