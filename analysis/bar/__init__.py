"""What goes in, on the left of the page: model, checkpoint, picture (with what is known about it) and question."""

from analysis.bar.known import Known, examples, untaught
from analysis.bar.pictures import Upload
from analysis.bar.view import Bar, build, choices, known_of, linked
from models.images import open_picture

__all__ = ["Bar", "Known", "Upload", "build", "choices", "examples", "known_of", "linked", "open_picture", "untaught"]
