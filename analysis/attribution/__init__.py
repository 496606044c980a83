"""Attribution: which parts of a picture and which words of a question stand behind an answer."""
