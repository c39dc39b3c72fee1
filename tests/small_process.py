"""A process that has imported little, for tests that fork many times.

A fork copies the tables of all memory, and the child then copies each page that it touches. In the
process of the tests, which has imported every library, that takes far longer than the test itself.
"""

import multiprocessing
import warnings

PATIENCE = 50.0  # seconds for an answer


class SmallProcess:
    """Runs functions in a process of its own; they and their arguments are sent by name.

    A warning is an error there, but for that of forks that have threads, which are the subject.
    """

    def __enter__(self):
        start = multiprocessing.get_context("spawn")
        self._pipe, end = start.Pipe()
        self._process = start.Process(target=_serve, args=(end,))
        self._process.start()
        end.close()
        return self

    def __exit__(self, *exc_info):
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()

    def __call__(self, function, *args):
        """Return what the function returns, or raise what it raises."""
        self._pipe.send((function, args))
        assert self._pipe.poll(PATIENCE), "no answer"
        answer, error = self._pipe.recv()
        if error is not None:
            raise error
        return answer


def _serve(pipe):
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
    while True:
        function, args = pipe.recv()
        try:
            pipe.send((function(*args), None))
        except Exception as error:  # noqa: BLE001 - the test is to see it
            pipe.send((None, error))
