"""A task defines how a property is learned: the targets, the loss, and the conversion of raw outputs.

The type of the property selects the task. A float in [0, 1] whose training values span at least 0.1, such as
an accuracy, becomes a soft label. Any other number is regressed. A text or a bool is a category. For a number
whose order of magnitude matters, such as a learning rate, the configuration can ask for a regression of its
logarithm. If several properties are learned together, each property has its own columns in the raw output.
"""

from sneframe.tasks.category import Category, labels
from sneframe.tasks.make import make_task
from sneframe.tasks.number import Fraction, LogRegression, Regression
from sneframe.tasks.task import Task
from sneframe.tasks.together import Tasks

__all__ = ["Category", "Fraction", "LogRegression", "Regression", "Task", "Tasks", "labels", "make_task"]
