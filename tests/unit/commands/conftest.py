from contextlib import contextmanager

import pytest

from contextkernel.commands.progress import text_reporter
from contextkernel.testing.fake_engine import FakeEngine


class RecordingFace:
    """A face that remembers everything."""

    def __init__(self, stdin=None, descriptors=(None, None), program="docker", answer=True, namespace=None):
        self.program = program
        self.stdin = stdin
        self.descriptors = descriptors
        self.answer = answer
        self.namespace = namespace
        self.out = ""
        self.err = ""
        self.output = []
        self.progress = []
        self.questions = []
        self.answers = []
        self.frames = []
        self.keys = None

    def write_out(self, text):
        self.out += text

    def write_err(self, text):
        self.err += text

    def write_output(self, stream, data):
        self.output.append((stream, data))

    def output_descriptors(self):
        return self.descriptors

    def screen(self, *, keys):
        self.keys = keys

    @contextmanager
    def reporter(self, progress, *, out=False):
        self.progress.append(progress)
        with text_reporter(progress, self.write_out if out else self.write_err, clock=lambda: 0.0) as report:
            yield report
        self.progress.append("closed")

    @contextmanager
    def live(self):
        yield self.frames.append

    def ask(self, question, *, secret):
        self.questions.append((question, secret))
        return self.answers.pop(0) if self.answers else None

    def confirm(self, question):
        self.questions.append(question)
        return self.answer


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def face():
    return RecordingFace()


@pytest.fixture
def make_face():
    return RecordingFace
