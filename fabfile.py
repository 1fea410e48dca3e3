"""The `fab` namespace: the tasks of hostwright.tasks, a module each."""

from hostwright.tasks import namespace

__all__ = ["namespace"]
