import subprocess

from utils import revision


def test_the_revision_is_that_of_the_checkout():
    assert revision.find_revision()


def test_without_git_it_is_unknown(monkeypatch):
    def fail(*args, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", fail)
    assert revision.find_revision() == "unknown"
