"""The project on disk: cases, annotations, proposals, states; one writer at a time, nothing lost in a kill."""

from semisam.project.project import Case, Project, State

__all__ = ["Case", "Project", "State"]
