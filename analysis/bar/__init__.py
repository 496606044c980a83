"""What goes in, on the left of the page: model, checkpoint, picture (with what is known about it) and question."""

from analysis.bar.known import Known, examples, untaught
from analysis.bar.pictures import Upload
from analysis.bar.view import Bar, build, choices, linked, show
from models.images import open_picture

__all__ = ["Bar", "Known", "Upload", "build", "choices", "examples", "linked", "open_picture", "show", "untaught"]
