"""emoser: an executable companion to two papers on speech emotion recognition with large language models.

``corpora`` <- ``systems`` <- ``experiments`` <- ``reporting``: imports go one way.
"""

__version__ = "0.1.0"
